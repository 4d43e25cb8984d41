"""A `Fit` as a table for people."""

from scaling.analysis.result import Fit


def describe(fit: Fit) -> str:
    """The fit as a table for people."""
    s = fit.starts
    lines = [
        f"{fit.law.name}: {fit.law.formula}",
        f"status {fit.status}   {fit.n_points} points   objective {fit.objective:.10g} "
        f"({fit.loss}, delta {fit.delta:g}, summed)   R² {fit.r2:.5f}",
        f"starts {s['n']}: {s['converged']} run to the end, {s['at_best']} of them at the best "
        f"optimum, {s['dropped']} dropped as dominated   condition {fit.condition:.2g}",
        "",
        f"{'':<12}{'value':>14}{'se':>12}   95 % interval ({fit.interval})",
    ]
    for name, p in {**fit.params, **fit.derived}.items():
        ends = "" if p.ci95 is None else f"[{p.ci95[0]:.5g}, {p.ci95[1]:.5g}]"
        marks = ("  not identified" if not p.identified else "") + (
            "  at bound" if p.at_bound else ""
        )
        lines.append(f"{name:<12}{p.value:>14.6g}{p.se:>12.3g}   {ends}{marks}")
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
