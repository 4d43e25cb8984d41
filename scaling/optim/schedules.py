"""Learning rates of a whole run, computed on the host before it starts.

The array is an input of the training step, so a schedule never causes a compilation. Step k is
0-based. Warm-up rises linearly and reaches the peak at its last step; no step is trained at rate
zero on the way up. A schedule that comes down reaches `final` at the run's last step (with
`final` 0 that step therefore changes nothing).

A schedule is a frozen dataclass with `curve(n, final, warmup, length)`: the multiples of the peak
for the `n` steps after `warmup` steps, where `length(duration, name)` turns an option of the
schedule into steps.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from scaling.config import OptimConfig, RunConfig, option
from scaling.doors.limits import memory_bytes, refuse_beyond
from scaling.durations import Duration, Rates
from scaling.errors import UserError

# Of every step while the array is made: two halves, both joined, times the peak, as float32.
_BYTES_A_STEP = 8 + 8 + 8 + 4
_SHARE_OF_MEMORY = 0.25

Length = Callable[[Duration, str], int]


def learning_rates(optim: OptimConfig, total_steps: int, rates: Rates) -> np.ndarray:
    """Learning rate of every step, float32 of shape [total_steps]. Raises UserError as `check`."""
    check(optim, total_steps, rates)
    schedule, length = optim.schedule, _length(total_steps, rates)
    warmup = _warmup(optim, total_steps, rates)
    rise = np.arange(1, warmup + 1) / max(warmup, 1)
    rest = schedule.options.curve(total_steps - warmup, schedule.final, warmup, length)
    return (optim.peak_lr * np.concatenate([rise, rest])).astype(np.float32)


def dials(config: RunConfig, total_steps: int, rates: Rates) -> dict[str, np.ndarray]:
    """Everything that changes from step to step, by name, each float32 [total_steps]: the learning
    rate "lr" and the objective's own. Raises UserError as `check`."""
    out = {"lr": learning_rates(config.optim, total_steps, rates)}
    shares = np.arange(total_steps) / max(total_steps - 1, 1)
    own = config.objective.options.dials(shares)
    return out | {name: values.astype(np.float32) for name, values in own.items()}


def check(optim: OptimConfig, total_steps: int, rates: Rates) -> None:
    """Raises UserError when warm-up, or warm-up and decay together, do not fit into the run, and
    when the rates of so many steps do not fit into memory. Makes none of them."""
    warmup = _warmup(optim, total_steps, rates)
    if warmup > total_steps:
        raise UserError(
            f"optim.schedule.warmup='{optim.schedule.warmup}' is {warmup} steps, but the run has "
            f"{total_steps}; shorten it or write it as a share such as '2%'"
        )
    optim.schedule.options.check(total_steps - warmup, warmup, _length(total_steps, rates))
    refuse_beyond(
        memory_bytes() * _SHARE_OF_MEMORY,
        _BYTES_A_STEP * total_steps,
        f"train.duration: a run of {total_steps:,} steps",
        "for its learning rates, a quarter of the memory here at most",
    )


def _warmup(optim: OptimConfig, total_steps: int, rates: Rates) -> int:
    return optim.schedule.warmup.steps(rates, total_steps, field="optim.schedule.warmup")


def branch_step(optim: OptimConfig, total_steps: int, rates: Rates) -> int:
    """First step of a WSD schedule's decay: up to here runs of any length share their trunk.

    Raises UserError when the schedule has no such trunk.
    """
    schedule = optim.schedule
    if schedule.name != "wsd":
        raise UserError(
            f"optim.schedule.name={schedule.name!r}: runs of different length share a trunk only "
            "with 'wsd'"
        )
    if schedule.warmup.unit == "%" and schedule.warmup.value:
        raise UserError(
            f"optim.schedule.warmup='{schedule.warmup}' depends on the length of the run, so "
            "branches have no common trunk; give it in steps or tokens"
        )
    return total_steps - _length(total_steps, rates)(schedule.options.decay, "wsd.decay")


def _length(total_steps: int, rates: Rates) -> Length:
    return lambda d, name: d.steps(rates, total_steps, field=f"optim.schedule.{name}")


def _progress(n: int) -> np.ndarray:
    """1/n, 2/n, ..., 1: how much of a decay over n steps is done, counting the step itself."""
    return np.arange(1, n + 1) / max(n, 1)


# Share of the fall that is left at progress p; 1-sqrt: Hägele et al. 2024, arXiv 2405.18392.
_SHAPES = {
    "linear": lambda p: 1.0 - p,
    "cosine": lambda p: 0.5 * (1.0 + np.cos(np.pi * p)),
    "1-sqrt": lambda p: 1.0 - np.sqrt(p),
}


def _fall(shape: str, n: int, final: float) -> np.ndarray:
    curve = final + (1.0 - final) * _SHAPES[shape](_progress(n))
    # Rounding may leave the end a hair beside `final`.
    return np.clip(curve, final, 1.0)


class Schedule:
    """What all have: lengths that fit any run."""

    def check(self, n: int, warmup: int, length: Length) -> None:
        """Raises UserError when the schedule does not fit `n` steps after `warmup`."""


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The peak until the end; `final` has no say."""

    def curve(self, n: int, final: float, warmup: int, length: Length) -> np.ndarray:
        return np.ones(n)


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
    """Straight down to `final` (Bergsma et al. 2025, arXiv 2502.15938, favour final 0)."""

    def curve(self, n: int, final: float, warmup: int, length: Length) -> np.ndarray:
        return _fall("linear", n, final)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine down to `final` (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5).

    Its length must be the run's: Hoffmann et al. 2022 (arXiv 2203.15556, appendix B).
    """

    def curve(self, n: int, final: float, warmup: int, length: Length) -> np.ndarray:
        return _fall("cosine", n, final)


@dataclasses.dataclass(frozen=True)
class InverseSqrt(Schedule):
    """1 / sqrt(step), never below `final` (Vaswani et al. 2017, arXiv 1706.03762, eq. 3)."""

    timescale: Duration = option(
        Duration(0, "steps"), "steps t in sqrt(t / (t + steps after warm-up)); 0: the warm-up"
    )

    def curve(self, n: int, final: float, warmup: int, length: Length) -> np.ndarray:
        t = max(length(self.timescale, "inverse_sqrt.timescale") or warmup, 1)
        return np.maximum(np.sqrt(t / (t + np.arange(1, n + 1))), final)


@dataclasses.dataclass(frozen=True)
class WSD(Schedule):
    """Warm-up, stable, decay (Hu et al. 2024, arXiv 2404.06395, section 4.2).

    Before the decay nothing depends on the length of the run, so that one trunk can be continued
    or decayed from any point (unless the warm-up is a share of the run).
    """

    decay: Duration = option(Duration(20, "%"), "length of the decay at the end")
    shape: str = option("1-sqrt", "form of the decay", choices=("linear", "cosine", "1-sqrt"))

    def check(self, n: int, warmup: int, length: Length) -> None:
        decay = length(self.decay, "wsd.decay")
        if decay > n:
            raise UserError(
                f"optim.schedule.wsd.decay='{self.decay}' is {decay} steps after {warmup} of "
                f"warm-up, but the run has {n + warmup}; shorten one of them"
            )

    def curve(self, n: int, final: float, warmup: int, length: Length) -> np.ndarray:
        decay = length(self.decay, "wsd.decay")
        return np.concatenate([np.ones(n - decay), _fall(self.shape, decay, final)])
