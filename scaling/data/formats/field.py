"""The text of one record: a field by name or by path, and why it has none."""

from typing import Any

from scaling.data.documents import Document
from scaling.data.tally import FileTally
from scaling.errors import unknown

_MOST_KNOWN = 20
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}


def document_of(value: Any, name: str, field: str, file: FileTally) -> Document:
    """The document of a JSON value: text as it is, or the `field` of an object.

    A missing, null or other value gives a document with a fault, which `on_bad` decides about.
    """
    if isinstance(value, dict):
        found, value = find(value, field)
        if not found:
            fault = str(unknown("data.text.field", field, _known(value)))
            return Document(name, b"", fault=fault, file=file)
        what = f"field {field!r}"
    else:
        what = "an element"
    if isinstance(value, bytes):  # Parquet columns written without a logical type.
        return Document(name, value, file=file)
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), f"{type(value).__name__}")
        wanted = "text" if what.startswith("field") else "an object or text"
        return Document(name, b"", fault=f"{what} must be {wanted}, not {kind}", file=file)
    # A lone surrogate passes here and is then reported as what it is: not UTF-8.
    return Document(name, value.encode("utf-8", "surrogatepass"), file=file)


def find(record: dict[str, Any], field: str) -> tuple[bool, Any]:
    """(True, value) or (False, `record`). A key that holds the dots itself comes before a path."""
    if field in record:
        return True, record[field]
    value: Any = record
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            return False, record
        value = value[part]
    return True, value


def _known(record: dict[str, Any]) -> list[str]:
    """Paths of what could be meant: text, or anything where there is none."""
    paths: dict[str, bool] = {}
    for key, value in record.items():
        paths[key] = isinstance(value, str)
        for name, item in value.items() if isinstance(value, dict) else ():
            paths[f"{key}.{name}"] = isinstance(item, str)
    text = [path for path, is_text in paths.items() if is_text]
    return (text or list(paths))[:_MOST_KNOWN]
