"""Repeat world asked: is the block copied, and which heads look back at what came next?"""

import dataclasses

import numpy as np

from scaling.config import option
from scaling.data.hashing import bits, key_of
from scaling.data.worlds.repeats import RepeatsWorld
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.metrics import answer_metrics, choice_metrics
from scaling.probes.result import Cell, ProbeResult, make_cell
from scaling.probes.scorer import ScoredModel


@dataclasses.dataclass(frozen=True)
class RepeatsProbe:
    """Blocks of one length, shown once and begun again.

    Groups: "first" (the last symbol of the first showing: nothing to know), "copy" (every symbol of
    the second showing but its first), "block" (all of them right). For models that show their
    attention also one group a head with its prefix-matching score: the mean attention from symbols
    of the second showing to the place after their first occurrence (Olsson et al. 2022).
    """

    n_items: int = option(512, "documents", low=1, high=1_000_000)
    length: int = option(8, "symbols in a block", low=2)

    def check(self, target: Target) -> None:
        """Raises UserError when two showings do not fit."""
        target.world("repeats", "repeats")
        if 2 * self.length + 1 > target.seq_len:
            raise UserError(
                f"probe repeats: length={self.length} twice does not fit data.seq_len="
                f"{target.seq_len}"
            )

    def __call__(self, model: ScoredModel, key: int) -> ProbeResult:
        world: RepeatsWorld = model.target.world("repeats", "repeats")
        rows = self.rows(world, key)
        logp_NAV = model.next_token(rows[:, :-1], np.tile(self._places(), (len(rows), 1)))
        gold_NA = rows[:, self._places() + 1]
        groups = [
            _symbols(world, "first", logp_NAV[:, :1], gold_NA[:, :1], 1 / world.options.n_symbols),
            _symbols(world, "copy", logp_NAV[:, 1:], gold_NA[:, 1:], 1.0),
            _block(world, logp_NAV[:, 1:], gold_NA[:, 1:]),
        ]
        return ProbeResult((*groups, *self._heads(model, rows)))

    def rows(self, world: RepeatsWorld, key: int) -> np.ndarray:
        """(N, 2 L + 2) tokens: BOS, block, SEP, block."""
        draws = bits(key_of("repeats", key), np.arange(self.n_items), self.length)
        symbols = (draws >> np.uint64(33)) % np.uint64(world.options.n_symbols)
        lengths = np.full(self.n_items, self.length)
        whole = dataclasses.replace(world, seq_len=2 * self.length + 1)
        return whole.compose(lengths, symbols.T.astype(np.int64))

    def _places(self) -> np.ndarray:
        """Where symbols are predicted from: the first showing's last, the second's after the
        first."""
        L = self.length
        return np.array([L - 1, *range(L + 2, 2 * L + 1)])

    def _heads(self, model: ScoredModel, rows: np.ndarray) -> list[Cell]:
        weights = model.attention_to(rows, *self._matches())
        if weights is None:
            return []
        n_layers, n_heads = weights.shape[:2]
        return [
            make_cell(
                {"condition": "head", "layer": layer, "head": head},
                {"prefix_matching": weights[layer, head]},
                ceiling_of="prefix_matching",
            )
            for layer in range(n_layers)
            for head in range(n_heads)
        ]

    def _matches(self) -> tuple[np.ndarray, np.ndarray]:
        """(queries, keys): symbol i of the second showing, and the place after its first."""
        queries = np.arange(self.length + 2, 2 * self.length + 1)
        return queries, queries - self.length


def _symbols(
    world: RepeatsWorld, condition: str, logp_NAV: np.ndarray, gold_NA: np.ndarray, ceiling: float
) -> Cell:
    V, gold = world.options.n_symbols, gold_NA.reshape(-1)
    flat = logp_NAV.reshape(len(gold), -1)
    values = choice_metrics(flat[:, :V], gold)
    values |= _answers(flat[:, None], gold[:, None])
    return make_cell({"condition": condition}, values, chance=1 / V, ceiling=ceiling)


def _block(world: RepeatsWorld, logp_NAV: np.ndarray, gold_NA: np.ndarray) -> Cell:
    return make_cell(
        {"condition": "block"},
        _answers(logp_NAV, gold_NA),
        chance=world.options.n_symbols ** -float(gold_NA.shape[1]),
        ceiling=1.0,
        ceiling_of="exact_match",
    )


def _answers(logp_NAV: np.ndarray, gold_NA: np.ndarray) -> dict[str, np.ndarray]:
    right = np.take_along_axis(logp_NAV, gold_NA[..., None], axis=2)[..., 0]
    return answer_metrics(right, logp_NAV.argmax(axis=2), gold_NA)
