"""`Emergence`: what an analysis of one ability found, as frozen facts and as JSON."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scaling.files import dump
from scaling.outputs import write_output

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
class Break:
    """A smoothly broken power law against an unbroken one, on an error that falls with scale.

    `statistic`: the likelihood ratio; `p_value` from a parametric bootstrap under the smooth law;
    `d_aicc`: AICc(smooth) - AICc(broken), positive favours the break, None with too few scales.
    `place`: x of the break; slopes are those of ln(error - E) in ln(x). `bends`: the break is
    significant and improvement accelerates there."""

    metric: str
    statistic: float
    p_value: float
    d_aicc: float | None
    place: float
    slope_before: float
    slope_after: float
    bends: bool


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
    """One ability, one curve. `verdict` is one of VERDICTS; `explanation` says it in a sentence."""

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
        return _describe(self)


VERDICTS = {
    "none": "never significantly above chance",
    "smooth": "above chance, and one smooth law describes the rise",
    "mirage": "the metric bends, the continuous one does not and predicts it",
    "break": "the metric and its continuous counterpart bend",
    "bends": "the metric bends; without a continuous metric an artefact cannot be told apart",
    "undecided": "the metric bends, the continuous one does not, nor does it predict the metric",
    "untested": "too few scales, no items counted or no chance level: no test of a break",
}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _span(ends: Span | None) -> str:
    if ends is None:
        return ""
    low, high = ("" if e is None else f"{e:.4g}" for e in ends)
    return f"[{low or '< smallest'}, {high or 'unbounded'}]"


def _describe(found: Emergence) -> str:
    """The result as a table for people."""
    lines = [
        f"{found.title}: {found.metric} against {found.x}   {found.n_runs} runs, "
        f"{len(found.levels)} scales",
        f"verdict {found.verdict}: {found.explanation}",
        "",
        f"{found.x:>12}{'mean':>10}{'runs':>6}{'items':>9}   95 % interval        above chance",
    ]
    for level in found.levels:
        items = "" if level.n_items is None else f"{level.n_items:.0f}"
        above = "" if level.above is None else ("yes" if level.above else "no")
        lines.append(
            f"{level.x:>12.4g}{level.mean:>10.4g}{level.n_runs:>6}{items:>9}   "
            f"{_span(level.ci):<21}{above}"
        )
    lines.append("")
    if found.onset:
        o = found.onset
        lines.append(f"onset {o.x:.4g}   95 % {_span((o.low, o.high))}   above {o.reference:.4g}")
    for name, score in found.scores.items():
        lines.append(f"{name} {score.value:.3g}   95 % {_span(score.ci95)}")
    for name, b in found.breaks.items():
        lines.append(
            f"break of {name}: p = {b.p_value:.3g} at {b.place:.3g}, slope {b.slope_before:.2f} "
            f"-> {b.slope_after:.2f}{'  bends' if b.bends else ''}"
        )
    if found.mirage:
        m = found.mirage
        lines.append(f"predicted by {m.source}: R² {m.r2:.3f}, largest gap {m.largest_gap:.3f}")
    if found.loss_threshold:
        t = found.loss_threshold
        lines.append(f"loss threshold {t.threshold:.4g}   95 % {_span(t.ci95)}")
    return "\n".join([*lines, *(f"warning: {w}" for w in found.warnings)])
