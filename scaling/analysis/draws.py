"""The optimum of every resample of a table, whatever the optimum of the table itself.

A resample may have its optimum in another basin than the data, or on a bound (E = 0) to which
descent from the data's optimum creeps for a thousand iterations. So every resample is searched from
several places: the optimum of the data, its other basins, the fits without one of the terms, and
then what its fellow resamples found, for as long as that still helps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from scaling.analysis.objective import make_fitted
from scaling.analysis.solver import Problem, Solution, padded, solve

_ITERATIONS = 1000  # after 300, 18 % of the draws of a 16-run ladder had not converged
_LAST_ITERATIONS = 3000  # for the few that have still not
_SIGMAS = 5.0  # basins further above the optimum than this are no resample's either
_MOST_BASINS = 5
_APART = 0.05  # of the length of the residuals: predictions closer than this are one place
_ROUNDS = 3  # of trying what other resamples found
_HELPED = 0.01  # share of draws that a round must improve for another to follow
_SAME = 1e-2  # relative, in z: optima as good as each other and this close are one
_BETTER = 1e-6  # relative: an objective lower by this is another optimum
_FELLOWS = 256  # optima of other resamples that are tried on each
_CELLS = 2e8  # fellows times draws times rows, at most


@dataclass(frozen=True)
class Draws:
    """z [draws, P], how many of them converged, and what must be said of them."""

    z: np.ndarray
    converged: int
    remarks: tuple[str, ...] = ()


def basins(problem: Problem, solution: Solution, z: np.ndarray, f: float, lo, hi) -> np.ndarray:
    """Where the search of a resample begins, [K, P], the optimum z first: the distinct optima that
    `solution` reached, and those with one parameter held on a bound, as far as their objective is
    not so high that no resample would prefer them."""
    free = np.flatnonzero(lo < hi)
    limit = f * (1 + _SIGMAS**2 / max(problem.n - len(free), 1)) + 1e-18
    ended = ~solution.dropped & (solution.f <= limit)
    order = np.flatnonzero(ended)[np.argsort(solution.f[ended], kind="stable")]
    held = np.tile(z, (2 * len(free), 1))
    low, high = np.tile(lo, (len(held), 1)), np.tile(hi, (len(held), 1))
    for row, (j, end) in enumerate((j, end) for end in (lo, hi) for j in free):
        held[row, j] = low[row, j] = high[row, j] = end[j]
    bound = solve(problem, held, low, high, max_iterations=_ITERATIONS)
    bound.f[bound.f > limit] = np.inf
    also = np.argsort(bound.f, kind="stable")[: np.isfinite(bound.f).sum()]
    points = np.concatenate([z[None], solution.z[order], bound.z[also]])
    level = np.concatenate([[f], solution.f[order], bound.f[also]])
    twins = points[level <= f * (1 + _BETTER) + 1e-18]
    return np.concatenate([_distinct(problem, points), _far_apart(twins)])


def _far_apart(twins: np.ndarray) -> np.ndarray:
    """A few of equally good optima [K, P], those furthest from the first and from each other; none
    where all are one. Along a ridge every resample must see its whole length."""
    width = np.ptp(twins, axis=0)
    width = np.where(width > _SAME * (1 + np.abs(twins[0])), width, np.inf)
    kept = [0]
    for _ in range(_MOST_BASINS):
        away = np.abs((twins[:, None] - twins[None, kept]) / width).max(2).min(1)
        if away.max() < 0.1:
            break
        kept.append(int(np.argmax(away)))
    return twins[kept[1:]]


def _distinct(problem: Problem, points: np.ndarray) -> np.ndarray:
    """The first few of `points` [K, P] that predict differently."""
    _, first = np.unique(points.round(6), axis=0, return_index=True)
    points = points[np.sort(first)][:_FELLOWS]
    curves = predictions(problem, points) * np.sqrt(problem.w)
    r = problem.t * np.sqrt(problem.w) - curves[0]
    near = _APART * math.sqrt(float(r @ r)) + 1e-12
    kept: list[int] = []
    for i, curve in enumerate(curves):
        if np.isfinite(curve).all() and all(np.linalg.norm(curve - curves[j]) > near for j in kept):
            kept.append(i)
    return points[kept[:_MOST_BASINS]]


def predictions(problem: Problem, z: np.ndarray) -> np.ndarray:
    """The predictions [K, n] of parameters z [K, P] in the space of the loss."""
    with jax.enable_x64(True):
        fitted = make_fitted(problem.law, problem.loss)(z, padded(problem).x)
    return np.asarray(fitted)[:, : problem.n]


def search(sampled: Problem, starts: Sequence[np.ndarray], lo, hi) -> Solution:
    """The best optimum of each resample, from every one of `starts` [K, P] and from what the other
    resamples found. `sampled` holds weights or targets [draws, n]."""
    size = len(sampled.w) if sampled.w.ndim == 2 else len(sampled.t)
    found = [
        solve(sampled, np.tile(start, (size, 1)), lo, hi, max_iterations=_ITERATIONS)
        for start in starts
    ]
    best = _best_of(found)
    for turn in range(0 if sampled.batched else _ROUNDS):
        before = best.f.copy()
        for z0 in _from_fellows(sampled, best, np.random.default_rng(turn)):
            best = _better(best, solve(sampled, z0, lo, hi, max_iterations=_ITERATIONS))
        # Where one in a hundred was still helped, a few more may be elsewhere.
        if np.mean(best.f < before * (1 - _BETTER)) <= _HELPED:
            break
    late = np.flatnonzero(~best.converged & np.isfinite(best.f))
    if len(late):
        some = _part(sampled, late)
        more = solve(some, best.z[late], lo, hi, max_iterations=_LAST_ITERATIONS)
        for name in ("z", "f", "converged"):
            getattr(best, name)[late] = getattr(more, name)
    return best


def _best_of(found: list[Solution]) -> Solution:
    """Row by row the lowest; one at random among those as low that lie elsewhere, since where an
    optimum is not unique no start may decide what the interval is."""
    f = np.stack([s.f for s in found])
    good = f <= f.min(0) * (1 + _BETTER) + 1e-18
    ended = np.stack([s.converged for s in found])
    good &= ended | ~(good & ended).any(0)
    z = np.stack([s.z for s in found])
    lowest = z[np.argmin(f, 0), np.arange(f.shape[1])]
    apart = (np.abs(z - lowest) > _SAME * (1 + np.abs(lowest))).any(2)
    ties = (good & apart).any(0)
    chance = np.where(good, -np.random.default_rng(0).random(f.shape), 0.0)
    rank = np.where(ties, chance, f)
    take = np.argmin(rank, 0)
    out = found[0]
    for name in Solution.__dataclass_fields__:
        values = np.stack([getattr(s, name) for s in found])
        setattr(out, name, values[take, np.arange(f.shape[1])])
    return out


def _better(one: Solution, other: Solution) -> Solution:
    """Row by row the lower of two; of two that are as good the one that converged."""
    near = other.f <= one.f * (1 + 1e-9)
    take = (other.f < one.f * (1 - 1e-9)) | (near & other.converged & ~one.converged)
    for name in Solution.__dataclass_fields__:
        getattr(one, name)[take] = getattr(other, name)[take]
    return one


def _from_fellows(sampled: Problem, best: Solution, rng) -> list[np.ndarray]:
    """Two starts a resample [draws, P]: the optimum of another one that fits it best (its own left
    out), and that of any other."""
    size, n = len(best.f), sampled.t.shape[-1]
    good = np.flatnonzero(np.isfinite(best.f))
    if len(good) < 2:
        return []
    count = min(len(good), int(np.clip(_CELLS / (size * n), 4, _FELLOWS)))
    chosen = rng.choice(good, count, replace=False)
    plain = replace(sampled, t=sampled.t.reshape(-1, n)[0], w=sampled.w.reshape(-1, n)[0])
    curves = predictions(plain, best.z[chosen])
    f = _objectives(sampled, curves, size)
    f[chosen, np.arange(len(chosen))] = np.inf
    nearest = chosen[np.argmin(np.nan_to_num(f, nan=np.inf), 1)]
    return [best.z[nearest], best.z[rng.choice(chosen, size)]]


def _objectives(sampled: Problem, curves: np.ndarray, size: int) -> np.ndarray:
    """The objective [draws, K] of each resample at each curve [K, n]."""
    delta, huber = sampled.delta, sampled.loss.huber

    def rho(r: np.ndarray) -> np.ndarray:
        if not huber:
            return r * r
        a = np.abs(r)
        return np.where(a <= delta, r * r / 2, delta * (a - delta / 2))

    if sampled.w.ndim == 2 and sampled.t.ndim == 1:  # one matrix product
        return sampled.w @ rho(curves - sampled.t).T
    t, w = np.broadcast_to(sampled.t, (size, curves.shape[1])), sampled.w
    return np.stack([np.sum(w * rho(curve - t), 1) for curve in curves], 1)


def _part(sampled: Problem, rows: np.ndarray) -> Problem:
    """The same for some of the resamples."""
    w = sampled.w[rows] if sampled.w.ndim == 2 else sampled.w
    t = sampled.t[rows] if sampled.t.ndim == 2 else sampled.t
    x = jax.tree.map(lambda v: v[rows], sampled.x) if sampled.batched else sampled.x
    return replace(sampled, x=x, t=t, w=w)
