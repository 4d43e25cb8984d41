"""Endless rows that are one document each, drawn from bits: the engine of the synthetic sources.

A world says how to draw a document from random bits; rows, splits, seeds and hashes are here.
Shapes: R rows at once, T predictions a row, N draws of 64 bits for a row.
"""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from scaling.config import DataConfig
from scaling.data.hashing import bits, key_of
from scaling.data.source import OpenSource, Place, show_ids

_TO_UNIT = 2.0**-53


@dataclasses.dataclass(frozen=True)
class EpisodeRows:
    """Row i is `draw` of the bits of (key, i).

    draw((N, R) uint64) -> (R, T + 1) int32 tokens; picklable. pad: token whose prediction does not
    count, where documents do not fill the row.
    """

    draw: Callable[[np.ndarray], np.ndarray]
    n_draws: int
    key: int
    seq_len: int
    masked: bool
    label: str
    pad: int | None = None
    n_rows: None = None

    def gather(self, ids_R: np.ndarray) -> dict[str, np.ndarray]:
        """See `scaling.data.source.Rows`. A row is a document of its own."""
        rows = self.draw(bits(self.key, ids_R, self.n_draws))
        targets = rows[:, 1:]
        counts = np.ones(targets.shape, bool) if self.pad is None else targets != self.pad
        batch = {"tokens": rows[:, :-1], "targets": targets, "weights": counts.astype(np.float32)}
        if self.masked:
            positions = np.arange(self.seq_len, dtype=np.int32)
            batch["segments"] = np.zeros(targets.shape, np.int32)
            batch["positions"] = np.tile(positions, (len(ids_R), 1))
        return batch

    def n_bytes(self, ids_R: np.ndarray) -> None:
        """Symbols are no text."""
        return None

    def places(self, row: int) -> list[Place]:
        return [Place(f"{self.label} row {row}", 0)]

    def row_tokens(self, row: int) -> np.ndarray:
        """The T + 1 tokens of a row."""
        return self.draw(bits(self.key, np.array([row]), self.n_draws))[0]


def open_episodes(
    data: DataConfig,
    seed: int,
    draw: Callable[[np.ndarray], np.ndarray],
    n_draws: int,
    world: np.ndarray,
    *,
    vocab_size: int,
    facts: dict,
    pad: int | None = None,
    **entropies: float | tuple[float, float] | None,
) -> OpenSource:
    """Endless training rows of the run's seed, and held-out rows that depend on data.seed only.

    `world` is hashed for the content_hash, rounded so that last bits of libm do not matter.
    `entropies` are those of `OpenSource`.
    """
    masked = data.documents == "masked"
    keys = {
        "train": key_of("rows", data.name, data.seed, "train", seed),
        "validation": key_of("rows", data.name, data.seed, "validation"),
    }
    train, validation = (
        EpisodeRows(draw, n_draws, key, data.seq_len, masked, label, pad)
        for label, key in keys.items()
    )
    content_hash = hashlib.sha256(np.round(world, 6).astype("<f8").tobytes()).hexdigest()
    return OpenSource(train, validation, vocab_size, content_hash, show_ids, facts, **entropies)


def uniforms(bits_NR: np.ndarray) -> np.ndarray:
    """float64 in [0, 1), one for each draw."""
    return (bits_NR >> np.uint64(11)) * _TO_UNIT


def below(bits_NR: np.ndarray, n: int) -> np.ndarray:
    """int64 in 0 .. n - 1; n below 2^32, so the bias is below 2^-32 n."""
    return (((bits_NR >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)).astype(np.int64)


def permutations(bits_VR: np.ndarray) -> np.ndarray:
    """(R, V) int64: one uniform permutation of 0 .. V - 1 for each column of bits."""
    return np.argsort(bits_VR, axis=0, kind="stable").T
