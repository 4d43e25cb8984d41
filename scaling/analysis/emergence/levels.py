"""Runs gathered by scale, with intervals over items and over runs.

Legend: R rows (a run under one condition), L levels (distinct scales, rising), B resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from scaling.analysis.emergence.metric import item_counts, kind_of_metric, named_share
from scaling.analysis.emergence.result import Level, Span
from scaling.analysis.intervals import t_quantile
from scaling.analysis.tables.choose import require
from scaling.errors import UserError

_Z = 1.959964
_MOST_LEVELS = 24  # distinct scales beyond which they are binned
_BINS = 12
_SAME_SCALE = 1e-3  # relative: scales this close are one level


@dataclass(frozen=True)
class Points:
    """One metric of R rows in order of scale: float64 [R] each. `n` is NaN where items are not
    counted, `variance` that of one item (NaN where unknown); `level` int [R] numbers the scales
    from 0. `falling`: scale grows as x falls (x is a loss), and the rows run from high x to low."""

    metric: str
    proportion: bool
    falling: bool
    x: np.ndarray
    y: np.ndarray
    n: np.ndarray
    variance: np.ndarray
    level: np.ndarray
    run_ids: tuple[str, ...]
    rows: np.ndarray  # where each came from in the table
    said: tuple[str, ...] = ()  # what was found out about the metric and its items

    @property
    def n_levels(self) -> int:
        return int(self.level[-1]) + 1

    @property
    def starts(self) -> np.ndarray:
        """Index of the first row of each level, for np.add.reduceat."""
        return np.searchsorted(self.level, np.arange(self.n_levels))

    @property
    def weight(self) -> np.ndarray:
        """Items where all rows count them, else 1 a run."""
        return self.n if np.isfinite(self.n).all() else np.ones_like(self.y)


def is_proportion(metric: str, values: np.ndarray) -> bool:
    """Whether the metric bears the name of a share of right items, and all lie within [0, 1]."""
    return named_share(metric) and bool(((values >= 0) & (values <= 1)).all())


def wilson(successes: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a proportion, low and high [...]. Wilson 1927 (JASA 22, 209)."""
    p, z2 = successes / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = np.where(successes <= 0, 0.0, np.maximum(middle - half, 0))
    return low, np.where(successes >= n, 1.0, np.minimum(middle + half, 1))


def _edges(
    log_x: np.ndarray, bins: int | Sequence[float] | None, falling: bool
) -> np.ndarray | None:
    """Inner edges of the bins in ln scale, or None for one level a distinct scale."""
    if bins is None:
        distinct = 1 + int((np.diff(np.sort(log_x)) > _SAME_SCALE).sum())
        if distinct <= _MOST_LEVELS:
            return None
        bins = _BINS
    if isinstance(bins, int):
        if bins < 2:
            raise UserError(f"{bins} bins: ask for 2 or more")
        return np.linspace(log_x.min(), log_x.max(), bins + 1)[1:-1]
    edges = np.asarray(bins, np.float64)
    if len(edges) < 1 or not (edges > 0).all() or (np.diff(edges) <= 0).any():
        raise UserError(f"bin edges must be positive and rising, not {list(bins)}")
    return -np.log(edges)[::-1] if falling else np.log(edges)


def is_loss(x: str) -> bool:
    """Whether models get better as this column falls."""
    return x == "loss" or x.endswith("_loss")


def points(
    table: pd.DataFrame,
    metric: str,
    x: str,
    *,
    n_items: float | None = None,
    bins: int | Sequence[float] | None = None,
) -> Points:
    """The finite values of `metric` against `x`. Items come from `METRIC_n`, `n_items` (argument),
    the column n_items, or standard errors (`METRIC_stderr`). Raises UserError when a column or
    every value is missing, x is not positive, or the metric looks like per cent."""
    require(table, [x, metric])
    at, y = (pd.to_numeric(table[c], errors="coerce").to_numpy(np.float64) for c in (x, metric))
    n, counted = item_counts(table, metric, n_items)
    keep = np.isfinite(at) & np.isfinite(y)
    if not keep.any():
        hint = table.attrs.get("hint")
        raise UserError(f"no row has both {x} and {metric}" + (f"; {hint}" if hint else ""))
    if (at[keep] <= 0).any():
        raise UserError(f"column {x!r}: {at[keep].min():g} is not a positive scale")
    n = np.where(n > 0, n, np.nan)
    stated = metric in table.attrs.get("units", ())
    kind = kind_of_metric(metric, y[keep], n[keep], doubted=not stated)
    proportion = kind.share
    variance = np.full(len(y), np.nan)
    if proportion:
        variance = y * (1 - y)
    elif f"{metric}_sum_sq" in table:
        squares = pd.to_numeric(table[f"{metric}_sum_sq"], errors="coerce").to_numpy(np.float64)
        variance = np.maximum(squares / n - y**2, 0) * n / np.maximum(n - 1, 1)
    falling = is_loss(x)
    index = np.flatnonzero(keep)
    index = index[np.argsort(-at[index] if falling else at[index], kind="stable")]
    log_scale = np.log(at[index]) * (-1 if falling else 1)
    edges = _edges(log_scale, bins, falling)
    if edges is None:
        level = np.concatenate([[0], np.cumsum(np.diff(log_scale) > _SAME_SCALE)])
    else:
        level = np.unique(np.searchsorted(edges, log_scale, side="right"), return_inverse=True)[1]
    names = table["run_id"].to_numpy() if "run_id" in table else np.arange(len(y)) + 1
    ids = tuple(map(str, names[index]))
    return Points(
        metric,
        proportion,
        falling,
        at[index],
        y[index],
        n[index],
        variance[index],
        level,
        ids,
        index,
        (*filter(None, (counted, kind.said)), *_left_out(table, x, y, at)),
    )


