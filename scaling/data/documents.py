"""From documents to a tokenised corpus in the cache. Shared by every source that reads text.

Layout of a corpus directory: tokens.bin (separator, document, separator, document, ...; or none),
widths.bin (uint32 bytes behind each token; only with a tokenizer), starts.npy, keys.npy,
names.txt (one JSON string per line) and meta.json.
"""

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scaling.config import DataConfig
from scaling.data.cache import build_once
from scaling.data.corpus import Corpus, TokenFile, open_corpus
from scaling.data.encoders import Encoder
from scaling.data.leaks import apart, same_keys
from scaling.data.source import OpenSource
from scaling.data.split import split
from scaling.data.tally import MOST_FILES, FileTally, by_format, warnings_of
from scaling.doors.reading import loads, read_json
from scaling.errors import UserError

_LOG = logging.getLogger(__name__)
_BATCH_BYTES = 4_000_000
_SEVERAL = 5
_META = {"n_tokens": int, "dtype": str, "separator": (int, None), "content_hash": str}
_META |= {"n_bytes": int, "n_duplicates": int, "skipped": dict}


@dataclasses.dataclass(frozen=True)
class Document:
    """`key` decides the split (None: the content does); `fault` says why it cannot be used; `file`
    counts it."""

    name: str
    data: bytes
    key: str | None = None
    fault: str | None = None
    file: FileTally | None = None


@dataclasses.dataclass(frozen=True)
class Names:
    """Document names on disk, read when somebody asks."""

    path: Path

    @functools.cached_property
    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def __call__(self, document: int) -> str:
        return loads(self._lines[document], str(self.path), str)

    def __getstate__(self):
        return {"path": self.path}


def open_documents(
    config: DataConfig,
    encoder: Encoder,
    train: Callable[[], Path],
    validation: Callable[[], Path] | None = None,
) -> OpenSource:
    """Opens built corpora; without a separate validation corpus, documents are split.

    Documents of a separate validation corpus are left out of training, wherever they come from.
    """
    corpus, meta = load_corpus(train())
    facts, content_hash, warnings = _facts(meta), meta["content_hash"], meta["warnings"]
    if validation is None:
        parts = split(corpus, config.val_fraction, config.seed)
    else:
        held_out, held_out_meta = load_corpus(validation())
        parts = apart(corpus, held_out, same_keys(corpus, held_out), config.name)
        content_hash = hashlib.sha256(
            f"{content_hash} {held_out_meta['content_hash']}".encode()
        ).hexdigest()
        facts["validation"] = _facts(held_out_meta)
        warnings = warnings + held_out_meta["warnings"]
    return open_corpus(
        config,
        parts.train,
        parts.validation,
        vocab_size=encoder.vocab_size,
        content_hash=content_hash,
        decode=encoder.decode,
        facts=facts | parts.facts,
        warnings=(*warnings, *parts.warnings),
    )


def _facts(meta: dict[str, Any]) -> dict[str, Any]:
    out = {"bytes": meta["n_bytes"], "duplicates": meta["n_duplicates"], "skipped": meta["skipped"]}
    return out | {name: meta[name] for name in ("formats", "files") if meta[name]}


def build_corpus(
    root: Path, key: str, documents: Callable[[], Iterable[Document]], encoder: Encoder, skip: bool
) -> Path:
    """The directory of the corpus of `documents()`, from the cache when `key` is known.

    Exact duplicates are dropped. Raises UserError for the first document that cannot be used, or
    leaves it out with a warning when `skip`; and when nothing is left.
    """
    return build_once(root, key, lambda draft: _Builder(draft, encoder, skip).run(documents()))


def load_corpus(directory: Path) -> tuple[Corpus, dict[str, Any]]:
    """(corpus, meta) of a built directory."""
    meta = read_json(directory / "meta.json", _META)
    n = meta["n_tokens"]
    has_widths = (directory / "widths.bin").exists()
    corpus = Corpus(
        files=(TokenFile(directory / "tokens.bin", meta["dtype"], n),),
        starts=np.load(directory / "starts.npy"),
        keys=np.load(directory / "keys.npy"),
        names=Names(directory / "names.txt"),
        separator=meta["separator"],
        widths=TokenFile(directory / "widths.bin", "uint32", n) if has_widths else None,
        one_byte=not has_widths,
        opened=meta["separator"] is not None,
    )
    return corpus, meta


