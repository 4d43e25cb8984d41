"""Is there a break? A smoothly broken power law against one without a break.

The test is made on an error that falls with scale: 1 - accuracy, minus a log-probability, a Brier
score as it is. Null: error = E + b x^-c0; alternative: one smooth break in it (Caballero et al.
2022, arXiv:2210.14891, eq. 1). A curve that is flat and then falls, or any S, needs the break; a
power law with a floor does not. The likelihood ratio has no textbook distribution (the place of
the break means nothing under the null), so it is drawn from the fitted null: parametric bootstrap.
The test errs on the side of "smooth": at .05 it called 0 to 1.5 % of 200 smooth curves bent, and
39 of 40 kinks from chance to .25 a decade (eight sizes, 400 items; .05 a decade: 9 of 40).
"""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.emergence.levels import Points
from scaling.analysis.emergence.result import Break, Level
from scaling.analysis.fit import box, pose, start_points
from scaling.analysis.law import Law
from scaling.analysis.laws.broken import BROKEN_0, BROKEN_1
from scaling.analysis.objective import theta_of
from scaling.analysis.solver import Problem, solve

_FLOOR = 1e-6  # an error of nought has no logarithm
_BASINS = 6  # optima of the data that every resample starts from, besides the smooth law itself
_ALPHA = 0.05
_ROWS = 12  # rows of a problem are padded to 12, 24, 48, ...
_WIDEST = 0.1  # width of a break as a share of the range of ln x: wider is a curve, not a break
_FEW = 16  # starts, at least: fewer would be compiled by themselves


def error_of(metric: str, values: np.ndarray, top: float | None) -> np.ndarray:
    """The metric as a positive error. Log-probabilities are negated; `top` - value, when a top is
    given, 1 - value for what lies in [0, 1] and rises with scale; else the value itself."""
    if metric.startswith("logprob"):
        error = -values
    elif top is not None and top >= values.max():
        error = max(top, 1.0) - values if top <= 1 else top - values
    elif values.min() >= 0 and values.max() <= 1 and values[-1] >= values[0]:
        error = 1 - values
    else:
        error = values
    return np.maximum(error, _FLOOR)


def break_test(
    p: Points, levels: tuple[Level, ...], top: float | None, *, draws: int = 200, seed: int = 42
) -> Break:
    """Tests the means of the levels (at least 5). Their noise is at least their standard errors
    (where all are known), and as much more as a law leaves over: one run a size, counted on many
    items, strays from any smooth law by more than its items. Against a loss the scale is 1/loss."""
    x = np.array([level.x for level in levels]) ** (-1.0 if p.falling else 1.0)
    y = error_of(p.metric, np.array([level.mean for level in levels]), top)
    known = all(level.se for level in levels)
    se = np.array([level.se for level in levels]) if known else np.ones(len(levels))
    table = pd.DataFrame({"x": x, "loss": y, "weight": 1 / se**2})
    scale = table["weight"].mean()
    table["weight"] /= scale  # the engine's tolerances are relative; keep its numbers near one
    smooth, broken = (_pose(law, table) for law in (BROKEN_0, BROKEN_1))
    widest = max(_WIDEST * np.ptp(np.log(x)), 0.05)
    z0, f0 = _best(smooth, table, box(BROKEN_0, {}, {}), seed)
    sharp = box(BROKEN_1, {"f1": (0.01, widest)}, {})
    z1, f1 = _best(broken, table, sharp, seed)
    f1 = np.minimum(f1, f0[:1])
    observed = _ratio(f0[0], f1[0], len(x), scale, known)

    rng = np.random.default_rng(seed)
    curve = _curve(z0[0], x)
    left = scale * f0[0] / max(len(x) - 3, 1)
    spread = se * np.sqrt(max(left, 1.0) if known else left)
    noise = spread * rng.standard_normal((draws, len(x)))
    t = np.maximum(curve + noise, _FLOOR)
    null = _refit(smooth, z0[:1], t, box(BROKEN_0, {}, {}))
    starts = np.concatenate([z1[:_BASINS], _unbroken(z0[0], x)])
    other = np.minimum(_refit(broken, starts, t, sharp), null)
    simulated = _ratio(null, other, len(x), scale, known)
    p_value = (1 + int((simulated >= observed).sum())) / (draws + 1)

    c0, log_d, c1 = z1[0][2], z1[0][4], z1[0][3]
    return Break(
        metric=p.metric,
        statistic=float(observed),
        p_value=p_value,
        d_aicc=_d_aicc(observed, len(x)),
        place=float(np.exp(-log_d if p.falling else log_d)),
        slope_before=float(-c0),
        slope_after=float(-c0 - c1),
        bends=bool(p_value < _ALPHA and c1 > 0),
    )


