"""How sure a fit is without resampling: sandwich covariance, delta method, profile likelihood.

All of it works in the search coordinates z of the free parameters. A Huber objective is not a
log-likelihood, so nothing here pretends it is one: variances come from the sandwich H^-1 V H^-1
(Huber 1967), and a profile is read at the height at which a quadratic objective would have the
sandwich's interval (Kent 1982; Varin, Reid & Firth 2011, section 3.4).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from scaling.analysis.objective import make_jacobian
from scaling.analysis.solver import Problem, padded, solve

_STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # where a profile is computed, in standard errors
_LONG_STEPS = (2.0, 3.0)  # the same for a long table, whose profiles are all but parabolas
_LONG = 5000  # rows
_FAR_STEPS = (7.0, 14.0, 30.0, math.inf)  # further out, for sides that have not closed by then
_EXACT = 1e-20  # objective per unit of weight below which the residuals are rounding
_VITAL = 1e-6  # share of a direction that is left without a group: below this it is none
_SINGULAR = 1e-10  # eigenvalues of the scaled curvature below this fraction count as zero


def t_quantile(p: float, dof: float) -> float:
    """The p-quantile (p >= 0.5) of Student's t: with t = sqrt(dof) tan u its density is
    cos(u)^(dof-1), integrated here by the trapezoid rule."""
    u = min(math.pi / 2, 40 / math.sqrt(dof)) * np.linspace(0, 1, 100_001)
    density = np.cos(u) ** (dof - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(dof) * math.tan(np.interp((p - 0.5) * 2, mass / mass[-1], u))


def percentiles(values: np.ndarray) -> np.ndarray:
    """The 2.5 and 97.5 % points [2, ...] of `values` [draws, ...]. A draw that is not a number may
    be anything, so it counts as below the one and above the other: a point that too many of them
    reach is infinite."""
    if np.isfinite(values).all():
        return np.percentile(values, [2.5, 97.5], axis=0)
    lost = np.isnan(values)  # and no interpolation, which knows no infinity
    low = np.percentile(np.where(lost, -np.inf, values), 2.5, axis=0, method="lower")
    high = np.percentile(np.where(lost, np.inf, values), 97.5, axis=0, method="higher")
    return np.stack([low, high])


@dataclass(frozen=True)
class Spread:
    """Local shape of the objective at an optimum, in z; zero rows and columns where not free.

    cov [P, P] is the sandwich covariance, height [P] the rise of the profile that corresponds to
    one standard error, condition that of the scaled curvature, flat [P] marks the parameters that
    take part in a direction along which the prediction does not change. errors [n]: the residuals,
    made as long as the errors behind them. dof: of Student's t, where clusters set it, else None.
    vital: how many clusters the law is not determined without."""

    cov: np.ndarray
    height: np.ndarray
    condition: float
    flat: np.ndarray
    errors: np.ndarray
    dof: int | None = None
    vital: int = 0

    @property
    def se(self) -> np.ndarray:
        return np.sqrt(np.diag(self.cov))


def residuals(problem: Problem, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(target - prediction [n], d prediction / d z [n, P]) in the space of the loss."""
    with jax.enable_x64(True):
        jacobian = make_jacobian(problem.law, problem.loss)
        fitted, J = jacobian(jnp.asarray(z), padded(problem).x)
        return problem.t - np.asarray(fitted)[: problem.n], np.asarray(J)[: problem.n]


def _slope(r: np.ndarray, delta: float) -> np.ndarray:
    """psi' of the Huber loss at each residual. Inside a delta narrower than the residuals lie too
    few points to count, so their density is smoothed by an Epanechnikov kernel as wide as the
    robust standard deviation (Powell 1991). So wide a kernel flattens the peak, which would make
    the errors 10 to 20 % too large; the level is therefore extrapolated from this width and twice
    this width to none (Richardson). experiments/coverage.py shows the outcome."""
    width = np.median(np.abs(r)) / 0.6745
    if delta >= width:
        return (np.abs(r) <= delta).astype(np.float64)
    smooth, smoother = (np.maximum(1 - (r / h) ** 2, 0) / h for h in (width, 2 * width))
    level = 4 / 3 - smoother.mean() / smooth.mean() / 3
    return 1.5 * delta * level * smooth


