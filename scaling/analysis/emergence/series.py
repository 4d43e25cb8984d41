"""Means of the levels with their noise, as the tests of a break and the widths of a rise see them.

Shares that are counted are binomial, with as many items as they are worth: fewer than were asked
where runs of one scale differ by more than their items. Other means are normal. One run a scale
says nothing about the luck of its seed, so some is supposed: see `luck_width`.
"""

from dataclasses import dataclass

import numpy as np

from scaling.analysis.emergence.levels import Points, dispersion, is_share, level_means
from scaling.analysis.emergence.result import Level
from scaling.analysis.emergence.shapefit import Box

SMOOTH_WIDTH = 0.4  # decades of size, tokens or compute
SMOOTH_WIDTH_LOSS = 0.03  # decades of a loss: it falls with about the .07th power of size
_LUCK = 0.1  # the luck of one run in widths: .04 decades of size are .7 % of loss
_PRIOR = 4  # levels' own variances are drawn towards the common one as if it had 4 more runs each
_FALLING = ("brier", "edit_distance")
_NO_NOISE = 1e-9  # of the range: what rounding leaves over where no noise is known


@dataclass(frozen=True)
class Series:
    """L levels in order of scale. `u`: log10 of the scale, rising; `y`: means; `items`: what each
    is worth in counted items, or None; `se`: standard errors otherwise (ones where unknown, and
    then `floor` is about nought); `floor`: the least factor on variances; `luck`: standard
    deviation [L] of a level's place in u; `box`: least and most of a level; `better`: +1 where
    more is better; `width`: decades below which a rise is no longer smooth."""

    metric: str
    u: np.ndarray
    y: np.ndarray
    items: np.ndarray | None
    se: np.ndarray
    floor: float
    luck: np.ndarray
    box: Box
    better: float
    width: float
    falling: bool  # x = 10^-u

    def at(self, u):
        """The scales x at u, in the user's units."""
        return 10.0 ** (-np.asarray(u) if self.falling else np.asarray(u))

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Variance [L] of the means were `mean` their truth; never nought."""
        if self.items is None:
            return self.se**2
        m = (self.items * np.clip(mean, 0, 1) + 1) / (self.items + 2)
        return m * (1 - m) / self.items

    def draw(self, mean: np.ndarray, factor: float, shape: tuple, rng) -> np.ndarray:
        """Values like `y`, [*shape], about `mean` [*shape]; `factor` on the variances."""
        if self.items is None:
            return mean + np.sqrt(factor) * self.se * rng.standard_normal(shape)
        worth = np.maximum(np.rint(self.items / factor), 1).astype(np.int64)
        return rng.binomial(np.broadcast_to(worth, shape), np.clip(mean, 0, 1)) / worth

    def deviance(self, mean: np.ndarray) -> float:
        """-2 ln likelihood of `mean` [L] over that of the data themselves."""
        if self.items is None:
            return float((((self.y - mean) / self.se) ** 2).sum())
        m, y = np.clip(mean, 1e-9, 1 - 1e-9), self.y
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(y > 0, y * np.log(y / m), 0)
            parts = parts + np.where(y < 1, (1 - y) * np.log((1 - y) / (1 - m)), 0)
        return float(2 * (self.items * parts).sum())


def default_width(falling: bool) -> float:
    """Decades that the middle 80 % of a smooth rise take at least."""
    return SMOOTH_WIDTH_LOSS if falling else SMOOTH_WIDTH


def make_series(p: Points, levels: tuple[Level, ...], width: float | None = None) -> Series:
    """The levels of `p` (at least two) as a series."""
    u = np.log10([level.x for level in levels]) * (-1.0 if p.falling else 1.0)
    y = np.array([level.mean for level in levels])
    width = default_width(p.falling) if width is None else width
    items = _worth(p) if p.proportion and np.isfinite(p.n).all() else None
    se = None if items is not None else _errors(p, levels)
    spread = max(float(np.ptp(y)), 1e-12)
    runs = np.array([level.n_runs for level in levels])
    return Series(
        metric=p.metric,
        u=u,
        y=y,
        items=items,
        se=np.ones(len(y)) if se is None else se,
        floor=(_NO_NOISE * spread) ** 2 if items is None and se is None else 1.0,
        luck=_LUCK * width / np.sqrt(runs),
        box=_box(p.metric, y, spread),
        better=_better(p, u, y),
        width=width,
        falling=p.falling,
    )


def _pooled(own: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Variances [L] of levels with `dof` degrees of freedom, drawn towards their common mean."""
    total = np.where(dof > 0, np.nan_to_num(own) * dof, 0.0)
    if not dof.sum():
        return np.full(len(own), np.nan)
    return (total + _PRIOR * total.sum() / dof.sum()) / (dof + _PRIOR)


def _worth(p: Points) -> np.ndarray:
    """Items of each level over the dispersion between its runs, which is at least 1."""
    dof = np.diff(np.append(p.starts, len(p.y))) - 1
    own = dispersion(p)[0]
    return np.add.reduceat(p.n, p.starts) / np.fmax(_pooled(own, dof), 1.0)


def _errors(p: Points, levels: tuple[Level, ...]) -> np.ndarray | None:
    """Standard errors [L] from items and runs, the larger; None unless all are known."""
    runs = np.array([level.n_runs for level in levels])
    squares = np.add.reduceat((p.y - level_means(p)[p.level]) ** 2, p.starts)
    between = _pooled(squares / np.maximum(runs - 1, 1), runs - 1) / runs
    item = np.full(len(runs), np.nan)
    if np.isfinite(p.n).all() and np.isfinite(p.variance).all():
        item = np.add.reduceat(p.n * p.variance, p.starts) / np.add.reduceat(p.n, p.starts) ** 2
    both = np.fmax(between, item)
    return np.sqrt(both) if (both > 0).all() else None


def _box(metric: str, y: np.ndarray, spread: float) -> Box:
    """Where the ends of a rise may lie: within the metric's bounds, or three ranges beyond."""
    low, high = y.min() - 3 * spread, y.max() + 3 * spread
    if is_share(metric, y):
        low, high = 0.0, 1.0
    elif metric.startswith("logprob"):
        high = min(high, max(0.0, y.max()))
    return low, high, low, high


def _better(p: Points, u: np.ndarray, y: np.ndarray) -> float:
    """+1 where more is better: for shares and log-probabilities; else the way the metric goes."""
    if any(name in p.metric for name in _FALLING):
        return -1.0
    if p.proportion or p.metric.startswith("logprob"):
        return 1.0
    return 1.0 if np.polyfit(u, y, 1)[0] >= 0 else -1.0
