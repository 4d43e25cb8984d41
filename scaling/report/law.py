"""The law of a group: its constants with intervals, in words, and the points around it."""

import altair as alt
import numpy as np
import pandas as pd

from scaling.analysis.fitted import Fit
from scaling.analysis.status import STATUSES
from scaling.report import charts
from scaling.report.content import Formula, Section, Table, Text
from scaling.report.estimate import Estimate, facts, mark, predict
from scaling.report.text import count, greek, interval, number, percent, plural, span

_COLUMNS = ("name", "n_params", "n_tokens", "flops", "loss", "predicted", "error")
_CURVE = 48  # points of a drawn law


def law(found: Estimate) -> Section:
    """Formula, plain words, constants, and the loss over tokens and over parameters."""
    result, table = found.fit, found.table
    spread = float(np.abs(table["error"]).mean())
    words = in_words(found)
    blocks = [
        Formula(result.law.formula),
        Text(
            f"Fitted to {plural(result.n_points, 'run')} of {span(table['n_params'])} parameters"
            f" on {span(table['n_tokens'])} tokens; the law misses a run by {percent(spread)} of "
            f"the loss on average. {result.law.paper}."
        ),
        *([Text(words)] if words else []),
        _constants(found),
        Text(_how_sure(found), "note"),
    ]
    if found.of_n_and_d:
        blocks += [_over(found, "n_tokens", "n_params"), _over(found, "n_params", "n_tokens")]
    summary = (
        f"{found.group.title}: {plural(result.n_points, 'run')} follow {greek(result.law.formula)} "
        f"within {percent(spread)} of the loss. {words}"
    ).strip()
    details = {"fit": facts(result), "mean_abs_error": spread, "by_trunk": found.by_trunk}
    title = f"Scaling law: {found.group.title}"
    return Section(f"law-{found.group.key}", title, blocks, summary, details)


def in_words(found: Estimate) -> str:
    """What the exponents mean for somebody who doubles something. Empty for laws without them."""
    parts = []
    params = found.fit.params
    for name, what in (("alpha", "parameters"), ("beta", "tokens")):
        if name not in params or not found.of_n_and_d:
            continue
        p = params[name]
        said = mark(p)
        ends = "" if p.ci95 is None else f" (95 % interval {_gains(p.ci95)}{said and ', ' + said})"
        parts.append(
            f"doubling the {what} lowers the excess loss that they govern by "
            f"{percent(_gain(p.value))}{ends}"
        )
    if not parts:
        return ""
    text = ", and ".join(parts)
    floor = params.get("E")
    tail = ""
    if floor is not None:
        tail = (
            f" Loss above {number(floor.value)} nats per token is excess; below it no model of "
            "this kind gets, however large or long trained."
        )
    return f"{text[0].upper()}{text[1:]}.{tail}"


def _gain(exponent: float) -> float:
    return 1 - 2.0**-exponent


def _gains(ends: tuple[float, float]) -> str:
    low, high = (number(100 * _gain(e), 2) for e in ends)
    return f"{low} to {high} %"


def _how_sure(found: Estimate) -> str:
    result = found.fit
    starts = result.starts
    what, trunks = "trunks" if found.by_trunk else "runs", found.table["trunk"].nunique()
    how = (
        f"resampling {what} {len(result.draws):,} times"
        if result.draws is not None
        else f"leaving out each of {trunks} {what} in turn"
    )
    text = (
        f"{starts['at_best']} of the {starts['converged']} starts that ran to the end reached this "
        f"optimum (status: {result.status.replace('_', ' ')}, {STATUSES[result.status]}"
        f"{result.remedy and '; ' + result.remedy}). Intervals are 95 %, from {how}."
    )
    if found.by_trunk:
        text += f" Runs that share a trunk share its noise; there are {trunks} trunks."
    if "seeds.run" in found.table and found.table["seeds.run"].nunique() == 1:
        text += " One seed: the spread between seeds is not in them."
    return text


def _constants(found: Estimate) -> Table:
    docs = {p.name: p.doc for p in found.fit.law.params}
    docs |= {"a": "exponent of the optimal size on compute"}
    rows = []
    for name, p in {**found.fit.params, **found.fit.derived}.items():
        rows.append(
            (greek(name), number(p.value, 4), interval(p.ci95), mark(p) or docs.get(name, ""))
        )
    return Table(("constant", "value", "95 % interval", "meaning"), tuple(rows))


def drawn(fit: Fit, table: pd.DataFrame, x: str, by: str) -> pd.DataFrame:
    """The law as curves over column `x`, one for each value of `by`: columns x, by, predicted."""
    ends = table[x].min() / 1.15, table[x].max() * 1.15
    levels = np.sort(table[by].unique())
    grid = np.geomspace(*ends, _CURVE)
    curves = pd.DataFrame({x: np.tile(grid, len(levels)), by: np.repeat(levels, _CURVE)})
    return curves.assign(predicted=predict(fit, curves)["predicted"])


def _over(found: Estimate, x: str, by: str) -> charts.Figure:
    """L(D) with one curve per size, or L(N) with one per token budget."""
    table = found.table.assign(**{by: _merged(found.table[by])})
    level = "size" if by == "n_params" else "budget"
    points = table.assign(**{level: table[by].map(count)})
    words = {"n_params": "parameters", "n_tokens": "tokens"}
    colour = charts.ramp_colour(charts.names_of(table[by]), words[by], level)
    dots = (
        alt.Chart(alt.Data(values=charts.shown(points, (*_COLUMNS, level), raw=(x, "loss", level))))
        .mark_point(filled=True, size=54, opacity=1)
        .encode(
            charts.x_axis(x, words[x], over=table[x]),
            charts.y_axis("loss", "loss (nats per token)"),
            color=colour,
            tooltip=charts.tooltips(points, _COLUMNS),
        )
    )
    chart = dots
    if table[by].nunique() <= charts.MAX_LEGEND:
        curves = drawn(found.fit, table, x, by)
        curves = curves.assign(**{level: curves[by].map(count)})
        lines = (
            alt.Chart(charts.rows_of(**curves[[x, "predicted", level]].to_dict("list")))
            .mark_line(strokeWidth=1.2, opacity=0.75)
            .encode(
                charts.x_axis(x, words[x], over=table[x]),
                charts.y_axis("predicted", "loss (nats per token)"),
                color=colour,
            )
        )
        chart = lines + dots
    name = {"n_tokens": "L(D)", "n_params": "L(N)"}[x]
    return charts.figure(
        f"{name[2].lower()}-{found.group.key}",
        f"{name}: loss over {words[x]}",
        chart,
        f"Scatter of the loss of {len(points)} runs over {words[x]}, coloured by {words[by]}; "
        "lines show the fitted law. The loss falls from "
        f"{number(points['loss'].max())} to {number(points['loss'].min())} nats per token.",
        caption=f"Points are runs, lines the law at their {words[by]}.",
        switches=("x", "y"),
        data=charts.data_table(points, _COLUMNS),
    )


def _merged(values: pd.Series) -> pd.Series:
    """Values within 2 % of each other count as one level: budgets are rounded to whole steps."""
    order = np.sort(values.unique())
    starts = np.concatenate([[True], order[1:] > 1.02 * order[:-1]])
    level = np.cumsum(starts) - 1
    centre = np.array([order[level == k].mean() for k in range(level.max() + 1)])
    return values.map(dict(zip(order, centre[level], strict=True)))
