"""The door for JSON that is read back: whole and of the schema that is needed, or one UserError.

A file that we wrote may come back cut, edited or swapped for another. Whoever reads one says what
it needs of it as a schema, and meets nothing else:

    a type, or a tuple of them   str, (str, None), NUMBER; None stands for null
    {"name": schema, "more?": schema}   an object with these fields, those with ? if they are there
    {str: schema}                 an object whose values are all of the schema
    [schema]                      a list of such
    object                       anything

Fields that a schema does not name are let through: who added them knows what they are.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scaling.errors import UserError

NUMBER = (int, float)
MOST_BYTES = 1 << 30
MOST_DEPTH = 100  # no writer of ours comes near; recursion over the value stays safe below it
_MOST_DIGITS = 300  # of a whole number: one that a float can hold
_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_NAMES |= {dict: "an object", list: "a list", None: "null", type(None): "null"}


class Missing(UserError):  # noqa: N818 - often no fault at all
    """There is no such file."""


def read_json(path: str | os.PathLike, schema: Any = dict, *, missing: str = "") -> Any:
    """What the JSON file `path` holds, of `schema`.

    missing: what it means that there is no such file. Raises UserError naming file and field:
    Missing for no file, and for everything else that is wrong with it.
    """
    return loads(read_bytes(path, missing=missing), str(path), schema)


def read_bytes(path: str | os.PathLike, *, missing: str = "") -> bytes:
    """The content of `path`, which is text of ours. Raises UserError like `read_json`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise Missing(f"{path} does not exist{missing and ': '}{missing}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise UserError(f"{path} cannot be read: {_reason(error)}") from error
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB: not a file of ours")
    return data


def loads(text: str | bytes, where: str, schema: Any = dict) -> Any:
    """JSON text as a value of `schema`. where: names the text. Raises UserError."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not text in UTF-8 (byte {error.start})") from None
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise UserError(f"{where} is nested deeper than {MOST_DEPTH} levels") from None
    except ValueError as error:
        raise UserError(f"{where} is not whole JSON: {_reason(error)}") from None
    if _depth(value) > MOST_DEPTH:
        raise UserError(f"{where} is nested deeper than {MOST_DEPTH} levels")
    if "\\ud" in text or "\\uD" in text:
        value = _whole_characters(value)
    require(value, where, schema)
    return value


def read_rows(path: str | os.PathLike) -> Iterator[tuple[int, dict | None]]:
    """(line number, object) of every line of a JSONL file that is not blank; None for one that
    holds no whole object. Raises UserError when the file cannot be read."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, loads(line, f"{path}:{number}")
                    except UserError:
                        yield number, None
    except FileNotFoundError:
        raise Missing(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {_reason(error)}") from error


def require(value: Any, where: str, schema: Any) -> None:
    """Raises UserError, naming the dotted field, unless `value` is of `schema`."""
    # Ten thousand runs are checked in a fraction of a second; words are found when they are needed.
    if not _fits(schema)(value):
        fault = _fault(value, schema, "")
        if fault is not None:
            raise UserError(f"{where}: {fault}")


def _fits(schema: Any) -> Callable[[Any], bool]:
    """Whether a value, as the JSON decoder makes them, is of `schema`; built once, then fast."""
    if schema is object:
        return lambda value: True
    if isinstance(schema, list):
        item = _fits(schema[0])
        return lambda value: type(value) is list and all(map(item, value))
    if isinstance(schema, dict) and str in schema:
        item = _fits(schema[str])
        return lambda value: type(value) is dict and all(map(item, value.values()))
    if isinstance(schema, dict):
        fields = [(k.removesuffix("?"), k.endswith("?"), _fits(v)) for k, v in schema.items()]

        def has_fields(value: Any) -> bool:
            if type(value) is not dict:
                return False
            for key, optional, fits in fields:
                if not (fits(value[key]) if key in value else optional):
                    return False
            return True

        return has_fields
    kinds = schema if isinstance(schema, tuple) else (schema,)
    plain = frozenset(kind or type(None) for kind in kinds if isinstance(kind, type | None))
    nested = [_fits(kind) for kind in kinds if not isinstance(kind, type | None)]
    if not nested:
        return lambda value: type(value) in plain
    return lambda value: type(value) in plain or any(fits(value) for fits in nested)


def _fault(value: Any, schema: Any, at: str) -> str | None:
    if schema is object:
        return None
    if isinstance(schema, dict):
        return _object_fault(value, schema, at)
    if isinstance(schema, list):
        if not isinstance(value, list):
            return _wrong(value, (list,), at)
        faults = (_fault(item, schema[0], f"{at}[{i}]") for i, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)
    kinds = schema if isinstance(schema, tuple) else (schema,)
    plain = [kind for kind in kinds if isinstance(kind, type | None)]
    if any(_is(value, kind) for kind in plain):
        return None
    nested = [kind for kind in kinds if not isinstance(kind, type | None)]
    fit = [kind for kind in nested if isinstance(value, dict if isinstance(kind, dict) else list)]
    if fit:
        return _fault(value, fit[0], at)
    return _wrong(value, (*plain, *(dict if isinstance(k, dict) else list for k in nested)), at)


def _object_fault(value: Any, schema: Mapping[Any, Any], at: str) -> str | None:
    if not isinstance(value, dict):
        return _wrong(value, (dict,), at)
    dot = f"{at}." if at else ""
    if str in schema:
        faults = (_fault(item, schema[str], f"{dot}{key}") for key, item in value.items())
        return next((fault for fault in faults if fault is not None), None)
    for name, kind in schema.items():
        key = name.removesuffix("?")
        if key in value:
            fault = _fault(value[key], kind, f"{dot}{key}")
            if fault is not None:
                return fault
        elif key == name:
            return f"{dot}{key} is missing"
    return None


def _is(value: Any, kind: type | None) -> bool:
    if kind is None:
        return value is None
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _wrong(value: Any, kinds: tuple, at: str) -> str:
    wanted = " or ".join(dict.fromkeys(_NAMES[kind] for kind in kinds if kind is not int
                                       or float not in kinds))  # fmt: skip
    shown = repr(value)
    found = shown if len(shown) <= 40 else f"{_NAMES[type(value)]}, {shown[:30]}..."
    return f"{at or 'it'} must be {wanted}, not {found}"


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, level by level and so without recursion."""
    depth, level = 0, [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            break
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return depth


def _whole_characters(value: Any) -> Any:
    """Without halves of characters, which JSON can spell and no file takes."""
    if isinstance(value, dict):
        return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:20]}... is too large for a number")
    return int(text)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())
