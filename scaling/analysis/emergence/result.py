"""`Emergence`: what an analysis of one ability found, as frozen facts and as JSON."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling.analysis.emergence import wording
from scaling.doors.files import dump
from scaling.doors.outputs import write_output

Span = tuple[float | None, float | None]  # the two ends of a 95 % interval; None: unbounded


@dataclass(frozen=True)
class Level:
    """All runs at one scale. `mean` weighs runs by their items where those are counted. `item_ci`
    is over items (Wilson 1927 for proportions, normal otherwise), `seed_ci` over runs (Student's
    t of the runs' means, for shares on the logit scale); None where it cannot be computed. `se` is
    the larger standard error.
    `dispersion`: variance between runs over what their items alone would give (None: one run)."""

    x: float
    mean: float
    n_runs: int
    n_items: float | None
    item_ci: Span | None
    seed_ci: Span | None
    se: float | None
    dispersion: float | None
    values: tuple[float, ...]
    run_ids: tuple[str, ...]
    p_above: float | None = None  # one-sided p against the reference, not yet corrected
    above: bool | None = None  # significant after Holm's correction over all levels

    @property
    def ci(self) -> Span | None:
        """The wider of the two intervals."""
        spans = [s for s in (self.item_ci, self.seed_ci) if s is not None]
        return max(spans, key=lambda s: s[1] - s[0]) if spans else None


@dataclass(frozen=True)
class Onset:
    """The smallest scale `x` at which the ability is significantly above `reference` (what was
    asked for, or the larger of chance and one item in n). The true onset lies in (`low`, `high`]
    with 95 % confidence: low is the scale below the earliest plausible onset, None when that is
    the smallest one measured; high None means that the data do not bound it. `share`: resamples
    that had an onset at all. `stays`: every larger scale is significant too."""

    x: float
    low: float | None
    high: float | None
    reference: float
    share: float
    stays: bool


@dataclass(frozen=True)
class Score:
    """A curve score and its bootstrap interval over items and runs."""

    value: float
    ci95: Span | None


@dataclass(frozen=True)
class Family:
    """One smooth family against changes within a step: `p_value` from a parametric bootstrap under
    the family; `aicc` (None with too few scales) of its variant with `n_params` parameters, in
    which the levels `fixed` ({"start": chance, "end": ceiling}) were not fitted. `has_width`:
    it has two ends, so that the middle 80 % of its rise have a width."""

    name: str
    formula: str
    p_value: float
    aicc: float | None
    n_params: int
    fixed: Mapping[str, float]
    has_width: bool
    rejected: bool


@dataclass(frozen=True)
class Break:
    """Smooth families whose middle 80 % take at least `smooth_width` decades of x, each against
    changes within one step of the scales.

    `suffices`: the family with the least AICc of those not rejected at .05, None where all are:
    then `bends`, and `p_value`, the largest of theirs, is below .05. `picks_up`: those whose gain
    never grows (a straight line in ln x, a saturating power law) are rejected. `change`: the best
    abrupt shape, at x = `place`. `width`: decades from 10 to 90 % of the rise of the best sigmoid
    of any width; an end of its interval is None where the data do not bound it: a jump within one
    step (below), a rise without ends (above). `curve`: (x, value) of the family that suffices, of
    the one with the least AICc where none does."""

    metric: str
    smooth_width: float
    families: tuple[Family, ...]
    suffices: str | None
    p_value: float
    change: str
    change_aicc: float | None
    place: float
    width: float
    width_ci95: Span
    picks_up: bool
    bends: bool
    curve: tuple[tuple[float, float], ...]

    @property
    def may_jump(self) -> bool:
        """Whether a jump within one step of the scales fits no worse than the best sigmoid."""
        return self.width_ci95[0] is None


@dataclass(frozen=True)
class Mirage:
    """Does the per-token probability alone predict the exact match (Schaeffer et al. 2023)?

    `source`: "expected_exact_match" (recorded item by item) or "p^L" with `answer_tokens` L, given
    or fitted. `predicted` [levels]; `r2` about the mean; `largest_gap` in units of the metric."""

    source: str
    answer_tokens: float | None
    fitted_length: bool
    predicted: tuple[float, ...]
    r2: float
    largest_gap: float
    explained: bool


@dataclass(frozen=True)
class LossThreshold:
    """Du et al. 2024 (arXiv:2403.15796): at chance above a loss, better below it.

    value = floor + slope max(0, threshold - loss). `rms`: error of the best monotone curve against
    each axis; the axis with the least is the one on which all runs fall on one curve."""

    threshold: float
    ci95: Span
    slope: float
    floor: float
    rms: Mapping[str, float]
    points: tuple[tuple[float, float], ...]  # (loss, value) of every run


@dataclass(frozen=True)
class Emergence:
    """One ability, one curve. `verdict` is one of `wording.VERDICTS`; `explanation` says it in a
    sentence."""

    metric: str
    x: str
    title: str
    where: tuple[str, ...]
    n_runs: int
    chance: float | None
    ceiling: float | None
    resolution: float | None  # 1/n: the least that one run can show
    alpha: float
    levels: tuple[Level, ...]
    onset: Onset | None
    scores: Mapping[str, Score]
    breaks: Mapping[str, Break]
    continuous: str | None
    continuous_levels: tuple[Level, ...]
    mirage: Mirage | None
    loss_threshold: LossThreshold | None
    verdict: str
    explanation: str
    warnings: tuple[str, ...] = ()
    seed: int = 42
    schema_version: int = field(default=1)

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """As JSON text (what is not finite becomes null), also written to `path` atomically.
        Raises UserError when it cannot be written."""
        text = dump(_plain(dataclasses.asdict(self)))
        if path is not None:
            write_output(path, text + "\n", "--json")
        return text

    def __str__(self) -> str:
        return wording.describe(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