def _ratio(f0, f1, n: int, scale: float, known: bool):
    """-2 ln likelihood ratio of two sums of weighted squares, with the factor on the variances
    profiled out; it is at least 1 where the noise of the items and runs is known."""
    chi0, chi1 = scale * f0, scale * f1
    s0, s1 = (np.maximum(c / n, 1.0 if known else 1e-300) for c in (chi0, chi1))
    return n * np.log(s0 / s1) + chi0 / s0 - chi1 / s1


def _d_aicc(statistic: float, n: int) -> float | None:
    """AICc(smooth) - AICc(broken). Hurvich & Tsai 1989; the noise counts as a parameter."""

    def penalty(law: Law) -> float:
        k = len(law.params) + 1
        return 2 * k + 2 * k * (k + 1) / (n - k - 1)

    if n - len(BROKEN_1.params) - 2 <= 0:
        return None
    return float(statistic + penalty(BROKEN_0) - penalty(BROKEN_1))


def _best(problem: Problem, table: pd.DataFrame, bounds, seed: int):
    """Optima of the data from all the law's own starts, the best first: z [S, P], f [S]."""
    lo, hi = bounds
    starts = start_points(problem.law, table, None, seed, lo, hi)
    few = np.resize(starts, (max(len(starts), _FEW), starts.shape[1]))  # the kernel of `_refit`
    found = solve(problem, few, lo, hi, keep=_FEW)
    order = np.argsort(found.f, kind="stable")
    z, f = found.z[order], found.f[order]
    keep = [0]
    for i in range(1, len(z)):
        if np.isfinite(f[i]) and all(np.abs(z[i] - z[j]).max() > 1e-2 for j in keep):
            keep.append(i)
    return z[keep], f[keep]


def _pose(law: Law, table: pd.DataFrame) -> Problem:
    """The least-squares problem, with rows of weight nought up to a round number: tables of nearly
    one length share a compiled kernel, which takes longer to make than the test to run."""
    size = _ROWS * 2 ** max(0, math.ceil(math.log2(len(table) / _ROWS)))
    index = np.minimum(np.arange(size), len(table) - 1)
    weight = np.where(np.arange(size) < len(table), table["weight"].to_numpy()[index], 0.0)
    return pose(law, table.iloc[index].assign(weight=weight), "mse", 1.0)


def _curve(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What the smooth law predicts at x."""
    with jax.enable_x64(True):
        theta = theta_of(BROKEN_0, jnp.asarray(z))
        return np.asarray(BROKEN_0.predict(theta, {"x": jnp.asarray(x)}))


def _unbroken(z0: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The smooth optimum as parameters of the broken law, with a slight break here or there."""
    log_x = np.log(x)
    rows = [
        [*z0, c1, at, np.log(0.05 * max(np.ptp(log_x), 1e-3))]
        for at in np.quantile(log_x, (0.25, 0.5, 0.75))
        for c1 in (-0.3, 0.3)
    ]
    return np.array(rows)


def _refit(problem: Problem, starts: np.ndarray, t: np.ndarray, bounds) -> np.ndarray:
    """The least objective [draws] for every row of targets t [draws, n] from every start."""
    lo, hi = bounds
    padded = t[:, np.minimum(np.arange(problem.n), t.shape[1] - 1)]
    many = replace(problem, t=np.repeat(padded, len(starts), axis=0))
    found = solve(many, np.tile(starts, (len(t), 1)), lo, hi, max_iterations=60)
    return found.f.reshape(len(t), len(starts)).min(1)
