"""Tables: one row a point. Reading them, choosing rows, and refusing bad ones with a reason.

A table is a pandas DataFrame; functions that notice something worth saying return it beside the
table as a list of sentences, so that it ends up in `Fit.warnings`. Rows are numbered from 1.
"""

import hashlib
import json
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.law import Column, Law
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
_READABLE = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".pq")
_FINISHED = ("complete", "completed")


def load(source: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Reads CSV, TSV, JSONL, Parquet (also .gz) or a sweep directory (every record.json below it).

    Returns the table and what was noticed: torn lines, runs that are incomplete or diverged and
    were left out. Raises UserError when nothing can be read."""
    table, notices = read(source)
    table, more = _drop_unfinished(table)
    return table, notices + more


def read(source: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Like `load`, with every row that is there, finished or not."""
    path = Path(source)
    if path.is_dir():
        return _read_records(path), []
    if not path.is_file():
        raise UserError(f"no such file or directory: {path}")
    name = path.name.removesuffix(".gz")
    if not name.endswith(_READABLE):
        raise UserError(f"{path}: not .csv, .tsv, .jsonl, .parquet or a directory")
    notices: list[str] = []
    try:
        if name.endswith((".jsonl", ".ndjson")):
            table, notices = _read_jsonl(path)
        elif name.endswith((".parquet", ".pq")):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep="\t" if name.endswith(".tsv") else ",")
    except (ValueError, OSError) as error:  # pandas and pyarrow derive their errors from these
        raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    except ImportError:
        raise UserError(f"cannot read {path}: Parquet needs `pip install pyarrow`") from None
    if table.empty:
        raise UserError(f"{path} holds no rows")
    return table, notices


def _read_jsonl(path: Path) -> tuple[pd.DataFrame, list[str]]:
    text = pd.io.common.get_handle(path, "r", compression="infer", encoding="utf-8")
    rows, torn = [], 0
    with text as handle:
        for line in handle.handle:
            if not line.strip():
                continue
            try:
                rows.append(_flatten(json.loads(line)))
            except (json.JSONDecodeError, AttributeError):
                torn += 1
    notices = [f"{torn} line(s) of {path.name} are not JSON objects and were skipped"] * bool(torn)
    return pd.DataFrame(rows), notices


def _read_records(directory: Path) -> pd.DataFrame:
    rows = []
    for path in sorted(directory.rglob("record.json")):
        try:
            rows.append(_flatten(json.loads(path.read_text(encoding="utf-8"))))
        except (json.JSONDecodeError, AttributeError, UnicodeDecodeError):
            rows.append({"status": "unreadable record"})
    started = {p.parent for p in directory.rglob("config.json")}
    waiting = len(started - {p.parent for p in directory.rglob("record.json")})
    rows += [{"status": "without a record"}] * waiting
    if not rows:
        raise UserError(f"{directory} holds no record.json: not a sweep directory?")
    places = _places(directory)
    return pd.DataFrame([row | places.get(row.get("run_id"), {}) for row in rows])


def _places(directory: Path) -> dict[str, dict[str, Any]]:
    """run_id -> group and axes (axis.width), for a directory with a sweep.json."""
    path = directory / "sweep.json"
    if not path.is_file():
        return {}
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return {
            run["run_id"]: {"group": groups_of(run)} | _flatten(run["axes"], "axis.")
            for run in runs
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not the description of a sweep: {error}") from None


def groups_of(run: Mapping[str, Any]) -> str:
    """The groups of an entry of sweep.json, joined by "+": a run may be in several."""
    return "+".join(filter(None, (run.get("group"), *run.get("also_in", ()))))


def _flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys become dotted columns: params.total. Lists are left out."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _drop_unfinished(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out the rows whose `status` is not complete, and says how many of which kind."""
    if "status" not in table:
        return table, []
    status = table["status"].astype(str)
    bad = ~status.isin(_FINISHED)
    if not bad.any():
        return table, []
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(status[bad]).most_common())
    if bad.all():
        raise UserError(f"no run is complete: {kinds}")
    return table[~bad], [f"{bad.sum()} of {len(table)} runs left out: {kinds}"]


