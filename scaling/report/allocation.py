"""Where compute should go: the envelope, IsoFLOP curves, and the compute-optimal allocation."""

import altair as alt
import numpy as np
import pandas as pd

from scaling.analysis.isoflop import budgets, curve_minimum
from scaling.errors import UserError
from scaling.report import charts
from scaling.report.content import Figure, Section, Table, Text
from scaling.report.estimate import Estimate, mark
from scaling.report.text import count, number, plural, power

_COLUMNS = ("name", "n_params", "n_tokens", "flops", "loss", "predicted", "error")
BEYOND = 10.0  # how far past the largest run the bands are drawn
_STAR = "M0,-1L.24,-.33L.95,-.31L.38,.12L.59,.81L0,.4L-.59,.81L-.38,.12L-.95,-.31L-.24,-.33Z"
_MIN_SIZES = 4  # of one budget, for a curve with a minimum


def allocation(found: Estimate) -> Section:
    """Loss over compute with the frontier, the IsoFLOP view, N*(C) and D*(C), and a table."""
    top = float(found.table["flops"].max())
    title = f"Optimal allocation: {found.group.title}"
    key = f"allocation-{found.group.key}"
    if not found.has_optimum or not found.of_n_and_d:
        text = found.no_optimum or f"{found.fit.law.name} reads more than size and tokens"
        text = f"{text[0].upper()}{text[1:]}."
        return Section(key, title, [_envelope(found), Text(text, "missing")])
    best = found.optimal([top, BEYOND * top, 100 * top])
    a = found.fit.derived.get("a")
    exponent = ""
    if a is not None:
        said = mark(a)
        exponent = f"N* grows as C to the power {number(a.value)}{said and f' ({said})'}. "
    if not best["determined"].all():
        exponent += f"These runs do not determine the optimum: {found.fit.advice}. "
    first = best.iloc[0]
    blocks = [
        Text(
            f"Along the law, {power(top)} FLOPs are best spent on {count(first['n_params'])} "
            f"parameters and {count(first['n_tokens'])} tokens, "
            f"{number(first['tokens_per_param'])} tokens per parameter. {exponent}"
        ),
        _envelope(found),
        _isoflop(found),
        _optimum(found, top),
        _table(best, top),
        Text(
            "The runs end at "
            f"{power(top)} FLOPs. What lies beyond is extrapolation: the interval says how sure "
            "the constants are, not whether the law still holds there, and the optimum moves "
            "with learning rate, data and architecture. Check with a run before trusting it for "
            "more than about a factor of ten.",
            "note",
        ),
    ]
    summary = (
        f"{exponent}At {power(top)} FLOPs the optimum is {count(first['n_params'])} parameters "
        f"and {count(first['n_tokens'])} tokens."
    )
    return Section(key, title, blocks, summary, {"optimal": _plain(best)})


def _plain(table: pd.DataFrame) -> list[dict]:
    return [{k: float(v) for k, v in row.items()} for row in table.to_dict("records")]


def _table(best: pd.DataFrame, top: float) -> Table:
    rows = []
    for row in best.itertuples():
        past = row.flops / top
        rows.append(
            (
                power(row.flops),
                "largest run" if past < 1.01 else f"×{past:.0f}, extrapolated",
                f"{count(row.n_params)} [{count(row.n_params_low)}, {count(row.n_params_high)}]",
                f"{count(row.n_tokens)} [{count(row.n_tokens_low)}, {count(row.n_tokens_high)}]",
                number(row.tokens_per_param) if row.determined else "not determined by these runs",
            )
        )
    names = ("FLOPs", "", "parameters", "tokens", "tokens per parameter")
    return Table(names, tuple(rows), "Compute-optimal allocation with 95 % intervals")