def spread(problem: Problem, z: np.ndarray, free: np.ndarray, groups=None) -> Spread:
    """The Spread at z [P]. `free` [P] leaves out parameters that are pinned or on a bound. With
    `groups` [n] (int, two or more) rows are independent between groups only: the jackknife over
    groups, linearised (`_jackknife`), with as many degrees of freedom as groups less one."""
    r, J_all = residuals(problem, z)
    w, n, total = problem.w, len(r), len(z)
    J = J_all[:, free]
    p = J.shape[1]
    if problem.loss.huber:
        slope = _slope(r, problem.delta)
        psi = np.clip(r, -problem.delta, problem.delta)
    else:
        slope, psi = np.full(n, 2.0), 2 * r
    norm = np.sqrt(np.sum(w[:, None] * J * J, 0))
    norm = np.where(norm > 0, norm, 1.0)
    U = np.sqrt(w)[:, None] * J / norm
    eigenvalues, vectors = np.linalg.eigh(U.T @ U) if p else (np.ones(1), np.zeros((0, 1)))
    usable = eigenvalues > _SINGULAR * eigenvalues[-1]
    basis = vectors[:, usable]
    V = U @ (basis / np.sqrt(eigenvalues[usable]))
    if groups is None:
        leverage = np.clip(np.sum(V * V, 1), 0, 1 - 1 / n)
        # Residuals of a fit are shorter than the errors, the more so the more a point pulled (HC3).
        scores = (w * psi / (1 - leverage))[:, None] * J
        errors, dof, vital = r * math.sqrt(n / max(n - p, 1)), None, 0
    else:
        scores, errors, vital = _jackknife(V, np.sqrt(w) * psi, np.sqrt(w) * r, groups)
        scores = scores @ (basis * np.sqrt(eigenvalues[usable])).T * norm
        errors, dof = errors / np.sqrt(w), len(scores) - 1
        if problem.loss.huber:  # the density of the errors: that of shorter residuals is higher
            slope = _slope(errors, problem.delta)
    bread = basis @ np.linalg.pinv(basis.T @ (U.T * slope) @ U @ basis) @ basis.T
    bread /= np.outer(norm, norm)
    cov = bread @ (scores.T @ scores) @ bread
    index = np.flatnonzero(free)
    full, height, flat = np.zeros((total, total)), np.zeros(total), np.zeros(total, bool)
    full[np.ix_(index, index)] = cov
    height[index] = np.diag(cov) / np.maximum(np.diag(bread), 1e-300) / 2
    flat[index] = (np.abs(vectors[:, ~usable]) > 0.05).any(1) if p else False
    condition = float(eigenvalues[-1] / max(eigenvalues[0], 1e-300))
    return Spread(full, height, condition, flat, errors, dof, vital)