def as_table(source: Any) -> tuple[pd.DataFrame, list[str]]:
    """A path, a DataFrame or a mapping of columns -> (a fresh DataFrame, notices)."""
    if isinstance(source, str | Path):
        return load(source)
    return _drop_unfinished(pd.DataFrame(source).copy(deep=False))


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


def _rows(table: pd.DataFrame, mask: np.ndarray) -> str:
    """ "row 3, 8 and 2 more", counted in the table that was read, before rows were chosen."""
    whole = pd.api.types.is_integer_dtype(table.index)
    places = table.index[mask] if whole else np.flatnonzero(mask)
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return f"row {', '.join(str(i + 1) for i in places[:5])}{more}"


def _numbers(table: pd.DataFrame, column: Column, is_target: bool) -> np.ndarray:
    """The column as float64, NaN where the target is missing. Raises UserError with row numbers."""

    def complain(bad: np.ndarray, what: str) -> None:
        if bad.any():
            first = table[column.name].iloc[int(np.flatnonzero(bad)[0])]
            raise UserError(
                f"column {column.name!r}: {what} in {_rows(table, bad)} (first: {first})"
            )

    raw = table[column.name]
    values = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    absent = np.isnan(values)
    words = raw[absent].astype(str).str.strip().str.lower()
    absent[absent] = (raw[absent].isna() | words.isin(("", "nan", "none", "null"))).to_numpy(bool)
    complain(np.isnan(values) & ~absent, "not a number")
    if is_target:
        values = np.where(np.isfinite(values), values, np.nan)
    else:
        complain(~np.isfinite(values), "missing or infinite value")
    if column.positive:
        complain(values <= 0, "not positive")
    return values


def inputs(law: Law, table: pd.DataFrame) -> pd.DataFrame:
    """The table with what `law` reads to predict checked and converted. Raises UserError."""
    require(table, [c.name for c in law.columns])
    return table.assign(**{c.name: _numbers(table, c, False) for c in law.columns if c.numeric})


def validate(law: Law, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Checks and converts the columns that `law` needs; leaves out, aloud, rows without a target.

    Raises UserError for missing columns and for values that are not (positive) numbers."""
    columns = law.input_columns
    require(table, [c.name for c in columns])
    notices = []
    numeric = {c.name: _numbers(table, c, c.name == law.target.name) for c in columns if c.numeric}
    table = table.assign(**numeric)
    missing = np.isnan(numeric.get(law.target.name, np.zeros(len(table))))
    if missing.any():
        notices.append(
            f"{missing.sum()} of {len(table)} rows have no finite {law.target.name} and were "
            f"excluded ({_rows(table, missing)})"
        )
        table = table[~missing]
    if table.empty:
        raise UserError(f"no row has a finite {law.target.name}")
    names = [c.name for c in columns]
    twice = int(table.duplicated(names).sum())
    if twice:
        notices.append(
            f"{twice} row(s) repeat another exactly in {', '.join(names)}: counted twice"
        )
    for c in columns:
        if (
            c.numeric
            and len(table) > 1
            and c.name != law.target.name
            and table[c.name].nunique() == 1
        ):
            notices.append(
                f"all {c.name} equal {table[c.name].iloc[0]:g}: its terms are not unique"
            )
    return table.reset_index(drop=True), notices


def data_hash(law: Law, table: pd.DataFrame) -> str:
    """SHA-256 (16 hex digits) of the values that the law reads, in row order."""
    digest = hashlib.sha256()
    for column in law.input_columns:
        digest.update(column.name.encode() + b"\0")
        values = table[column.name]
        if column.numeric:
            digest.update(values.to_numpy(np.float64).tobytes())
        else:
            digest.update("\0".join(map(str, values)).encode())
    return digest.hexdigest()[:16]
