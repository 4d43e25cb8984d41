"""Cells that hold whole objects: the `project.csv` of W&B's export guide, pandas of nested JSON.

The guide's script writes `summary` and `config` of every run as Python prints a dict. They are
read as literals, never evaluated, and become dotted columns: summary.val_loss.
"""

import ast
import json
import math
from typing import Any

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format
from scaling.errors import UserError

_LONGEST = 1_000_000  # characters of one cell
_WORDS = {"nan": math.nan, "inf": math.inf, "NaN": math.nan, "Infinity": math.inf, "null": None}
_WORDS |= {"true": True, "false": False}


def _recognise(table: pd.DataFrame) -> bool:
    return bool(_columns(table))


def _columns(table: pd.DataFrame) -> list[str]:
    """Columns in which every cell is empty or looks like an object, and one is."""
    return [name for name in table.columns if _holds_objects(table[name])]


def _holds_objects(column: pd.Series) -> bool:
    if column.dtype.kind in "biufcmM":
        return False
    cells = column.dropna()
    return len(cells) > 0 and all(
        isinstance(c, dict) or (isinstance(c, str) and c.strip()[:1] + c.strip()[-1:] == "{}")
        for c in cells
    )


def _read(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    notices = []
    for name in _columns(table):
        objects = [_object(cell, str(name)) for cell in table[name]]
        unreadable = sum(cell is None for cell in objects)
        rows = pd.json_normalize([cell or {} for cell in objects], sep=".").set_index(table.index)
        lists = [c for c in rows if rows[c].map(lambda cell: isinstance(cell, list | tuple)).any()]
        rows = rows.drop(columns=lists).add_prefix(f"{name}.")
        table = pd.concat([table.drop(columns=name), rows], axis=1)
        shown = ", ".join(map(str, rows.columns[:6])) + ", ..." * (len(rows.columns) > 6)
        notices.append(f"column {name!r} holds objects: read as {shown}")
        if unreadable:
            notices.append(f"{unreadable} cell(s) of {name!r} cannot be read and count as empty")
    return table, notices


def _object(cell: Any, name: str) -> dict | None:
    """The object in a cell; {} where it is empty, None where it cannot be read."""
    if isinstance(cell, dict):
        return cell
    if not isinstance(cell, str):
        return {}
    if len(cell) > _LONGEST:
        raise UserError(
            f"column {name!r}: a cell has {len(cell):,} characters, more than {_LONGEST:,}"
        )
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        value = _literal(cell)
    return value if isinstance(value, dict) else None


def _literal(text: str) -> Any:
    """What Python prints of dicts, numbers, texts, nan and inf; None for anything else."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return ast.literal_eval(_WithWords().visit(tree))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


class _WithWords(ast.NodeTransformer):
    """Names that are numbers to Python's print or to JSON become these."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node


DICT_CELLS = Format("cells with whole objects", _recognise, _read)
