"""Numbers as people write them in cells: 20M, 1.4B tokens, 1,000,000, 3,21, 12 %, 10^9.

A comma or a point may part thousands or decimals. The cells of one column decide together; where
they leave it open, what is measured decides (counts have thousands, losses have decimals).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.analysis.tables.units import OTHER, Quantity, Unit, plain_powers
from scaling.errors import UserError

# What spreadsheets, pandas and R leave where there is no value.
MISSING = frozenset(
    (
        *("", "nan", "-nan", "+nan", "none", "null", "na", "n/a", "n.a.", "#n/a", "#na", "<na>"),
        *("nil", "-", "--", "---", "–", "—", "?", ".", "#div/0!", "#value!", "#ref!", "#num!"),
        *("#name?", "#null!", "#wert!", "#bezug!", "1.#qnan", "-1.#ind", "undefined", "missing"),
    )
)
_CELL = re.compile(
    r"([+-]?)\s*(\d+\.(?!\d)|(?:\d[\d.,'’_ ]*)?\d|[.,]\d[\d_]*)"
    r"(?:[eE]([+-]?\d+)|\s*[x×*·]\s*10\s*(?:\^|\*\*)\s*\{?([+-]?\d+)\}?)?"
    r"\s*([^\d\s].*)?"
)
_TEN = re.compile(r"10\s*(?:\^|\*\*)\s*\{?([+-]?\d+)\}?(?:\s+(.*))?")
_INFINITE = re.compile(r"([+-]?)(?:inf|infinity|∞)", re.IGNORECASE)
_ENOUGH = 2000  # cells of a column that are asked for the decimal mark of a file
_BLANKS = re.compile(r"\s+")  # also the narrow ones that French thousands have


@dataclass(frozen=True)
class _Written:
    """A cell taken apart: sign, digits with their marks, power of ten, unit word."""

    sign: float
    digits: str
    power: int
    word: str


def is_missing(cell: object) -> bool:
    return cell is None or cell is pd.NA or str(cell).strip().lower() in MISSING


def missing(column: pd.Series) -> np.ndarray:
    """Boolean [rows]: nothing stands there."""
    if pd.api.types.is_numeric_dtype(column):
        return column.isna().to_numpy(bool)
    return np.array([is_missing(cell) for cell in column.astype(object)], bool)


def row_names(index: pd.Index, where: np.ndarray) -> str:
    """ "row 3, 8 and 2 more" for a Boolean mask: counted from 1 in the table that was read, before
    rows were chosen."""
    places = np.flatnonzero(where)
    places = index[places] if pd.api.types.is_integer_dtype(index) else places
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return f"row {', '.join(str(i + 1) for i in places[:5])}{more}"


def numbers(
    column: pd.Series, quantity: Quantity = OTHER, unit: Unit | None = None, decimal: str = ""
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(float64 [rows] in our unit, NaN where nothing stands; Boolean [rows]: is no number; what
    was converted). unit: of cells that name none. decimal: see `decimal_of`.

    Raises UserError when commas and points contradict each other or leave a column open."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan, copy=True)
        return (
            (values if unit is None else _converted(unit, values)),
            np.zeros(len(values), bool),
            [],
        )
    cells = [_clean(cell) for cell in column.astype(object)]
    values, bad = np.full(len(cells), np.nan), np.zeros(len(cells), bool)
    written: dict[int, _Written] = {}
    for i, cell in enumerate(cells):
        if isinstance(cell, float):
            values[i] = cell
        elif (parsed := _take_apart(cell)) is not None:
            written[i] = parsed
        else:
            bad[i] = True
    mark = _decimal(column, written, quantity, decimal)
    told: dict[str, tuple[str, float]] = {}
    for i, parsed in written.items():
        number = _value(parsed, mark)
        own = quantity.unit(parsed.word) if parsed.word else None
        if number is None or (parsed.word and own is None):
            bad[i] = True
            continue
        values[i] = number if own is None else _converted(own, number)
        if own is None and unit is not None:
            values[i] = _converted(unit, number)
        elif own is not None and not own.plain:
            told.setdefault("unit", (str(cells[i]), values[i]))
        if re.search(r"[,'’_ ]", parsed.digits) or (mark == "," and "." in parsed.digits):
            told.setdefault("marks", (str(cells[i]), values[i]))
    if unit is not None:
        plain = np.array([isinstance(cell, float) for cell in cells], bool)
        values[plain] = _converted(unit, values[plain])
    first = next((f"{text!r} is read as {value:g}" for text, value in told.values()), None)
    return values, bad, [f"column {column.name!r}: {first}"] if first else []


def _converted(unit: Unit, values):
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return unit.convert(np.asarray(values, np.float64))


def _clean(cell: object) -> float | str:
    """A float for what is one already or is missing; else the text without decoration."""
    if isinstance(cell, bool | np.bool_ | int | float | np.number):
        return float(cell)
    if is_missing(cell):
        return float("nan")
    text = _BLANKS.sub(" ", plain_powers(str(cell))).strip().strip("$*").lstrip("'").strip()
    text = text.replace("−", "-").replace("\\,", " ").replace("{,}", ",").replace("\\%", "%")
    text = text.replace("\\times", "×").replace("\\cdot", "×")
    infinite = _INFINITE.fullmatch(text)
    return float(infinite[1] + "inf") if infinite else text


def _take_apart(text: str) -> _Written | None:
    if ten := _TEN.fullmatch(text):
        return _Written(1.0, "1", int(ten[1]), ten[2] or "")
    match = _CELL.fullmatch(text)
    if match is None or len(match[3] or match[4] or "") > 5:
        return None
    sign = -1.0 if match[1] == "-" else 1.0
    return _Written(sign, match[2], int(match[3] or match[4] or 0), (match[5] or "").strip())


def _decimal(
    column: pd.Series, written: dict[int, _Written], quantity: Quantity, decimal: str
) -> str:
    """The decimal mark of a column. Raises UserError."""
    votes: dict[str, int] = {}
    open_at = None
    for i, parsed in written.items():
        vote = marks(parsed.digits)
        if vote in (",", ".") and _value(parsed, vote) is not None:
            votes.setdefault(vote, i)
        elif vote == "?":
            open_at = i
    if len(votes) > 1:
        rows = " and ".join(
            f"{row_names(column.index, np.arange(len(column)) == i)} ({column.iloc[i]!r})"
            for i in sorted(votes.values())
        )
        raise UserError(
            f"column {column.name!r} has decimal commas and decimal points, see {rows}: "
            "write one kind"
        )
    if votes:
        return next(iter(votes))
    if open_at is None or decimal in (",", "."):
        return decimal if decimal in (",", ".") else "."
    if quantity.kind in ("loss", "fraction"):
        return ","
    if quantity.kind in ("count", "compute") and decimal != "?":
        return "."
    raise UserError(
        f"column {column.name!r}: {column.iloc[open_at]!r} may be a decimal or thousands; write "
        "decimals with a point and thousands without a comma"
    )


def marks(digits: str) -> str:
    """The decimal mark that digits betray: "," or "."; "?" where a comma may be either; "" where
    nothing tells (1.234 is taken for a decimal unless the column or the file knows better)."""
    commas, points = digits.count(","), digits.count(".")
    if commas and points:
        return "," if digits.rfind(",") > digits.rfind(".") else "."
    if commas > 1 or points > 1:
        return "." if commas else ","
    if commas:
        return "?" if re.fullmatch(r"[1-9]\d{0,2},\d{3}", digits) else ","
    if points:
        return "" if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", digits) else "."
    return ""


def _value(written: _Written, decimal: str) -> float | None:
    """The number, or None when the marks are not in groups of three."""
    whole, _, fraction = written.digits.partition(decimal)
    thousands = "." if decimal == "," else ","
    if thousands in fraction or re.search(r"[,.]", fraction):
        return None
    whole = whole.replace("_", "")
    if re.search(r"[,.'’ ]", whole):
        kinds = set(re.findall(r"[,.'’ ]", whole))
        if len(kinds) > 1 or not re.fullmatch(r"\d{1,3}(?:[,.'’ ]\d{3})+", whole):
            return None
        whole = re.sub(r"[,.'’ ]", "", whole)
    fraction = fraction.replace("_", "").replace(" ", "")
    return written.sign * float(f"{whole or 0}.{fraction or 0}e{written.power}")


def decimal_of(columns: Iterable[list[str]]) -> str:
    """The decimal mark of a file, by the columns that hold nothing but numbers: "," or "." where
    one of them cannot be read otherwise; "?" where they disagree, or where commas may part
    thousands or decimals and nothing tells; "" where no mark is in question."""
    votes: set[str] = set()
    for cells in columns:
        marked = [c for c in cells[:_ENOUGH] if ("," in c or "." in c) and not is_missing(c)]
        written = [_take_apart(cell) for cell in marked]
        if None in written:
            continue
        found = {(marks(one.digits), one) for one in written}
        # Dates and versions have points too, and no groups of three.
        found = {
            mark for mark, one in found if mark == "?" or (mark and _value(one, mark) is not None)
        }
        votes |= found
    told = votes - {"?"}
    return told.pop() if len(told) == 1 else "?" if votes else ""
