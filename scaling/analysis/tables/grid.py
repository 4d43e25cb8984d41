"""Text with one row a line -> a table: separator, comments, header, ragged rows, types.

Commas, semicolons, tabs, bars, blanks, and what people paste from Markdown and LaTeX. Rows are
numbered from 1 below the header, blank ones included, and keep their number.
"""

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.analysis.tables.cells import decimal_of, is_missing, numbers
from scaling.analysis.tables.names import enumerated, tidy
from scaling.doors.spreadsheet import as_it_was
from scaling.errors import UserError

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks", "&": "&"}
_SAMPLE = 200  # lines that the separator is told from
_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*")
_LATEX_ONLY = re.compile(r"\s*\\(?:hline|(?:top|mid|bottom|c)(?:rule|line)|begin|end)\b.*")
_NOTHING = ("", "nan", "none", "null", "na", "n/a", "<na>", "#n/a")  # in a column of text
_TRUE_FALSE = {"true": True, "false": False}


@dataclass
class Grid:
    """Header names and the rows under them, all of one length; numbers: of the rows, from 0."""

    path: str
    header: list[str]
    rows: list[list[str]]
    numbers: list[int]
    separator: str
    notices: list[str]


def parse(text: str, path: str, extension: str) -> tuple[pd.DataFrame, list[str]]:
    """The table in `text` and what was noticed. path: for the messages. Raises UserError."""
    grid = _grid(text, path, extension)
    _square(grid)
    _name_columns(grid)
    if not grid.rows:
        raise UserError(f"{path} holds no rows, only a header ({enumerated(grid.header)})")
    return _typed(grid), grid.notices


def _grid(text: str, path: str, extension: str) -> Grid:
    name, notices = path.rsplit("/", 1)[-1], []
    lines = text.rstrip().split("\n")
    if not text.strip():
        raise UserError(f"{path} is empty")
    told = re.fullmatch(r"sep=(.)", lines[0].strip().strip('"'))
    lines = lines[1:] if told else lines
    above = itertools.takewhile(lambda s: s.lstrip()[:1] in ("", "#"), lines)
    comments = list(above)
    lines = lines[len(comments) :]
    if not lines:
        raise UserError(f"{path} holds no rows, only comments")
    lines, pasted = _unwrapped(lines)
    usual = {".tsv": "\t", ".tab": "\t", ".psv": "|"}.get(extension, ",")
    separator = pasted or (told[1] if told else _separator(lines, usual))
    if separator != usual and not told:
        notices.append(f"{name}: the cells are separated by {_NAMES[separator]}")
    lines, skipped = _header_in_comments(lines, comments, separator)
    if skipped:
        notices.append(f"{name}: {skipped} comment line(s) (#) at the top were skipped")
    header, *rows = _split("\n".join(lines), separator, path) or [[]]
    if len([c for c in header if c.strip()]) > 1 and not any(
        c.strip() and not _is_number(c) for c in header
    ):
        raise UserError(
            f"{path}: the first line holds numbers ({enumerated(header, 4)}): write the names of "
            "the columns above it"
        )
    kept = [(i, row) for i, row in enumerate(rows) if any(c.strip() for c in row)]
    remarks = [i for i, row in kept if row[0].lstrip().startswith("#") and len(row) != len(header)]
    kept = [(i, row) for i, row in kept if i not in set(remarks)]
    if remarks:
        notices.append(f"{name}: {len(remarks)} comment line(s) (#) between the rows were skipped")
    blank = len(rows) - len(kept) - len(remarks)
    if blank:
        notices.append(f"{name}: {blank} blank row(s) were left out")
    return Grid(path, header, [r for _, r in kept], [i for i, _ in kept], separator, notices)


def _unwrapped(lines: list[str]) -> tuple[list[str], str | None]:
    """Markdown and LaTeX tables as plain lines, and their separator."""
    filled = [line for line in lines if line.strip()]
    if len(filled) > 1 and "|" in filled[0] and _RULE.fullmatch(filled[1]) and "-" in filled[1]:
        inner = [line.strip().removeprefix("|").removesuffix("|") for line in filled]
        return [inner[0], *inner[2:]], "|"
    body = [line for line in filled if not _LATEX_ONLY.fullmatch(line)]
    if body and all("&" in line and r"\\" in line for line in body):
        return [_plain_latex(line) for line in body], "&"
    return lines, None


