"""JSON text: a value a line, values one after the other, or an array; .json and .jsonl alike."""

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from scaling.data.documents import Document
from scaling.data.formats.detect import TextFile
from scaling.data.formats.field import document_of
from scaling.errors import UserError

_CHUNK = 1 << 20
_NEAR_END = 16  # An error this close to the end of what is read may be the end's.
_TOO_DEEP = "nested too deeply"
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_END = object()
_KEEP = "surrogateescape"  # Bytes that are not UTF-8 become the fault of their own document.


def read(file: TextFile) -> Iterator[Document]:
    """Documents NAME:LINE of lines, NAME#0, NAME#1, ... of anything else. The content says which
    it is, not the name. Raises UserError where an array or a spread-out object breaks off."""
    with file.text() as (head, stream):
        head = head.lstrip()
        first, _, rest = head.partition(b"\n")
        array = head.startswith(b"[")
        if array and not (_parses(first) and rest.strip()):
            values = _elements(file, stream)
        elif not _parses(first) and (first.strip() == b"{" or _parses_over_lines(head)):
            values = _one_after_another(file, stream)
        else:
            yield from _lines(file, stream)
            return
        for i, value in enumerate(values):
            yield document_of(value, f"{file.name}#{i}", file.options.field, file.tally)


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parses_over_lines(head: bytes) -> bool:
    if not head.startswith(b"{"):
        return False
    try:
        _DECODER.raw_decode(head.decode("utf-8", "ignore"))
    except (ValueError, RecursionError):
        return False
    return True


def _lines(file: TextFile, stream: IO[bytes]) -> Iterator[Document]:
    for number, line in enumerate(stream, start=1):
        name = f"{file.name}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except RecursionError:
            yield Document(name, b"", fault=_TOO_DEEP, file=file.tally)
        except ValueError as error:
            # Also a line cut short: `on_bad` decides about it like about bad text.
            yield Document(name, b"", fault=f"not JSON ({error})", file=file.tally)
        else:
            yield document_of(value, name, file.options.field, file.tally)


def _one_after_another(file: TextFile, stream: IO[bytes]) -> Iterator[Any]:
    text, at, n = stream.read().decode("utf-8", _KEEP), 0, 0
    while (at := _skip(text, at)) < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _broken(file, n, error) from error
        n += 1
        yield value


def _elements(file: TextFile, stream: IO[bytes]) -> Iterator[Any]:
    """The elements of an array, about a chunk of the file in memory at a time."""
    content = io.TextIOWrapper(stream, "utf-8", _KEEP, newline="")
    text, ended, n = content.read(_CHUNK), False, 0
    at = text.index("[") + 1
    while True:
        try:
            value, end = _element(text, at, n)
            cut = not ended and end == len(text)  # A number may go on in the next chunk.
        except RecursionError as error:
            raise _broken(file, n, error) from error
        except json.JSONDecodeError as error:
            near_end = error.pos >= len(text) - _NEAR_END or error.msg.startswith("Unterminated")
            cut = near_end and not ended
            if not cut:
                raise _broken(file, n, error) from error
        if cut:
            more = content.read(max(_CHUNK, len(text) - at))
            text, at, ended = text[at:] + more, 0, not more
            continue
        if value is _END:
            break
        yield value
        at, n = end, n + 1
    if _skip(text, end) < len(text) or content.read().strip():
        raise UserError(f"{str(file.path)!r} goes on after the end of its JSON array")


def _element(text: str, at: int, n: int) -> tuple[Any, int]:
    """(element number n or _END, the place after it)."""
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return _END, at + 1
    if n:
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
        at = _skip(text, at + 1)
    return _DECODER.raw_decode(text, at)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()


def _broken(file: TextFile, n: int, error: Exception) -> UserError:
    why = _TOO_DEEP if isinstance(error, RecursionError) else f"not JSON ({error})"
    return UserError(f"{str(file.path)!r}: element {n} is {why}; mend the file, or cut it there")
