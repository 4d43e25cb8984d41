"""Choosing rows and columns of a table by name: conditions are parsed, never evaluated."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from scaling.analysis.tables import names, status, units
from scaling.analysis.tables.cells import missing, numbers, row_names
from scaling.analysis.tables.foreign.proposal import proposal
from scaling.errors import UserError

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


def rename(
    table: pd.DataFrame, mapping: Mapping[str, str], stated: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Applies {"n_params": "COL", ...}: the law's name on the left, the table's on the right. A
    column that already has the law's name and is not the one asked for is replaced.

    Columns under our names become numbers in our units: `stated` says theirs (as --unit does),
    else their header or cells may. What was converted is said."""
    _check_mapping(table, mapping)
    columns, notices = {}, []
    known = dict(table.attrs.get("units", {}))
    stated = {k: v for k, v in (stated or {}).items() if known.get(k) != v or k in mapping}
    for name in stated:
        if name not in mapping:
            require(table, [name])
    for ours in dict.fromkeys([*mapping, *map(str, table.columns), *stated]):
        theirs = mapping.get(ours, ours)
        quantity = units.named(ours) or (units.meant(stated[ours]) if ours in stated else None)
        if quantity is None:
            columns |= {ours: table[theirs]} if ours in mapping else {}
            continue
        if ours in stated:
            unit, known[ours] = quantity.demand(ours, stated[ours]), stated[ours]
            notices += [_told(ours, theirs, unit)] if not unit.plain else []
        else:
            unit = units.of_header(theirs, quantity) if ours in mapping else None
            if unit is not None:
                notices.append(_told(ours, theirs, unit))
                known |= {ours: unit.kept} if unit.kept else {}
        columns[ours], told = _as_numbers(table[theirs], quantity, unit, table.attrs)
        notices += told
    table = table.assign(**columns)
    table.attrs["units"] = known
    return table, notices


def _check_mapping(table: pd.DataFrame, mapping: Mapping[str, str]) -> None:
    measured: dict[str, str] = {}
    for ours, theirs in mapping.items():
        if theirs not in table:
            raise _unknown_column(theirs, table, [ours])
        quantity = units.named(ours)
        if quantity is not None and quantity.group:
            other = measured.setdefault(theirs, ours)
            if units.named(other) != quantity:
                raise UserError(
                    f"{other} and {ours} are both column {theirs!r}, and are not the same thing"
                )


def _told(ours: str, theirs: str, unit: units.Unit) -> str:
    place = f"column {theirs!r}" if ours != theirs else "given"
    if unit.kept:
        return f"{ours} is {place} in {unit.kept}, not nats per token: it is kept as it is"
    example = float(unit.convert(np.float64(2.0)))
    return f"{ours} is {place} in {unit.label}: converted (2 becomes {example:.6g})"


def _as_numbers(column, quantity, unit, attrs) -> tuple[pd.Series, list[str]]:
    """The column as numbers; cells that are none stay as they are, for who needs the row."""
    if pd.api.types.is_numeric_dtype(column) and unit is None:
        return column, []
    values, bad, notices = numbers(column, quantity, unit, attrs.get("decimal", ""))
    if unit is not None and bad.any() and not np.isfinite(values).any():
        raise UserError(
            f"column {column.name!r}: not a number in {row_names(column.index, bad)} (first: "
            f"{column[bad].iloc[0]}), so it has no unit"
        )
    if not bad.any():
        return pd.Series(values, index=column.index), notices
    mixed = pd.Series(values, index=column.index, dtype=object)
    mixed[bad] = column[bad]
    return mixed, notices


