"""Addition of numbers of a fixed number of digits, directly or with a scratchpad.

A row holds problems one after the other, all direct (`12+34=046;`) or all with the working shown
(`12+34>6040=046;`: from the last digit on, each column's digit and carry; Nye et al. 2021,
"Show your work"). A tenth of all pairs is never seen in training: what is right there was computed,
not recalled.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.hashing import mix
from scaling.data.source import OpenSource
from scaling.data.worlds.episodes import below, open_episodes, uniforms
from scaling.errors import UserError

ALPHABET = "0123456789+=>;"
BOS, PAD = len(ALPHABET), len(ALPHABET) + 1
_HELD_OUT = 10  # one pair in so many


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    digits: int = option(2, "digits of each number", low=1, high=3)
    scratchpad: float = option(0.5, "share of rows that show the working", low=0.0, high=1.0)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError when a row does not hold one problem."""
        world = self.world(data)
        return open_episodes(
            data,
            seed,
            world.draw,
            world.n_draws,
            np.array([self.digits, self.scratchpad], float),
            vocab_size=len(ALPHABET) + 2,
            facts={"training_pairs": len(pairs(self.digits, False))},
            pad=PAD,
            row_entropy=world.row_entropy(),
        )

    def world(self, data: DataConfig) -> "ArithmeticWorld":
        world = ArithmeticWorld(self.digits, self.scratchpad, data.seq_len)
        if world.n_problems(True) < 1:
            raise UserError(
                f"data.seq_len={data.seq_len} does not hold a problem, "
                f"which has {world.length(True)} tokens"
            )
        return world


@functools.lru_cache(maxsize=8)
def pairs(digits: int, held_out: bool) -> np.ndarray:
    """Numbers a * 10^digits + b of all pairs that training never shows, or of all others."""
    every = np.arange(10 ** (2 * digits), dtype=np.uint64)
    never = mix(every + np.uint64(1)) % np.uint64(_HELD_OUT) == 0
    return np.flatnonzero(never == held_out)


@dataclasses.dataclass(frozen=True)
class ArithmeticWorld:
    """Shapes: R rows, N problems, L characters of a problem, D digits."""

    digits: int
    scratchpad: float
    seq_len: int

    @property
    def n_draws(self) -> int:
        return 1 + self.n_problems(False)

    def length(self, worked: bool) -> int:
        """Characters of a problem, its ';' included."""
        return 3 * self.digits + 4 + (2 * self.digits + 1) * worked

    def n_problems(self, worked: bool) -> int:
        return self.seq_len // self.length(worked)

    def draw(self, bits_NR: np.ndarray) -> np.ndarray:
        """(R, T + 1) documents; see `EpisodeRows`."""
        known = pairs(self.digits, False)
        chosen = known[below(bits_NR[1:], len(known)).T]
        worked = uniforms(bits_NR[0]) < self.scratchpad
        return np.where(
            worked[:, None], self.compose(chosen, True), self.compose(chosen, False)
        ).astype(np.int32)

    def compose(self, pairs_RN: np.ndarray, worked: bool) -> np.ndarray:
        """(R, T + 1): as many of the problems as fit, padded."""
        N = min(self.n_problems(worked), pairs_RN.shape[1])
        rows = np.full((len(pairs_RN), self.seq_len + 1), PAD)
        rows[:, 0] = BOS
        text = self.problems(pairs_RN[:, :N], worked)
        rows[:, 1 : 1 + N * self.length(worked)] = text.reshape(len(rows), -1)
        return rows

    def problems(self, pair: np.ndarray, worked: bool) -> np.ndarray:
        """(..., L) tokens of problems by their pair numbers."""
        D = self.digits
        a, b = np.divmod(pair, 10**D)
        sign = {c: np.full((*pair.shape, 1), ALPHABET.index(c)) for c in "+=>;"}
        work = []
        if worked:
            carry = np.zeros_like(a)
            for place in range(D):
                column = a // 10**place % 10 + b // 10**place % 10 + carry
                carry = column // 10
                work += [(column % 10)[..., None], carry[..., None]]
            work = [sign[">"], *work]
        parts = [_digits(a, D), sign["+"], _digits(b, D), *work, sign["="], _digits(a + b, D + 1)]
        return np.concatenate([*parts, sign[";"]], axis=-1)

    def row_entropy(self) -> float:
        """Nats per counted target: the way of working once, and the numbers of every problem."""
        n_pairs, total, count = len(pairs(self.digits, False)), 0.0, 0.0
        for worked, p in ((True, self.scratchpad), (False, 1 - self.scratchpad)):
            if p > 0:
                N = self.n_problems(worked)
                total += p * (N * math.log(n_pairs) - math.log(p))
                count += p * N * self.length(worked)
        return total / count


def encode(text: str) -> list[int]:
    """Tokens of a text of ALPHABET."""
    return [ALPHABET.index(c) for c in text]


def _digits(number: np.ndarray, n: int) -> np.ndarray:
    """(..., n) decimal digits, leading zeros included."""
    return number[..., None] // 10 ** np.arange(n - 1, -1, -1) % 10
