"""Addition asked: pairs seen in training and pairs never seen, directly and with the working."""

import dataclasses

import numpy as np

from scaling.config import option
from scaling.data.hashing import bits, key_of
from scaling.data.worlds.arithmetic import ArithmeticWorld, pairs
from scaling.errors import UserError
from scaling.probes.base import Target, check_shots
from scaling.probes.metrics import answer_metrics
from scaling.probes.result import ProbeResult, make_cell
from scaling.probes.scorer import ScoredModel


@dataclasses.dataclass(frozen=True)
class ArithmeticProbe:
    """Groups by condition ("seen", "held_out"), method ("direct", "scratchpad") and shots.

    exact_match wants the answer and, with the scratchpad, the working too; tokens are predicted
    after the right ones, which for exact match is the same as a greedy continuation.
    """

    n_items: int = option(512, "problems of each condition", low=1, high=1_000_000)
    shots: tuple[int, ...] = option((0, 1), "worked examples before the problem")

    def check(self, target: Target) -> None:
        """Raises UserError when the problems do not fit the row."""
        world = target.world("arithmetic", "arithmetic")
        check_shots("arithmetic", self.shots)
        for shots in self.shots:
            if not shots < world.n_problems(True):
                raise UserError(
                    f"probe arithmetic: shots={shots} and a problem do not fit data.seq_len="
                    f"{target.seq_len}"
                )

    def __call__(self, model: ScoredModel, key: int) -> ProbeResult:
        world: ArithmeticWorld = model.target.world("arithmetic", "arithmetic")
        groups = []
        for condition in ("seen", "held_out"):
            for shots in self.shots:
                asked = self._pairs(world, condition, shots, key)
                for worked in (False, True):
                    groups.append(self._group(model, world, asked, condition, worked))
        return ProbeResult(tuple(groups))

    def _pairs(self, world: ArithmeticWorld, condition: str, shots: int, key: int) -> np.ndarray:
        """(N, shots + 1): examples that training may have shown, and the problem."""
        draws = bits(
            key_of("arithmetic", condition, shots, key), np.arange(self.n_items), shots + 1
        )
        known = pairs(world.digits, False)
        asked = known[(draws % np.uint64(len(known))).astype(np.int64)].T
        if condition == "held_out":
            never = pairs(world.digits, True)
            asked[:, -1] = never[(draws[-1] % np.uint64(len(never))).astype(np.int64)]
        return asked

    def _group(
        self,
        model: ScoredModel,
        world: ArithmeticWorld,
        asked: np.ndarray,
        condition: str,
        worked: bool,
    ):
        shots, length = asked.shape[1] - 1, world.length(worked)
        rows = world.compose(asked, worked)
        # After "a+b": '>' or '=' says the method and is given; then all up to the ';'.
        first = 1 + shots * length + 2 * world.digits + 1
        places = np.arange(first, (shots + 1) * length - 1)
        logp_NAV = model.next_token(rows[:, :-1], np.tile(places, (len(rows), 1)))
        gold_NA = rows[:, places + 1]
        right = np.take_along_axis(logp_NAV, gold_NA[..., None], axis=2)[..., 0]
        method = "scratchpad" if worked else "direct"
        return make_cell(
            {"condition": condition, "method": method, "shots": shots},
            answer_metrics(right, logp_NAV.argmax(axis=2), gold_NA),
            chance=10.0 ** -(world.digits + 1),
            ceiling=1.0,
            ceiling_of="exact_match",
        )