def require(table: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Raises UserError, with the nearest existing names, when a column is missing."""
    missing = [name for name in wanted if name not in table]
    if missing:
        raise _unknown_column(missing[0], table, missing)


def _unknown_column(name: str, table: pd.DataFrame, ours: Sequence[str]) -> UserError:
    """The error for a column that is not there. ours: what was looked for under our names, so that
    the option can be typed for the nearest columns."""
    known = list(map(str, table.columns))
    near = names.nearest(name, known)
    hint = "" if near is None else f"; did you mean {names.clipped(repr(near))}?"
    usual = proposal(known, ours)
    pairs = {one: usual.get(one) or names.nearest(one, known) for one in ours}
    if name not in ours:
        pairs = {one: near or usual.get(one) for one in ours}
    pairs = {one: other for one, other in pairs.items() if other and units.named(one)}
    pairs = {} if any(len(other) > 200 for other in pairs.values()) else pairs
    if pairs and len(set(pairs.values())) == len(pairs):
        typed = ",".join(f"{one}={names.quoted(other)}" for one, other in pairs.items())
        hint += f"{'' if hint else '; perhaps'} --map {names.for_shell(typed)}"
    known = names.enumerated(known)
    return UserError(f"unknown column {name!r}{hint}; known: {known}{_about(table)}")


def _about(table: pd.DataFrame) -> str:
    """What its reader found worth saying when something is missing."""
    hint = table.attrs.get("hint")
    return f"; {hint}" if hint else ""


def parse_conditions(text: str, columns: Iterable[str] = ()) -> list[tuple[str, str, float | str]]:
    """`"flops<=1e21,task=mmlu"` -> [("flops", "<=", 1e21), ("task", "=", "mmlu")]. With = and !=
    the right side may be a word. Raises UserError; nothing is ever evaluated."""
    return [
        (name, sign, _side(name, sign, value, text))
        for name, sign, value in names.conditions(text, columns)
    ]


def _side(name: str, sign: str, value: str, text: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        pass
    if sign in ("=", "==", "!="):
        return value
    # 1B, 1,000,000: as in the cells of the table.
    found, bad, _ = numbers(pd.Series([value]), units.named(name) or units.ANY)
    if bad.any() or np.isnan(found[0]):
        raise UserError(f"condition {text!r}: {value!r} is not a number")
    return float(found[0])


def matches(table: pd.DataFrame, conditions: str | Iterable[str]) -> np.ndarray:
    """Boolean [rows]: where all conditions hold. One string may hold several, comma-separated."""
    mask = np.ones(len(table), bool)
    columns = list(map(str, table.columns))
    for text in [conditions] if isinstance(conditions, str) else conditions:
        for name, sign, value in parse_conditions(text, columns):
            require(table, [name])
            mask &= _holds(table[name], sign, value)
    return mask


def choose_status(conditions: Iterable[str], columns: Iterable[str]) -> bool:
    """Whether conditions say themselves which runs count, finished or not."""
    columns = list(map(str, columns))
    parsed = [part for text in conditions for part in names.conditions(text, columns)]
    return any(status.is_name(name) for name, _, _ in parsed)


def _holds(column: pd.Series, sign: str, value: float | str) -> np.ndarray:
    compare = _OPERATORS[sign]
    if sign in ("=", "==", "!="):
        same = _same(column, value)
        return ~same if sign == "!=" else same
    values, bad, _ = numbers(column, units.named(str(column.name)) or units.ANY)
    if bad.any():
        first = column[bad].iloc[0]
        raise UserError(
            f"column {column.name!r}: not a number in {row_names(column.index, bad)} (first: "
            f"{names.clipped(first)}), so {sign} cannot be asked of it"
        )
    return compare(values, value)


def _same(column: pd.Series, value: float | str) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column) and isinstance(value, str):
        return column.astype(str).str.lower().to_numpy() == value.lower()
    if isinstance(value, float):
        numeric = pd.to_numeric(column.astype(object), errors="coerce")
        return numeric.to_numpy(np.float64, na_value=np.nan) == value
    if column.name == "group":
        # "text+luck" (see `records.place_of`) is both of them.
        return np.array([value in (str(g), *str(g).split("+")) for g in column], bool)
    there = ~missing(column)
    same = np.array([str(cell).strip() == value for cell in column], bool) & there
    if not same.any() and status.is_name(str(column.name)) and status.canonical(value):
        ours = status.canonical(value)
        same = np.array([status.canonical(cell) == ours for cell in column], bool) & there
    return same


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
        wanted = " and ".join(conditions)
        raise UserError(f"no row of {len(table)} satisfies {wanted}{_about(table)}")
    if drop_highest:
        require(chosen, [target])
        if not 0 < drop_highest < len(chosen):
            raise UserError(f"cannot drop the {drop_highest} highest of {len(chosen)} rows")
        values, _, _ = numbers(chosen[target], units.named(target) or units.OTHER)
        keep = np.ones(len(chosen), bool)
        keep[np.argsort(-values, kind="stable")[:drop_highest]] = False
        chosen = chosen[keep]
    return chosen
