"""From the numbers of the engine to a `Fit`: intervals in natural units, status, remarks."""

import platform

import jax
import numpy as np
import pandas as pd

from scaling import __version__
from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.intervals import Spread, percentiles, residuals, t_quantile
from scaling.analysis.law import TRANSFORMS, Law
from scaling.analysis.objective import derived_of, values_of
from scaling.analysis.result import Fit, Interval, twins
from scaling.analysis.solver import Problem

_SINGULAR = 1e10  # condition of the scaled curvature from which the optimum is not unique
_FEW = 3  # degrees of freedom: less than this says little about the size of the errors
_QUANTILES = 401  # of the residuals, kept for prediction intervals


def assemble(
    *,
    problem: Problem,
    loss_name,
    z,
    objective,
    lo,
    hi,
    spread: Spread | None,
    profiles,
    starts,
    basins,
    bootstrap: Bootstrap | None,
    draws,
    draws_converged,
    table,
    warnings,
    seed,
    data_hash,
) -> Fit:
    """Turns the numbers of the engine into a Fit: intervals, status, warnings."""
    law, names = problem.law, [p.name for p in problem.law.params]
    n, free = problem.n, lo < hi
    dof = rows_dof = max(n - int(free.sum()), 1)
    if spread is not None and spread.dof is not None:
        dof = spread.dof
    if spread is None:
        nothing = np.zeros((len(names), len(names)))
        spread = Spread(nothing, np.zeros(len(names)), np.inf, free, np.full(n, np.nan))
        z, r = np.full(len(names), np.nan), np.full(n, np.nan)
    else:
        r, _ = residuals(problem, z)
    margin = 1e-7 * (hi - lo)
    touching = free & ((z <= lo + margin) | (z >= hi - margin))
    value, many = values_of(law, z), None if draws is None else values_of(law, draws)
    extra, extra_slope = derived_of(law, z[None] if draws is None else np.vstack([z, draws]))
    q = t_quantile(0.975, dof)
    params = {}
    for i, name in enumerate(names):
        slope = TRANSFORMS[law.params[i].transform].slope(value[name])
        se, ci, identified = float(abs(slope) * spread.se[i]), None, not spread.flat[i]
        if not free[i]:
            se, ci = 0.0, (float(value[name]), float(value[name]))
        elif many is not None:
            se = float(np.std(many[name], ddof=1))
            ci = tuple(map(float, percentiles(many[name])))
        elif i in profiles:
            ci = _natural(law, i, profiles[i].low, profiles[i].high)
        elif np.isfinite(z[i]) and not touching[i]:
            ends = z[i] + np.array([-q, q]) * spread.se[i]
            ci = _natural(law, i, *np.clip(ends, lo[i], hi[i]))
        if free[i] and i in profiles:
            identified = identified and (profiles[i].closed or bool(touching[i]))
        params[name] = Interval(
            float(value[name]), se, ci, bool(identified and np.isfinite(z[i])), bool(touching[i])
        )
    derived = {}
    for name, (v, *resampled) in extra.items():
        if draws is not None:
            se = float(np.nanstd(resampled, ddof=1))
            ci = percentiles(np.array(resampled))
        else:
            se = float(np.sqrt(extra_slope[name] @ spread.cov @ extra_slope[name]))
            ci = (float(v - q * se), float(v + q * se))
        limits = (0.0, 1.0) if name in law.fractions else (-np.inf, np.inf)
        ci = tuple(map(float, np.clip(ci, *limits)))
        # A quantity that moves along a flat direction is no better known than what moves it.
        known = not (spread.flat & (np.abs(extra_slope[name]) > 1e-12)).any()
        derived[name] = Interval(float(v), se, ci, bool(known))
    status = _status(objective, spread, touching, basins, starts)
    r2 = 1 - np.sum(problem.w * r * r) / np.sum(
        problem.w * (problem.t - np.average(problem.t, weights=problem.w)) ** 2
    )
    facts = None
    if bootstrap is not None and draws is not None:
        facts = {"method": bootstrap.method, "n": bootstrap.n, "cluster": bootstrap.cluster}
        facts |= {"used": len(draws), "converged": draws_converged}
    return Fit(
        law=law,
        status=status,
        n_points=n,
        objective=objective,
        params=params,
        derived=derived,
        starts=starts,
        basins=basins,
        warnings=warnings
        + _remarks(law, params, status, touching, draws_converged, facts, rows_dof),
        loss=loss_name,
        delta=problem.delta,
        seed=seed,
        r2=float(r2),
        condition=spread.condition,
        z=z,
        box=np.stack([lo, hi]),
        cov=spread.cov,
        dof=dof,
        residual_quantiles=np.quantile(spread.errors, np.linspace(0, 1, _QUANTILES)),
        ranges={
            c.name: (float(table[c.name].min()), float(table[c.name].max()))
            for c in law.columns
            if c.numeric and c.name in table
        }
        | _compute_range(law, table),
        data_hash=data_hash,
        versions=_versions(),
        interval=bootstrap.method if facts else "profile" if profiles else "sandwich",
        bootstrap=facts,
        draws=draws,
        table=table,
        residuals=r,
        profiles={names[i]: p for i, p in profiles.items()},
    )


def _natural(law: Law, i: int, low: float, high: float) -> tuple[float, float]:
    """The ends of an interval of parameter i in natural units; an open end stays infinite (or 0
    for a scale)."""
    inverse = TRANSFORMS[law.params[i].transform].inverse
    with np.errstate(over="ignore"):  # An open end may be far outside of what a float holds.
        return float(inverse(low)), float(inverse(high))


def _compute_range(law: Law, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The range of compute, for laws of N and D whose table does not state it: 6 N D."""
    names = [c.name for c in law.columns]
    if "flops" in names or not {"n_params", "n_tokens"} <= set(names):
        return {}
    given = "flops" in table and pd.api.types.is_numeric_dtype(table["flops"])
    flops = table["flops"] if given else 6 * table["n_params"] * table["n_tokens"]
    return {"flops": (float(flops.min()), float(flops.max()))}


def _status(objective, spread: Spread, touching, basins, starts) -> str:
    if not np.isfinite(objective) or not (starts["at_best"] or basins):
        return "failed"
    if spread.condition > _SINGULAR or spread.flat.any() or len(twins(basins)) > 1:
        return "not_unique"
    return "at_bound" if touching.any() else "ok"


def _remarks(law, params, status, touching, converged, facts, dof) -> list[str]:
    out = list(law.notes)
    if dof <= _FEW:
        out.append(
            f"only {dof:g} degrees of freedom: errors are hardly estimated, so intervals of any "
            "kind are too narrow; add runs, or pin what is known"
        )
    for p, hit in zip(law.params, touching, strict=True):
        if hit:
            out.append(f"{p.name} = {params[p.name].value:.4g} lies on its bound")
    loose = [n for n, p in params.items() if not p.identified]
    if loose:
        out.append(f"not identified by these data: {', '.join(loose)}")
    if status == "not_unique":
        out.append("several sets of parameters fit equally well: quote none of them alone")
    if facts and converged < 0.98 * facts["n"]:
        out.append(f"{facts['n'] - converged} of {facts['n']} bootstrap draws did not converge")
    return out


def _versions() -> dict[str, str]:
    return {
        "scaling": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "python": platform.python_version(),
    }
