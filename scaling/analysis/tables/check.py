"""What a law needs of a table, checked and converted; bad rows are refused with their numbers.

Rows are numbered from 1, in the table that was read.
"""

import hashlib

import numpy as np
import pandas as pd

from scaling.analysis.law import Column, Law
from scaling.analysis.tables.cells import numbers, row_names
from scaling.analysis.tables.choose import require
from scaling.analysis.tables.doubts import doubts
from scaling.analysis.tables.names import for_shell, quoted
from scaling.analysis.tables.units import declared
from scaling.errors import UserError

_SUMMARIES = ("total", "totals", "mean", "average", "avg", "sum", "median", "std", "stdev")
_FEET = 3  # rows at the end of a table where spreadsheets put their summaries


def _numbers(table: pd.DataFrame, column: Column, measured: bool) -> tuple[np.ndarray, list[str]]:
    """The column as float64 and what was converted; NaN where nothing was measured. Raises
    UserError with row numbers."""
    raw = table[column.name]
    values, bad, notices = numbers(
        raw, declared(column.unit), decimal=table.attrs.get("decimal", "")
    )

    def complain(where: np.ndarray, what: str, fix: str) -> None:
        if where.any():
            first = raw.iloc[int(np.flatnonzero(where)[0])]
            raise UserError(
                f"column {column.name!r}: {what} in {row_names(table.index, where)} "
                f"(first: {first}); {fix}"
            )

    complain(bad, "not a number", "mend or empty the cell, or delete a row that is no run")
    if measured:
        values = np.where(np.isfinite(values), values, np.nan)
    else:
        fix = "fill it in, or leave the row out (--where)"
        complain(~np.isfinite(values), "missing or infinite value", fix)
    if column.positive:
        fix = "leave the row out (--where), or mend it"
        if measured and (values < 0).all():
            fix = "is it a log-likelihood? The loss is its negative"
        complain(values <= 0, "not positive", fix)
    return values, notices


def inputs(law: Law, table: pd.DataFrame) -> pd.DataFrame:
    """The table with what `law` reads to predict checked and converted. Raises UserError."""
    require(table, [c.name for c in law.columns])
    columns = {c.name: _numbers(table, c, False)[0] for c in law.columns if c.numeric}
    return table.assign(**columns)


def validate(law: Law, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Checks and converts the columns that `law` needs; leaves out, aloud, rows without a target
    or a loss, whatever else they hold.

    Raises UserError for missing columns, for values that are not (positive) numbers, and for
    values that cannot be in the unit that the law reads (see `doubts`)."""
    columns = law.input_columns
    require(table, [c.name for c in columns])
    _refuse_summaries(table)
    notices, numeric = [], [c for c in columns if c.numeric]
    # What was measured may be missing: of a run that broke off, for example. The columns of a law
    # that reduces its table first hold the loss, though it is not the target.
    measured = [c for c in numeric if c == law.target or declared(c.unit).kind == "loss"]
    for c in [*measured, *(c for c in numeric if c not in measured)]:
        values, told = _numbers(table, c, c in measured)
        notices += told
        table = table.assign(**{c.name: values})
        missing = np.isnan(values)
        if missing.any():
            notices.append(
                f"{missing.sum()} of {len(table)} rows have no finite {c.name} and were "
                f"excluded ({row_names(table.index, missing)})"
            )
            table = table[~missing]
        if table.empty:
            raise UserError(f"no row has a finite {c.name}")
    notices += doubts(table, {c.name: declared(c.unit) for c in numeric})
    names = [c.name for c in columns]
    twice = int(table.duplicated(names).sum())
    if twice:
        notices.append(
            f"{twice} row(s) repeat another exactly in {', '.join(names)}: counted twice"
        )
    for c in numeric:
        if len(table) > 1 and c != law.target and table[c.name].nunique() == 1:
            notices.append(
                f"all {c.name} equal {table[c.name].iloc[0]:g}: its terms are not unique"
            )
    return table.reset_index(drop=True), notices


def _refuse_summaries(table: pd.DataFrame) -> None:
    """Raises UserError for a last row that a spreadsheet computed from the others."""
    for name in table.columns[[not pd.api.types.is_numeric_dtype(d) for d in table.dtypes]]:
        words = table[name].astype(str).str.strip().str.lower().str.rstrip(":")
        found = words.isin(_SUMMARIES).to_numpy(bool)
        if found.any() and len(table) > _FEET and not found[:-_FEET].any():
            first = table[name][found].iloc[0]
            raise UserError(
                f"{row_names(table.index, found)} looks like a summary of the others "
                f"({first!r} in column {str(name)!r}): delete it, or leave it out with --where "
                f"{for_shell(f'{quoted(str(name))}!={quoted(str(first).strip())}')}"
            )


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
