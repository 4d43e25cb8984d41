"""Decompression, recognised by the first bytes whatever the name, and bounded.

A few kilobytes can be made to expand to terabytes, so output is counted while it comes and no more
than a chunk is ever held beyond the limit.
"""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from scaling.errors import UserError

LIMIT_VARIABLE = "SCALING_MAX_EXPANSION"
_RATIO = 100
_FREE_BYTES = 256 << 20
# One zstd block of four bytes can stand for 128 KiB: this much input is at most 64 MiB.
_ZSTD_CHUNK = 2048
_ZSTD_WINDOW = 1 << 31  # What `zstd --long=31` writes; the library's own limit is 2^27.
SUFFIXES = (".gz", ".zst", ".zstd", ".xz", ".bz2")


def open_content(path: Path) -> tuple[io.BufferedReader, str]:
    """(stream of the content, name of its compression or ""). Use it inside `reading(path)`.

    Several gzip members, zstd frames, xz or bzip2 streams are read one after the other. Reading
    raises UserError beyond the limit, which is 256 MiB or 100 times the file, whichever is more.
    """
    with open(path, "rb") as stream:
        magic = stream.read(10)
    for name, recognises, opens in _CODECS:
        if recognises(magic):
            return io.BufferedReader(_Bounded(opens(path), path), 1 << 16), name
    return open(path, "rb"), ""


class reading:
    """Turns what a broken or forbidden file raises into one line with its name."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        broken = OSError | EOFError | zlib.error | lzma.LZMAError
        if isinstance(error, broken) or (kind is not None and kind.__name__ == "ZstdError"):
            text = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UserError(f"cannot read {str(self.path)!r} to its end: {text}") from error
        return False


class _Bounded(io.RawIOBase):
    """The bytes of `stream` until there are too many of them."""

    def __init__(self, stream: IO[bytes], path: Path):
        self._stream, self._path, self._n_bytes = stream, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = self._stream.read(len(buffer))
        self._n_bytes += len(content)
        check_expansion(self._path, self._n_bytes)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()


def check_expansion(path: Path, n_bytes: int) -> None:
    """Raises UserError when `path` gives more than 256 MiB and more than 100 times its size.

    Text compresses 3 to 30 times; gzip can reach 1,030 times, zstd 32,000. The variable
    SCALING_MAX_EXPANSION raises the 100.
    """
    if n_bytes <= _FREE_BYTES:
        return
    text = os.environ.get(LIMIT_VARIABLE) or str(_RATIO)
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 1.0 <= ratio < 1e12:
        raise UserError(
            f"{LIMIT_VARIABLE}={text!r} must be a number of 1 or more: how many times its size a "
            "compressed file may expand to"
        )
    size = path.stat().st_size
    if n_bytes > ratio * size:
        raise UserError(
            f"{str(path)!r} ({size:,} bytes) expands beyond {max(_FREE_BYTES, ratio * size):,.0f} "
            f"bytes; if it is meant to, set {LIMIT_VARIABLE} to how many times its size a "
            f"compressed file may expand to (now {ratio:g})"
        )


class _Zstd(io.RawIOBase):
    """Frame after frame. The library's own reader ends silently in a truncated frame."""

    def __init__(self, path: Path):
        try:
            import zstandard
        except ImportError as error:
            raise UserError(
                f"{str(path)!r} is zstd-compressed: pip install 'scaling[data]'"
            ) from error
        self._stream = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame, self._ready, self._at = None, b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while self._at == len(self._ready):
            rest = self._frame.unused_data if self._frame and self._frame.eof else b""
            content = rest or self._stream.read(_ZSTD_CHUNK)
            if not content:
                if self._frame and not self._frame.eof:
                    raise EOFError("the file ends inside a zstd frame; it is truncated")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._ready, self._at = self._frame.decompress(content), 0
        out = self._ready[self._at : self._at + len(buffer)]
        buffer[: len(out)] = out
        self._at += len(out)
        return len(out)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _is_zstd(magic: bytes) -> bool:
    skippable = magic[1:4] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F
    return magic.startswith(b"\x28\xb5\x2f\xfd") or skippable


_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # A block, and the end of an empty stream.
_CODECS: tuple[tuple[str, Callable[[bytes], bool], Callable[[Path], IO[bytes]]], ...] = (
    ("gzip", lambda magic: magic.startswith(b"\x1f\x8b"), gzip.open),
    ("zstd", _is_zstd, _Zstd),
    ("xz", lambda magic: magic.startswith(b"\xfd7zXZ\0"), lzma.open),
    ("bzip2", lambda magic: magic[:3] == b"BZh" and magic[4:10] in _BZIP2_BLOCKS, bz2.open),
)