def _envelope(found: Estimate) -> Figure:
    """Loss over compute, a line per size, and the loss of the compute-optimal models."""
    table = found.table.assign(size=found.table["n_params"].map(count))
    colour = charts.size_colour(table)
    base = alt.Chart(
        alt.Data(values=charts.shown(table, (*_COLUMNS, "size"), raw=("flops", "loss", "size")))
    )
    x = charts.x_axis(
        "flops",
        "compute (FLOPs)",
        kind="power",
        over=(table["flops"].min(), 3 * table["flops"].max()),
    )
    y = charts.y_axis("loss", "loss (nats per token)")
    layers = [base.mark_line(strokeWidth=1, opacity=0.6).encode(x, y, color=colour)]
    caption = "Lines join the runs of one size."
    if found.has_optimum and found.of_n_and_d:
        grid = np.geomspace(table["flops"].min(), 3 * table["flops"].max(), 50)
        best = found.optimal(grid)
        band = found.predict(best[["n_params", "n_tokens"]])
        frame = charts.rows_of(
            flops=grid, predicted=band["predicted"], low=band["ci_low"], high=band["ci_high"]
        )
        low = charts.y_axis("low", "loss (nats per token)")
        area = alt.Chart(frame).mark_area(color="@band", opacity=0.25)
        line = alt.Chart(frame).mark_line(color="@law", strokeWidth=1.8, strokeDash=[5, 3])
        layers.insert(0, area.encode(x, low, alt.Y2("high:Q")))
        y_law = charts.y_axis("predicted", "loss (nats per token)")
        layers.append(line.encode(x, y_law))
        caption += " Dashed: the law's compute-optimal models, with the 95 % band of the curve."
    dots = base.mark_point(filled=True, size=54, opacity=1)
    layers.append(dots.encode(x, y, color=colour, tooltip=charts.tooltips(table, _COLUMNS)))
    return charts.figure(
        f"compute-{found.group.key}",
        "Loss over compute",
        alt.layer(*layers),
        f"Loss of {len(table)} runs over training compute, one line per model size; the lower "
        "envelope of the lines is what each amount of compute can reach.",
        caption=caption,
        switches=("x", "y"),
        data=charts.data_table(table, _COLUMNS),
    )


def _isoflop(found: Estimate) -> Figure | Text:
    """Loss over size at fixed compute: of the runs where budgets repeat, else of the law."""
    measured = _measured_budgets(found.table)
    if measured is not None:
        return _isoflop_of_runs(found, measured)
    return _isoflop_of_law(found)


def _measured_budgets(table: pd.DataFrame) -> np.ndarray | None:
    """The budget number of each run when at least two budgets have four sizes or more: fewer, in a
    grid of sizes and tokens, meet by accident."""
    try:
        group = budgets(table["flops"].to_numpy(np.float64))
    except UserError:
        return None
    sizes = table["n_params"].groupby(group).nunique()
    enough = sizes.index[sizes >= _MIN_SIZES]
    return np.where(np.isin(group, enough), group, -1) if len(enough) >= 2 else None


def _isoflop_of_runs(found: Estimate, group: np.ndarray) -> Figure:
    rows, curves, stars = found.table[group >= 0], [], []
    budget = found.table["flops"].groupby(group).median()
    for k in sorted(set(group) - {-1}):
        part = found.table[group == k]
        n, loss = (part[c].to_numpy(np.float64) for c in ("n_params", "loss"))
        low = curve_minimum("parabola", n, loss)
        x = np.geomspace(n.min(), n.max(), 40)
        y = np.polyval(np.polyfit(np.log(n), loss, 2), np.log(x))
        curves.append(pd.DataFrame({"n_params": x, "loss": y, "budget": power(budget[k])}))
        if not low.edge:
            stars.append((float(np.exp(low.x)), low.y, power(budget[k])))
    names = [power(budget[k]) for k in sorted(set(group) - {-1})]
    rows = rows.assign(budget=[power(budget[k]) for k in group[group >= 0]])
    stars = pd.DataFrame(stars, columns=["n_params", "loss", "budget"])
    text = "Points are runs, lines parabolas in ln N, stars their minima inside the sizes."
    return _isoflop_figure(found, rows, pd.concat(curves), stars, names, text)


def _isoflop_of_law(found: Estimate) -> Figure:
    """Curves of the law at a few budgets between the runs, and its minima."""
    flops = np.geomspace(*np.quantile(found.table["flops"], [0.1, 1.0]), 5)
    lower, upper = found.table["n_params"].min() / 2, found.table["n_params"].max() * 2
    n = np.geomspace(lower, upper, 40)
    grid = pd.DataFrame({"n_params": np.tile(n, 5), "c": np.repeat(flops, 40)})
    grid = grid.assign(n_tokens=grid["c"] / 6 / grid["n_params"])
    # A law says nothing about a model that sees a hundredth of the fewest tokens of any run.
    grid = grid[grid["n_tokens"] >= found.table["n_tokens"].min() / 4]
    grid = grid.assign(loss=found.predict(grid)["predicted"], budget=grid["c"].map(power))
    best = found.optimal(flops)
    low = found.predict(best[["n_params", "n_tokens"]])["predicted"]
    stars = pd.DataFrame(
        {"n_params": best["n_params"], "loss": low, "budget": best["flops"].map(power)}
    )
    stars = stars[stars["n_params"].between(lower, upper)]
    text = (
        "The runs do not repeat budgets, so these are slices of the fitted law at fixed compute; "
        "stars are their minima."
    )
    return _isoflop_figure(found, None, grid, stars, [power(c) for c in flops], text)


