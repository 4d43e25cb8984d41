"""Repeat world: a random block of symbols and then the same block again and again.

A document is `BOS a1 .. aL SEP a1 .. aL SEP ...`, cut where the row ends; the length L and the
block are drawn afresh. Nothing can be memorised: after the first SEP every token is certain, but
only to a model that copies from its context, which takes an induction circuit of two layers
(Elhage et al. 2021; Olsson et al. 2022, "In-context learning and induction heads").
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.source import OpenSource
from scaling.data.worlds.episodes import below, open_episodes
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Blocks of `shortest` to `longest` symbols, each length equally likely."""

    n_symbols: int = option(32, "symbols V, drawn uniformly", low=2, high=65_534)
    shortest: int = option(4, "least length of a block", low=1, high=100_000)
    longest: int = option(16, "greatest length of a block", low=1, high=100_000)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError when a row cannot hold the longest block and its end."""
        world = self.world(data)
        return open_episodes(
            data,
            seed,
            world.draw,
            world.n_draws,
            np.array([self.n_symbols, self.shortest, self.longest], float),
            vocab_size=world.vocab_size,
            facts={"lengths": self.longest - self.shortest + 1},
            row_entropy=world.row_entropy(),
        )

    def world(self, data: DataConfig) -> "RepeatsWorld":
        """The world of `data`. Raises UserError."""
        if self.shortest > self.longest:
            raise UserError(
                f"data.repeats.shortest={self.shortest} is above longest={self.longest}"
            )
        if data.seq_len < 2 * self.longest + 1:
            raise UserError(
                f"data.seq_len={data.seq_len} does not hold a block of longest={self.longest} and "
                f"its copy; make it at least {2 * self.longest + 1}"
            )
        return RepeatsWorld(self, data.seq_len)


@dataclasses.dataclass(frozen=True)
class RepeatsWorld:
    """Token ids: symbols 0 .. V - 1, then BOS and SEP."""

    options: Repeats
    seq_len: int

    @property
    def vocab_size(self) -> int:
        return self.options.n_symbols + 2

    @property
    def n_draws(self) -> int:
        return 1 + self.options.longest

    def draw(self, bits_NR: np.ndarray) -> np.ndarray:
        """(R, T + 1) documents; see `EpisodeRows`."""
        o = self.options
        length = o.shortest + below(bits_NR[0], o.longest - o.shortest + 1)
        return self.compose(length, below(bits_NR[1:], o.n_symbols).T)

    def compose(self, length_R: np.ndarray, block_RL: np.ndarray) -> np.ndarray:
        """(R, T + 1) tokens; of each block the first `length` symbols count."""
        V, R = self.options.n_symbols, len(block_RL)
        period = np.concatenate([block_RL, np.zeros((R, 1), block_RL.dtype)], axis=1)
        period[np.arange(R), length_R] = V + 1
        turn = np.arange(self.seq_len)[None, :] % (length_R[:, None] + 1)
        rows = np.take_along_axis(period, turn, axis=1)
        return np.concatenate([np.full((R, 1), V), rows], axis=1).astype(np.int32)

    def row_entropy(self) -> float:
        """Nats per target: length and block of a document, all of which its row shows."""
        o = self.options
        n = o.longest - o.shortest + 1
        mean = (o.shortest + o.longest) / 2
        return (math.log(n) + mean * math.log(o.n_symbols)) / self.seq_len
