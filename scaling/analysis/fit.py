"""`fit`: from a law and a table to a `Fit`.

The order of work: choose and check the rows; run every start until the dominated ones can be
dropped; polish; describe the optimum (basins, curvature, profiles); resample if asked; predict
what was held out. Nothing is reported that was not computed from the optimum that was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from scaling.analysis.assemble import assemble
from scaling.analysis.bootstrap import Bootstrap, draw, draw_reduced
from scaling.analysis.draws import basins
from scaling.analysis.intervals import Spread, profiles, spread, t_quantile
from scaling.analysis.law import TRANSFORMS, Law
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import get_loss, z_of
from scaling.analysis.result import Basin, Fit
from scaling.analysis.solver import Problem, Solution, solve
from scaling.analysis.tables.check import data_hash, validate
from scaling.analysis.tables.choose import matches, require
from scaling.analysis.tables.design import settle, take_best
from scaling.analysis.tables.mixed import mixed
from scaling.analysis.tables.read import as_table
from scaling.errors import UserError, unknown
from scaling.limits import refuse_too_many

_KEEP = 256  # starts that always run to the end
_SCREEN_ROWS = 2000  # rows that dominated starts are judged on when the table is long
_SCREEN_ITERATIONS = 80
_POLISH, _POLISH_WITHIN = 4, 1.5  # screened starts that see all rows, and how near the best
_SAME_OBJECTIVE = 1e-6  # relative: two optima this close in objective are equally good
_NEAR_OBJECTIVE = 0.05  # relative: other basins this close are reported
_AT_BOUND = 1e-7  # of the width of the box, in z


def fit(
    law: str | Law,
    table: Any,
    *,
    delta: float | None = None,
    loss: str | None = None,
    weights: str | np.ndarray | None = None,
    starts: int | Mapping[str, Any] | None = None,
    seed: int = 42,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    pinned: Mapping[str, float] | None = None,
    bootstrap: int | Bootstrap | None = None,
    holdout: str | Iterable[str] | np.ndarray | None = None,
    cluster: str | None = None,
    profile: bool = True,
    best_of: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
) -> Fit:
    """Fits `law` (a name in LAWS or a Law) to `table` (DataFrame, mapping of columns, or path).

    delta, loss: default to the law's own (usually Huber, 1e-3, on ln loss). The objective is the
    weighted sum over rows, never the mean. weights: a column name or one positive number a row.
    starts: None for the law's own, a number to draw that many of them, or {name: [values]}.
    bounds: {name: (lower, upper)} in natural units; pinned: {name: value}.
    bootstrap: draws (case bootstrap) or a `Bootstrap`. holdout: conditions or a boolean mask of
    rows to predict and not to fit. cluster: column of the runs, for errors robust to dependence
    within a run. profile: False skips the profile likelihoods (intervals are then sandwich ones).
    best_of: settings such as ("lr", "batch"): of the rows at one point of the law's inputs only
    the best over these is fitted.
    units: what the table's columns are in, {"n_tokens": "B"}, see `as_table`.

    Raises UserError for bad input. A fit that did not work is not an exception: see `Fit.status`.
    """
    law = LAWS.load(law) if isinstance(law, str) else law
    loss_name = loss or law.loss
    delta = law.delta if delta is None else float(delta)
    if not delta > 0:
        raise UserError(f"delta is {delta:g}: it must be positive (1e-3 is usual)")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}: it must lie between 0 and 2^32 - 1")
    if isinstance(bootstrap, int):
        bootstrap = Bootstrap(bootstrap, "cluster" if cluster else "case", cluster)
    frame, warnings = as_table(table, units=units)
    frame, held = _split(_with_weights(frame, weights), holdout)
    frame, notices = validate(law, frame)
    frame, odd = settle(law, frame, best_of)
    warnings += notices + odd
    cluster = cluster or (bootstrap.cluster if bootstrap else None)
    if bootstrap and bootstrap.method == "cluster":
        cluster = cluster or law.cluster
        if cluster is None:
            raise UserError("a cluster bootstrap needs the column of the runs: --cluster COLUMN")
    if cluster:
        require(frame, [cluster])
    lo, hi = box(law, bounds or {}, pinned or {})
    warnings += [
        f"the bounds of {name} leave one value: it is pinned at {low:g}"
        for name, (low, high) in (bounds or {}).items()
        if low == high and name not in (pinned or {})
    ]

    reduced = law.reduce(frame)
    warnings += reduced.attrs.get("warnings", []) + law.remarks(frame)
    problem = pose(law, reduced, loss_name, delta)
    n_free = int((lo < hi).sum())
    if problem.n < n_free:
        raise UserError(
            f"{problem.n} points cannot determine the {n_free} free parameters of {law.name}; "
            "pin some (--pin NAME=VALUE) or add runs"
        )
    z0 = start_points(law, reduced, starts, seed, lo, hi)
    solution = _search(problem, z0, lo, hi, seed)
    best = int(np.argmin(solution.f))
    z, f = solution.z[best], float(solution.f[best])
    groups = _groups(reduced, cluster) if cluster and len(reduced) == len(frame) else None

    curves, at = {}, None
    if np.isfinite(f):
        for _ in range(4):  # a profile may run into a better optimum: then start again from there
            at = spread(problem, z, _interior(z, lo, hi), groups)
            if not profile:
                break
            q = t_quantile(0.975, max(problem.n - n_free, 1))
            curves, better = profiles(problem, z, f, lo, hi, at, q)
            if better is None:
                break
            improved = solve(problem, better[None], lo, hi)
            warnings.append("a profile found a lower optimum than the starts; it was adopted")
            solution = _joined(solution, improved)
            z, f = improved.z[0], float(improved.f[0])
    draws, converged = None, 0
    if bootstrap and at is not None:
        labels = _groups(frame, cluster) if cluster else None
        if type(law).reduce is Law.reduce:
            places = basins(problem, solution, z, f, lo, hi)
            drawn = draw(bootstrap, problem, places, lo, hi, seed, labels)
        else:

            def pose_again(rows: pd.DataFrame) -> Problem:
                return pose(law, law.reduce(rows), loss_name, delta)

            drawn = draw_reduced(bootstrap, pose_again, frame, z[None], lo, hi, seed, labels)
        draws, converged = drawn.z, drawn.converged
        warnings += drawn.remarks
    result = assemble(
        problem=problem,
        loss_name=loss_name,
        z=z,
        objective=f,
        lo=lo,
        hi=hi,
        spread=at,
        profiles=curves,
        starts={
            "n": len(z0),
            "converged": int(solution.converged.sum()),
            "at_best": int((solution.converged & _as_good(solution.f, f)).sum()),
            "dropped": int(solution.dropped.sum()),
        },
        basins=_basins(law, solution, z, f, at),
        bootstrap=bootstrap,
        draws=draws,
        draws_converged=converged,
        table=reduced,
        warnings=warnings,
        seed=seed,
        data_hash=data_hash(law, frame),
    )
    if len(result.residuals) == len(frame):
        result.warnings.extend(mixed(law, frame, result.residuals))
    if held is not None and result.status != "failed":
        result = _judge_holdout(result, law, held, best_of)
    return result


def pose(law: Law, reduced: pd.DataFrame, loss_name: str, delta: float) -> Problem:
    """The problem of fitting `law` to a validated, reduced table. Raises UserError when a
    logarithmic loss meets a target that is not positive."""
    kind = get_loss(loss_name)
    target = reduced[law.target.name].to_numpy(np.float64)
    if kind.log and not (target > 0).all():
        raise UserError(f"{loss_name} needs positive {law.target.name}; try --loss mse")
    t = np.log(target) if kind.log else target
    w = reduced["weight"].to_numpy(np.float64) if "weight" in reduced else np.ones(len(t))
    return Problem(law, kind, delta, law.prepare(reduced), t, w)


def _with_weights(table: pd.DataFrame, weights) -> pd.DataFrame:
    """The table with its weights in the column `weight`, where `reduce` and `pose` find them."""
    if weights is None:
        return table.drop(columns="weight", errors="ignore")
    if isinstance(weights, str):
        require(table, [weights])
        weights = pd.to_numeric(table[weights], errors="coerce")
    values = np.asarray(weights, np.float64)
    if values.shape != (len(table),):
        raise UserError(f"{values.size} weights for {len(table)} rows")
    if not (np.isfinite(values) & (values > 0)).all():
        rows = np.flatnonzero(~(np.isfinite(values) & (values > 0)))[:5] + 1
        raise UserError(f"weights must be positive numbers: see row {', '.join(map(str, rows))}")
    return table.assign(weight=values)


def _split(table: pd.DataFrame, holdout) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if holdout is None:
        return table, None
    if isinstance(holdout, str) or not isinstance(holdout, np.ndarray | pd.Series):
        mask = matches(table, holdout)
    else:
        mask = np.asarray(holdout, bool)
        if mask.shape != (len(table),):
            raise UserError(f"the hold-out mask has {mask.size} entries for {len(table)} rows")
    if mask.all():
        raise UserError("the hold-out takes every row: nothing is left to fit")
    if not mask.any():
        raise UserError(f"no row matches the hold-out {holdout!r}")
    return table[~mask], table[mask]


def box(law: Law, bounds, pinned) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds [P] in z; equal where pinned. Raises UserError."""
    names = [p.name for p in law.params]
    for name in (*bounds, *pinned):
        if name not in names:
            raise unknown(f"parameter of {law.name}", name, names)
    low, high = {}, {}
    for p in law.params:
        low[p.name], high[p.name] = p.lower, p.upper
        if p.name in bounds:
            low[p.name], high[p.name] = map(float, bounds[p.name])
            if not low[p.name] <= high[p.name]:
                raise UserError(f"bounds of {p.name}: {bounds[p.name]} are the wrong way round")
        if p.name in pinned:
            low[p.name] = high[p.name] = float(pinned[p.name])
        for value in (low[p.name], high[p.name]):
            if not np.isfinite(value) or (p.transform == "log" and value <= 0):
                kind = "positive" if p.transform == "log" else "finite"
                raise UserError(f"{p.name}={value:g}: it must be a {kind} number")
        if p.name in pinned and p.name not in bounds and not p.lower <= value <= p.upper:
            raise UserError(f"{p.name}={value:g} lies outside of {p.lower:g} to {p.upper:g}")
    return z_of(law, low), z_of(law, high)


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
        extra = z[rng.integers(len(z), size=starts - len(z))]
        z = np.concatenate([z, extra + 0.3 * rng.standard_normal(extra.shape) * (1 + abs(extra))])
    return np.clip(z, lo, hi)


