"""Where a search may go, where it begins, and which optima it found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import numpy as np

from scaling.analysis.bounds import gives_way, wider
from scaling.analysis.intervals import Spread
from scaling.analysis.law import TRANSFORMS, Law
from scaling.analysis.result import Basin
from scaling.analysis.solver import Problem, Solution, solve
from scaling.doors.limits import refuse_too_many
from scaling.errors import UserError, unknown

_SEVERAL = 8  # starts, at least, where the caller does not choose: one would not confirm an optimum
_LEVEL, _CREEPING = 1e-4, 4  # how level a valley is, and how many starts must creep along it
_LEADING = 16  # starts that go on after the search
_AROUND = 7  # starts around an optimum that was come by
_LONG_RUN = 1000  # iterations of those
_WIDENINGS = 4  # times that a box may give way
_KEEP = 256  # starts that always run to the end
_SCREEN_ROWS = 2000  # rows that dominated starts are judged on when the table is long
_SCREEN_ITERATIONS = 80
_POLISH, _POLISH_WITHIN = 4, 1.5  # screened starts that see all rows, and how near the best
_SAME_OBJECTIVE = 1e-6  # relative: a gain below this is none
_NEAR_OBJECTIVE = 0.05  # relative: other basins this close are reported


def start_points(law: Law, table, starts, seed: int, lo, hi) -> np.ndarray:
    """Start points [S, P] in z within the box, without repetitions."""
    rng = np.random.default_rng(seed)
    given = starts if isinstance(starts, Mapping) else law.starts(table)
    for name in given:
        if name not in [p.name for p in law.params]:
            raise unknown(f"parameter of {law.name}", name, [p.name for p in law.params])
    given = {k: np.atleast_1d(np.asarray(v, np.float64)) for k, v in given.items()}
    size = max((len(v) for v in given.values()), default=1)
    columns = []
    for i, p in enumerate(law.params):
        middle = 0.0 if lo[i] < 0 < hi[i] else (lo[i] + hi[i]) / 2
        values = np.full(size, middle)
        if p.name in given:
            inside = np.clip(given[p.name], p.lower, p.upper)
            values = np.broadcast_to(TRANSFORMS[p.transform].forward(inside), size)
        columns.append(values)
    z = np.unique(np.clip(np.stack(columns, 1), lo, hi), axis=0)
    if isinstance(starts, int):
        if starts < 1:
            raise UserError(f"{starts} starts: ask for at least 1")
        refuse_too_many("--starts", starts, "starts")
        if starts <= len(z):
            return z[rng.choice(len(z), starts, replace=False)]
    least = starts if isinstance(starts, int) else _SEVERAL if starts is None else 0
    if len(z) < least:
        extra = z[rng.integers(len(z), size=least - len(z))]
        z = np.concatenate([z, extra + 0.3 * rng.standard_normal(extra.shape) * (1 + abs(extra))])
    return np.clip(z, lo, hi)


@dataclass(frozen=True)
class Searched:
    """All starts, the box in the end, and `valley`: the starts that lead go on creeping along a
    valley whose floor is level to within 1e-4 of the objective, so that no point is the optimum."""

    solution: Solution
    lo: np.ndarray
    hi: np.ndarray
    valley: bool
    warnings: list[str]


def search_on(
    problem: Problem, z0, lo, hi, seed: int, kept: set[str], line: bool = False
) -> Searched:
    """`search`, and further wherever a bound that may give way stops the best optimum. `kept` names
    the parameters whose bounds the caller chose. The leading starts run on when the best of all is
    not an optimum. `line`: the inputs move together (`design.is_line`), so terms of the law may
    change places; from the best optima with parameters exchanged the search goes on."""
    solution, given, gave = search(problem, z0, lo, hi, seed), lo < hi, np.zeros(len(lo), bool)
    if np.isfinite(solution.best[1]) and not solution.at_best(solution.best[1]):
        solution = _further(problem, solution, lo, hi)
    for _ in range(_WIDENINGS):
        z, f = solution.best
        box = wider(problem.law, lo, hi, kept)
        if not np.isfinite(f) or not gives_way(z, lo, hi, *box):
            break
        further = _further(problem, solution, *box)
        further = joined(further, confirm(problem, further.best[0], *box))
        if not further.best[1] < f * (1 - _SAME_OBJECTIVE) - 1e-18:
            break
        solution, (low, high) = further, (lo, hi)
        lo, hi = box
        gave |= (solution.best[0] < low) | (solution.best[0] > high)
    if line:
        leading = solution.z[np.argsort(solution.f, kind="stable")[:_LEADING]]
        low, high = wider(problem.law, lo, hi, kept)
        starts = np.clip(exchanged(problem.law, leading), low, high)
        swapped = solve(problem, starts, low, high, max_iterations=_LONG_RUN)
        solution, lo, hi = joined(solution, swapped), low, high
    if gave.any():  # profiles need room beyond the optimum
        lo, hi = wider(problem.law, lo, hi, kept)
    names = [p.name for p, g in zip(problem.law.params, gave & given, strict=True) if g]
    said = f"the search box gave way for {', '.join(names)}: the optimum lies beyond its bound"
    return Searched(solution, lo, hi, _is_valley(solution), [said] if names else [])


def exchanged(law: Law, z: np.ndarray) -> np.ndarray:
    """z [S, P] with parameters that are alike (same bounds, same transform) in each other's place:
    the scales and the exponents of two terms."""
    order = np.arange(len(law.params))
    alike: dict[tuple, list[int]] = {}
    for i, p in enumerate(law.params):
        alike.setdefault((p.lower, p.upper, p.transform), []).append(i)
    for group in alike.values():
        order[group] = np.roll(group, 1)
    return z[:, order]


def _is_valley(solution: Solution) -> bool:
    f = solution.best[1]
    if not np.isfinite(f) or solution.at_best(f):
        return False
    return int((solution.f <= f * (1 + _LEVEL)).sum()) >= _CREEPING


def _further(problem: Problem, solution: Solution, lo, hi) -> Solution:
    """The leading starts run on, to the end; the others stay where they are."""
    leading = np.argsort(solution.f, kind="stable")[:_LEADING]
    more = solve(problem, solution.z[leading], lo, hi, max_iterations=_LONG_RUN)
    out = Solution(*(getattr(solution, name).copy() for name in Solution.__dataclass_fields__))
    for name in Solution.__dataclass_fields__:
        getattr(out, name)[leading] = getattr(more, name)
    return out


def confirm(problem: Problem, z: np.ndarray, lo, hi) -> Solution:
    """The optimum next to z [P], looked for from there and from points around it."""
    shift = 0.1 * np.random.default_rng(0).standard_normal((_AROUND, len(z)))
    around = np.clip(np.vstack([z, z + shift * (1 + np.abs(z))]), lo, hi)
    return solve(problem, around, lo, hi, max_iterations=_LONG_RUN)


def search(problem: Problem, z0, lo, hi, seed: int) -> Solution:
    """All starts. A long table is screened on a sample of its rows; the best few starts that
    differ are then polished on all of them."""
    if problem.n <= 2 * _SCREEN_ROWS or len(z0) <= 2 * _POLISH:
        return solve(problem, z0, lo, hi, keep=_KEEP)
    rows = np.sort(np.random.default_rng(seed).choice(problem.n, _SCREEN_ROWS, replace=False))
    x = jax.tree.map(lambda v: v[rows] if len(v) == problem.n else v, problem.x)
    sample = replace(problem, x=x, t=problem.t[rows], w=problem.w[rows])
    screened = solve(sample, z0, lo, hi, keep=_KEEP, max_iterations=_SCREEN_ITERATIONS)
    order, chosen = np.argsort(screened.f, kind="stable"), []
    for i in order[screened.f[order] <= _POLISH_WITHIN * screened.f[order[0]]]:
        if all(np.abs(screened.z[i] - screened.z[j]).max() > 1e-3 for j in chosen):
            chosen.append(i)
        if len(chosen) == _POLISH:
            break
    polished = solve(problem, screened.z[chosen], lo, hi, near=True)
    # A start counts for the optimum that the screening sample led it to.
    out = Solution(*(getattr(screened, name).copy() for name in Solution.__dataclass_fields__))
    out.f[:] = np.inf
    for k, i in enumerate(chosen):
        same = np.abs(screened.z - screened.z[i]).max(1) <= 1e-3
        out.z[same], out.f[same] = polished.z[k], polished.f[k]
        out.converged[same] &= polished.converged[k]
    return out


def joined(first: Solution, second: Solution) -> Solution:
    return Solution(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)])
            for name in Solution.__dataclass_fields__
        )
    )


def basins_of(law: Law, solution: Solution, z, f: float, at: Spread | None) -> list[Basin]:
    """Distinct converged optima within 5 % of the best, the best first, with their starts."""
    if not np.isfinite(f) or at is None:
        return []
    near = solution.converged & (solution.f <= f * (1 + _NEAR_OBJECTIVE) + 1e-18)
    order = np.flatnonzero(near)[np.argsort(solution.f[near], kind="stable")]
    reach = np.maximum(1e-3 * (1 + np.abs(z)), 0.05 * np.where(at.flat, 0, at.se))
    found: list[Basin] = [Basin(f, z, 0)]
    for i in order:
        for k, basin in enumerate(found):
            if (np.abs(solution.z[i] - basin.z) <= reach).all():
                found[k] = replace(basin, starts=basin.starts + 1)
                break
        else:
            if len(found) < 10:
                found.append(Basin(float(solution.f[i]), solution.z[i], 1))
    return found