def _jackknife(
    V: np.ndarray, scores: np.ndarray, residual: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """(summed scores [G, k], errors [n], vital groups) for orthonormal directions V [n, k].

    A group's residuals are short by what the group itself pulled: (I - H_gg)^-1 undoes that, as if
    the fit had been made without the group (CR3: Bell & McCaffrey 2002), and (I - H_gg)^-1/2 gives
    residuals as long as the errors (CR2). With H_gg = V_g V_g' both are k x k work. With CR3 and
    G - 1 degrees of freedom 4 to 12 groups cover 93 to 98 % (experiments/coverage_runs.py)."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    summed, errors, vital = np.zeros((len(parts), V.shape[1])), residual.copy(), 0
    for k, rows in enumerate(parts):
        pulled, vectors = np.linalg.eigh(V[rows].T @ V[rows])
        kept = pulled < 1 - _VITAL
        vital += int(not kept.all())
        left, along = 1 - pulled[kept], vectors[:, kept]
        summed[k] = (along / left) @ along.T @ (V[rows].T @ scores[rows])
        longer = np.expm1(-np.log(left) / 2) / np.maximum(pulled[kept], 1e-12)
        errors[rows] += V[rows] @ ((along * longer) @ (along.T @ (V[rows].T @ residual[rows])))
    return summed, errors, vital


@dataclass(frozen=True)
class Profile:
    """The objective above its minimum along one parameter, all others refitted.

    z and rise are [points] in order of z, and path [points, P] where the others went; low and high
    the ends of the interval, infinite where the profile does not climb to `height` before the
    bound: the data do not bound it there."""

    z: np.ndarray
    rise: np.ndarray
    path: np.ndarray
    height: float
    low: float
    high: float

    @property
    def closed(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def profiles(
    problem: Problem, z: np.ndarray, f: float, lo: np.ndarray, hi: np.ndarray, at: Spread, q: float
) -> tuple[dict[int, Profile], np.ndarray | None]:
    """Profiles of all parameters with lo < hi, read at q standard errors (the t quantile).

    Returns {index: Profile}, and a better optimum [P] in case the search ran into one. A fit
    without residuals has no profile to speak of: {}."""
    if f <= _EXACT * problem.w.sum():
        return {}, None
    near = _LONG_STEPS if problem.n > _LONG else _STEPS
    sides = [(j, s) for j in np.flatnonzero(lo < hi) for s in (-1, 1)]
    out: dict[int, Profile] = {}
    for steps in (near, _FAR_STEPS):
        points, label = _points(z, lo, hi, at, sides, steps)
        if not len(points):
            continue
        found = _profile_points(problem, points, label, lo, hi)
        best = int(np.argmin(found.f))
        if found.f[best] < f * (1 - 1e-6) - 1e-20:
            return {}, found.z[best]
        for j in np.unique(label):
            mine = label == j
            known = out.get(int(j), _empty(len(z), q * q * at.height[j]))
            out[int(j)] = _extended(known, int(j), z[j], found.z[mine], found.f[mine] - f)
        sides = [
            (j, s) for j, s in sides
            if int(j) in out and not np.isfinite(out[int(j)].low if s < 0 else out[int(j)].high)
        ]  # fmt: skip
    ends = [(j, e) for j, p in out.items() for e in (p.low, p.high) if np.isfinite(e)]
    if ends:  # one more point at every crossing
        label = np.array([j for j, _ in ends])
        points = np.tile(z, (len(ends), 1))
        points[np.arange(len(ends)), label] = [e for _, e in ends]
        found = _profile_points(problem, points, label, lo, hi)
        for j in out:
            mine = label == j
            out[j] = _extended(out[j], j, z[j], found.z[mine], found.f[mine] - f)
    return out, None


def _points(z, lo, hi, at: Spread, sides, steps) -> tuple[np.ndarray, np.ndarray]:
    """Where to compute profiles: points [K, P] on the straight line along which the others follow
    the parameter, and the parameter [K] of each. Steps beyond a bound stop at it."""
    se = np.where(at.se > 0, at.se, 0.1 * (1 + np.abs(z)))
    rows, label = [], []
    for j, sign in sides:
        room = abs((hi[j] if sign > 0 else lo[j]) - z[j])
        direction = np.where(at.cov[j, j] > 0, at.cov[:, j] / max(at.cov[j, j], 1e-300), 0.0)
        direction[j] = 1.0
        for shift in sorted({min(s * se[j], room) for s in steps} - {0.0}):
            moved = z + direction * sign * shift
            row = moved if np.abs(direction * shift).max() < 50 else z.copy()
            row[j] = z[j] + sign * shift
            rows.append(row)
            label.append(j)
    return np.clip(np.array(rows).reshape(-1, len(z)), lo, hi), np.array(label, int)


def _empty(n_params: int, height: float) -> Profile:
    return Profile(np.empty(0), np.empty(0), np.empty((0, n_params)), height, 0, 0)


def _extended(known: Profile, j: int, centre: float, path, rise) -> Profile:
    """The profile with more points, and its ends read again."""
    path = np.concatenate([known.path, path])
    rise = np.concatenate([known.rise, np.maximum(rise, 0)])
    order = np.argsort(path[:, j])
    path, rise = path[order], rise[order]
    low, high = (_crossing(centre, path[:, j], rise, known.height, side) for side in (-1, 1))
    return Profile(path[:, j], rise, path, known.height, low, high)


def _profile_points(problem, points, label, lo, hi):
    low, high = np.tile(lo, (len(points), 1)), np.tile(hi, (len(points), 1))
    rows = np.arange(len(points))
    low[rows, label] = high[rows, label] = points[rows, label]
    return solve(problem, points, low, high, max_iterations=100, near=True)


def _crossing(centre: float, grid, rise, height: float, side: int) -> float:
    """Where sqrt(rise), nearly a straight line, first reaches sqrt(height) on this side."""
    mine = (grid - centre) * side > 0
    distance = np.abs(grid[mine] - centre)
    order = np.argsort(distance)
    distance = np.concatenate([[0.0], distance[order]])
    root = np.concatenate([[0.0], np.sqrt(rise[mine][order])])
    beyond = np.flatnonzero(root >= math.sqrt(height))
    if height <= 0 or not len(beyond) or beyond[0] == 0:
        return side * math.inf
    i = beyond[0]
    share = (math.sqrt(height) - root[i - 1]) / (root[i] - root[i - 1])
    return centre + side * (distance[i - 1] + share * (distance[i] - distance[i - 1]))
