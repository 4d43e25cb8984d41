"""One pass over a token file, kept in the cache: hash, ids in use, where separators stand."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from scaling.data.cache import build_once, key_of_files
from scaling.data.corpus import TokenFile
from scaling.doors.reading import read_json
from scaling.errors import UserError

MOST_VOCABULARY = 1 << 21
"""Ids are below this unless `vocab_size` says more: ten times the largest vocabularies in use."""
_CHUNK = 1 << 22
_HEAD_BYTES = 4096
_REST = 1 << 14
_NEGATIVE = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Scan:
    """sha256 of the ids as stored; largest id (2^63 - 1 where one is negative); n_distinct ids.

    head: the second largest id of the first 4,096 bytes; rest: the largest one after them; both
    without the separator, -1 where there is none. separators: positions, but for one at 0: the
    first document of a file needs none.
    """

    sha256: str
    largest: int
    n_distinct: int
    head: int
    rest: int
    separators: np.ndarray


_FACTS = {"sha256": str} | dict.fromkeys(("largest", "n_distinct", "head", "rest"), int)


def scan(file: TokenFile, separator: int | None, cache: Path) -> Scan:
    """The scan of a file as it is now, read once."""
    directory = build_once(
        cache,
        key_of_files([file.path], "scan", file.dtype, file.offset, separator),
        lambda draft: _build(draft, file, separator),
    )
    facts = read_json(directory / "scan.json", _FACTS)
    return Scan(**facts, separators=np.load(directory / "separators.npy"))


def check_ids(file: TokenFile, scanned: Scan, vocab_size: int | None) -> None:
    """Raises UserError naming the first id that is not in the vocabulary, and its position.

    Looks for the position only after the scan has found an offender.
    """
    limit = vocab_size or MOST_VOCABULARY
    if scanned.largest < limit:
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


def check_no_header(file: TokenFile, scanned: Scan) -> None:
    """Raises UserError when the ids at the start of a raw file are of another kind than the rest:
    two of them 16 times as large as any after them, in a file of at least 16,384 more."""
    n_head = _HEAD_BYTES // np.dtype(file.dtype).itemsize
    if file.size - n_head < _REST or scanned.head <= 16 * (scanned.rest + 1):
        return
    raise UserError(
        f"{str(file.path)!r}: ids at its start reach {scanned.head:,}, none of the "
        f"{file.size - n_head:,} later ones is above {scanned.rest:,}: it begins with a header of "
        f"a kind that is not known here; cut it off, or set data.tokens.dtype={file.dtype!r} if "
        "these are ids"
    )


def _build(draft: Path, file: TokenFile, separator: int | None) -> str:
    digest, found, used = hashlib.sha256(), [], np.zeros(MOST_VOCABULARY, bool)
    n_head = _HEAD_BYTES // np.dtype(file.dtype).itemsize
    largest = rest = -1
    for at in range(0, file.size, _CHUNK):
        chunk = file.data[at : at + _CHUNK]
        digest.update(chunk.tobytes())
        negative = chunk.dtype.kind == "i" and int(chunk.min()) < 0
        largest = max(largest, _NEGATIVE if negative else int(chunk.max()))
        if largest < MOST_VOCABULARY:
            used[chunk] = True
        after = chunk[max(0, n_head - at) :]
        if separator is not None:
            found.append(np.flatnonzero(chunk == separator) + at)
            after = after[after != separator]
        rest = max(rest, int(after.max(initial=0)) if after.size else -1)
    positions = np.concatenate(found) if found else np.zeros(0, np.int64)
    np.save(draft / "separators.npy", positions[positions > 0].astype(np.int64))
    head = file.data[:n_head]
    head = np.sort(head[head != separator] if separator is not None else head)
    facts = {
        "sha256": digest.hexdigest(),
        "largest": largest,
        "n_distinct": int(used.sum()),
        "head": int(head[-2]) if len(head) > 1 else -1,
        "rest": rest,
    }
    text = json.dumps(facts)
    (draft / "scan.json").write_text(text)
    return hashlib.sha256(f"scan {text} {file.dtype} {separator}".encode()).hexdigest()
