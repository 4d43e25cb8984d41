"""Training documents that are held-out documents too, found by what they contain."""

import hashlib

import numpy as np

from scaling.data.corpus import Corpus
from scaling.data.hashing import mix
from scaling.data.split import Split, whole
from scaling.errors import UserError

_EDGE = 8  # Tokens at either end of a document that must agree before all of it is compared.
_CHUNK = 1 << 16


def apart(
    train: Corpus, validation: Corpus, shared: tuple[np.ndarray, np.ndarray], source: str
) -> Split:
    """All of `validation`, and `train` without the documents that are in it.

    shared: (D,) bool for both, the documents that the other one has too. Raises UserError when
    nothing is left to train on.
    """
    in_validation, in_train = shared
    if not in_validation.any():
        return Split(whole(train), whole(validation))
    n, total = int(in_validation.sum()), train.n_documents
    if n == total:
        raise UserError(
            f"every document of data.{source}.paths is also in data.{source}.validation, so "
            "nothing is left to train on; name other validation files, or none to hold out "
            "data.val_fraction"
        )
    sizes = np.diff(validation.starts)
    share = float(sizes[in_train].sum() / max(sizes.sum(), 1))
    facts = {
        "documents": n,
        "tokens": int(np.diff(train.starts)[in_validation].sum()),
        "share_of_validation": share,
    }
    warning = (
        f"{n:,} of {total:,} training documents are also validation documents "
        f"({100 * share:.3g} % of the validation tokens); they are left out of training"
    )
    streams = whole(train, without=in_validation), whole(validation)
    return Split(*streams, {"also_in_validation": facts}, (warning,))


def same_keys(a: Corpus, b: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """(D,) bool for both: documents in the other one too, where keys are hashes of the content."""
    return np.isin(a.keys, b.keys), np.isin(b.keys, a.keys)


def same_tokens(a: Corpus, b: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """(D,) bool for both: documents that are in the other one too, token for token.

    A separator that opens a document is no part of it. Lengths and the tokens at both ends are
    compared for all, whole documents only where these agree.
    """
    spans = [_bodies(corpus) for corpus in (a, b)]
    edges = [_edges(corpus, *span) for corpus, span in zip((a, b), spans, strict=True)]
    found = [np.isin(edges[i], edges[1 - i]) & (spans[i][1] > spans[i][0]) for i in (0, 1)]
    digests = [
        {int(d): _digest(corpus, int(begins[d]), int(ends[d])) for d in np.flatnonzero(maybe)}
        for corpus, (begins, ends), maybe in zip((a, b), spans, found, strict=True)
    ]
    both = set(digests[0].values()) & set(digests[1].values())
    for maybe, digest in zip(found, digests, strict=True):
        maybe[[d for d, value in digest.items() if value not in both]] = False
    return found[0], found[1]


def _bodies(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """(first positions, positions beyond the last) of all documents."""
    begins, ends = corpus.starts[:-1].copy(), corpus.starts[1:]
    if corpus.separator is not None:
        full = np.flatnonzero(ends > begins)
        begins[full] += _tokens_at(corpus, begins[full]) == corpus.separator
    return begins, ends


def _edges(corpus: Corpus, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(D,) uint64: a hash of every document's length, first and last tokens."""
    out = mix((ends - begins).astype(np.uint64))
    for at in range(0, len(out), _CHUNK):
        full = np.flatnonzero(ends[at : at + _CHUNK] > begins[at : at + _CHUNK]) + at
        first, last = begins[full], ends[full] - 1
        for i in range(_EDGE):
            for place in (np.minimum(first + i, last), np.maximum(last - i, first)):
                out[full] = mix(out[full] ^ _tokens_at(corpus, place).astype(np.uint64))
    return out


def _tokens_at(corpus: Corpus, places: np.ndarray) -> np.ndarray:
    out = np.empty(len(places), np.int64)
    file_of = np.searchsorted(corpus.file_ends, places, "right")
    for file in np.unique(file_of):
        inside = file_of == file
        out[inside] = corpus.files[file].data[places[inside] - corpus.file_bases[file]]
    return out


def _digest(corpus: Corpus, begin: int, end: int) -> bytes:
    digest = hashlib.sha256()
    for at in range(begin, end, _CHUNK):
        out = np.empty(min(_CHUNK, end - at), np.int32)
        corpus.read(at, at + len(out), out)
        digest.update(out.tobytes())
    return digest.digest()
