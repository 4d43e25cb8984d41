"""A corpus on disk: token files, where documents start, who is held out, and rows cut from it.

Positions count tokens over all files of a corpus in order. Shapes: R rows asked for, T predictions
a row, D documents.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import DataConfig
from scaling.data.source import OpenSource, Place
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class TokenFile:
    """A memory-mapped file: `size` integers after `offset` bytes of header. Pickles as its path."""

    path: Path
    dtype: str
    size: int
    offset: int = 0

    @functools.cached_property
    def data(self) -> np.ndarray:
        if self.size == 0:
            return np.zeros(0, self.dtype)
        # A plain view: slicing np.memmap itself costs ten times as much.
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, shape=(self.size,))
        return mapped.view(np.ndarray)

    def __getstate__(self):
        fields = ("path", "dtype", "size", "offset")
        return {name: getattr(self, name) for name in fields}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents one after the other.

    starts: (D + 1,) positions, the last one the end. keys: (D,) uint64, what decides the split.
    separator: the token that opens (and so ends the one before) a document, or None.
    has_boundaries: whether `starts` are documents, not just files. names: the D names; lazy.
    widths: bytes of text behind every token (same positions), or None: see `one_byte`.
    one_byte: every token but the separator is one byte of text. opened: every document begins with
    the separator. shards: (D,) bool, documents that are no documents but whole raw files.
    """

    files: tuple[TokenFile, ...]
    starts: np.ndarray
    keys: np.ndarray
    names: Callable[[int], str]
    separator: int | None = None
    has_boundaries: bool = True
    widths: TokenFile | None = None
    one_byte: bool = False
    opened: bool = False
    shards: np.ndarray | None = None

    @property
    def n_tokens(self) -> int:
        return int(self.starts[-1])

    @property
    def n_documents(self) -> int:
        return len(self.keys)

    @functools.cached_property
    def file_ends(self) -> np.ndarray:
        return np.cumsum([file.size for file in self.files])

    @functools.cached_property
    def file_bases(self) -> np.ndarray:
        return self.file_ends - [file.size for file in self.files]

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Copies tokens [start, stop), which lie in one file, to `out`."""
        file = int(np.searchsorted(self.file_ends, start, "right"))
        base = self.file_bases[file]
        out[:] = self.files[file].data[start - base : stop - base]

    def document_at(self, position: int) -> int:
        return int(np.searchsorted(self.starts, position, "right")) - 1


@dataclasses.dataclass(frozen=True)
class Stream:
    """Pieces [begin, begin + length) of a corpus, read as one sequence."""

    corpus: Corpus
    begins: np.ndarray
    ends_in_stream: np.ndarray
    n_documents: int

    @property
    def n_tokens(self) -> int:
        return int(self.ends_in_stream[-1]) if len(self.ends_in_stream) else 0

    @functools.cached_property
    def bases(self) -> np.ndarray:
        """Where each piece begins in the stream."""
        return np.r_[0, self.ends_in_stream[:-1]].astype(np.int64)

    @functools.cached_property
    def shifts(self) -> np.ndarray:
        """What leads from a position in the stream to one in the corpus, for each piece."""
        return self.begins - self.bases

    def pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """(first position in the corpus, position beyond the last, offset from `start`)."""
        out = []
        piece = int(np.searchsorted(self.ends_in_stream, start, "right"))
        at = start
        while at < stop:
            n = min(stop, int(self.ends_in_stream[piece])) - at
            first = at + int(self.shifts[piece])
            out.append((first, first + n, at - start))
            at, piece = at + n, piece + 1
        return out


@dataclasses.dataclass(frozen=True)
class StreamRows:
    """Rows of T + 1 tokens that overlap by one, so that every token but the first is a target.

    Fewer than T tokens at the end of the stream are left over.
    """

    stream: Stream
    seq_len: int
    masked: bool

    @property
    def n_rows(self) -> int:
        return max(0, self.stream.n_tokens - 1) // self.seq_len

    def gather(self, ids_R: np.ndarray) -> dict[str, np.ndarray]:
        """See `scaling.data.source.Rows`."""
        rows = self._tokens(ids_R)
        batch = {
            "tokens": rows[:, :-1],
            "targets": rows[:, 1:],
            "weights": np.ones((len(ids_R), self.seq_len), np.float32),
        }
        if self.masked:
            batch |= self._documents(ids_R, rows)
        return batch

    def n_bytes(self, ids_R: np.ndarray) -> int | None:
        corpus = self.stream.corpus
        if corpus.one_byte:
            return int((self._tokens(ids_R)[:, 1:] != corpus.separator).sum())
        if corpus.widths is None:
            return None
        spans = [self._span(int(row)) for row in ids_R]
        return sum(
            int(corpus.widths.data[first:stop].sum(dtype=np.int64))
            for start, end in spans
            for first, stop, _ in self.stream.pieces(start + 1, end)
        )

    def places(self, row: int) -> list[Place]:
        """See `scaling.data.source.Rows`."""
        corpus, out = self.stream.corpus, []
        opening = int(corpus.opened)  # The separator stands before its document, at offset -1.
        for first, stop, _ in self.stream.pieces(*self._span(row)):
            for document in range(corpus.document_at(first), corpus.document_at(stop - 1) + 1):
                offset = max(first - int(corpus.starts[document]) - opening, 0)
                out.append(Place(corpus.names(document), offset))
        return out

    def row_tokens(self, row: int) -> np.ndarray:
        """The T + 1 tokens of a row."""
        return self._tokens(np.array([row]))[0]

    def _span(self, row: int) -> tuple[int, int]:
        return row * self.seq_len, (row + 1) * self.seq_len + 1

    def _tokens(self, ids_R: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids_R), self.seq_len + 1), np.int32)
        stream, corpus = self.stream, self.stream.corpus
        starts_R = ids_R * self.seq_len
        piece_R = np.searchsorted(stream.ends_in_stream, starts_R, "right")
        inside_R = starts_R + self.seq_len < stream.ends_in_stream[piece_R]
        first_R = starts_R + stream.shifts[piece_R]
        file_R = np.searchsorted(corpus.file_ends, first_R, "right")
        # Most rows lie within one piece and so one file: one gather for all of a file.
        for file in np.unique(file_R[inside_R]):
            chosen = inside_R & (file_R == file)
            at = (first_R[chosen] - corpus.file_bases[file])[:, None] + np.arange(self.seq_len + 1)
            out[chosen] = corpus.files[file].data[at]
        for row in np.flatnonzero(~inside_R):
            for first, stop, at in stream.pieces(*self._span(int(ids_R[row]))):
                corpus.read(first, stop, out[row, at : at + stop - first])
        return out

    def _documents(self, ids_R: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        """segments, positions, and the weights that leave out what another document would predict.

        A separator is a fair target of the document it ends, and the first input of the next one.
        """
        corpus = self.stream.corpus
        if corpus.separator is not None:
            opens = rows == corpus.separator
            weights = np.ones((len(rows), self.seq_len), np.float32)
        else:
            opens = self._starts_in(ids_R)
            weights = 1.0 - opens[:, 1:].astype(np.float32)
        opens = opens[:, :-1]
        place = np.arange(self.seq_len, dtype=np.int32)
        last = np.maximum.accumulate(np.where(opens, place, 0), axis=1, dtype=np.int32)
        segments = np.cumsum(opens, axis=1, dtype=np.int32)
        return {"weights": weights, "segments": segments, "positions": place - last}

    def _starts_in(self, ids_R: np.ndarray) -> np.ndarray:
        opens = np.zeros((len(ids_R), self.seq_len + 1), bool)
        starts = self.stream.corpus.starts
        for row, row_id in zip(opens, ids_R.tolist(), strict=True):
            for first, stop, at in self.stream.pieces(*self._span(row_id)):
                low, high = np.searchsorted(starts, [first, stop])
                row[starts[low:high] - first + at] = True
        return opens


def open_corpus(
    config: DataConfig,
    train: Stream,
    validation: Stream,
    *,
    vocab_size: int,
    content_hash: str,
    decode: Callable[[np.ndarray], str],
    facts: dict[str, Any],
    warnings: Sequence[str] = (),
) -> OpenSource:
    """Rows of both splits. Raises UserError when a split is shorter than one row, or when document
    boundaries are asked for and unknown."""
    masked = config.documents == "masked"
    known = train.corpus.separator is not None or train.corpus.has_boundaries
    if masked and not known:
        raise UserError(
            "data.documents='masked' needs document boundaries, which these token files do not "
            "have; set data.tokens.separator to the token between documents"
        )
    for label, stream in (("training", train), ("validation", validation)):
        if stream.n_tokens < config.seq_len + 1:
            raise UserError(
                f"the {label} part of data source {config.name!r} has {stream.n_tokens} tokens, "
                f"too few for one row of data.seq_len={config.seq_len} + 1; "
                "give more text, a smaller seq_len or another val_fraction"
            )
    rows = [StreamRows(stream, config.seq_len, masked) for stream in (train, validation)]
    counts = {
        "documents": {"train": train.n_documents, "validation": validation.n_documents},
        "tokens": {"train": train.n_tokens, "validation": validation.n_tokens},
        "rows": {"train": rows[0].n_rows, "validation": rows[1].n_rows},
        "held_out_share": validation.n_tokens / (train.n_tokens + validation.n_tokens),
    }
    return OpenSource(
        rows[0],
        rows[1],
        vocab_size,
        content_hash,
        decode,
        counts | facts,
        warnings=tuple(warnings),
    )
