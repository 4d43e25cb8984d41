"""Random walks over weighted edges: the engine of the synthetic sources.

A walk is in one of S states. Each step draws one of O edges with probability p_SO, which says the
next state and the symbol it emits. Shapes: R rows at once, T predictions a row.
"""

import dataclasses

import numpy as np

from scaling.config import DataConfig
from scaling.data.source import OpenSource
from scaling.data.worlds.episodes import open_episodes

MAX_EDGES = 1 << 22
"""Largest S * O: 64 MB of tables."""
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclasses.dataclass(frozen=True)
class Walk:
    """Tables of the alias method (Walker 1977): one draw is two look-ups, whatever O.

    Flat (S * O,) arrays: `keep` the share of 2^32 in which a column keeps its own edge, `other` the
    edge (flat number) it gives the rest to, `next_state`, `symbol`. start: tables of the first
    state as a walk with one state, or None.
    """

    n_edges: int
    keep: np.ndarray
    other: np.ndarray
    next_state: np.ndarray
    symbol: np.ndarray
    start: "Walk | None" = None

    @classmethod
    def build(
        cls, p_SO: np.ndarray, next_state_SO: np.ndarray, symbol_SO: np.ndarray, start_S: np.ndarray
    ) -> "Walk":
        """From probabilities whose rows sum to 1; `start_S` is that of the first state."""
        states = np.arange(len(start_S))[None, :]
        first = cls(len(start_S), *alias_tables(start_S[None, :]), *_flat(states, states))
        tables = alias_tables(p_SO)
        return cls(p_SO.shape[1], *tables, *_flat(next_state_SO, symbol_SO), start=first)

    def rows(self, bits_NR: np.ndarray) -> np.ndarray:
        """(R, N - 1) int32 symbols: one draw of 64 bits for the first state, then one a step."""
        n, n_rows = bits_NR.shape
        first = self.start
        state = first._edge(np.zeros(n_rows, np.int64), *first._columns(bits_NR[0]))
        # All that does not depend on the state, for all steps at once.
        columns_NR, shares_NR = self._columns(bits_NR[1:])
        out = np.empty((n - 1, n_rows), np.int32)
        for symbols, column, share in zip(out, columns_NR, shares_NR, strict=True):
            edge = self._edge(state, column, share)
            symbols[:] = self.symbol[edge]
            state = self.next_state[edge]
        return np.ascontiguousarray(out.T)

    def _columns(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = ((bits >> _SHIFT) * np.uint64(self.n_edges)) >> _SHIFT
        return columns.astype(np.int64), bits & _LOW

    def _edge(self, state_R: np.ndarray, column_R: np.ndarray, share_R: np.ndarray) -> np.ndarray:
        edge = state_R * self.n_edges + column_R
        return np.where(share_R < self.keep[edge], edge, self.other[edge])


def _flat(next_state: np.ndarray, symbol: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return next_state.astype(np.int64).ravel(), symbol.astype(np.int32).ravel()


def alias_tables(p_SO: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(keep, other) of `Walk` for every row at once.

    Columns in order of weight, lightest first: the lightest open column is filled up by the
    heaviest one, and closed; a heaviest column that falls below its share is the next to close.
    """
    S, O = p_SO.shape
    order = np.argsort(p_SO, axis=1, kind="stable")
    weight = np.take_along_axis(p_SO, order, axis=1) * O
    keep, other = np.ones((S, O)), np.tile(np.arange(O), (S, 1))
    row = np.arange(S)
    current, light, heavy = np.zeros(S, int), np.ones(S, int), np.full(S, O - 1)
    for _ in range(O - 1):
        keep[row, current] = weight[row, current]
        other[row, current] = heavy
        weight[row, heavy] -= 1.0 - weight[row, current]
        falls = weight[row, heavy] < 1.0
        current = np.where(falls, heavy, light)
        heavy, light = heavy - falls, light + ~falls
    share, target = np.empty((S, O)), np.empty((S, O), np.int64)
    np.put_along_axis(share, order, keep, axis=1)
    np.put_along_axis(target, order, np.take_along_axis(order, other, axis=1), axis=1)
    flat = (target + row[:, None] * O).ravel()
    return np.round(np.clip(share, 0, 1) * 2**32).astype(np.uint64).ravel(), flat


def random_rows(rng: np.random.Generator, shape: tuple[int, int], alpha: float, floor: float):
    """Dirichlet(alpha) rows, with `floor` of the mass spread evenly so that every walk mixes."""
    p = rng.dirichlet(np.full(shape[1], alpha), size=shape[0])
    return (1.0 - floor) * p + floor / shape[1]


def open_walk(
    data: DataConfig,
    seed: int,
    walk: Walk,
    world: np.ndarray,
    *,
    vocab_size: int,
    facts: dict,
    entropy_rate: float,
    row_entropy: float,
    entropy_bounds: tuple[float, float],
) -> OpenSource:
    """Rows that walk: T + 1 symbols after the draw of the first state. See `open_episodes`."""
    return open_episodes(
        data,
        seed,
        walk.rows,
        data.seq_len + 2,
        world,
        vocab_size=vocab_size,
        facts=facts,
        entropy_rate=entropy_rate,
        row_entropy=row_entropy,
        entropy_bounds=entropy_bounds,
    )
