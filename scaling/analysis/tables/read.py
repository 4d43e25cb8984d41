"""Reading tables: one row a point, from a file, a sweep directory or Python. The one door.

Functions that notice something worth saying return it beside the table as a list of sentences, so
that it ends up in `Fit.warnings`. The index of a table counts the rows of its source from 0, those
left out included. `.attrs["units"]` says for which columns a unit was stated: they are not doubted.
"""

import io
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.tables import grid, objects, text
from scaling.analysis.tables.cells import missing
from scaling.analysis.tables.choose import rename
from scaling.analysis.tables.foreign import format_of, translate
from scaling.analysis.tables.names import quoted, tidy
from scaling.analysis.tables.records import read_records
from scaling.analysis.tables.status import keep_complete
from scaling.errors import UserError

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
_DELIMITED = ("", ".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".md", ".tex")
_OBJECTS = (".json", ".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


def as_table(
    source: Any,
    mapping: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    *,
    unfinished: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """A path, a DataFrame or a mapping of columns -> (a fresh DataFrame, notices).

    mapping: our name -> a column, as in --map. units: our name -> its unit, as in --unit ("M",
    "perplexity", ...); a unit of ours ("1", "nats") says that the values are right as they are.
    Cells and headers that state a unit are converted, aloud. Rows of runs that are not complete
    are left out, aloud, unless `unfinished` (then, and whenever the table comes here again).
    Raises UserError when nothing can be read rightly."""
    table, notices = read(source)
    table, more = rename(table, mapping or {}, units)
    notices += more
    if unfinished or table.attrs.get("unfinished"):
        table.attrs["unfinished"] = True
    else:
        table, more = keep_complete(table)
        notices += more
    return table, notices


def read(source: Any) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a source as they are, finished or not: names tidy and unique, blank rows left
    out. Units are not looked at. Raises UserError."""
    if not isinstance(source, str | Path):
        table, notices = _tidied(_frame(source), "the table")
        if table.empty:
            raise UserError("the table holds no rows")
        return table, notices
    path = Path(source)
    if (known := format_of(path)) is not None:
        return known.read(path)
    if path.is_dir():
        return read_records(path), []
    if not path.exists():
        raise UserError(f"no such file or directory: {path}")
    table, notices = _read_file(path)
    table, more = _tidied(table, str(path))
    if table.empty:
        raise UserError(f"{path} holds no rows")
    table, said = translate(table)
    return table, [*notices, *more, *said]


def _read_file(path: Path) -> tuple[pd.DataFrame, list[str]]:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    extension = suffixes[-1] if suffixes else ""
    known = (*_DELIMITED, *_OBJECTS, *_PARQUET)
    data = text.content(path)
    if text.is_parquet(data) and extension in known:
        return _read_parquet(path, data), []
    if extension in _PARQUET:
        raise UserError(f"cannot read {path}: it is not Parquet; damaged, or another format?")
    content, notices = text.decoded(data, path)
    if extension not in known:
        raise UserError(
            f"{path}: not .csv, .tsv, .txt, .json, .jsonl, .parquet (or .gz, .zst, .bz2, .xz of "
            "them) or a directory; export the table as CSV"
        )
    if extension in _OBJECTS or (extension in ("", ".txt") and content.lstrip()[:1] in ("{", "[")):
        table, more = objects.parse(content, str(path))
    else:
        table, more = grid.parse(content, str(path), extension)
    return table, notices + more


def _read_parquet(path: Path, data: bytes) -> pd.DataFrame:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(f"cannot read {path}: Parquet needs `pip install pyarrow`") from None
    try:
        facts = parquet.ParquetFile(io.BytesIO(data)).metadata
        size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        # A column of one value takes a few bytes in the file, and eight a row in memory.
        text.check_size(path, max(size, 8 * facts.num_rows * facts.num_columns))
        return pd.read_parquet(io.BytesIO(data))
    except UserError:
        raise
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from None


def _frame(source: Any) -> pd.DataFrame:
    """A shallow copy of a DataFrame, or what pandas makes of columns or of a list of rows."""
    if isinstance(source, pd.DataFrame):
        return source.copy(deep=False)
    try:
        table = pd.DataFrame(source)
    except (ValueError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise UserError(
            f"a table is a path, a DataFrame or a mapping of columns of one length, and no "
            f"{type(source).__name__} like this one: {said}"
        ) from None
    return table


def _tidied(table: pd.DataFrame, what: str) -> tuple[pd.DataFrame, list[str]]:
    """Names without needless blanks, each once; no blank rows."""
    notices = []
    if isinstance(table.columns, pd.MultiIndex):
        raise UserError(f"{what} has several rows of column names: join them into one")
    names = [tidy(name) for name in table.columns]
    doubles = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    for name in doubles:
        places = [j for j, other in enumerate(names) if other == name]
        first = table.iloc[:, places[0]]
        if not all(first.equals(table.iloc[:, j]) for j in places[1:]):
            raise UserError(
                f"{what}: {len(places)} columns are called {quoted(str(name))} and differ; rename "
                "or delete all but one"
            )
        notices.append(f"column {str(name)!r} stands there {len(places)} times, always the same")
    if names != list(table.columns):
        table = table.set_axis(names, axis=1)
    if doubles:
        table = table.loc[:, ~table.columns.duplicated()]
    table = _hashable(table)
    if len(table) and len(table.columns):
        numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
        blank = np.ones(len(table), bool)
        for name in (*table.columns[numeric], *table.columns[np.logical_not(numeric)]):
            blank[blank] = missing(table[name][blank])
        if blank.any():
            notices.append(f"{blank.sum()} blank row(s) were left out")
            table = table[~blank]
    return table, notices


def _hashable(table: pd.DataFrame) -> pd.DataFrame:
    """Lists and other containers in cells become text: nobody can count or compare them."""

    def holds_containers(column: pd.Series) -> bool:
        return column.dtype == object and any(not isinstance(v, Hashable) for v in column)

    found = [name for name in table.columns if holds_containers(table[name])]
    return table.assign(**{name: table[name].map(str, na_action="ignore") for name in found})
