"""A random Markov chain of order k: text whose best possible loss is known exactly."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.hashing import key_of
from scaling.data.source import OpenSource
from scaling.data.walk import MAX_EDGES, Walk, open_walk, random_rows
from scaling.errors import UserError

_FLOOR = 0.01
_SMALL = 1024
_MAX_ITERATIONS = 100_000


def entropy(p: np.ndarray, axis: int = -1) -> np.ndarray:
    """-sum p log p in nats, with 0 log 0 = 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=axis)


@dataclasses.dataclass(frozen=True)
class Markov:
    """P(x_t | the last k symbols): one Dirichlet(concentration) row for each of V^k contexts.

    1 % of every row is spread evenly, so that the chain mixes. data.seed makes the chain; rows
    begin in its stationary distribution. Entropy rate (Cover and Thomas 2006, theorem 4.2.4):
    h = sum over contexts c of pi(c) H(P(. | c)), pi the stationary distribution over contexts.
    """

    vocab_size: int = option(64, "symbols V", low=2, high=65_536)
    order: int = option(1, "symbols of context k", low=1, high=20)
    concentration: float = option(0.1, "Dirichlet parameter; small is predictable", low=1e-4)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError when the table of V^(k+1) probabilities is too large."""
        V, k = self.vocab_size, self.order
        if V ** (k + 1) > MAX_EDGES:
            raise UserError(
                f"data.markov: vocab_size={V} to the power order + 1 = {k + 1} is more than "
                f"{MAX_EDGES} probabilities; take a smaller vocabulary or order"
            )
        p_CV, stationary_C, walk = _world(V, k, self.concentration, data.seed)
        rate = float(stationary_C @ entropy(p_CV))
        blocks = block_entropies(stationary_C, V, k)
        # Targets 1 .. k - 1 of a row have less than k symbols before them.
        n_known = min(k - 1, data.seq_len)
        early = blocks[n_known] - blocks[0]
        return open_walk(
            data,
            seed,
            walk,
            p_CV,
            vocab_size=V,
            facts={"contexts": len(p_CV)},
            entropy_rate=rate,
            row_entropy=float(early + (data.seq_len - n_known) * rate) / data.seq_len,
            entropy_bounds=(rate, rate),
        )


@functools.lru_cache(maxsize=4)
def _world(V: int, k: int, concentration: float, seed: int) -> tuple[np.ndarray, np.ndarray, Walk]:
    rng = np.random.default_rng(key_of("markov", V, k, concentration, seed))
    p_CV = random_rows(rng, (V**k, V), concentration, _FLOOR)
    stationary_C = stationary(p_CV, k)
    context, symbol = np.ogrid[: V**k, :V]
    shape = p_CV.shape
    next_context = (context * V + symbol) % V**k
    walk = Walk.build(p_CV, next_context, np.broadcast_to(symbol, shape), stationary_C)
    return p_CV, stationary_C, walk


def stationary(p_CV: np.ndarray, k: int) -> np.ndarray:
    """The stationary distribution (V^k,) over contexts; the newest symbol is the last digit.

    Raises UserError when the chain mixes too slowly to find it.
    """
    C, V = p_CV.shape
    if C <= _SMALL:
        step = np.zeros((C, C))
        context, symbol = np.ogrid[:C, :V]
        np.add.at(step, (np.broadcast_to(context, (C, V)), (context * V + symbol) % C), p_CV)
        system = np.vstack([(step.T - np.eye(C))[:-1], np.ones(C)])
        return np.linalg.solve(system, np.eye(C)[-1])
    now = np.full(C, 1.0 / C)
    for _ in range(_MAX_ITERATIONS):
        # Edge (oldest, rest; symbol) leads to the context (rest, symbol).
        new = (now[:, None] * p_CV).reshape(V, C // V, V).sum(axis=0).ravel()
        if np.abs(new - now).sum() < 1e-14 * C**0.5:
            return new / new.sum()
        now = new
    raise UserError("data.markov: this chain mixes too slowly; raise data.markov.concentration")


def block_entropies(stationary_C: np.ndarray, V: int, k: int) -> np.ndarray:
    """H(X_1 .. X_j) for j = 1 .. k, in nats, (k,)."""
    return np.array([entropy(stationary_C.reshape(-1, V**j).sum(axis=0)) for j in range(1, k + 1)])
