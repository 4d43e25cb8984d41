"""A hidden Markov source: the past matters without end, and the best possible loss is known."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from scaling.config import DataConfig, option
from scaling.data.hashing import key_of
from scaling.data.source import OpenSource
from scaling.data.walk import MAX_EDGES, Walk, open_walk, random_rows
from scaling.data.worlds.markov import entropy, stationary
from scaling.errors import UserError

_FLOOR = 0.01
_ENUMERATION = 2_000_000
_TOLERANCE = 1e-4
_N_SEQUENCES, _BURN_IN, _N_STEPS = 1024, 128, 384
_SIGMAS = 4.0


@dataclasses.dataclass(frozen=True)
class Bounds:
    """lower <= h <= upper, nats per symbol; conditional (n,): H(X_t | X_1 .. X_{t-1}), t = 1..n."""

    lower: float
    upper: float
    conditional: np.ndarray

    @property
    def middle(self) -> float:
        return (self.lower + self.upper) / 2


@dataclasses.dataclass(frozen=True)
class HMM:
    """A hidden state moves by A[s, s'], then s' emits a symbol by E[s', x].

    "mess3" is the three-state process of Marzen and Crutchfield (2017) in the form of Shai et al.
    (2024, "Transformers represent belief state geometry", section 2): a state moves to each of the
    other two with probability 0.05 and emits its own symbol with probability 0.85. "random" draws
    the rows of A and E from a Dirichlet distribution.

    There is no closed form of the entropy rate h. It is the middle of a certain interval (Cover and
    Thomas 2006, theorem 4.5.1): H(X_n | X_1 .. X_{n-1}, S_0) <= h <= H(X_n | X_1 .. X_{n-1}),
    computed by summing over all sequences of the largest n that fits (error of mess3: below
    1e-6 nats); where that leaves more than 1e-4 nats open, both sides are estimated along 1024
    sampled sequences and widened by four standard errors, and the better of the two is kept.
    """

    process: str = option("mess3", "which hidden Markov model", choices=("mess3", "random"))
    n_states: int = option(8, "hidden states (random)", low=1, high=1000)
    vocab_size: int = option(16, "symbols (random)", low=2, high=65_536)
    concentration: float = option(0.3, "Dirichlet parameter (random)", low=1e-4)

    def open(self, data: DataConfig, *, seed: int, cache: Path) -> OpenSource:
        """Raises UserError when the table of transitions is too large."""
        if self.process == "random" and self.n_states**2 * self.vocab_size > MAX_EDGES:
            raise UserError(
                f"data.hmm: n_states={self.n_states} squared times vocab_size={self.vocab_size} is "
                f"more than {MAX_EDGES} edges; take fewer states or symbols"
            )
        A_SS, E_SV, walk, bounds = _world(self, data.seed)
        # Target t of a row (from 1) has t symbols before it.
        known = bounds.conditional[1 : data.seq_len + 1]
        n_late = data.seq_len - len(known)
        return open_walk(
            data,
            seed,
            walk,
            np.concatenate([A_SS.ravel(), E_SV.ravel()]),
            vocab_size=E_SV.shape[1],
            facts={"hidden_states": len(A_SS)},
            entropy_rate=bounds.middle,
            row_entropy=float(known.sum() + n_late * bounds.middle) / data.seq_len,
            entropy_bounds=(bounds.lower, bounds.upper),
        )


@functools.lru_cache(maxsize=4)
def _world(source: HMM, seed: int) -> tuple[np.ndarray, np.ndarray, Walk, Bounds]:
    A_SS, E_SV = _matrices(source, seed)
    S, V = E_SV.shape
    p_SO = (A_SS[:, :, None] * E_SV[None]).reshape(S, S * V)
    edge = np.broadcast_to(np.arange(S * V), p_SO.shape)
    start_S = stationary(A_SS, 1)
    walk = Walk.build(p_SO, edge // V, edge % V, start_S)
    bounds = enumerated_bounds(A_SS, E_SV, start_S)
    if bounds.upper - bounds.lower > _TOLERANCE:
        sampled = sampled_bounds(A_SS, E_SV, start_S, key_of("hmm bounds", seed))
        if sampled.upper - sampled.lower < bounds.upper - bounds.lower:
            bounds = sampled
    return A_SS, E_SV, walk, bounds


def _matrices(source: HMM, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if source.process == "mess3":
        stay, own = 0.9, 0.85
        eye = np.eye(3)
        return stay * eye + 0.05 * (1 - eye), own * eye + (1 - own) / 2 * (1 - eye)
    S, V, alpha = source.n_states, source.vocab_size, source.concentration
    rng = np.random.default_rng(key_of("hmm", S, V, alpha, seed))
    return random_rows(rng, (S, S), alpha, _FLOOR), random_rows(rng, (S, V), alpha, _FLOOR)


def enumerated_bounds(A_SS: np.ndarray, E_SV: np.ndarray, start_S: np.ndarray) -> Bounds:
    """Exact bounds of the largest order n whose V^n sequences fit in memory."""
    S, V = E_SV.shape
    # p_NSS[x, s, s']: probability of the sequence x and the last state s', from the first state s.
    p_NSS = np.eye(S)[None]
    free, known = [0.0], [0.0]
    while p_NSS.size * V <= max(_ENUMERATION, S * S * V):
        moved = p_NSS @ A_SS
        p_NSS = (moved[:, None] * E_SV.T[None, :, None, :]).reshape(-1, S, S)
        p_NS = p_NSS.sum(axis=2)
        free.append(float(entropy(p_NS @ start_S)))
        known.append(float(start_S @ entropy(p_NS, axis=0)))
    conditional = np.diff(free)
    upper = float(conditional[-1])
    # Where the bounds meet, rounding may cross them.
    return Bounds(min(known[-1] - known[-2], upper), upper, conditional)


def sampled_bounds(A_SS: np.ndarray, E_SV: np.ndarray, start_S: np.ndarray, seed: int) -> Bounds:
    """Both sides of the theorem along sampled sequences, widened by four standard errors.

    After every symbol the forward filter knows the next one's exact distribution; its entropy,
    averaged over sequences, estimates the two conditional entropies without bias.
    """
    rng = np.random.default_rng(seed)
    R, S = _N_SEQUENCES, len(A_SS)
    A_cdf, E_cdf = np.cumsum(A_SS, axis=1), np.cumsum(E_SV, axis=1)
    state = _draw(np.cumsum(start_S)[None].repeat(R, axis=0), rng)
    beliefs = {"free": np.tile(start_S, (R, 1)), "known": np.eye(S)[state]}
    totals, conditional = {"free": np.zeros(R), "known": np.zeros(R)}, []
    for t in range(_BURN_IN + _N_STEPS):
        state = _draw(A_cdf[state], rng)
        symbol = _draw(E_cdf[state], rng)
        for side, belief in beliefs.items():
            predicted = belief @ A_SS
            nats = entropy(predicted @ E_SV)
            if side == "free":
                conditional.append(nats.mean())
            if t >= _BURN_IN:
                totals[side] += nats / _N_STEPS
            joint = predicted * E_SV[:, symbol].T
            beliefs[side] = joint / joint.sum(axis=1, keepdims=True)
    error = {side: _SIGMAS * total.std(ddof=1) / R**0.5 for side, total in totals.items()}
    lower = float(totals["known"].mean() - error["known"])
    upper = float(totals["free"].mean() + error["free"])
    return Bounds(lower, upper, np.array(conditional[:_BURN_IN]))


def _draw(cdf_RN: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    u = rng.random((len(cdf_RN), 1))
    return np.minimum((cdf_RN <= u).sum(axis=1), cdf_RN.shape[1] - 1)