def _plain_latex(line: str) -> str:
    line = line.partition(r"\\")[0]
    line = re.sub(r"\\(?:textbf|textit|emph|mathbf|text|mathrm|underline)\{([^{}]*)\}", r"\1", line)
    return re.sub(r"\\([_%#])", r"\1", line).replace("$", "").replace("~", " ")


def _separator(lines: Sequence[str], usual: str) -> str:
    """What parts the cells: under it most rows have as many cells as the header has names."""
    sample = [line for line in lines[:_SAMPLE] if line.strip()]
    best, found = (0.0, 0), usual
    for candidate in dict.fromkeys((usual, ",", ";", "\t", "|", " ")):
        if candidate == " " and best[1] > 1:
            continue
        rows = list(_reader("\n".join(sample), candidate, strict=False))
        width = len(rows[0]) if rows else 0
        fits = [len(r) == width or not any(c.strip() for c in r[width:]) for r in rows[1:]]
        # A short row is no sign of another separator; a header without any is.
        score = (float(np.mean(fits)) if fits else 1.0, width)
        if candidate == " " and {len(row) for row in rows[1:]} not in ({width}, {width + 1}):
            continue  # a title above the table has blanks too
        if width > 1 and score > best:
            best, found = score, candidate
    return found


def _reader(text: str, separator: str, strict: bool):
    blanks = separator == " "
    if blanks:
        text = "\n".join(line.strip() for line in text.replace("\t", " ").split("\n"))
    csv.field_size_limit(2**27)
    stream = io.StringIO(text, newline="")
    return csv.reader(
        stream, delimiter=separator, skipinitialspace=separator != "\t", strict=strict
    )


