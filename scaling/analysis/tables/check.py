"""What a law needs of a table, checked and converted; bad rows are refused with their numbers.

Rows are numbered from 1, in the table that was read.
"""

import hashlib

import numpy as np
import pandas as pd

from scaling.analysis.law import Column, Law
from scaling.analysis.tables.choose import require
from scaling.errors import UserError


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
