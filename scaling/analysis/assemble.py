"""From the numbers of the engine to a `Fit`: intervals in natural units, status, remarks."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
import pandas as pd

from scaling import __version__
from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.bounds import explain, touching
from scaling.analysis.design import is_line, missing_runs
from scaling.analysis.fitted import Fit
from scaling.analysis.intervals import Profile, Spread, residuals, t_quantile
from scaling.analysis.law import TRANSFORMS, Law
from scaling.analysis.objective import derived_of, values_of
from scaling.analysis.region import Region
from scaling.analysis.remarks import outliers, remarks
from scaling.analysis.result import Basin, Interval, twins
from scaling.analysis.solver import Problem
from scaling.analysis.status import status_of, what_to_do

_QUANTILES = 401  # of the residuals, kept for prediction intervals


@dataclass(frozen=True)
class Found:
    """What the engine found: the optimum z [P] of objective f in the box lo, hi [P], and what was
    seen around it. `spread` and `region` are None when there is no optimum (`region` also without
    degrees of freedom)."""

    problem: Problem
    table: pd.DataFrame
    loss: str
    seed: int
    z: np.ndarray
    f: float
    lo: np.ndarray
    hi: np.ndarray
    starts: Mapping[str, int]
    valley: bool = False
    basins: Sequence[Basin] = ()
    spread: Spread | None = None
    profiles: Mapping[int, Profile] = field(default_factory=dict)
    region: Region | None = None
    bootstrap: Bootstrap | None = None
    draws: np.ndarray | None = None
    draws_converged: int = 0

    @property
    def free(self) -> np.ndarray:
        return self.lo < self.hi

    @property
    def dof(self) -> int:
        return self.problem.n - int(self.free.sum())


def assemble(found: Found, warnings: list[str], data_hash: str) -> Fit:
    """Turns the numbers of the engine into a Fit: intervals, status, warnings."""
    problem, law, free = found.problem, found.problem.law, found.free
    spread, z = found.spread, found.z
    if spread is None:
        nothing = np.zeros((len(z), len(z)))
        spread = Spread(nothing, np.zeros(len(z)), np.inf, free, np.full(problem.n, np.nan))
    z = z if np.isfinite(found.f) else np.full(len(z), np.nan)
    r, _ = residuals(problem, z)
    stuck = touching(z, found.lo, found.hi)
    params = _params(found, z, spread, stuck)
    derived = _derived(found, z, spread, stuck)
    r2 = _r2(problem, r) if found.dof > 0 else float("nan")
    status = status_of(
        spread=spread,
        objective=found.f,
        touching=stuck,
        several=found.valley or is_line(law, found.table) or len(twins(found.basins)) > 1,
        starts=found.starts,
        r2=r2 if found.dof > 0 else 1.0,
        n_free=int(free.sum()),
    )
    facts = None
    if found.bootstrap is not None and found.draws is not None:
        facts = {"method": found.bootstrap.method, "n": found.bootstrap.n}
        facts |= {"cluster": found.bootstrap.cluster, "used": len(found.draws)}
        facts |= {"converged": found.draws_converged}
    said = warnings + remarks(law, params, status, facts, found.dof, problem.n)
    if found.spread is not None and found.dof > 0:
        where = (found.lo, found.hi, spread.se)
        said += outliers(problem, found.table, z, r, *where)
        if not r2 > 0:
            said.append(f"R² is {r2:.3g}: a constant would describe these data as well")
    advice = missing_runs(law, found.table)
    bounds = explain(law, values_of(law, z), stuck, found.lo, found.hi)
    return Fit(
        law=law,
        status=status,
        remedy=what_to_do(status, law.name, advice, bounds),
        advice=advice,
        n_points=problem.n,
        objective=found.f,
        params=params,
        derived=derived,
        starts=dict(found.starts),
        basins=list(found.basins),
        warnings=said,
        loss=found.loss,
        delta=problem.delta,
        seed=found.seed,
        r2=r2,
        condition=spread.condition,
        z=z,
        box=np.stack([found.lo, found.hi]),
        cov=spread.cov,
        dof=spread.dof or found.dof,
        residual_quantiles=np.quantile(spread.errors, np.linspace(0, 1, _QUANTILES)),
        ranges=_ranges(law, found.table),
        data_hash=data_hash,
        versions=_versions(),
        interval=_method(found, facts),
        bootstrap=facts,
        region=found.region,
        draws=found.draws,
        table=found.table,
        residuals=r,
        profiles={law.params[i].name: p for i, p in found.profiles.items()},
    )


def _params(found: Found, z, spread: Spread, stuck) -> dict[str, Interval]:
    law, free = found.problem.law, found.free
    value, region = values_of(law, z), found.region
    drawn = None if region is None else values_of(law, region.draws)
    ridge = None if region is None else values_of(law, region.ridge)
    q = t_quantile(0.975, spread.dof or max(found.dof, 1))
    out = {}
    for i, name in enumerate(p.name for p in law.params):
        slope = TRANSFORMS[law.params[i].transform].slope(value[name])
        se, ci, identified = float(abs(slope) * spread.se[i]), None, not spread.flat[i]
        if not free[i]:
            se, ci = 0.0, (float(value[name]), float(value[name]))
        elif region is None:
            se = float("nan")
        else:
            ends = region.ends(value[name], drawn[name], ridge[name])
            ends = (float(ends[0]), float(ends[1]))
            known = region.ends(z[i], region.draws[:, i], region.ridge[:, i])[2]
            if found.draws is not None:
                se, ci = float(np.std(drawn[name], ddof=1)), ends
            elif i in found.profiles:
                ci = _natural(law, i, found.profiles[i].low, found.profiles[i].high)
            elif spread.flat[i] or stuck[i]:
                ci = ends
            else:
                ci = _natural(law, i, *(z[i] + np.array([-q, q]) * spread.se[i]))
                ci = _widest(ci, region.beside(value[name], ridge[name]))
            se = float("nan") if spread.flat[i] else se
            closed = i not in found.profiles or found.profiles[i].closed or bool(stuck[i])
            identified = identified and bool(known) and closed
        identified = bool(identified and np.isfinite(z[i]))
        given = _given(law, stuck, name) if free[i] else ()
        out[name] = Interval(float(value[name]), se, ci, identified, bool(stuck[i]), given)
    return out


def _derived(found: Found, z, spread: Spread, stuck) -> dict[str, Interval]:
    law, region = found.problem.law, found.region
    given = _given(law, stuck)
    draws = np.empty((0, len(z))) if region is None else region.draws
    ridge = np.empty((0, len(z))) if region is None else region.ridge
    values, slope = derived_of(law, np.vstack([z, draws, ridge]))
    out = {}
    for name, v in values.items():
        if region is None:
            out[name] = Interval(float(v[0]), float("nan"), None, True, False, given)
            continue
        drawn, aside = v[1 : 1 + len(draws)], v[1 + len(draws) :]
        limits = (0.0, 1.0) if name in law.fractions else (-np.inf, np.inf)
        low, high, known = region.ends(v[0], drawn, aside)
        low, high = np.clip((low, high), *limits)
        se = float(np.sqrt(slope[name] @ spread.cov @ slope[name]))
        if found.draws is not None:
            se = float(np.nanstd(drawn, ddof=1))
        out[name] = Interval(
            float(v[0]), se if known else float("nan"), (float(low), float(high)), bool(known),
            False, given,
        )  # fmt: skip
    return out


def _given(law: Law, stuck, name: str = "") -> tuple[str, ...]:
    """The parameters on a bound, but for `name`: what an interval is conditional on."""
    names = [p.name for p in law.params]
    return tuple(n for n, s in zip(names, stuck, strict=True) if s and n != name)


def _widest(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def _r2(problem: Problem, r: np.ndarray) -> float:
    """1 - weighted residual over total sum of squares; NaN for a target that does not vary."""
    w, t = problem.w, problem.t
    total = np.sum(w * (t - np.average(t, weights=w)) ** 2)
    return float(1 - np.sum(w * r * r) / total) if total > 0 else float("nan")


def _method(found: Found, facts) -> str:
    if found.region is None:
        return "none"
    if facts:
        return found.bootstrap.method
    return "profile" if found.profiles else "sandwich"


def _natural(law: Law, i: int, low: float, high: float) -> tuple[float, float]:
    """The ends of an interval of parameter i in natural units; an open end stays infinite (or 0
    for a scale)."""
    inverse = TRANSFORMS[law.params[i].transform].inverse
    with np.errstate(over="ignore"):  # An open end may be far outside of what a float holds.
        return float(inverse(low)), float(inverse(high))


def _ranges(law: Law, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """{column: (least, greatest)} of the rows fitted."""
    numeric = [c.name for c in law.columns if c.numeric and c.name in table]
    ranges = {name: (float(table[name].min()), float(table[name].max())) for name in numeric}
    return ranges | _compute_range(law, table)


def _compute_range(law: Law, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The range of compute, for laws of N and D whose table does not state it: 6 N D."""
    names = [c.name for c in law.columns]
    if "flops" in names or not {"n_params", "n_tokens"} <= set(names):
        return {}
    given = "flops" in table and pd.api.types.is_numeric_dtype(table["flops"])
    flops = table["flops"] if given else 6 * table["n_params"] * table["n_tokens"]
    return {"flops": (float(flops.min()), float(flops.max()))}


def _versions() -> dict[str, str]:
    return {
        "scaling": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "python": platform.python_version(),
    }
