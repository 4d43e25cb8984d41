"""Is there a break? Smooth families, each against changes within one step of the grid.

Every family of `shapes.SMOOTH` is fitted (shares by binomial likelihood, scoring by reweighted
squares), and so are the changes of `abrupt.ABRUPT` with the same weights. The likelihood ratio has
no textbook distribution (the place of a jump means nothing without one), so it is drawn from the
fitted family: parametric bootstrap, with the dispersion that the family leaves over and the luck
of a seed supposed in `series`. A break is what no family explains: the largest of their p-values
is below .05, so the level holds for every one of them (Berger 1982, intersection-union).

Smooth means that the middle 80 % of a rise take at least `Series.width` decades. Between scales
further apart than about half of that, a jump and the steepest smooth rise differ by less than a
few hundred items can show: `experiments/emergence_breaks.py` prints what a design can tell.
"""

import math
from dataclasses import dataclass

import numpy as np

from scaling.analysis.emergence.abrupt import AbruptFit
from scaling.analysis.emergence.result import Break, Family
from scaling.analysis.emergence.series import Series
from scaling.analysis.emergence.shapefit import Fitted, fit_shape
from scaling.analysis.emergence.shapes import SMOOTH, Shape
from scaling.analysis.emergence.width import rise_width

ALPHA = 0.05
_SCORING = 4  # reweighted fits; the weights of the data hardly move after two
_CHUNK = 20  # draws between two looks at what is already known
_DRAWN = 40  # points of a curve to draw


@dataclass(frozen=True)
class _Null:
    """A family at its best: `fitted` of one data set, weights w [L], the best change under the
    same weights, the likelihood ratio of the two and the factor on variances left over."""

    shape: Shape
    fitted: Fitted
    w: np.ndarray
    change: AbruptFit
    ratio: float
    factor: float


def break_test(
    s: Series,
    *,
    chance: float | None = None,
    top: float | None = None,
    draws: int = 200,
    seed: int = 42,
) -> Break:
    """Tests the means of at least 5 levels. chance, top: levels that a rise is likely to start
    from and to end at; they give the AICc of variants with fewer parameters, not the tests."""
    nulls = [_pose(s, shape) for shape in SMOOTH.values()]
    p_values = [_p_value(s, null, draws, seed) for null in nulls]
    best = min(nulls, key=lambda null: null.fitted.chi2[0])
    change = best.change.best(s.y)
    factor = min(null.factor for null in nulls)
    families = tuple(
        _family(s, null, p, factor, chance, top) for null, p in zip(nulls, p_values, strict=True)
    )
    left = [f for f in families if not f.rejected]
    suffices = min(left, key=_order) if left else None
    shown = suffices or min(families, key=_order)
    width, ends = rise_width(s, best.fitted.curve[0], best.factor)
    return Break(
        metric=s.metric,
        smooth_width=s.width,
        families=families,
        suffices=None if suffices is None else suffices.name,
        p_value=max(p_values),
        change=change.name,
        change_aicc=_aicc(s, change.curve, change.n_params, factor),
        place=float(s.at(change.place)),
        width=width,
        width_ci95=ends,
        picks_up=all(f.rejected for f in families if SMOOTH[f.name].gradual),
        bends=suffices is None,
        curve=_points(s, nulls[families.index(shown)]),
    )


def is_break(s: Series, *, draws: int = 200, seed: int = 42) -> bool:
    """`break_test(...).bends` alone: it ends at the first family that explains the data."""
    each = sorted(SMOOTH.values(), key=lambda shape: -shape.n_params)
    return all(_p_value(s, _pose(s, shape), draws, seed, ALPHA) < ALPHA for shape in each)


def _pose(s: Series, shape: Shape) -> _Null:
    mean = s.y
    for _ in range(_SCORING):
        w = 1 / s.variance(mean)
        fitted = fit_shape(shape, s.u, s.y[None], w, s.width, s.box)
        mean = fitted.curve[0]
    change = AbruptFit(s.u, w, s.better)
    ratio = _ratio(s, fitted.chi2, change.chi2(s.y[None]))
    freedom = max(len(s.y) - shape.n_params, 1)
    factor = max(s.floor, float(fitted.chi2[0]) / freedom)
    return _Null(shape, fitted, w, change, float(ratio[0]), factor)


