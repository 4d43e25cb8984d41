"""A fit as a table for people."""

import math

from scaling.analysis.result import Interval, Result
from scaling.analysis.status import STATUSES


def describe(fit: Result) -> str:
    """The fit as a table for people."""
    s = fit.starts
    lines = [
        f"status {fit.status}" + ("" if fit.status == "ok" else f": {STATUSES[fit.status]}"),
        f"{fit.law.name}: {fit.law.formula}",
        f"{fit.n_points} points   objective {fit.objective:.10g} "
        f"({fit.loss}, delta {fit.delta:g}, summed)   "
        + (f"R² {fit.r2:.5f}" if math.isfinite(fit.r2) else "no R²"),
        f"starts {s['n']}: {s['converged']} run to the end, {s['at_best']} of them at the best "
        f"optimum, {s['dropped']} dropped as dominated   condition {fit.condition:.2g}",
        "",
        f"{'':<12}{'value':>14}{'se':>12}   95 % interval ({fit.interval})",
    ]
    for name, p in {**fit.params, **fit.derived}.items():
        ends = "" if p.ci95 is None else f"[{p.ci95[0]:.5g}, {p.ci95[1]:.5g}]"
        se = f"{p.se:.3g}" if math.isfinite(p.se) else "-"
        lines.append(f"{name:<12}{p.value:>14.6g}{se:>12}   {ends}{marks_of(p)}")
    if len(fit.basins) > 1:
        lines += ["", f"{len(fit.basins) - 1} other optima within 5 % of the objective"]
    if fit.holdout:
        h = fit.holdout
        lines += [
            "",
            f"held out: {h['n']} points, mean absolute error {100 * h['mape']:.3f} %, "
            f"bias {100 * h['bias']:+.3f} %",
        ]
    lines += [f"warning: {w}" for w in fit.warnings]
    return "\n".join(lines)


def marks_of(p: Interval) -> str:
    """What is to be said beside an interval."""
    marks = []
    if not p.identified and p.ci95 is not None:
        marks.append("not identified: spans what fits as well")
    marks += ["at bound"] if p.at_bound else []
    marks += [f"given {', '.join(p.conditional)} at the bound"] if p.conditional else []
    return "".join(f"  {m}" for m in marks)
