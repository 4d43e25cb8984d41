"""Which part of a corpus is held out: documents by hash, the ends of raw files, whole files."""

import dataclasses
from typing import Any

import numpy as np

from scaling.data.corpus import Corpus, Stream
from scaling.data.hashing import key_of, mix
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Split:
    """Two streams without a document in common, facts for the statistics, sentences for records."""

    train: Stream
    validation: Stream
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def split(corpus: Corpus, fraction: float, seed: int) -> Split:
    """Holds out about `fraction` of the tokens: between half and twice of it, where there are
    documents to choose from.

    A document is held out when the hash of its key and `seed` is below `fraction`, whatever else
    is in the corpus. Where that gives less than half of `fraction` in tokens (few documents, of
    uneven length), those with the next hashes follow. Where it gives more than `most_held_out`,
    the documents in the order of their hashes are held out until `fraction` is reached exactly:
    the last of them is cut, and its end held out.

    Raw files without documents (`Corpus.shards`) are each cut: the end of every file is held out.
    """
    if fraction <= 0.0:
        raise UserError(
            "data.val_fraction=0 leaves no document to evaluate on; "
            "hold out a share such as 0.05, or name separate validation files"
        )
    starts, ends = corpus.starts[:-1], corpus.starts[1:]
    held_from, chosen = ends.copy(), np.zeros(corpus.n_documents, bool)
    shards = chosen.copy() if corpus.shards is None else corpus.shards
    held_from[shards] -= _ends((ends - starts)[shards], fraction)
    documents, warnings = np.flatnonzero(~shards), ()
    if documents.size:
        held_out, cut, n = _chosen(corpus, documents, fraction, seed)
        chosen[held_out] = True
        held_from[held_out] = starts[held_out]
        if cut is not None:
            held_from[cut] -= n
            warnings = _said(corpus, cut, n)
    n_held_out = int((chosen | (held_from < ends)).sum())
    return Split(
        _stream(corpus, starts, held_from, int((~chosen).sum())),
        _stream(corpus, held_from, ends, n_held_out),
        warnings=warnings,
    )


def most_held_out(fraction: float) -> float:
    """The largest share that documents by hash may make."""
    return min(2 * fraction, (1 + fraction) / 2)


def whole(corpus: Corpus, without: np.ndarray | None = None) -> Stream:
    """Every document of the corpus, but those marked in `without` (D,)."""
    kept = np.ones(corpus.n_documents, bool) if without is None else ~without
    return _stream(corpus, corpus.starts[:-1][kept], corpus.starts[1:][kept], int(kept.sum()))


def _ends(sizes: np.ndarray, fraction: float) -> np.ndarray:
    """Tokens to hold out of the end of each file; together `fraction`, to the token."""
    places = np.cumsum(sizes)
    kept = np.round(places * (1 - fraction)).astype(np.int64)
    kept = np.clip(kept, np.minimum(places, 1), max(int(places[-1]) - 1, 1)) if len(kept) else kept
    return np.clip(sizes - np.diff(kept, prepend=0), 0, sizes)


def _chosen(
    corpus: Corpus, documents: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, int | None, int]:
    """(documents held out whole, the one that is cut or None, tokens held out of its end)."""
    hashes = mix(corpus.keys[documents] ^ np.uint64(key_of("split", seed)))
    order = np.argsort(hashes, kind="stable")
    below = np.count_nonzero(hashes < np.uint64(int(fraction * 2**63)) * np.uint64(2))
    sizes = np.diff(corpus.starts)[documents[order]]
    tokens = np.cumsum(sizes)
    total = int(tokens[-1])
    enough = int(np.searchsorted(tokens, fraction / 2 * total)) + 1
    n = max(below, enough)
    if n < len(order) and tokens[n - 1] <= most_held_out(fraction) * total:
        return documents[order[:n]], None, 0
    held_out = total - min(max(round(total * (1 - fraction)), 1), max(total - 1, 1))
    n = int(np.searchsorted(tokens, held_out, "right"))
    missing = held_out - (int(tokens[n - 1]) if n else 0)
    return documents[order[:n]], (int(documents[order[n]]) if missing else None), missing


def _said(corpus: Corpus, cut: int, n: int) -> tuple[str, ...]:
    if corpus.n_documents == 1:
        return ()  # A single document can only be cut.
    size = int(corpus.starts[cut + 1] - corpus.starts[cut])
    return (
        f"few or uneven documents: to hold out data.val_fraction, document {corpus.names(cut)!r} "
        f"is cut, its last {n:,} of {size:,} tokens are held out",
    )


def _stream(corpus: Corpus, begins: np.ndarray, ends: np.ndarray, n_documents: int) -> Stream:
    """Ordered pieces: empty ones dropped, touching ones joined, cut where a file ends."""
    full = ends > begins
    begins, ends = begins[full], ends[full]
    apart = begins[1:] != ends[:-1]
    begins, ends = begins[np.r_[True, apart][: len(begins)]], ends[np.r_[apart, True][: len(ends)]]
    borders = np.unique(corpus.file_ends)
    piece = np.searchsorted(ends, borders, "right")
    borders, piece = borders[piece < len(ends)], piece[piece < len(ends)]
    inside = borders[begins[piece] < borders]
    begins, ends = np.sort(np.r_[begins, inside]), np.sort(np.r_[ends, inside])
    return Stream(corpus, begins, np.cumsum(ends - begins), n_documents)