class _Builder:
    """Writes one corpus directory, a few megabytes of documents at a time."""

    def __init__(self, draft: Path, encoder: Encoder, skip: bool):
        self.draft, self.encoder, self.skip = draft, encoder, skip
        self.starts, self.keys = [0], []
        self.content_hash: list[str] = []
        self.seen: set[bytes] = set()
        self.n_bytes = self.n_duplicates = 0
        self.n_skipped = 0
        self.skipped: list[str] = []
        self.files: list[FileTally] = []

    def run(self, documents: Iterable[Document]) -> str:
        """Returns the hex hash that names the corpus."""
        with (
            open(self.draft / "tokens.bin", "wb") as tokens,
            open(self.draft / "widths.bin", "wb") as widths,
            open(self.draft / "names.txt", "w") as names,
        ):
            for batch in _batches(self._usable(documents)):
                for document in batch:
                    names.write(json.dumps(document.name) + "\n")
                self._encode([document.data for document in batch], tokens, widths)
        if not self.encoder.has_widths:
            (self.draft / "widths.bin").unlink()
        if not self.keys:
            raise UserError(
                f"the corpus is empty: no document with text in it was found{self._such_as()}"
            )
        np.save(self.draft / "starts.npy", np.array(self.starts, np.int64))
        np.save(self.draft / "keys.npy", np.array(self.keys, np.uint64))
        text = "\n".join(sorted(self.content_hash))
        content_hash = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        meta = json.dumps(self._meta(content_hash))
        (self.draft / "meta.json").write_text(meta)
        # The counts are part of the name: the same documents may come out of other files.
        return hashlib.sha256(f"{meta} {self.encoder.identity}".encode()).hexdigest()

    def _such_as(self) -> str:
        if not self.n_skipped:
            return ""
        return f"; {self.n_skipped} were skipped, such as: {'; '.join(self.skipped)}"

    def _meta(self, content_hash: str) -> dict[str, Any]:
        if self.n_skipped:
            some = "; ".join(self.skipped)
            _LOG.warning("skipped %d unusable documents, such as: %s", self.n_skipped, some)
        return {
            "n_tokens": self.starts[-1],
            "dtype": self.encoder.dtype,
            "separator": self.encoder.separator,
            "n_bytes": self.n_bytes,
            "n_duplicates": self.n_duplicates,
            "skipped": {"documents": self.n_skipped, "such_as": self.skipped},
            "content_hash": content_hash,
            "formats": by_format(self.files),
            "files": [dataclasses.asdict(file) for file in self.files[:MOST_FILES]],
            "warnings": warnings_of(self.files),
        }

    def _usable(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            file = document.file or FileTally("")
            if document.file and (not self.files or self.files[-1] is not file):
                self.files.append(file)
            fault = document.fault or self.encoder.fault(document.data)
            if fault is not None:
                self._refuse(f"{document.name}: {fault}")
                file.skipped += 1
                continue
            digest = hashlib.sha256(document.data).digest()
            if digest in self.seen:
                self.n_duplicates += 1
                file.duplicates += 1
                continue
            if not document.data:
                file.empty += 1
                continue
            file.documents += 1
            file.bytes += len(document.data)
            self.seen.add(digest)
            self.content_hash.append(f"{document.name}\0{digest.hex()}")
            key = digest
            if document.key is not None:
                key = hashlib.sha256(document.key.encode("utf-8", "surrogatepass")).digest()
            self.keys.append(int.from_bytes(key[:8], "little"))
            self.n_bytes += len(document.data)
            yield document

    def _refuse(self, message: str) -> None:
        if not self.skip:
            raise UserError(f"{message}; mend it, or set data.text.on_bad='skip' to leave it out")
        self.n_skipped += 1
        if self.n_skipped <= _SEVERAL:
            self.skipped.append(message)

    def _encode(self, texts: list[bytes], tokens: BinaryIO, widths: BinaryIO) -> None:
        separator = self.encoder.separator
        opening = np.array([] if separator is None else [separator], self.encoder.dtype)
        for ids, n_bytes in self.encoder.encode(texts):
            opening.tofile(tokens)
            ids.astype(self.encoder.dtype).tofile(tokens)
            if n_bytes is not None:
                np.zeros(len(opening), np.uint32).tofile(widths)
                n_bytes.astype(np.uint32).tofile(widths)
            self.starts.append(self.starts[-1] + len(opening) + len(ids))


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
