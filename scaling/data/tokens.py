"""Files of token ids, memory-mapped: raw, or a container that says what it holds."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.containers.detect import layout_of
from scaling.data.containers.layout import Layout
from scaling.data.containers.raw import DTYPES
from scaling.data.corpus import Corpus, TokenFile, open_corpus
from scaling.data.files import find_files, short_names
from scaling.data.hashing import key_of, mix
from scaling.data.leaks import apart, same_tokens
from scaling.data.scan import Scan, check_ids, check_no_header, scan
from scaling.data.source import OpenSource, show_ids
from scaling.data.split import split
from scaling.data.tally import MOST_FILES
from scaling.errors import UserError

_SPARSE = 16


@dataclasses.dataclass(frozen=True)
class DocumentNames:
    """FILE#NUMBER for every document of token files."""

    files: tuple[str, ...]
    first: tuple[int, ...]

    def __call__(self, document: int) -> str:
        file = int(np.searchsorted(self.first, document, "right")) - 1
        return f"{self.files[file]}#{document - self.first[file]}"


@dataclasses.dataclass(frozen=True)
class Tokens:
    """llm.c, .npy, lit-gpt and Megatron files are known by their headers, any other is raw `dtype`.

    Documents come from an index, or begin at every `separator`, and a document's number in its file
    decides its split; with neither, the end of every file is held out.
    """

    paths: tuple[str, ...] = option((), "token files or globs (*.bin)")
    validation: tuple[str, ...] = option((), "token files held out; empty: a share of `paths`")
    dtype: str = option(
        "auto",
        "integer type of raw files; auto: uint16, refused where the bytes speak against it",
        choices=("auto", *DTYPES),
    )
    vocab_size: int | None = option(None, "ids are below this (None: largest id + 1)", low=1)
    separator: int | None = option(
        None, "the token between documents (such as <|endoftext|>)", low=0
    )

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError for files of odd length, truncated ones, those that are likely of
        another type, and ids beyond the vocabulary, naming the first."""
        limit = self.vocab_size or 2**31
        if self.separator is not None and self.separator >= limit:
            raise UserError(
                f"data.tokens.separator={self.separator} is not below vocab_size={limit}"
            )
        files = _read(self, self.paths, "data.tokens.paths", cache, once=not self.validation)
        content_hash, largest = files.content_hash, files.largest
        facts = {"files": files.facts[:MOST_FILES]}
        if not self.validation:
            parts = split(files.corpus, data.val_fraction, data.seed)
        else:
            held_out = _read(self, self.validation, "data.tokens.validation", cache, once=False)
            shared = same_tokens(files.corpus, held_out.corpus)
            parts = apart(files.corpus, held_out.corpus, shared, "tokens")
            content_hash = hashlib.sha256(
                f"{content_hash} {held_out.content_hash}".encode()
            ).hexdigest()
            largest = max(largest, held_out.largest)
            facts["validation"] = {"files": held_out.facts[:MOST_FILES]}
            files.warnings.extend(held_out.warnings)
        return open_corpus(
            data,
            parts.train,
            parts.validation,
            vocab_size=self.vocab_size or largest + 1,
            content_hash=content_hash,
            decode=show_ids,
            facts={"largest_id": largest, **facts, **parts.facts},
            warnings=(*files.warnings, *parts.warnings),
        )


@dataclasses.dataclass(frozen=True)
class _Files:
    corpus: Corpus
    content_hash: str
    largest: int
    facts: list[dict[str, Any]]
    warnings: list[str]


def _read(
    options: Tokens, patterns: tuple[str, ...], field: str, cache: Path, *, once: bool
) -> _Files:
    """The files that `patterns` name as one corpus; with `once`, copies of a file are left out."""
    paths = find_files(patterns, field)
    files, names, starts, keys, first = [], [], [np.zeros(1, np.int64)], [], []
    shards, indexed, facts, warnings = [], [], [], []
    digest, largest, seen = hashlib.sha256(), -1, {}
    for path, name in zip(paths, short_names(paths), strict=True):
        file, layout, scanned = _open(options, path, cache)
        original = seen.setdefault((scanned.sha256, file.dtype), name)
        if once and original != name and file.size:
            # It would be split in another way, so that one holds what the other holds out.
            warnings.append(f"{name} is a copy of {original} and left out")
            continue
        known = layout.starts is not None
        inner = layout.starts[1:-1] if known else scanned.separators
        base, n = int(starts[-1][-1]), len(inner) + 1
        first.append(sum(map(len, keys)))
        starts.append(base + np.append(inner, file.size))
        keys.append(mix(np.arange(n, dtype=np.uint64) ^ np.uint64(key_of(name))))
        shards.append(np.full(n, not known and options.separator is None))
        digest.update(f"{name}\0{scanned.sha256}\n".encode("utf-8", "surrogatepass"))
        largest = max(largest, scanned.largest)
        files.append(file)
        names.append(name)
        indexed.append(known)
        kind = f"{layout.container} {file.dtype}"
        facts.append({"name": name, "format": kind, "documents": n, "tokens": file.size})
        warnings += [f"{name} {layout.doubt}"] if layout.doubt else []
    corpus = Corpus(
        files=tuple(files),
        starts=np.concatenate(starts),
        keys=np.concatenate(keys),
        names=DocumentNames(tuple(names), tuple(first)),
        separator=options.separator,
        has_boundaries=all(indexed),
        shards=np.concatenate(shards),
    )
    if corpus.n_tokens == 0:
        raise UserError(f"{field}: the corpus is empty ({len(files)} files without a token)")
    if options.separator is not None and corpus.n_documents == len(files) and not all(indexed):
        warnings.append(
            f"data.tokens.separator={options.separator} stands between no documents of {field}: "
            "each file is one"
        )
    return _Files(corpus, digest.hexdigest(), largest, facts, warnings)


def _open(options: Tokens, path: Path, cache: Path) -> tuple[TokenFile, Layout, Scan]:
    layout = layout_of(path, options.dtype)
    file = TokenFile(path, layout.dtype, layout.size, layout.offset)
    scanned = scan(file, options.separator, cache)
    check_ids(file, scanned, options.vocab_size)
    if layout.container == "raw" and options.dtype == "auto":
        check_no_header(file, scanned)
    sparse = scanned.largest + 1 > _SPARSE * scanned.n_distinct
    if options.vocab_size is None and sparse and file.size > _SPARSE * (scanned.largest + 1):
        doubt = (
            f"has ids up to {scanned.largest:,}, but only {scanned.n_distinct:,} are "
            "used; check data.tokens.dtype, or say data.tokens.vocab_size"
        )
        layout = dataclasses.replace(layout, doubt=f"{layout.doubt}; {doubt}".lstrip("; "))
    return file, layout, scanned
