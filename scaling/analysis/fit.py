"""`fit`: from a law and a table to a `Fit`.

The order of work: choose and check the rows; run every start until the dominated ones can be
dropped; polish; describe the optimum (basins, curvature, profiles); resample if asked; predict
what was held out. Nothing is reported that was not computed from the optimum that was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.assemble import Found, assemble
from scaling.analysis.bootstrap import Bootstrap, draw, draw_reduced
from scaling.analysis.bounds import box, touching
from scaling.analysis.clusters import resampled, resolve, tell
from scaling.analysis.design import is_line
from scaling.analysis.draws import basins
from scaling.analysis.fitted import Fit
from scaling.analysis.intervals import profiles, spread, t_quantile
from scaling.analysis.law import Law
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import get_loss
from scaling.analysis.region import plausible
from scaling.analysis.search import Searched, basins_of, confirm, joined, search_on, start_points
from scaling.analysis.solver import Problem
from scaling.analysis.tables.check import data_hash, validate
from scaling.analysis.tables.choose import matches, require
from scaling.analysis.tables.design import settle, take_best
from scaling.analysis.tables.mixed import mixed
from scaling.analysis.tables.read import as_table
from scaling.errors import UserError

_ADOPTIONS = 4  # times that a profile may lead to a better optimum


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
    cluster: str | bool | None = None,
    profile: bool = True,
    best_of: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
) -> Fit:
    """Fits `law` (a name in LAWS or a Law) to `table` (DataFrame, mapping of columns, or path).

    delta, loss: default to the law's own (usually Huber, 1e-3, on ln loss). The objective is the
    weighted sum over rows, never the mean. weights: a column name or one positive number a row, or
    one of the law's `weightings`.
    starts: None for the law's own, a number to draw that many of them, or {name: [values]}.
    bounds: {name: (lower, upper)} in natural units; pinned: {name: value}.
    bootstrap: draws (case bootstrap) or a `Bootstrap`. holdout: conditions or a boolean mask of
    rows to predict and not to fit. cluster: column of the runs, whose rows are dependent; None for
    what the table names (`clusters.resolve`), False for independent rows. profile: False skips the
    profile likelihoods (intervals are then sandwich ones).
    best_of: settings such as ("lr", "batch"): of the rows at one point of the law's inputs only
    the best over these is fitted.
    units: what the table's columns are in, {"n_tokens": "B"}, see `as_table`.

    Raises UserError for bad input. A fit that did not work is not an exception: see `Fit.status`.
    """
    law = LAWS.load(law) if isinstance(law, str) else law
    if isinstance(weights, str) and weights in law.weightings:
        law, weights = law.weighted(weights), None
    loss_name = loss or law.loss
    delta = law.delta if delta is None else float(delta)
    if not delta > 0:
        raise UserError(f"delta is {delta:g}: it must be positive (1e-3 is usual)")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}: it must lie between 0 and 2^32 - 1")
    if isinstance(bootstrap, int):
        bootstrap = Bootstrap(bootstrap)
    frame, warnings = as_table(table, units=units)
    frame, held = _split(_with_weights(frame, weights), holdout)
    frame, notices = validate(law, frame)
    frame, odd = settle(law, frame, best_of)
    warnings += notices + odd
    asked = bootstrap.cluster if bootstrap and cluster is None else cluster
    clusters = resolve(frame, law, asked)
    bootstrap = resampled(bootstrap, clusters, law)
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
    groups = clusters.labels if type(law).reduce is Law.reduce else None
    chosen = {*(bounds or {}), *(pinned or {})}
    searched = search_on(problem, z0, lo, hi, seed, chosen, is_line(law, reduced))
    warnings, lo, hi = warnings + searched.warnings, searched.lo, searched.hi
    solution, at, curves, adopted = _look_around(problem, searched, groups, profile)
    warnings += adopted
    z, f = solution.best
    if at is not None:
        interior = (lo < hi) & ~touching(z, lo, hi)
        warnings += tell(clusters, problem, z, interior, at, frame, bootstrap)
    draws, converged = None, 0
    if bootstrap and at is not None:
        if type(law).reduce is Law.reduce:
            places = basins(problem, solution, z, f, lo, hi)
            drawn = draw(bootstrap, problem, places, lo, hi, seed, clusters.labels)
        else:

            def pose_again(rows: pd.DataFrame) -> Problem:
                return pose(law, law.reduce(rows), loss_name, delta)

            where = (frame, z[None], lo, hi, seed, clusters.labels)
            drawn = draw_reduced(bootstrap, pose_again, *where)
        draws, converged = drawn.z, drawn.converged
        warnings += drawn.remarks
    found = Found(
        problem=problem,
        table=reduced,
        loss=loss_name,
        seed=seed,
        z=z,
        f=f,
        lo=lo,
        hi=hi,
        starts=solution.counts(f),
        valley=searched.valley,
        basins=basins_of(law, solution, z, f, at),
        spread=at,
        profiles=curves,
        bootstrap=bootstrap,
        draws=draws,
        draws_converged=converged,
    )
    if at is not None and found.dof > 0:
        dof = at.dof or found.dof
        region = plausible(problem, z, f, lo, hi, at, dof, curves, solution, seed, draws)
        found = replace(found, region=region)
    result = assemble(found, warnings, data_hash(law, frame))
    if len(result.residuals) == len(frame):
        result.warnings.extend(mixed(law, frame, result.residuals))
    if held is not None and result.status != "failed":
        result = _judge_holdout(result, law, held, best_of)
    return result


def _look_around(problem: Problem, searched: Searched, groups, profile: bool):
    """(solution, spread, profiles, warnings) at the best optimum. A profile may run into a better
    one: the search then starts again from there."""
    solution, lo, hi = searched.solution, searched.lo, searched.hi
    z, f = solution.best
    if not (solution.at_best(f) or searched.valley):  # no optimum to look around at
        return solution, None, {}, []
    rows_dof, warnings = max(problem.n - int((lo < hi).sum()), 1), []
    for _ in range(_ADOPTIONS):
        at = spread(problem, z, (lo < hi) & ~touching(z, lo, hi), groups)
        if not profile:
            return solution, at, {}, warnings
        curves, better = profiles(problem, z, f, lo, hi, at, t_quantile(0.975, at.dof or rows_dof))
        if better is None:
            return solution, at, curves, warnings
        solution = joined(solution, confirm(problem, better, lo, hi))
        z, f = solution.best
        warnings = ["a profile found a lower optimum than the starts; it was adopted"]
    warnings.append("profiles go on finding lower optima: there are none in this result")
    return solution, at, {}, warnings


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
