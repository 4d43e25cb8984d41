"""Text from files of many formats and compressions, as bytes or through a tokenizer file."""

import codecs
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

from scaling.config import DataConfig, option
from scaling.data.cache import key_of_files
from scaling.data.documents import Document, build_corpus, open_documents
from scaling.data.encoders import NEW, ByteEncoder, Encoder, TokenizerEncoder
from scaling.data.files import find_files, short_names
from scaling.data.formats.detect import FORMATS, documents_of
from scaling.data.source import OpenSource
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Text:
    """A document is a file, a part of a file between delimiters, a JSON value, or a row of Parquet.

    The content of a document decides its split, so that it stays on its side when files are added,
    moved or renamed. Exact duplicates are dropped; what is held out is never trained on.
    """

    paths: tuple[str, ...] = option((), "files or globs: text, JSON (lines), Parquet; .gz .zst .xz")
    validation: tuple[str, ...] = option((), "files or globs held out; empty: a share of `paths`")
    field: str = option("text", "the JSON field or Parquet column with the text; a.b is b inside a")
    delimiter: str = option("", "text between documents in a plain file; empty: a file is one")
    format: str = option("auto", "by content and name, or this", choices=("auto", *FORMATS))
    encoding: str = option("utf-8", "of text without a byte-order mark (utf-16-le, latin-1, ...)")
    tokenizer: str = option("", "a Hugging Face tokenizers JSON file; empty: bytes")
    separator: str = option(
        NEW, "before every document: new (one id more), none, or a token of the tokenizer"
    )
    on_bad: str = option(
        "refuse",
        "documents that are not UTF-8, hold NUL bytes, or have no text in `field`",
        choices=("refuse", "skip"),
    )

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError naming the file and the place for anything that cannot be read."""
        encoder = self.encoder()
        encoding = _known_encoding(self.encoding)
        wanted = dataclasses.replace(self, encoding=encoding)
        files = find_files(self.paths, "data.text.paths")
        train = functools.partial(wanted._build, files, encoder, cache)
        if not self.validation:
            return open_documents(data, encoder, train)
        held_out = find_files(self.validation, "data.text.validation")
        build = functools.partial(wanted._build, held_out, encoder, cache)
        return open_documents(data, encoder, train, build)

    def encoder(self) -> Encoder:
        """What makes tokens of text. Raises UserError when the tokenizer file is at fault."""
        if self.tokenizer:
            path = find_files((self.tokenizer,), "data.text.tokenizer")[0]
            return TokenizerEncoder(path, self.separator)
        if self.separator != NEW:
            raise UserError(
                f"data.text.separator={self.separator!r} needs data.text.tokenizer; without one, "
                "tokens are bytes, and byte 0 separates documents"
            )
        return ByteEncoder()

    def _build(self, files: list[Path], encoder: Encoder, cache: Path) -> Path:
        options = (self.field, self.delimiter, self.format, self.encoding, self.on_bad)
        key = key_of_files(files, "text", *options, encoder.identity)
        documents = functools.partial(self._documents, files)
        return build_corpus(cache, key, documents, encoder, self.on_bad == "skip")

    def _documents(self, files: list[Path]) -> Iterator[Document]:
        for path, name in zip(files, short_names(files), strict=True):
            yield from documents_of(path, name, self)


def _known_encoding(name: str) -> str:
    """Python's own name of a text encoding."""
    try:
        "text".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError) as error:
        raise UserError(
            f"data.text.encoding={name!r} is not an encoding of text; such as 'utf-8', "
            "'utf-16-le', 'latin-1', 'cp1252', 'gb18030'"
        ) from error