def _ratio(s: Series, chi0: np.ndarray, chi1: np.ndarray) -> np.ndarray:
    """-2 ln likelihood ratio of two sums of weighted squares, with the factor on the variances
    profiled out; it is at least `s.floor`."""
    n = len(s.y)
    s0, s1 = (np.maximum(c / n, s.floor) for c in (chi0, chi1))
    return n * np.log(s0 / s1) + chi0 / s0 - chi1 / s1


def _p_value(s: Series, null: _Null, draws: int, seed: int, enough: float = 1.0) -> float:
    """How often the family itself, fitted to its own draws, looks as broken as the data. Ends as
    soon as the p-value is known to be `enough` or more."""
    rng = np.random.default_rng([seed, list(SMOOTH).index(null.shape.name)])
    places = s.u + s.luck * rng.standard_normal((draws, len(s.u)))
    mean = _value(s, null, places)
    y = s.draw(mean, null.factor, mean.shape, rng)
    above = 0
    for begin in range(0, draws, _CHUNK if enough < 1 else draws):
        some = y[begin : begin + _CHUNK] if enough < 1 else y
        again = fit_shape(null.shape, s.u, some, null.w, s.width, s.box)
        ratio = _ratio(s, again.chi2, null.change.chi2(some))
        above += int((ratio >= null.ratio * (1 - 1e-9) - 1e-9).sum())
        if (1 + above) / (draws + 1) >= enough:
            break
    return (1 + above) / (draws + 1)


def _value(s: Series, null: _Null, u: np.ndarray) -> np.ndarray:
    """The family at any u."""
    low, high = null.fitted.ends[0]
    return low + (high - low) * null.shape.rise(u, null.fitted.theta[0], (s.u[0], s.u[-1]))


def _points(s: Series, null: _Null) -> tuple[tuple[float, float], ...]:
    u = np.linspace(s.u[0], s.u[-1], _DRAWN)
    return tuple(zip(s.at(u).tolist(), _value(s, null, u).tolist(), strict=True))


def _family(
    s: Series, null: _Null, p: float, factor: float, chance: float | None, top: float | None
) -> Family:
    """The family with its AICc: the least of the variants with free and with fixed levels."""
    shape, out = null.shape, []
    low, high = (chance, top) if s.better > 0 else (top, chance)
    for start in (None, low) if shape.sigmoid and low is not None else (None,):
        for end in (None, high) if shape.sigmoid and high is not None else (None,):
            box = (*((start,) * 2 if start is not None else s.box[:2]),
                   *((end,) * 2 if end is not None else s.box[2:]))  # fmt: skip
            fitted = fit_shape(shape, s.u, s.y[None], null.w, s.width, box)
            k = shape.n_params - (start is not None) - (end is not None)
            out.append((_aicc(s, fitted.curve[0], k, factor), k, start, end))
    aicc, k, start, end = min(out, key=lambda v: (math.inf if v[0] is None else v[0], v[1]))
    fixed = {name: v for name, v in (("start", start), ("end", end)) if v is not None}
    return Family(shape.name, shape.formula, p, aicc, k, fixed, shape.sigmoid, p < ALPHA)


def _aicc(s: Series, curve: np.ndarray, k: int, factor: float) -> float | None:
    """Hurvich & Tsai 1989 with levels as observations, of the quasi-likelihood; None where the
    levels are too few. The factor on the variances counts as a parameter."""
    n, k = len(s.y), k + 1
    if n - k - 1 <= 0:
        return None
    return s.deviance(curve) / factor + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _order(family: Family) -> tuple[float, float]:
    """The least AICc first; without any, the most likely."""
    return (math.inf if family.aicc is None else family.aicc), -family.p_value
