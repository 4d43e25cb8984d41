"""Files of token ids, memory-mapped: raw (nanoGPT's train.bin) or Megatron's .bin beside .idx."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, spec
from scaling.data.cache import build_once, key_of_files
from scaling.data.corpus import Corpus, TokenFile, open_corpus, split, whole
from scaling.data.files import find_files, short_names
from scaling.data.hashing import key_of, mix
from scaling.data.megatron import read_index
from scaling.data.source import OpenSource, show_ids
from scaling.errors import UserError
from scaling.reading import read_json

_CHUNK = 1 << 22


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
    """A .bin file with an .idx beside it is Megatron's, any other is raw `dtype`.

    Documents come from the index, or begin at every `separator`; with neither, a file is one
    document. A document's number in its file decides its split.
    """

    paths: tuple[str, ...] = spec((), "token files or globs (*.bin)")
    validation: tuple[str, ...] = spec((), "token files held out; empty: a share of `paths`")
    dtype: str = spec("uint16", "integer type of raw files", choices=("uint16", "uint32"))
    vocab_size: int | None = spec(None, "ids are below this (None: largest id + 1)", low=1)
    separator: int | None = spec(None, "the token between documents (such as <|endoftext|>)", low=0)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError for files of odd length, truncated ones, and ids beyond the vocabulary,
        naming the first."""
        corpus, manifest, largest = self._corpus(self.paths, "data.tokens.paths", cache)
        if not self.validation:
            streams = split(corpus, data.val_fraction, data.seed)
        else:
            held_out, other, top = self._corpus(self.validation, "data.tokens.validation", cache)
            streams = whole(corpus), whole(held_out)
            manifest = hashlib.sha256(f"{manifest} {other}".encode()).hexdigest()
            largest = max(largest, top)
        return open_corpus(
            data,
            *streams,
            vocab_size=self.vocab_size or largest + 1,
            manifest=manifest,
            decode=show_ids,
            facts={"largest_id": largest},
        )

    def _corpus(
        self, patterns: tuple[str, ...], field: str, cache: Path
    ) -> tuple[Corpus, str, int]:
        """(corpus, hash of the content, largest id)."""
        paths = find_files(patterns, field)
        names = short_names(paths)
        files, starts, keys, first = [], [np.zeros(1, np.int64)], [], []
        digest, largest = hashlib.sha256(), -1
        indexed = []
        for path, name in zip(paths, names, strict=True):
            file, index = self._token_file(path)
            scan = _scan(file, self.separator, cache)
            self._check(file, scan["largest"])
            inner = scan["separators"] if index is None else index[1:-1]
            base, n = int(starts[-1][-1]), len(inner) + 1
            first.append(sum(map(len, keys)))
            starts.append(base + np.append(inner, file.size))
            keys.append(mix(np.arange(n, dtype=np.uint64) ^ np.uint64(key_of(name))))
            digest.update(f"{name}\0{scan['sha256']}\n".encode("utf-8", "surrogatepass"))
            largest = max(largest, scan["largest"])
            files.append(file)
            indexed.append(index is not None)
        corpus = Corpus(
            files=tuple(files),
            starts=np.concatenate(starts),
            keys=np.concatenate(keys),
            names=DocumentNames(tuple(names), tuple(first)),
            separator=self.separator,
            has_boundaries=all(indexed),
        )
        if corpus.n_tokens == 0:
            raise UserError(f"{field}: the corpus is empty ({len(files)} files without a token)")
        return corpus, digest.hexdigest(), largest

    def _token_file(self, path: Path) -> tuple[TokenFile, np.ndarray | None]:
        index, dtype = None, self.dtype
        if path.with_suffix(".idx").exists():
            dtype, index = read_index(path.with_suffix(".idx"))
        size, item = path.stat().st_size, np.dtype(dtype).itemsize
        if size % item:
            raise UserError(
                f"{str(path)!r} has {size} bytes, not a multiple of the {item} of {dtype}: "
                "the file is truncated, or data.tokens.dtype is another"
            )
        if index is not None and size != index[-1] * item:
            raise UserError(
                f"{str(path)!r} has {size // item} tokens, its index {int(index[-1])}: "
                "one of the two is truncated"
            )
        return TokenFile(path, dtype, size // item), index

    def _check(self, file: TokenFile, largest: int) -> None:
        """Looks for the position only after the cached scan has found an offender."""
        limit = 2**31 if self.vocab_size is None else self.vocab_size
        if self.separator is not None and self.separator >= limit:
            raise UserError(
                f"data.tokens.separator={self.separator} is not below vocab_size={limit}"
            )
        if 0 <= largest < limit:
            return
        for at in range(0, file.size, _CHUNK):
            chunk = file.data[at : at + _CHUNK]
            bad = np.flatnonzero((chunk < 0) | (chunk >= limit))
            if bad.size:
                raise UserError(
                    f"{str(file.path)!r}: token id {int(chunk[bad[0]])} at position "
                    f"{at + int(bad[0])} is not in [0, {limit}); raise data.tokens.vocab_size, or "
                    "check data.tokens.dtype"
                )


def _scan(file: TokenFile, separator: int | None, cache: Path) -> dict:
    """sha256, largest id (2^63 - 1 if any is negative) and separator positions; read once a file.

    The first document of a file needs no separator; a separator at position 0 opens it.
    """

    def build(draft: Path) -> str:
        digest, largest, found = hashlib.sha256(), -1, []
        for at in range(0, file.size, _CHUNK):
            chunk = file.data[at : at + _CHUNK]
            digest.update(chunk.tobytes())
            negative = chunk.dtype.kind == "i" and int(chunk.min()) < 0
            largest = max(largest, 2**63 - 1 if negative else int(chunk.max()))
            if separator is not None:
                found.append(np.flatnonzero(chunk == separator) + at)
        positions = np.concatenate(found) if found else np.zeros(0, np.int64)
        np.save(draft / "separators.npy", positions[positions > 0].astype(np.int64))
        facts = {"sha256": digest.hexdigest(), "largest": largest}
        (draft / "scan.json").write_text(json.dumps(facts))
        name = f"scan {facts['sha256']} {file.dtype} {separator}"
        return hashlib.sha256(name.encode()).hexdigest()

    directory = build_once(cache, key_of_files([file.path], "scan", file.dtype, separator), build)
    facts = read_json(directory / "scan.json", {"sha256": str, "largest": int})
    return facts | {"separators": np.load(directory / "separators.npy")}
