"""JSON and JSON lines -> a table, in the shapes that people and libraries write."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from scaling.errors import UserError

_DEEP = "it is nested too deeply to be a table"


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys become dotted columns: params.total. Lists are left out."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def loads(text: str) -> Any:
    """`json.loads` without silent losses: a key that stands twice in an object is a UserError.
    NaN and Infinity are read. Raises json.JSONDecodeError and, for deep nesting, UserError."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise UserError(_DEEP) from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise UserError(f"it holds a number that is none: {str(error).split(';')[0]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the key {twice!r} stands twice in one object")
    return out


def parse(text: str, path: str) -> tuple[pd.DataFrame, list[str]]:
    """One document (a list of objects, an object of columns, ...) or one object a line.

    Raises UserError for what is neither, or for a document that ends in the middle."""
    name = path.rsplit("/", 1)[-1]
    try:
        try:
            table, notices = _document(loads(text)), []
        except json.JSONDecodeError as error:
            table, notices = _lines(text, error)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: {_DEEP}") from None
    if table.empty:
        raise UserError(f"{path} holds no rows")
    return table, [f"{name}: {notice}" for notice in notices]


def _lines(text: str, whole: json.JSONDecodeError) -> tuple[pd.DataFrame, list[str]]:
    rows, torn = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = loads(line)
            except json.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                rows.append(flatten(row))
            else:
                torn.append(number)
    # Of a document that breaks off some lines may well be objects: its rows would be lost.
    if not rows or text.lstrip().startswith("[") or re.match(r"\s*\{\s*\n", text):
        raise UserError(
            f"it is not JSON, nor one JSON object a line ({whole.msg} in line {whole.lineno}, "
            f"column {whole.colno}): cut off?"
        )
    if not torn:
        return pd.DataFrame(rows), []
    more = f" and {len(torn) - 5} more" if len(torn) > 5 else ""
    return pd.DataFrame(rows), [
        f"{len(torn)} line(s) are not JSON objects and were skipped: "
        f"line {', '.join(map(str, torn[:5]))}{more}"
    ]


def _document(value: Any) -> pd.DataFrame:
    if isinstance(value, list):
        return _rows(value)
    if not isinstance(value, dict):
        raise UserError("it holds a single value, not a table: write a list of objects")
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return _rows([value["columns"], *value["data"]])
    inside = list(value.values())
    if inside and all(isinstance(v, list) for v in inside) and not _holds_objects(inside):
        lengths = {key: len(v) for key, v in value.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {n}" for key, n in lengths.items())
            raise UserError(f"its columns have different lengths ({told})")
        return pd.DataFrame(value)
    if len(inside) > 1 and all(isinstance(v, dict) for v in inside):
        return _of_objects(value)
    lists = [key for key, v in value.items() if isinstance(v, list) and _holds_objects([v])]
    if len(lists) > 1:
        raise UserError(
            f"it holds several lists of objects ({', '.join(lists)}): write the one to read into "
            "a file of its own"
        )
    if lists:
        return _rows(value[lists[0]])
    return pd.DataFrame([flatten(value)])


def _holds_objects(values: list) -> bool:
    return any(isinstance(item, dict) for value in values for item in value[:1])


def _rows(items: list) -> pd.DataFrame:
    """[{...}, ...], or [[names], [values], ...]."""
    kinds = {type(item) for item in items}
    if kinds == {list} and items[0] and all(isinstance(name, str) for name in items[0]):
        width = len(items[0])
        bad = [i for i, row in enumerate(items) if len(row) != width]
        if bad:
            raise UserError(
                f"row {bad[0]} has {len(items[bad[0]])} values for the {width} names of the first"
            )
        return pd.DataFrame(items[1:], columns=items[0])
    if kinds - {dict}:
        bad = next(i for i, item in enumerate(items) if not isinstance(item, dict))
        raise UserError(f"item {bad + 1} of its list is no object with columns")
    return pd.DataFrame([flatten(item) for item in items])


def _of_objects(value: dict[str, dict]) -> pd.DataFrame:
    """{"loss": {"0": ..., "1": ...}} as pandas writes columns, or {"run-1": {"loss": ...}}."""
    keys = [tuple(inner) for inner in value.values()]
    counted = all(key.isdigit() for key in keys[0]) and keys[0]
    if counted and all(set(k) == set(keys[0]) for k in keys):
        return pd.DataFrame({name: list(inner.values()) for name, inner in value.items()})
    shared = set.intersection(*(set(k) for k in keys))
    if not shared:
        return pd.DataFrame([flatten(value)])
    rows = [{"name": key} | flatten(inner) for key, inner in value.items()]
    return pd.DataFrame(rows)