def _left_out(table: pd.DataFrame, x: str, y: np.ndarray, at: np.ndarray) -> list[str]:
    """Rows that were measured and have no place on the axis."""
    nowhere = np.isfinite(y) & ~np.isfinite(at)
    if not nowhere.any():
        return []
    names = table["run_id"].to_numpy()[nowhere] if "run_id" in table else nowhere.nonzero()[0] + 1
    shown = ", ".join(map(str, pd.unique(names)[:3]))
    return [f"{nowhere.sum()} of {np.isfinite(y).sum()} rows have no {x} and are left out: {shown}"]


def level_means(p: Points, y: np.ndarray | None = None) -> np.ndarray:
    """Mean of each level [..., L], rows weighted by their items."""
    y = p.y if y is None else y
    w = np.broadcast_to(p.weight, y.shape)
    return np.add.reduceat(w * y, p.starts, -1) / np.add.reduceat(w, p.starts, -1)


def dispersion(p: Points, y: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """[..., L] each: Pearson's chi-squared between the runs of a level over its degrees of freedom
    (NaN for a single run); and the p-value of "runs differ by no more than their items", the
    smaller one of this level's own and that of all scales up to it (1 without repeated runs)."""
    y = p.y if y is None else y
    mean = level_means(p, y)
    dof = np.diff(np.append(p.starts, len(p.y))) - 1
    per_item = mean * (1 - mean) if p.proportion else level_means(p, np.nan_to_num(p.variance))
    item = np.maximum(per_item, 1e-12)[..., p.level] / p.n
    chi2 = np.add.reduceat((y - mean[..., p.level]) ** 2 / item, p.starts, -1)
    chi2 = np.where(np.isfinite(chi2) & (dof > 0), chi2, 0.0)
    ratio = np.where(dof > 0, chi2 / np.maximum(dof, 1), np.nan)
    both = (dof, chi2), (np.cumsum(dof), np.cumsum(chi2, -1))
    tails = [np.where(d > 0, special.chdtrc(np.maximum(d, 1), c), 1.0) for d, c in both]
    return np.where(np.isfinite(p.n).all(), ratio, np.nan), np.minimum(*tails)


def make_levels(p: Points) -> tuple[Level, ...]:
    """One `Level` a scale, without significance."""
    mean, ratio = level_means(p), dispersion(p)[0]
    ends = np.append(p.starts, len(p.y))
    return tuple(
        _level(p, slice(ends[k], ends[k + 1]), float(mean[k]), float(ratio[k]))
        for k in range(p.n_levels)
    )


def _level(p: Points, rows: slice, mean: float, ratio: float) -> Level:
    y, n = p.y[rows], p.n[rows]
    total = float(n.sum()) if np.isfinite(n).all() else None
    item_se = seed_se = None
    item_ci = seed_ci = None
    if total is not None and p.proportion:
        item_ci = tuple(float(v) for v in wilson(np.array(mean * total), np.array(total)))
        smooth = (mean * total + 1) / (total + 2)  # a level without successes is not certain
        item_se = float(np.sqrt(smooth * (1 - smooth) / total))
    elif total is not None and np.isfinite(p.variance[rows]).all():
        item_se = float(np.sqrt(np.sum(n * p.variance[rows]))) / total
        item_ci = (mean - _Z * item_se, mean + _Z * item_se)
    if len(y) > 1:
        seed_se = float(y.std(ddof=1) / np.sqrt(len(y)))
        seed_ci = _seed_interval(p.metric, y, float(y.mean()), seed_se)
    known = [v for v in (item_se, seed_se) if v]
    return Level(
        x=float(np.exp(np.log(p.x[rows]).mean())),
        mean=mean,
        n_runs=len(y),
        n_items=total,
        item_ci=item_ci,
        seed_ci=seed_ci,
        se=max(known) if known else None,
        dispersion=ratio if np.isfinite(ratio) else None,
        values=tuple(y.tolist()),
        run_ids=p.run_ids[rows],
    )


def _seed_interval(metric: str, y: np.ndarray, mean: float, se: float) -> Span:
    """Student's t over the runs, on the scale where the metric has no end: the logit of a share,
    the logarithm of a log-probability (delta method). Few runs of a share near 0 or 1 then have
    intervals that stay inside, and whose length says how few they are."""
    half = t_quantile(0.975, len(y) - 1) * se
    if half == 0:
        return mean, mean
    if is_share(metric, y) and 0 < mean < 1:
        ends = special.logit(mean) + np.array([-half, half]) / (mean * (1 - mean))
        low, high = special.expit(ends)
    elif metric.startswith("logprob") and mean < 0:
        low, high = mean * np.exp(np.array([half, -half]) / -mean)
    else:
        low, high = mean - half, mean + half
    return float(low), float(high)


def is_share(metric: str, y: np.ndarray) -> bool:
    """Whether the metric cannot leave [0, 1]."""
    bounded = metric in ("p_right", "expected_exact_match") or is_proportion(metric, y)
    return bounded and bool(((y >= 0) & (y <= 1)).all())