def _isoflop_figure(found, runs, curves, stars, names, text) -> Figure:
    colour = charts.ramp_colour(names, "FLOPs", "budget")
    x = charts.x_axis("n_params", "parameters", over=curves["n_params"])
    y = charts.y_axis("loss", "loss (nats per token)", log=False)
    columns = ["n_params", "loss", "budget"]
    layers = [
        alt.Chart(charts.rows_of(**curves[columns].to_dict("list")))
        .mark_line(strokeWidth=1.4)
        .encode(x, y, color=colour),
        alt.Chart(alt.Data(values=charts.shown(stars, columns)))
        .mark_point(shape=_STAR, filled=True, size=160, opacity=1)
        .encode(x, y, color=colour, tooltip=charts.tooltips(stars, ("n_params", "loss"))),
    ]
    if runs is not None:
        layers.append(
            alt.Chart(
                alt.Data(
                    values=charts.shown(
                        runs, (*_COLUMNS, "budget"), raw=("n_params", "loss", "budget")
                    )
                )
            )
            .mark_point(filled=True, size=44, opacity=1)
            .encode(x, y, color=colour, tooltip=charts.tooltips(runs, _COLUMNS))
        )
    return charts.figure(
        f"isoflop-{found.group.key}",
        "IsoFLOP view: loss over size at fixed compute",
        alt.layer(*layers),
        f"{plural(len(names), 'curve')} of the loss over parameters, one per compute budget; the "
        "minimum moves to larger models as the budget grows.",
        caption=text,
        switches=("x", "y"),
        data=charts.data_table(stars if runs is None else runs, _COLUMNS),
    )


def _optimum(found: Estimate, top: float) -> Figure:
    """N*(C) and D*(C) with bands, the fitted range shaded, extrapolation beyond it."""
    low = float(found.table["flops"].min())
    grid = np.geomspace(low, BEYOND * top, 50)
    best = found.optimal(grid)
    parts = [
        pd.DataFrame(
            {
                "flops": grid,
                "best": best[name],
                "low": best[f"{name}_low"],
                "high": best[f"{name}_high"],
                "what": words,
            }
        )
        for name, words in (("n_params", "N* parameters"), ("n_tokens", "D* tokens"))
    ]
    both = pd.concat(parts)
    colour = alt.Color(
        "what:N",
        scale=alt.Scale(domain=["N* parameters", "D* tokens"], range=["@n", "@d"]),
        legend=alt.Legend(title=None),
    )
    x = charts.x_axis("flops", "compute (FLOPs)", kind="power", over=grid)
    data = charts.rows_of(**both.to_dict("list"))
    band = alt.Chart(data).mark_area(opacity=0.2)
    band = band.encode(
        x,
        charts.y_axis("low", "optimal number", kind="count", over=both["best"]),
        alt.Y2("high:Q"),
        color=colour,
    )
    text = both.assign(t_flops=both["flops"].map(power), t_best=both["best"].map(count))
    line = alt.Chart(charts.rows_of(**text.to_dict("list"))).mark_line(strokeWidth=2)
    line = line.encode(
        x,
        charts.y_axis("best", "optimal number", kind="count", over=both["best"]),
        color=colour,
        tooltip=[
            alt.Tooltip("what:N", title="optimum"),
            alt.Tooltip("t_flops:N", title="FLOPs"),
            alt.Tooltip("t_best:N", title="value"),
        ],
    )
    edge = alt.Chart(charts.rows_of(flops=[top])).mark_rule(color="@muted", strokeDash=[3, 3])
    edge = edge.encode(x)
    return charts.figure(
        f"optimum-{found.group.key}",
        "Compute-optimal parameters and tokens",
        alt.layer(band, line, edge),
        f"Optimal parameters and tokens over compute with 95 % bands, from {power(low)} to "
        f"{power(BEYOND * top)} FLOPs; both rise as powers of compute.",
        caption="Right of the dashed line, the largest run, everything is extrapolation.",
        switches=("x", "y"),
    )
