"""Choosing rows and columns of a table by name: conditions are parsed, never evaluated."""

import operator
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from scaling.errors import UserError, unknown

_OPERATORS = MappingProxyType(
    {
        "<=": operator.le,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        ">": operator.gt,
        "=": operator.eq,
    }
)
_CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(<=|>=|==|!=|<|>|=)\s*(.+?)\s*")


def rename(table: pd.DataFrame, mapping: Mapping[str, str]) -> pd.DataFrame:
    """Applies {"n_params": "COL", ...}: the law's name on the left, the table's on the right. A
    column that already has the law's name and is not the one asked for is replaced."""
    for theirs in mapping.values():
        require(table, [theirs])
    return table.assign(**{ours: table[theirs] for ours, theirs in mapping.items()})


def require(table: pd.DataFrame, names: Iterable[str]) -> None:
    """Raises UserError, with the nearest existing name, for the first column that is missing."""
    for name in names:
        if name not in table:
            raise unknown("column", name, map(str, table.columns))


def parse_condition(text: str) -> tuple[str, str, float | str]:
    """`"flops<=1e21"` -> ("flops", "<=", 1e21). With = and != the right side may be a word.
    Raises UserError; nothing is ever evaluated."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UserError(
            f"condition {text!r} is not of the form COLUMN OPERATOR NUMBER: flops<=1e21"
        )
    name, sign, value = match.groups()
    try:
        return name, sign, float(value)
    except ValueError:
        if sign in ("=", "==", "!="):
            return name, sign, value.strip("'\"")
        raise UserError(f"condition {text!r}: {value!r} is not a number") from None


def matches(table: pd.DataFrame, conditions: str | Iterable[str]) -> np.ndarray:
    """Boolean [rows]: where all conditions hold. One string may hold several, comma-separated."""
    texts = [conditions] if isinstance(conditions, str) else list(conditions)
    mask = np.ones(len(table), bool)
    for text in (part for whole in texts for part in whole.split(",")):
        name, sign, value = parse_condition(text)
        require(table, [name])
        column = table[name]
        if isinstance(value, float):
            column = pd.to_numeric(column, errors="coerce")
        elif name == "group":
            # "text+luck" (see `groups_of`) is both of them.
            column = column.map(lambda g, one=value: one if one in str(g).split("+") else g)
        mask &= _OPERATORS[sign](column, value).to_numpy(bool)
    return mask


def select(
    table: pd.DataFrame,
    where: str | Iterable[str] = (),
    drop_highest: int = 0,
    target: str = "loss",
) -> pd.DataFrame:
    """The rows where all conditions hold, without the `drop_highest` largest targets.
    Raises UserError when nothing is left."""
    conditions = [where] if isinstance(where, str) else list(where)
    chosen = table[matches(table, conditions)]
    if chosen.empty:
        raise UserError(f"no row of {len(table)} satisfies {' and '.join(conditions)}")
    if drop_highest:
        require(chosen, [target])
        if not 0 < drop_highest < len(chosen):
            raise UserError(f"cannot drop the {drop_highest} highest of {len(chosen)} rows")
        values = pd.to_numeric(chosen[target], errors="coerce").to_numpy()
        keep = np.ones(len(chosen), bool)
        keep[np.argsort(-values, kind="stable")[:drop_highest]] = False
        chosen = chosen[keep]
    return chosen
