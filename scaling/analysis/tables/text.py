"""From the bytes of a table to its text: compression, size, encoding, files of another kind."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from scaling.errors import UserError

LIMIT_VARIABLE = "SCALING_TABLE_BYTES"
# A table in memory takes about ten times its text, and a table of runs is seldom a megabyte.
LIMIT = 256 * 2**20
_CHUNK = 2**16
# Four bytes of zstd may stand for 128 KiB: this many at a time cannot fill the memory.
_ZSTD_CHUNK = 2**10
_ZSTD_WINDOW = 2**31
_GZIP, _ZSTD, _BZIP2, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00"
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
_BOMS = MappingProxyType(  # the longer ones first: UTF-32's begins as UTF-16's
    {
        codecs.BOM_UTF32_LE: "utf-32",
        codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF8: "utf-8-sig",
        codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16",
    }
)
_OTHERS = MappingProxyType(
    {
        b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx, .ods)",
        b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
        b"\x89PNG": "a PNG picture",
        b"\xff\xd8\xff": "a JPEG picture",
        b"GIF8": "a GIF picture",
        b"%PDF": "a PDF document",
        b"{\\rtf": "an RTF document",
        b"\x89HDF": "an HDF5 file",
        b"\x93NUMPY": "a NumPy array",
        b"ARROW1": "an Arrow or Feather file",
        b"ORC": "an ORC file",
        b"Obj\x01": "an Avro file",
        b"SQLite format 3": "an SQLite database",
        b"\x80\x04\x95": "a Python pickle",
        b"\x80\x05\x95": "a Python pickle",
        b"7z\xbc\xaf": "a 7-Zip archive",
        b"Rar!": "a RAR archive",
        b"\x7fELF": "a program",
        b"RDX": "a file of R (.rda)",
    }
)
_PAGES = ("<!doctype html", "<html", "<?xml", "<svg", "<table")


def content(path: Path) -> bytes:
    """The whole content of a file, decompressed. The first bytes say how, whatever the name.

    Raises UserError when it cannot be read to its end, or holds more than the limit."""
    try:
        limit = _limit()
        with open(path, "rb") as stream:
            raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise _too_large(path, limit)
        if not raw:
            raise UserError(f"{path} is empty (0 bytes)")
        pieces, total = [], 0
        for piece in _decompressed(raw):
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                raise _too_large(path, limit)
    except UserError:
        raise
    except ImportError:
        raise UserError(f"{path} is zstd-compressed: pip install 'scaling[data]'") from None
    except _BROKEN as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"cannot read {path} to its end: {said}; copy it again") from None
    data = b"".join(pieces)
    if not data:
        raise UserError(f"{path} is empty once decompressed")
    return data


def decoded(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Text with "\\n" ends, and what is worth saying about its encoding. Raises UserError for
    what is no text, by its kind where the first bytes betray it."""
    for magic, kind in _OTHERS.items():
        if data.startswith(magic):
            raise _other(path, kind)
    encoding, notices = _encoding(data, path), []
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UserError(f"{path} begins as {encoding} and breaks off: {error.reason}") from None
        text = _western(data, path)
        notices = [f"{path.name} is not UTF-8: read as Windows-1252 (Western European)"]
    if encoding.startswith(("utf-16", "utf-32")):
        notices = [f"{path.name} is read as {encoding.upper()}"]
    text = text.rstrip("\x1a")  # the end of a text file, once
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path} holds NUL bytes (first in line {row}): it is damaged or no text")
    if text.lstrip()[:20].lower().startswith(_PAGES):
        raise _other(path, "a web page or XML, not the table itself")
    return _plain_ends(text).lstrip("\ufeff"), notices


def _plain_ends(text: str) -> str:
    """Every end of a line as "\n"; a lone "\r" inside quotes belongs to its cell."""
    parts = text.replace("\r\n", "\n").split('"')
    if len(parts) % 2 == 0:  # a quote that is no pair: nothing is known to be inside
        return text.replace("\r\n", "\n").replace("\r", "\n")
    parts[::2] = [outside.replace("\r", "\n") for outside in parts[::2]]
    return '"'.join(parts)


def is_parquet(data: bytes) -> bool:
    return data.startswith(b"PAR1")


def check_size(path: Path, size: int) -> None:
    """Raises UserError when a table would take more bytes than the limit."""
    if size > _limit():
        raise _too_large(path, _limit())


def _limit() -> int:
    given = os.environ.get(LIMIT_VARIABLE, str(LIMIT))
    if not given.isdigit() or int(given) == 0:
        raise UserError(f"{LIMIT_VARIABLE}={given!r} is not a number of bytes")
    return int(given)


def _too_large(path: Path, limit: int) -> UserError:
    return UserError(
        f"{path} holds more than {limit:,} bytes (once decompressed), more than a table of runs "
        f"should: if it is one, set {LIMIT_VARIABLE}={4 * limit}"
    )


def _other(path: Path, kind: str) -> UserError:
    return UserError(f"{path} is {kind}: export the table as CSV (.csv) and give that")


def _decompressed(raw: bytes) -> Iterator[bytes]:
    """Pieces of bounded size."""
    if raw.startswith(_ZSTD):
        yield from _zstd(raw)
        return
    openers = {_GZIP: gzip.GzipFile, _BZIP2: bz2.BZ2File, _XZ: lzma.LZMAFile}
    opener = next((o for magic, o in openers.items() if raw.startswith(magic)), None)
    if opener is None:
        yield raw
        return
    with opener(**{"fileobj" if opener is gzip.GzipFile else "filename": io.BytesIO(raw)}) as file:
        while piece := file.read(_CHUNK):
            yield piece


def _zstd(raw: bytes) -> Iterator[bytes]:
    import zstandard

    view, at = memoryview(raw), 0
    while at < len(view):
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        while not frame.eof:
            if at >= len(view):
                raise EOFError("the compressed file ends in the middle")
            try:
                piece = frame.decompress(bytes(view[at : at + _ZSTD_CHUNK]))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            at += _ZSTD_CHUNK
            if frame.eof:
                at = min(at, len(view)) - len(frame.unused_data)
            yield piece


def _encoding(data: bytes, path: Path) -> str:
    for bom, name in _BOMS.items():
        if data.startswith(bom):
            return name
    head = data[:2000]
    # Plain letters in UTF-16 have a zero for every other byte.
    for name, zeros, letters in (
        ("utf-16-le", head[1::2], head[::2]),
        ("utf-16-be", head[::2], head[1::2]),
    ):
        if len(head) > 3 and zeros.count(0) > 0.8 * len(zeros) and letters.count(0) == 0:
            return name
    return "utf-8"


def _western(data: bytes, path: Path) -> str:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    strange = sum(1 for c in text[:10000] if ord(c) < 32 and c not in "\t\n\r\f")
    if strange:
        raise UserError(f"{path} is no text that could be a table; export the table as CSV (.csv)")
    return text
