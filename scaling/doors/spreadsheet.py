"""CSV that a spreadsheet cannot run, and that our reader gives back as it was.

A cell that begins with =, +, - or @ is a formula to Excel and LibreOffice, also in a file of ours
that repeats somebody's run name (CSV injection; CWE-1236). Text cells of that kind, and those that
begin with a blank, get an apostrophe in front; so do those that begin with apostrophes before such
a sign, so that taking one away again always gives what was there. Numbers stay numbers.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

# The last four are the wide forms that East Asian locales take for the signs.
_SIGNS = "=+\\-@\\s\uff1d\uff0b\uff0d\uff20"
_RISKY = re.compile(f"'*[{_SIGNS}]")
_GUARDED = re.compile(f"''*[{_SIGNS}]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def harmless(cell: Any) -> Any:
    """The cell as it may stand in a CSV: text that a spreadsheet would run is led by an "'"."""
    if isinstance(cell, str) and _RISKY.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def as_it_was(cell: Any) -> Any:
    """Undoes `harmless`."""
    return cell[1:] if isinstance(cell, str) and _GUARDED.match(cell) else cell


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as CSV, harmless; columns: default those of all rows in order of appearance. A missing
    value is an empty cell."""
    rows = list(rows)
    columns = (
        list(dict.fromkeys(name for row in rows for name in row)) if columns is None else columns
    )
    lines = [_line(map(str, columns))]
    lines += [_line(row.get(name) for name in columns) for row in rows]
    return "".join(lines)


def _line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    # The writer quotes a carriage return only where it belongs to its own end of line.
    csv.writer(out, lineterminator="\r\n").writerow(map(harmless, cells))
    return out.getvalue()[:-2] + "\n"


def frame_text(table: "pandas.DataFrame") -> str:
    """A DataFrame as harmless CSV, without its index; missing values are empty cells."""
    safe = table.astype(object).where(table.notna(), None)
    return csv_text(safe.to_dict("records"), [*table.columns])
