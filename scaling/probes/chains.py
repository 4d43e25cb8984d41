"""In-context Markov chains asked: which of the three strategies is the model near?"""

import dataclasses

import numpy as np

from scaling.config import option
from scaling.data.hashing import bits, key_of
from scaling.errors import UserError
from scaling.probes.base import Target, check_shots
from scaling.probes.metrics import answer_metrics, choice_metrics
from scaling.probes.result import ProbeResult, make_cell
from scaling.probes.scorer import ScoredModel


@dataclasses.dataclass(frozen=True)
class ChainsProbe:
    """One group for each number of symbols seen (key "shots", as examples of the chain).

    Besides the usual metrics: kl_uniform, kl_unigram, kl_bigram, KL(strategy || model) in nats
    between what each strategy predicts and what the model does (Edelman et al. 2024, figure 2).
    The smallest says in which phase the model is; kl_bigram 0 is Bayes.
    """

    n_items: int = option(1024, "chains", low=1, high=1_000_000)
    shots: tuple[int, ...] = option((8, 32, 64), "symbols before the predicted one")

    def check(self, target: Target) -> None:
        """Raises UserError when shots do not fit the row."""
        target.world("chains", "chains")
        check_shots("chains", self.shots)
        for shots in self.shots:
            if not 1 <= shots <= target.seq_len:
                raise UserError(
                    f"probe chains: shots={shots} do not fit data.seq_len={target.seq_len}"
                )

    def __call__(self, model: ScoredModel, key: int) -> ProbeResult:
        world = model.target.world("chains", "chains")
        draws = bits(key_of("chains", key), np.arange(self.n_items), world.n_draws)
        rows = world.draw(draws)
        places = np.array(self.shots) - 1
        logp_NAV = model.next_token(rows[:, :-1], np.tile(places, (len(rows), 1)))
        bigram, unigram = world.bigram(rows[:, :-1]), world.unigram(rows[:, :-1])
        groups = []
        for a, place in enumerate(places):
            gold, logp = rows[:, place + 1].astype(np.int64), logp_NAV[:, a]
            values = choice_metrics(logp, gold)
            right = np.take_along_axis(logp, gold[:, None], axis=1)
            values |= answer_metrics(right, logp.argmax(axis=1)[:, None], gold[:, None])
            values["kl_uniform"] = _divergence(np.full_like(logp, 1 / world.n_symbols), logp)
            values["kl_unigram"] = _divergence(unigram[:, place], logp)
            values["kl_bigram"] = _divergence(bigram[:, place], logp)
            groups.append(
                make_cell(
                    {"condition": "chain", "shots": int(place + 1)},
                    values,
                    chance=1 / world.n_symbols,
                    ceiling=float(bigram[:, place].max(axis=1).mean()),
                )
            )
        return ProbeResult(tuple(groups))


def _divergence(p_NV: np.ndarray, logq_NV: np.ndarray) -> np.ndarray:
    return (p_NV * (np.log(p_NV) - logq_NV)).sum(axis=1)
