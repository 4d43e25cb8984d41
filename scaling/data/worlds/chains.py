"""In-context Markov chains (Edelman et al. 2024, "The evolution of statistical induction heads").

Every document is a Markov chain of its own: each row of its transition matrix is uniform on the
simplex. The best prediction counts the bigrams of the prompt: P(j | i) = (n_ij + 1) / (n_i + V).
On the way models guess uniformly, then count single symbols; one layer stays there. The first
symbol is uniform (the paper: stationary), which makes the counting rule exactly Bayes' rule.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.hashing import bits, key_of
from scaling.data.source import OpenSource
from scaling.data.worlds.episodes import open_episodes, uniforms
from scaling.data.worlds.markov import entropy

_N_SAMPLED = 8192


@dataclasses.dataclass(frozen=True)
class Chains:
    n_symbols: int = option(3, "symbols V", low=2, high=64)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """row_entropy is a sampled mean of exact conditional entropies; its standard error is in
        the facts, in nats."""
        world = self.world(data)
        floor, error = sampled_entropy(world)
        return open_episodes(
            data,
            seed,
            world.draw,
            world.n_draws,
            np.array([self.n_symbols], float),
            vocab_size=self.n_symbols,
            facts={"row_entropy_error": error},
            row_entropy=floor,
        )

    def world(self, data: DataConfig) -> "ChainsWorld":
        return ChainsWorld(self.n_symbols, data.seq_len)


@dataclasses.dataclass(frozen=True)
class ChainsWorld:
    n_symbols: int
    seq_len: int

    @property
    def n_draws(self) -> int:
        return self.n_symbols**2 + self.seq_len + 1

    def draw(self, bits_NR: np.ndarray) -> np.ndarray:
        """(R, T + 1) documents; see `EpisodeRows`."""
        V, u = self.n_symbols, uniforms(bits_NR)
        # Normalised exponentials are uniform on the simplex.
        weights = -np.log1p(-u[: V * V]).T.reshape(-1, V, V)
        cdf = np.cumsum(weights, axis=2)
        cdf /= cdf[:, :, -1:]
        u, rows = u[V * V :], np.arange(bits_NR.shape[1])
        out = np.empty((len(rows), self.seq_len + 1), np.int32)
        out[:, 0] = np.minimum((u[0] * V).astype(np.int64), V - 1)
        for t in range(1, self.seq_len + 1):
            row_cdf = cdf[rows, out[:, t - 1]]
            out[:, t] = np.minimum((row_cdf <= u[t][:, None]).sum(axis=1), V - 1)
        return out

    def bigram(self, tokens_RT: np.ndarray) -> np.ndarray:
        """(R, T, V): Bayes' rule for the token after each, from counts of pairs so far."""
        V = self.n_symbols
        one_hot = np.eye(V)[tokens_RT]
        pairs = np.zeros((*tokens_RT.shape, V, V))
        pairs[:, 1:] = np.cumsum(one_hot[:, :-1, :, None] * one_hot[:, 1:, None, :], axis=1)
        at = np.take_along_axis(pairs, tokens_RT[:, :, None, None], axis=2)[:, :, 0]
        return (at + 1) / (at.sum(axis=2, keepdims=True) + V)

    def unigram(self, tokens_RT: np.ndarray) -> np.ndarray:
        """(R, T, V): from counts of single symbols so far, with the same prior."""
        counts = np.cumsum(np.eye(self.n_symbols)[tokens_RT], axis=1)
        return (counts + 1) / (counts.sum(axis=2, keepdims=True) + self.n_symbols)


@functools.lru_cache(maxsize=8)
def sampled_entropy(world: ChainsWorld) -> tuple[float, float]:
    """(mean over documents and targets of the entropy of Bayes' prediction, its standard error)."""
    per_row = []
    for at in range(0, _N_SAMPLED, 1024):
        draws = bits(key_of("chains floor"), np.arange(at, at + 1024), world.n_draws)
        per_row.append(entropy(world.bigram(world.draw(draws)[:, :-1])).mean(axis=1))
    values = np.concatenate(per_row)
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
