"""The sentences printed beside a fit: what its numbers rest on, and what they leave open."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scaling.analysis.law import Law
from scaling.analysis.result import Interval
from scaling.analysis.solver import Problem, solve
from scaling.analysis.status import STATUSES

_FEW = 3  # degrees of freedom: less than this says little about the size of the errors
_PER_PARAM = 4  # runs per free parameter below which intervals are rough
_OUTLYING = 8.0  # residuals, in units of the typical one, from which a row is named
_NAMED = 3  # rows named
_MOVED = 0.5  # standard errors by which an outlier moves a parameter that is worth a word


def remarks(law: Law, params: dict[str, Interval], status: str, facts, dof: int, n: int):
    """list of str: notes of the law, degrees of freedom, bounds, identification, draws."""
    out = list(law.notes)
    n_free = n - dof
    if dof <= 0:
        out.append(
            f"{n} points for {n_free} free parameters leave no degrees of freedom: the law passes "
            "through the points whatever they are, so there are no intervals and R² means nothing; "
            "add runs, or pin what is known"
        )
    elif dof <= _FEW:
        out.append(
            f"only {dof:g} degrees of freedom: errors are hardly estimated, so intervals of any "
            "kind are rough; add runs, or pin what is known"
        )
    elif n < _PER_PARAM * n_free:
        out.append(
            f"{n} points for {n_free} free parameters, fewer than {_PER_PARAM} for each: intervals "
            "are rough, and single runs weigh much"
        )
    stuck = [name for name, p in params.items() if p.at_bound]
    if stuck:
        others = [name for name, p in params.items() if p.conditional]
        out += [f"{name} = {params[name].value:.4g} lies on its bound" for name in stuck]
        if others:
            out.append(f"intervals of {', '.join(others)} hold given {', '.join(stuck)} there")
    loose = [name for name, p in params.items() if not p.identified]
    if loose:
        out.append(f"not identified by these data: {', '.join(loose)}")
    if status not in ("ok", "at_bound", "failed"):
        out.append(STATUSES[status])
    if facts and facts["converged"] < 0.98 * facts["n"]:
        missed = facts["n"] - facts["converged"]
        out.append(f"{missed} of {facts['n']} bootstrap draws did not converge")
    return out


def outliers(problem: Problem, table: pd.DataFrame, z, r, lo, hi, se: np.ndarray) -> list[str]:
    """Rows that a robust loss leaves aside, by number and values, and how the fit moves without
    them. r [n]: residuals; se [P]: standard errors in z."""
    typical = np.median(np.abs(r)) / 0.6745
    if not problem.loss.huber or not typical > 0:
        return []
    size = np.abs(r) / typical
    far = np.flatnonzero((size > _OUTLYING) & (np.abs(r) > problem.delta))
    if not len(far) or len(far) > 0.1 * len(r):  # a tenth of the rows is a tail, not an outlier
        return []
    far = far[np.argsort(-size[far])]
    rows = [_row(problem.law, table, i, r[i] / typical) for i in far[:_NAMED]]
    more = f" and {len(far) - _NAMED} more" if len(far) > _NAMED else ""
    said = f"far from the law, and left aside by the robust loss: {'; '.join(rows)}{more}"
    return [f"{said}; {_without(problem, z, lo, hi, far, se)}"]


def _row(law: Law, table: pd.DataFrame, i: int, size: float) -> str:
    names = [c.name for c in law.columns if c.name in table] + [law.target.name]
    cells = (table[c].iloc[i] for c in names)
    values = ", ".join(
        f"{c} {v:.4g}" if isinstance(v, float | int | np.number) else f"{c} {v}"
        for c, v in zip(names, cells, strict=True)
    )
    label = table.index[i]
    number = label + 1 if isinstance(label, int | np.integer) else label
    return f"row {number} ({values}) by {size:+.0f} times the typical residual"


def _without(problem: Problem, z, lo, hi, far: Sequence[int], se) -> str:
    """How the parameters move when the rows `far` are left out."""
    w = problem.w.copy()
    w[far] = 0.0
    kept = Problem(problem.law, problem.loss, problem.delta, problem.x, problem.t, w)
    moved = solve(kept, z[None], lo, hi).z[0] - z
    share = np.abs(moved) / np.where(se > 0, se, np.inf)
    if not share.max() > _MOVED:
        return f"without {'it' if len(far) == 1 else 'them'} the fit is nearly the same"
    name = problem.law.params[int(np.argmax(share))].name
    return (
        f"without {'it' if len(far) == 1 else 'them'} {name} moves by {share.max():.1f} standard "
        "errors"
    )
