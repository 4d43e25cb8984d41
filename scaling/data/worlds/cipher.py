"""Cipher world: what can be recalled beside what must be learned from examples in the prompt.

A document is `BOS [instruction] x1 y1 x2 y2 ...` with y = cipher(x): a hidden permutation of V
symbols. Some ciphers are known (they come back, Zipf-distributed, with or without the pair of
instruction tokens that names them), others are drawn afresh for one document. Known ciphers can be
memorised; a fresh one can only be copied from the pairs before, which takes an induction circuit
(Olsson et al. 2022) and comes late and suddenly (Chan et al. 2022, "Data distributional
properties drive emergent in-context learning"; Singh et al. 2023 for its transience).

The rule of every token is known, so the best possible loss and the best possible answer are too.
Shapes: R documents, V symbols, C known ciphers, N pairs, T predictions.
"""

import dataclasses
import functools
import itertools
import math
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.hashing import bits, key_of
from scaling.data.source import OpenSource
from scaling.data.worlds.episodes import below, open_episodes, permutations, uniforms
from scaling.errors import UserError

_MAX_TABLE = 1 << 22
CONDITIONS = ("instructed", "known", "novel")


@dataclasses.dataclass(frozen=True)
class Cipher:
    """A row has (seq_len - 2) / 2 pairs: seq_len 34 is 15 shots and a query.

    Where there is no instruction two pads fill the row; they do not count as predictions.
    """

    n_symbols: int = option(8, "symbols V of the alphabet", low=2, high=10)
    n_known: int = option(1024, "ciphers C that come back", low=1, high=65_536)
    zipf: float = option(1.0, "P(known cipher of rank r) ~ r^-zipf", low=0.0, high=5.0)
    novel: float = option(0.5, "share of documents with a fresh cipher", low=0.0, high=1.0)
    instructed: float = option(0.5, "share of known documents with instruction", low=0.0, high=1.0)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError when seq_len does not hold whole pairs."""
        world = self.world(data)
        return open_episodes(
            data,
            seed,
            world.draw,
            world.n_draws,
            world.table,
            vocab_size=world.vocab_size,
            facts={"known_ciphers": self.n_known, "pairs": world.n_pairs},
            pad=world.pad,
            row_entropy=world.row_entropy(),
        )

    def world(self, data: DataConfig) -> "CipherWorld":
        """The world of `data`; `data.seed` draws its known ciphers. Raises UserError."""
        if data.seq_len < 4 or data.seq_len % 2:
            raise UserError(
                f"data.seq_len={data.seq_len}: a row of cipher world is an instruction of 2 tokens "
                "and pairs, so seq_len must be even and at least 4 (34: 15 shots and a query)"
            )
        if self.n_known << self.n_symbols > _MAX_TABLE:
            raise UserError(
                f"data.cipher: n_known={self.n_known} times 2^{self.n_symbols} subsets of symbols "
                f"is more than {_MAX_TABLE}; take fewer ciphers or symbols"
            )
        return _world(self, data.seed, (data.seq_len - 2) // 2)


@functools.lru_cache(maxsize=4)
def _world(options: Cipher, seed: int, n_pairs: int) -> "CipherWorld":
    V, C = options.n_symbols, options.n_known
    key = key_of("cipher", V, C, seed)
    weights = np.arange(1, C + 1, dtype=np.float64) ** -options.zipf
    return CipherWorld(
        options, n_pairs, permutations(bits(key, np.arange(C), V)), weights / weights.sum()
    )


@dataclasses.dataclass(frozen=True, eq=False)
class CipherWorld:
    """table (C, V): the known ciphers, most frequent first; p_known (C,): their probabilities.

    Token ids: plain symbols x 0 .. V - 1, cipher symbols y V .. 2 V - 1, then BOS, PAD and the
    instruction alphabet.
    """

    options: Cipher
    n_pairs: int
    table: np.ndarray
    p_known: np.ndarray

    @property
    def bos(self) -> int:
        return 2 * self.options.n_symbols

    @property
    def pad(self) -> int:
        return 2 * self.options.n_symbols + 1

    @property
    def n_words(self) -> int:
        """Size of the instruction alphabet: two words name every cipher."""
        return math.isqrt(self.options.n_known - 1) + 1

    @property
    def vocab_size(self) -> int:
        return 2 * self.options.n_symbols + 2 + self.n_words

    @property
    def n_draws(self) -> int:
        return 2 + self.options.n_symbols + self.n_pairs

    def draw(self, bits_NR: np.ndarray) -> np.ndarray:
        """(R, T + 1) training documents; see `EpisodeRows`."""
        V, known = self.options.n_symbols, 1.0 - self.options.novel
        kind = uniforms(bits_NR[0])
        rank = self.ranks(bits_NR[1])
        fresh = permutations(bits_NR[2 : 2 + V])
        cipher = np.where((kind < known)[:, None], self.table[rank], fresh)
        instructed = kind < known * self.options.instructed
        x = below(bits_NR[2 + V :], V).T
        return self.compose(cipher, x, np.where(instructed, rank, -1))

    def ranks(self, bits_R: np.ndarray) -> np.ndarray:
        """Zipf draws of known ciphers."""
        found = np.searchsorted(np.cumsum(self.p_known), uniforms(bits_R), side="right")
        return np.minimum(found, len(self.p_known) - 1)

    def compose(self, cipher_RV: np.ndarray, x_RN: np.ndarray, rank_R: np.ndarray) -> np.ndarray:
        """(R, T + 1) tokens; rank -1 is no instruction."""
        R, N = x_RN.shape
        y_RN = self.options.n_symbols + np.take_along_axis(cipher_RV, x_RN, axis=1)
        pairs = np.stack([x_RN, y_RN], axis=2)
        rows = np.full((R, 2 * self.n_pairs + 3), self.pad, np.int32)
        rows[:, 0] = self.bos
        named = rank_R >= 0
        words = np.stack(np.divmod(rank_R[named], self.n_words), axis=1)
        rows[named, 1:3] = self.pad + 1 + words
        rows[named, 3 : 3 + 2 * N] = pairs[named].reshape(-1, 2 * N)
        rows[~named, 1 : 1 + 2 * N] = pairs[~named].reshape(-1, 2 * N)
        return rows

    def episodes(self, condition: str, n: int, key: int) -> "Episodes":
        """`n` documents of one of CONDITIONS, drawn from `key`."""
        V = self.options.n_symbols
        draws = bits(key, np.arange(n), self.n_draws)
        x = below(draws[2 + V :], V).T
        if condition == "novel":
            cipher, rank = permutations(draws[2 : 2 + V]), np.full(n, -1)
        else:
            rank = self.ranks(draws[1])
            cipher = self.table[rank]
        named = rank if condition == "instructed" else np.full(n, -1)
        # Answer j (from 0) is predicted from its x, token 2 j + 1 after BOS and the instruction.
        first = 3 if condition == "instructed" else 1
        places = np.tile(first + 2 * np.arange(self.n_pairs), (n, 1))
        tokens = self.compose(cipher, x, named)
        return Episodes(tokens, places, x, np.take_along_axis(cipher, x, axis=1))

    def row_entropy(self) -> float:
        """Mean entropy of the counted targets, nats: the least loss that any model can reach.

        By the chain rule it is the entropy of a whole document over its expected length: kind and
        name of the cipher, N symbols x at log V each, and, without an instruction, what the y's
        still say about the cipher given the x's.
        """
        V, N, o = self.options.n_symbols, self.n_pairs, self.options
        named = (1.0 - o.novel) * o.instructed
        known = (1.0 - named - o.novel) / (1.0 - named) if named < 1 else 0.0
        hidden = sum(
            p * _map_entropy(self, known, size) for size, p in enumerate(n_distinct(V, N)) if size
        )
        total = -_plogp(named) - _plogp(1.0 - named) - named * sum(map(_plogp, self.p_known))
        total += N * math.log(V) + (1.0 - named) * hidden
        return total / (2 * N + 2 * named)


@dataclasses.dataclass(frozen=True, eq=False)
class Episodes:
    """tokens (R, T + 1); places (R, N): index of the token from which answer j is predicted; x and
    y (R, N)."""

    tokens: np.ndarray
    places: np.ndarray
    x: np.ndarray
    y: np.ndarray


def n_distinct(V: int, n: int) -> np.ndarray:
    """P(n uniform draws from V symbols show exactly d of them), d = 0 .. min(n, V)."""
    p = np.zeros(V + 1)
    p[0] = 1.0
    for _ in range(n):
        stay, grow = p * np.arange(V + 1) / V, p * (V - np.arange(V + 1)) / V
        p = stay
        p[1:] += grow[:-1]
    return p


def novel_ceiling(V: int, shots: int) -> float:
    """Best expected accuracy on a fresh cipher after `shots` examples: copy what was seen, else
    guess one of the V - d images left."""
    p_D = n_distinct(V, shots)
    return float(sum(p * (d / V + (1 / V if d < V else 0.0)) for d, p in enumerate(p_D)))


@functools.lru_cache(maxsize=64)
def _map_entropy(world: CipherWorld, known: float, size: int) -> float:
    """Entropy of the cipher's images of `size` distinct symbols, mean over which they are.

    The prior over ciphers is `known` Zipf over the table, the rest uniform over all permutations.
    """
    V = world.options.n_symbols
    n_maps = math.perm(V, size)
    fresh = (1.0 - known) / n_maps
    subsets = list(itertools.combinations(range(V), size))
    total = 0.0
    for subset in subsets:
        codes = world.table[:, subset] @ V ** np.arange(size)
        _, group = np.unique(codes, return_inverse=True)
        mass = known * np.bincount(group, weights=world.p_known) + fresh
        total -= sum(map(_plogp, mass)) + (n_maps - len(mass)) * _plogp(fresh)
    return total / len(subsets)


def _plogp(p: float) -> float:
    return p * math.log(p) if p > 0 else 0.0