def _split(text: str, separator: str, path: str) -> list[list[str]]:
    try:
        return list(_reader(text, separator, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise UserError(
                f'{path}: a quote (") that is opened is never closed; the rows behind it would be '
                "lost"
            ) from None
    try:  # "a" b, with something behind the closing quote
        return list(_reader(text, separator, strict=False))
    except csv.Error as error:
        raise UserError(f"cannot read {path}: {error}") from None


def _header_in_comments(
    lines: list[str], comments: list[str], separator: str
) -> tuple[list[str], int]:
    """numpy's savetxt and some people write the header itself behind a "#"."""
    written = [line for line in comments if line.strip()]
    first = next(iter(_reader(lines[0], separator, strict=False)), [])
    if written and len(first) > 1 and all(_is_number(c) or is_missing(c) for c in first):
        header = written[-1].lstrip().lstrip("#").strip()
        if len(next(iter(_reader(header, separator, strict=False)))) == len(first):
            return [header, *lines], len(written) - 1
    return lines, len(written)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _square(grid: Grid) -> None:
    """Rows as long as the header, or a refusal with their numbers."""
    width = len(grid.header)
    name = grid.path.rsplit("/", 1)[-1]
    while width > 1 and not grid.header[width - 1].strip():
        if any(c.strip() for row in grid.rows for c in row[width - 1 :]):
            break
        width -= 1  # nothing but separators: a spreadsheet's empty columns
    grid.header = grid.header[:width]
    extra = [i for i, row in enumerate(grid.rows) if len(row) > width]
    ragged = [i for i in extra if any(c.strip() for c in grid.rows[i][width:])]
    if ragged and _row_names_of_r(grid, width):
        grid.header = ["row_name", *grid.header]
        grid.notices.append(f"{name}: the first cells, which have no header, are row names (R)")
        return
    if ragged:
        cells = len(grid.rows[ragged[0]])
        raise UserError(
            f"{grid.path}: {_numbered(grid, ragged)} {_has(ragged)} more cells than the header has "
            f"names ({cells} for {width}); {_why_longer(grid, ragged, width)}"
        )
    short = [i for i, row in enumerate(grid.rows) if len(row) < width]
    if short:
        row = grid.rows[short[0]]
        raise UserError(
            f"{grid.path}: {_numbered(grid, short)} {_has(short)} fewer cells than the header has "
            f"names ({len(row)} for {width}; first: {','.join(row)[:40]!r}); write empty cells, or "
            "delete the line if it is no row of the table"
        )
    if extra:
        told = "every row" if len(extra) == len(grid.rows) else _numbered(grid, extra)
        grid.notices.append(f"{name}: {told} ends with empty cells that have no header; left out")
    grid.rows = [row[:width] for row in grid.rows]


def _has(rows: Sequence[int]) -> str:
    return "has" if len(rows) == 1 else "have"


def _why_longer(grid: Grid, ragged: list[int], width: int) -> str:
    if width == 1:
        return "is the first line a title? Delete what stands above the names of the columns"
    if grid.separator == "," and len(ragged) == len(grid.rows):
        return "name every column; if decimals have a comma, write points, or separate cells with ;"
    return "name every column, and put cells that hold the separator in quotes"


def _row_names_of_r(grid: Grid, width: int) -> bool:
    """R's write.table leaves out the header of the row names, quoted whole numbers that rise."""
    if any(len(row) != width + 1 for row in grid.rows):
        return False
    first = [row[0] for row in grid.rows]
    if grid.separator not in (" ", "\t") or not all(c.isdigit() for c in first):
        return False
    values = [int(c) for c in first]
    return values[0] >= 1 and all(a < b for a, b in itertools.pairwise(values))


def _numbered(grid: Grid, rows: Sequence[int]) -> str:
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row {', '.join(str(grid.numbers[i] + 1) for i in rows[:5])}{more}"


def _name_columns(grid: Grid) -> None:
    """Tidy names, one for every column; columns without name and content go."""
    names = [str(tidy(as_it_was(name))) for name in grid.header]
    empty = [j for j, name in enumerate(names) if not name]
    filled = [j for j in empty if any(row[j].strip() for row in grid.rows)]
    if [j for j in filled if j > 0]:
        raise UserError(
            f"{grid.path}: the header has no name for column {filled[-1] + 1} of {len(names)}, "
            "which is not empty: name it (a title above the header? Delete it)"
        )
    keep = [j for j in range(len(names)) if j not in empty or j in filled]
    # What pandas and R call the numbers that they write in front of every row.
    grid.header = [names[j] or "Unnamed: 0" for j in keep]
    grid.rows = [[row[j] for j in keep] for row in grid.rows]


def _typed(grid: Grid) -> pd.DataFrame:
    columns = [[cell.strip() for cell in column] for column in zip(*grid.rows, strict=True)]
    decimal = decimal_of(columns)
    comma = decimal == "," and grid.separator != ","
    if comma:
        name = grid.path.rsplit("/", 1)[-1]
        grid.notices.append(f"{name}: decimals have a comma")
    series = [_column(cells, comma) for cells in columns]
    table = pd.concat([pd.Series(s) for s in series], axis=1) if series else pd.DataFrame()
    table.columns = grid.header
    table.index = pd.Index(grid.numbers)
    table.attrs["decimal"] = decimal
    if len(columns) == 1:
        table.attrs["hint"] = "no comma, semicolon, tab or bar parts its lines into cells"
    return table


def _column(cells: list[str], comma: bool) -> pd.Series:
    """Numbers where every cell is one, True and False, or text; None where nothing stands."""
    if not comma:
        with contextlib.suppress(ValueError):
            return _whole_or_float(cells, list(map(float, cells)))
    there = [cell for cell in cells if not is_missing(cell)]
    if there and all(cell.lower() in _TRUE_FALSE for cell in there):
        flags = [None if is_missing(c) else _TRUE_FALSE[c.lower()] for c in cells]
        return pd.Series(flags, dtype=bool if len(there) == len(cells) else object)
    try:
        values = [float("nan") if is_missing(c) else _plain(c, comma) for c in cells]
    except ValueError:
        values = None
    if values is None and comma:
        values, bad, _ = numbers(pd.Series(cells, dtype=object), decimal=",")
        values = None if bad.any() else values
    if values is None:
        words = [None if c.lower() in _NOTHING else as_it_was(c) for c in cells]
        return pd.Series(words, dtype=object)
    return _whole_or_float(cells, values)


def _whole_or_float(cells: list[str], values: Sequence[float]) -> pd.Series:
    """int64 where every cell is a whole number without a point or an exponent."""
    whole = all(len(c) < 19 and c.lstrip("+-").isdigit() for c in cells)
    return pd.Series([int(c) for c in cells] if whole else values)


def _plain(cell: str, comma: bool) -> float:
    """A number without marks that depend on the country."""
    if comma and not cell.lstrip("+-").isdigit():
        raise ValueError(cell)
    return float(cell)
