"""The parameters that the data leave plausible, followed where the objective bends or lies flat.

Draws: the targets move within the plane that touches the law's predictions at the optimum, so that
the parameters would have the sandwich covariance if the law were linear in them, and the law is
refitted to each. A refit follows the surface of predictions wherever the parameters curve (Bates
& Watts 1980: what bends is mostly the parameters, not the surface), so percentiles of anything
computed from the draws have the coverage that the normal approximation has in a linear law.

Ridge: parameters that fit nearly as well and that no such refit reaches: along directions that do
not change the predictions of these rows, along a parameter that lies on a bound, and other basins.
Whatever is reported spans them too, and what they leave open is called not determined.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np

from scaling.analysis.bounds import touching
from scaling.analysis.intervals import Profile, Spread, percentiles, residuals, t_quantile
from scaling.analysis.solver import Problem, Solution, solve

DRAWS = 1000
_NORMAL = 1.959964
_ROWS = 1024  # of a long table that the refits see: enough to tell the surface's shape
_ITERATIONS = 60
_SLICES = 12  # values at which a flat parameter, or one on its bound, is held
_PLACES = 20  # where starts ended, at most
_EQUAL = 0.25  # depth up to which parameters count as fitting equally well
_SHARE = 0.5  # of an interval that those may span; where the objective is a parabola it is _EQUAL
_SAME = 1e-9  # relative: a spread below this is rounding


@dataclass(frozen=True)
class Region:
    """draws [K, P] in z. ridge [M, P] in z, with depth [M]: 0 fits as well as the optimum, 1 lies
    on the edge of the 95 % region; and room [M]: how much of the spread of the draws is to be added
    on both sides of a ridge point (0 where the draws move along the ridge anyway)."""

    draws: np.ndarray
    ridge: np.ndarray
    depth: np.ndarray
    room: np.ndarray

    @property
    def equal(self) -> np.ndarray:
        """The ridge points beside the draws that fit as well as the optimum, [M, P]."""
        return self.ridge[(self.depth <= _EQUAL) & (self.room > 0)]

    def sample(self, n: int) -> np.ndarray:
        """At most n plausible parameters [n, P] whose percentiles span the region: the draws, and
        as many ridge points beside them where the draws do not reach those."""
        take = np.linspace(0, len(self.draws) - 1, min(n, len(self.draws))).astype(int)
        out, apart = self.draws[take], self.ridge[self.room > 0]
        if len(apart):
            out = out.copy()
            out[1::2] = np.resize(apart, (len(out[1::2]), out.shape[1]))
        return out

    def ends(self, centre, drawn, ridge) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(low, high, determined), each [...], of a quantity whose value is `centre` [...] at the
        optimum, `drawn` [K, ...] at the draws and `ridge` [M, ...] at the ridge."""
        low, high = percentiles(drawn)
        if not len(ridge):
            return low, high, np.isfinite(centre)
        room = self.room.reshape(-1, *np.ones(np.ndim(centre), int))
        with np.errstate(invalid="ignore"):
            below = np.where(room > 0, room * np.maximum(centre - low, 0), 0)
            above = np.where(room > 0, room * np.maximum(high - centre, 0), 0)
        everything = np.concatenate([drawn, ridge, np.asarray(centre)[None]])
        least, most = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
        equal = np.concatenate([np.asarray(centre)[None], ridge[self.depth <= _EQUAL]])
        with np.errstate(invalid="ignore"):
            apart = np.nanmax(equal, axis=0) - np.nanmin(equal, axis=0)
            close = apart <= _SHARE * (high - low) + _SAME * np.abs(centre)
            low = np.minimum(low, np.maximum(np.nanmin(ridge - below, axis=0), least))
            high = np.maximum(high, np.minimum(np.nanmax(ridge + above, axis=0), most))
        return low, high, close & np.isfinite(centre)

    def beside(self, centre, ridge) -> tuple[float, float]:
        """The range of a quantity over the optimum and what the draws do not reach."""
        apart = np.append(ridge[self.room > 0], centre)
        return float(np.nanmin(apart)), float(np.nanmax(apart))


