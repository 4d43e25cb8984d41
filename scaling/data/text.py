"""Text from files: plain or JSONL, plain or compressed, as bytes or through a tokenizer file."""

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path

from scaling.config import DataConfig, spec
from scaling.data.cache import key_of_files
from scaling.data.documents import Document, build_corpus, open_documents
from scaling.data.encoders import ByteEncoder, Encoder, TokenizerEncoder
from scaling.data.files import find_files, read_all, read_lines, short_names
from scaling.data.source import OpenSource
from scaling.errors import UserError, unknown


@dataclasses.dataclass(frozen=True)
class Text:
    """A document is a file, a part of a file between delimiters, or a line of JSONL.

    The content of a document decides its split, so that it stays on its side when files are added,
    moved or renamed. Exact duplicates are dropped.
    """

    paths: tuple[str, ...] = spec((), "files or globs; *.jsonl (also .gz, .zst) has a JSON a line")
    validation: tuple[str, ...] = spec((), "files or globs held out; empty: a share of `paths`")
    field: str = spec("text", "the JSON field with the text of a document")
    delimiter: str = spec("", "text between documents in a plain file; empty: a file is one")
    tokenizer: str = spec("", "a Hugging Face tokenizers JSON file; empty: bytes")
    on_bad: str = spec(
        "refuse", "documents that are not UTF-8, or hold NUL bytes", choices=("refuse", "skip")
    )

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError naming the file and the place for anything that cannot be read."""
        encoder = self.encoder()
        files = find_files(self.paths, "data.text.paths")
        train = functools.partial(self._build, files, encoder, cache)
        if not self.validation:
            return open_documents(data, encoder, train)
        held_out = find_files(self.validation, "data.text.validation")
        build = functools.partial(self._build, held_out, encoder, cache)
        return open_documents(data, encoder, train, build)

    def encoder(self) -> Encoder:
        """What makes tokens of text. Raises UserError when the tokenizer file is at fault."""
        if self.tokenizer:
            return TokenizerEncoder(find_files((self.tokenizer,), "data.text.tokenizer")[0])
        return ByteEncoder()

    def _build(self, files: list[Path], encoder: Encoder, cache: Path) -> Path:
        key = key_of_files(files, "text", self.field, self.delimiter, self.on_bad, encoder.identity)
        documents = functools.partial(self._documents, files)
        return build_corpus(cache, key, documents, encoder, self.on_bad == "skip")

    def _documents(self, files: list[Path]) -> Iterator[Document]:
        for path, name in zip(files, short_names(files), strict=True):
            if ".jsonl" in path.suffixes:
                yield from self._json_lines(path, name)
                continue
            content = read_all(path)
            parts = content.split(self.delimiter.encode()) if self.delimiter else [content]
            for i, part in enumerate(parts):
                yield Document(name if len(parts) == 1 else f"{name}#{i}", part)

    def _json_lines(self, path: Path, name: str) -> Iterator[Document]:
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                # Also a line cut short: `on_bad` decides about it like about bad text.
                yield Document(f"{name}:{number}", b"", fault=f"not JSON ({error})")
                continue
            if not isinstance(record, dict):
                raise UserError(f"{name}:{number}: each line must be a JSON object with a field")
            if self.field not in record:
                raise unknown(f"data.text.field in {name}:{number}:", self.field, record)
            value = record[self.field]
            if not isinstance(value, str):
                raise UserError(
                    f"{name}:{number}: field {self.field!r} must be text, "
                    f"not {type(value).__name__}"
                )
            # A lone surrogate passes here and is then reported as what it is: not UTF-8.
            yield Document(f"{name}:{number}", value.encode("utf-8", "surrogatepass"))
