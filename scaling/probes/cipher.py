"""Cipher world asked: recall of known ciphers against learning a fresh one from the prompt."""

import dataclasses

import numpy as np

from scaling.config import option
from scaling.data.hashing import key_of
from scaling.data.worlds.cipher import CONDITIONS, CipherWorld, Episodes
from scaling.errors import UserError
from scaling.probes.base import Target, check_shots
from scaling.probes.metrics import answer_metrics, choice_metrics
from scaling.probes.result import Cell, ProbeResult, make_cell
from scaling.probes.scorer import ScoredModel


@dataclasses.dataclass(frozen=True)
class CipherProbe:
    """Groups by condition, shots and queries.

    Conditions: "instructed" (a known cipher, named by its instruction; 0 shots is pure recall),
    "known" (shown by examples only) and "novel". `queries` = 1: one answer after `shots` examples,
    for every number in `shots`. `queries` > 1: the last so many answers of the row, all of them
    right or not.

    Ceilings are those of an observer who knows the condition, on the very items asked: the mean
    over items of the greatest probability that any answer has, given the shots.
    """

    n_items: int = option(1024, "documents of each condition", low=1, high=10_000_000)
    shots: tuple[int, ...] = option((0, 1, 2, 4, 8, 15), "numbers of examples before the query")
    queries: int = option(4, "answers of the exact-match groups", low=1, high=16)

    def check(self, target: Target) -> None:
        """Raises UserError when the run is of another world or its rows are too short."""
        world = target.world("cipher", "cipher")
        check_shots("cipher", self.shots)
        for shots in self.shots:
            if not shots < world.n_pairs:
                raise UserError(
                    f"probe cipher: shots={shots} and a query do not fit data.seq_len="
                    f"{target.seq_len}, which holds {world.n_pairs} pairs"
                )
        if self.queries > world.n_pairs:
            raise UserError(
                f"probe cipher: queries={self.queries} are more than the {world.n_pairs} pairs of "
                f"data.seq_len={target.seq_len}"
            )

    def __call__(self, model: ScoredModel, key: int) -> ProbeResult:
        world = model.target.world("cipher", "cipher")
        groups: list[Cell] = []
        for condition in CONDITIONS:
            items = world.episodes(condition, self.n_items, key_of("cipher", condition, key))
            logp_NAV = model.next_token(items.tokens[:, :-1], items.places)
            for shots in self.shots:
                groups.append(_one_query(world, condition, items, logp_NAV, shots))
            groups.append(_many_queries(world, condition, items, logp_NAV, self.queries))
        return ProbeResult(tuple(groups))


def _one_query(
    world: CipherWorld, condition: str, items: Episodes, logp_NAV: np.ndarray, shots: int
) -> Cell:
    V, gold = world.options.n_symbols, items.y[:, shots]
    at_NV = logp_NAV[:, shots]
    values = choice_metrics(at_NV[:, V : 2 * V], gold)
    values |= _answer_metrics(logp_NAV[:, shots : shots + 1], V + gold[:, None])
    return make_cell(
        {"condition": condition, "shots": shots, "queries": 1},
        values,
        chance=1 / V,
        ceiling=float(best_answer(world, condition, items, shots, 1).mean()),
    )


def _many_queries(
    world: CipherWorld, condition: str, items: Episodes, logp_NAV: np.ndarray, queries: int
) -> Cell:
    shots = world.n_pairs - queries
    answers = world.options.n_symbols + items.y[:, shots:]
    return make_cell(
        {"condition": condition, "shots": shots, "queries": queries},
        _answer_metrics(logp_NAV[:, shots:], answers),
        chance=world.options.n_symbols ** -float(queries),
        ceiling=float(best_answer(world, condition, items, shots, queries).mean()),
        ceiling_of="exact_match",
    )


def _answer_metrics(logp_NAV: np.ndarray, gold_NA: np.ndarray) -> dict[str, np.ndarray]:
    right = np.take_along_axis(logp_NAV, gold_NA[..., None], axis=2)[..., 0]
    return answer_metrics(right, logp_NAV.argmax(axis=2), gold_NA)


def best_answer(
    world: CipherWorld, condition: str, items: Episodes, shots: int, queries: int
) -> np.ndarray:
    """(R,): probability of the most likely answers given the condition and `shots` examples."""
    R = len(items.x)
    if condition == "instructed":
        return np.ones(R)
    seen = _is_in(items.x[:, :shots], world.options.n_symbols)
    asked = _is_in(items.x[:, shots : shots + queries], world.options.n_symbols)
    n_seen, n_open = seen.sum(axis=1), (asked & ~seen).sum(axis=1)
    if condition == "novel":
        # Every injective choice among the images left is as good as another.
        left = world.options.n_symbols - n_seen
        factors = [np.where(n_open > j, np.maximum(left - j, 1), 1) for j in range(queries)]
        return 1.0 / np.prod(factors, axis=0)
    x, y = items.x, items.y
    out = np.empty(R)
    for r in range(R):
        shown = x[r, :shots]
        fits = (world.table[:, shown] == y[r, :shots]).all(axis=1)
        answers = world.table[fits][:, x[r, shots : shots + queries]]
        codes = answers @ world.options.n_symbols ** np.arange(queries)
        mass = np.bincount(np.unique(codes, return_inverse=True)[1], weights=world.p_known[fits])
        out[r] = mass.max() / mass.sum()
    return out


def _is_in(x_RN: np.ndarray, V: int) -> np.ndarray:
    """(R, V): which symbols occur."""
    return (x_RN[:, :, None] == np.arange(V)).any(axis=1)