def _search(problem: Problem, z0, lo, hi, seed: int) -> Solution:
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


def _joined(first: Solution, second: Solution) -> Solution:
    return Solution(
        *(
            np.concatenate([getattr(first, name), getattr(second, name)])
            for name in Solution.__dataclass_fields__
        )
    )


def _interior(z, lo, hi) -> np.ndarray:
    margin = _AT_BOUND * (hi - lo)
    return (lo < hi) & (z > lo + margin) & (z < hi - margin)


def _as_good(f: np.ndarray, best: float) -> np.ndarray:
    return f <= best + _SAME_OBJECTIVE * abs(best) + 1e-18


def _basins(law: Law, solution: Solution, z, f: float, at: Spread | None) -> list[Basin]:
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


def _groups(table: pd.DataFrame, cluster: str) -> np.ndarray:
    return pd.factorize(table[cluster])[0]


def _judge_holdout(result: Fit, law: Law, held: pd.DataFrame, best_of: Sequence[str]) -> Fit:
    """Predicts the rows that were not fitted, and says so when they lie far outside."""
    held, notices = validate(law, held)
    if best_of:
        held, more = take_best([law], held, best_of)
        notices += more
    try:
        held = law.reduce(held)
    except UserError as error:
        return replace(result, warnings=[*result.warnings, f"hold-out not predicted: {error}"])
    predicted = result.predict(held)
    ratio = predicted["predicted"].to_numpy() / held[law.target.name].to_numpy() - 1
    outcome = {"n": len(held), "mape": float(np.abs(ratio).mean()), "bias": float(ratio.mean())}
    warnings = [*result.warnings, *(f"hold-out: {n}" for n in notices)]
    warnings += predicted.attrs.get("warnings", [])
    table = predicted.assign(actual=held[law.target.name].to_numpy())
    return replace(result, holdout=outcome, held_out=table, warnings=warnings)