def plausible(
    problem: Problem,
    z: np.ndarray,
    f: float,
    lo: np.ndarray,
    hi: np.ndarray,
    at: Spread,
    dof: int,
    profiles: dict[int, Profile],
    solution: Solution,
    seed: int,
    resampled: np.ndarray | None = None,
) -> Region:
    """The Region around the optimum z [P] of objective f. `profiles` and `solution` (all starts)
    contribute what they have seen; `resampled` [K, P] are draws to use instead of ours."""
    free = lo < hi
    q = t_quantile(0.975, dof)
    moving = free & (at.se > 0) & ~at.flat
    height = q * q * float(np.mean(at.height[moving])) if moving.any() else 0.0
    height = max(height, 1e-6 * f, 1e-18 * problem.w.sum())
    stuck = free & (at.flat | touching(z, lo, hi))
    slices = _slices(problem, z, lo, hi, at, stuck)
    optima = _apart(solution, z, solution.converged & (solution.f <= f + height), 1e-3)
    points = [(*slices, True), (*optima, True)]
    if resampled is None:
        points.append((*_apart(solution, z, solution.f <= f + height, 0.05), False))
        points += [(p.path, f + p.rise, False) for j, p in profiles.items() if not stuck[j]]
        resampled = _tangent(problem, z, lo, hi, at, q / _NORMAL, seed)
    ridge = np.concatenate([p for p, _, _ in points])
    rise = np.maximum(np.concatenate([g for _, g, _ in points]) - f, 0)
    apart = np.concatenate([np.full(len(p), new) for p, _, new in points])
    inside = rise <= height * (1 + 1e-6)
    depth = np.sqrt(np.minimum(rise / height, 1))[inside]
    room = np.where(apart[inside], np.sqrt(1 - depth**2), 0.0)
    return Region(resampled, ridge[inside], depth, room)


def _tangent(problem: Problem, z, lo, hi, at: Spread, scale: float, seed: int) -> np.ndarray:
    """Refits [DRAWS, P] to targets that differ from the predictions at z by a step in their tangent
    plane."""
    problem = _thinned(problem)
    r, J = residuals(problem, z)
    values, vectors = np.linalg.eigh(at.cov)
    half = np.random.default_rng(seed).standard_normal((DRAWS // 2, len(z)))
    steps = scale * np.concatenate([half, -half]) * np.sqrt(np.maximum(values, 0)) @ vectors.T
    moved = replace(problem, t=problem.t - r + steps @ J.T)
    found = solve(moved, np.tile(z, (len(steps), 1)), lo, hi, max_iterations=_ITERATIONS)
    return found.z[np.isfinite(found.f)]


def _thinned(problem: Problem) -> Problem:
    """Evenly chosen rows of a long table; the same problem where its arrays are not by row."""
    n = problem.n
    if n <= _ROWS or any(np.ndim(v) == 0 or len(v) != n for v in jax.tree.leaves(problem.x)):
        return problem
    rows = np.linspace(0, n - 1, _ROWS).astype(int)
    x = jax.tree.map(lambda v: v[rows], problem.x)
    return replace(problem, x=x, t=problem.t[rows], w=problem.w[rows])


def _slices(problem, z, lo, hi, at: Spread, stuck) -> tuple[np.ndarray, np.ndarray]:
    """Each stuck parameter held at values across its box and the others refitted: places [M, P]
    and objectives [M]."""
    index = np.repeat(np.flatnonzero(stuck), _SLICES)
    if not len(index):
        return np.empty((0, len(z))), np.empty(0)
    share = np.tile((np.arange(_SLICES) + 0.5) / _SLICES, len(index) // _SLICES)
    rows = np.arange(len(index))
    held = lo[index] + share * (hi - lo)[index]
    low, high, start = (np.tile(v, (len(index), 1)) for v in (lo, hi, z))
    low[rows, index] = high[rows, index] = start[rows, index] = held
    found = solve(problem, start, low, high, max_iterations=150)
    return found.z, found.f


def _apart(solution: Solution, z, which, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the starts `which` [S] ended, the lowest first, as far as they are `distance` (of 1 +
    |z|) apart from each other and from the optimum."""
    order = np.argsort(solution.f, kind="stable")
    places, values = [z], []
    for i in order[which[order]]:
        if all((np.abs(solution.z[i] - p) > distance * (1 + np.abs(p))).any() for p in places):
            places.append(solution.z[i])
            values.append(solution.f[i])
        if len(values) == _PLACES:
            break
    return np.array(places[1:]).reshape(-1, len(z)), np.array(values)
