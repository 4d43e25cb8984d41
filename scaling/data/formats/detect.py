"""What a text file is, by its content first: compression, encoding, format."""

import codecs
import contextlib
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from scaling.data.compression import SUFFIXES, open_content, reading
from scaling.data.documents import Document
from scaling.data.magic import binary_kind
from scaling.data.tally import FileTally
from scaling.errors import UserError
from scaling.registry import Registry

# One file and one line per format: a function of a TextFile that gives documents.
FORMATS = Registry(
    "text format",
    {
        "plain": "scaling.data.formats.plain:read",
        "json": "scaling.data.formats.jsontext:read",
        "parquet": "scaling.data.formats.parquet:read",
    },
)
HEAD = 1 << 20
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


class Options(Protocol):
    """How text is wanted; `scaling.data.text.Text` has these fields."""

    field: str
    delimiter: str
    encoding: str
    format: str


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A file to read documents from; they count themselves in `tally`."""

    path: Path
    name: str
    options: Options
    tally: FileTally

    @contextlib.contextmanager
    def text(self) -> Iterator[tuple[bytes, IO[bytes]]]:
        """(the first megabyte, all of it as a stream), decompressed, as UTF-8 without a mark."""
        with reading(self.path):
            stream, _ = open_content(self.path)
            with stream:
                encoding = _encoding(stream, self)
                if encoding != "utf-8":
                    stream = io.BufferedReader(_AsUtf8(stream, encoding, self.path))
                head = stream.read(HEAD)
                yield head, io.BufferedReader(_Chain(head, stream), 1 << 16)


def documents_of(path: Path, name: str, options: Options) -> Iterator[Document]:
    """The documents of one file. What is no text is a document with a fault.

    Raises UserError for what cannot be read to its end, or not without being told how.
    """
    tally = FileTally(name)
    file = TextFile(path, name, options, tally)
    with reading(path):
        stream, compression = open_content(path)
        with stream:
            head = stream.read(512)
    kind = options.format
    if kind == "auto":
        kind = "parquet" if _is_parquet(path, head) else _by_name(path)
    tally.format = " ".join(filter(None, (kind, compression)))
    if kind == "parquet":
        if compression:
            raise UserError(
                f"{str(path)!r} is a Parquet file inside {compression}; decompress it, Parquet "
                "is compressed in itself"
            )
    elif fault := _fault(head, compression):
        yield Document(name, b"", fault=fault, file=tally)
        return
    yield from FORMATS.load(kind)(file)


def _by_name(path: Path) -> str:
    """Also names such as c4.json.00001-of-00512."""
    suffixes = {suffix.lower() for suffix in path.suffixes} - set(SUFFIXES)
    return "json" if suffixes & _JSON_SUFFIXES else "plain"


def _is_parquet(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PAR1"):
        return False
    with open(path, "rb") as stream:
        stream.seek(-4, io.SEEK_END)
        return stream.read(4) == b"PAR1" or ".parquet" in path.suffixes or b"\0" in head


def _fault(head: bytes, compression: str) -> str | None:
    known = binary_kind(head)
    if known is None:
        return None
    name, remedy = known
    if compression and name.endswith("-compressed"):
        return f"compressed twice ({name} inside {compression}); {remedy}"
    return f"is {name}, not text; {remedy}"


def _encoding(stream: IO[bytes], file: TextFile) -> str:
    """By the mark at the start (that of UTF-8 is taken off), else the option."""
    head = stream.peek(512)[:512]
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        return "utf-8"
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if file.options.encoding != "utf-8":
        return file.options.encoding
    for lane, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[lane::2].count(0), head[1 - lane :: 2].count(0)
        if len(head) >= 8 and zeros > 0.9 * (len(head) // 2) and others == 0:
            raise UserError(
                f"{str(file.path)!r} looks like UTF-16 without a mark; set "
                f"data.text.encoding='{encoding}', or convert it to UTF-8"
            )
    return "utf-8"


class _Chain(io.RawIOBase):
    """`head`, then the rest of `stream`."""

    def __init__(self, head: bytes, stream: IO[bytes]):
        self._head, self._stream = io.BytesIO(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._head.readinto(buffer) or self._stream.readinto(buffer)


class _AsUtf8(io.RawIOBase):
    """Another encoding as UTF-8, a chunk at a time."""

    def __init__(self, stream: IO[bytes], encoding: str, path: Path):
        self._stream, self._encoding, self._path = stream, encoding, path
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = None
        while not self._ready and content != b"":
            content = self._stream.read(1 << 16)
            try:
                text = self._decoder.decode(content, final=not content)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{str(self._path)!r} is not {self._encoding} all through: {error.reason}; "
                    "set data.text.encoding, or convert it to UTF-8"
                ) from error
            self._ready = text.encode("utf-8", "surrogatepass")
        out, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(out)] = out
        return len(out)
