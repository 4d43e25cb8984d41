"""Abilities over scale: the curve with chance and ceiling, other metrics, shots by size."""

import altair as alt
import numpy as np
import pandas as pd

from scaling.analysis.emergence.surface import heat_table
from scaling.analysis.probe_table import short
from scaling.report import charts
from scaling.report.ability import Ability, rescaled
from scaling.report.content import Figure, Heading, Section, Table, Text
from scaling.report.text import count, listing, number, percent
from scaling.report.theme import ramp

_WORDS = {"n_params": "parameters", "n_tokens": "tokens"}
_FALLING = ("brier", "edit_distance")
_SPLIT = 0.6  # of the ramp: below it white numbers read better, above it black ones
_CELLS = 400  # of a heat map with numbers in it
_SHOWN = ("name", "n_params", "n_tokens", "loss")


def emergence(found: list[Ability], notices: list[str]) -> Section | None:
    """One part per probe; None for a sweep without probes."""
    if not found and not notices:
        return None
    blocks: list = []
    for k, ability in enumerate(found):
        blocks.append(Heading(f"{ability.group.title}: {ability.label}"))
        blocks += _part(ability, f"{k}-{ability.group.key}")
    blocks += [Text(f"{notice}.", "missing") for notice in notices]
    summary = " ".join(_in_words(a, a.steepest) for a in found)
    facts = {
        "abilities": [
            {"label": a.label, "group": a.group.name, "curves": {k: _facts(e) for k, e in
             a.curves.items()}}
            for a in found
        ]
    }  # fmt: skip
    return Section("emergence", "Emergence", blocks, summary, facts)


def _facts(e) -> dict:
    o, tested = e.onset, e.breaks.get(e.metric)
    return {
        "verdict": e.verdict,
        "law": None if tested is None else tested.suffices,
        "onset": None if o is None else {"x": o.x, "low": o.low, "high": o.high},
        "chance": e.chance,
        "ceiling": e.ceiling,
        "levels": [{"x": v.x, "mean": v.mean, "n_runs": v.n_runs} for v in e.levels],
    }


def _part(ability: Ability, key: str) -> list:
    blocks = [_verdicts(ability), _curves(ability, key)]
    comparison = _metrics(ability, key)
    if comparison is not None:
        blocks.append(comparison)
    if ability.dose:
        names = [ability.steepest] if len(ability.curves) > 3 else list(ability.curves)
        blocks += [_heat(ability, name, f"{n}-{key}") for n, name in enumerate(names)]
    blocks += [Text(f"{notice}.", "missing") for notice in ability.notices]
    return blocks


def _condition(ability: Ability, name: str) -> str:
    dose = f", {ability.dose_value} {ability.dose}" if ability.dose else ""
    return f"{name}{dose}"


def _in_words(ability: Ability, name: str) -> str:
    e = ability.curves[name]
    what = f"{ability.label} ({_condition(ability, name)}): {e.metric.replace('_', ' ')}"
    rise = f"{what} goes from {percent(e.levels[0].mean)} to {percent(e.levels[-1].mean)}"
    if e.onset is None:
        return f"{rise}, {e.explanation}."
    where = f"{count(e.onset.x)} {_WORDS[ability.x]}"
    return f"{rise}; it is first above chance at {where} ({e.explanation})."


def _verdicts(ability: Ability) -> Table:
    rows = []
    for name, e in ability.curves.items():
        first = "–" if e.onset is None else count(e.onset.x)
        if e.onset is not None:
            first += f" ({_onset_span(e.onset)})"
        rows.append(
            (
                _condition(ability, name),
                percent(e.chance),
                percent(e.levels[-1].mean),
                percent(e.ceiling),
                first,
                f"{e.verdict}: {e.explanation}",
            )
        )
    first = f"first above chance ({_WORDS[ability.x]})"
    names = ("condition", "chance", "largest", "ceiling", first, "verdict")
    return Table(names, tuple(rows), "Onsets with 95 % intervals, corrected for many looks (Holm)")


def _onset_span(onset) -> str:
    if onset.high is None:
        return f"above {count(onset.low)}" if onset.low else "not bounded"
    return (
        f"at most {count(onset.high)}"
        if onset.low is None
        else (f"{count(onset.low)} to {count(onset.high)}")
    )


def _curves(ability: Ability, key: str) -> Figure:
    """The metric over scale, a line per condition, every run a small point."""
    names, title = list(ability.curves), ability.metric.replace("_", " ")
    levels = pd.DataFrame(
        [
            {"series": name, "x": v.x, "mean": v.mean, "low": (v.ci or (None,))[0],
             "high": (v.ci or (None, None))[1], "t_mean": percent(v.mean), "t_x": count(v.x),
             "t_runs": str(v.n_runs), "t_ci": "" if v.ci is None else
             f"{percent(v.ci[0])} to {percent(v.ci[1])}"}
            for name, e in ability.curves.items() for v in e.levels
        ]
    )  # fmt: skip
    colour = charts.series_colour(names, ability.series, "series")
    base = alt.Chart(charts.rows_of(**levels.to_dict("list")))
    x = charts.x_axis("x", _WORDS[ability.x], over=levels["x"])
    axis = {"log": False, "kind": "percent", "domain": [0, 1]}
    tip = [
        alt.Tooltip(f"{field}:N", title=words)
        for field, words in (
            ("series", "condition"), ("t_x", _WORDS[ability.x]), ("t_mean", title),
            ("t_ci", "95 %"), ("t_runs", "runs"),
        )
    ]  # fmt: skip
    law_y = charts.y_axis("y", title, **axis)
    layers = [*_limits(ability, names, colour), *_laws(ability, names, x, law_y, colour)]
    layers += [
        base.mark_rule(opacity=0.7).encode(
            x, charts.y_axis("low", title, **axis), alt.Y2("high:Q"), color=colour
        ),
        base.mark_line(strokeWidth=1.8).encode(
            x, charts.y_axis("mean", title, **axis), color=colour
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x, charts.y_axis("mean", title, **axis), color=colour, tooltip=tip
        ),
    ]
    layers.append(_runs(ability, names, colour, axis, title))
    ceilings = [e.ceiling for e in ability.curves.values() if e.ceiling is not None]
    caption = "Large points are means over runs with 95 % intervals, small ones single runs."
    caption += (
        " Dotted: chance." if any(e.chance is not None for e in ability.curves.values()) else ""
    )
    caption += " Dashed: the ceiling that these very items allow." if ceilings else ""
    if any(_law(ability, name) for name in names):
        caption += " Thin curves: the smooth law that suffices."
    dose = f" at {ability.dose_value} {ability.dose}" if ability.dose else ""
    return charts.figure(
        f"emergence-{key}",
        f"{title[0].upper()}{title[1:]} over {_WORDS[ability.x]}{dose}",
        alt.layer(*layers),
        f"{title} over {_WORDS[ability.x]} for {listing(names)}: "
        + "; ".join(_in_words(ability, name) for name in names),
        caption=caption,
        switches=("x",),
        data=Table(
            ("condition", _WORDS[ability.x], title, "95 %", "runs"),
            tuple((r.series, r.t_x, r.t_mean, r.t_ci, r.t_runs) for r in levels.itertuples()),
        ),
    )


def _limits(ability: Ability, names: list[str], colour: alt.Color) -> list[alt.Chart]:
    """Chance, once where it is common, and the ceiling of every curve in its colour."""
    layers = []
    for level in sorted({e.chance for e in ability.curves.values() if e.chance is not None}):
        line = alt.Chart(charts.rows_of(y=[level])).mark_rule(color="@muted", strokeDash=[2, 3])
        layers.append(line.encode(y="y:Q"))
    tops = [(n, ability.curves[n].ceiling) for n in names if ability.curves[n].ceiling is not None]
    if tops:
        data = charts.rows_of(series=[n for n, _ in tops], y=[y for _, y in tops])
        line = alt.Chart(data).mark_rule(strokeDash=[7, 4], opacity=0.65)
        layers.append(line.encode(y="y:Q", color=colour))
    return layers


def _law(ability: Ability, name: str) -> tuple:
    """(x, value) of the smooth law that suffices for a curve, or ()."""
    e = ability.curves[name]
    tested = e.breaks.get(e.metric)
    return tested.curve if tested and tested.suffices else ()


def _laws(ability: Ability, names: list[str], x, y, colour: alt.Color) -> list[alt.Chart]:
    """The smooth law of every curve that has one, thin."""
    points = [(name, *place) for name in names for place in _law(ability, name)]
    if not points:
        return []
    series, at, value = map(list, zip(*points, strict=True))
    line = alt.Chart(charts.rows_of(series=series, x=at, y=value)).mark_line(
        strokeWidth=1, opacity=0.55
    )
    return [line.encode(x, y, color=colour)]


def _runs(ability: Ability, names, colour, axis, title) -> alt.Chart:
    rows = pd.concat([ability.rows(name).assign(series=name) for name in names])
    rows = rows.assign(value=rows[ability.metric])
    shown = charts.shown(rows, (*_SHOWN, "series", "value"))
    chart = alt.Chart(alt.Data(values=shown)).mark_point(filled=True, size=16, opacity=0.55)
    return chart.encode(
        charts.x_axis(ability.x, _WORDS[ability.x], over=rows[ability.x]),
        charts.y_axis("value", title, **axis),
        color=colour,
        tooltip=[alt.Tooltip("series:N", title="condition"), *charts.tooltips(rows, _SHOWN),
                 alt.Tooltip("value:Q", title=title, format=".1%")],
    )  # fmt: skip


def _metrics(ability: Ability, key: str) -> Figure | None:
    """All metrics of the steepest curve on one axis, each from its worst to its best value."""
    name = ability.steepest
    rows, metrics = ability.rows(name), ability.metrics
    means = rows.groupby(ability.x)[metrics].mean().dropna(axis="columns")
    means = means[[m for m in means if means[m].nunique() > 1]]
    if means.shape[1] < 2 or len(means) < 3:
        return None
    parts = [
        pd.DataFrame(
            {
                "metric": metric.replace("_", " "),
                "x": means.index.to_numpy(float),
                "share": rescaled(means[metric].to_numpy(float), metric not in _FALLING),
                "t_value": [number(v) for v in means[metric]],
                "t_x": [count(v) for v in means.index],
            }
        )
        for metric in means
    ]
    table = pd.concat(parts)
    names = list(table["metric"].unique())
    line = alt.Chart(charts.rows_of(**table.to_dict("list"))).mark_line(
        strokeWidth=1.6, point={"filled": True, "size": 40}
    )
    chart = line.encode(
        charts.x_axis("x", _WORDS[ability.x], over=table["x"]),
        charts.y_axis("share", "share of its own range", log=False, kind="percent"),
        color=charts.series_colour(names, None, "metric"),
        tooltip=[
            alt.Tooltip("metric:N"),
            alt.Tooltip("t_x:N", title=_WORDS[ability.x]),
            alt.Tooltip("t_value:N", title="value"),
        ],
    )
    return charts.figure(
        f"metrics-{key}",
        f"The same answers under {len(names)} metrics ({_condition(ability, name)})",
        chart,
        f"{listing(names)} over {_WORDS[ability.x]}, each from its worst to its best value.",
        caption=(
            "Each metric from its worst to its best value. Where a hard metric jumps and a soft "
            "one does not, the jump may belong to the metric (Schaeffer et al. 2023)."
        ),
        switches=("x",),
        data=Table(
            ("metric", _WORDS[ability.x], "value"),
            tuple((r.metric, r.t_x, r.t_value) for r in table.itertuples()),
        ),
    )


def _heat(ability: Ability, name: str, key: str) -> Figure:
    """Mean of the metric by dose (down) and scale (across)."""
    values = heat_table(ability.rows(name, all_doses=True), ability.metric, ability.dose, ability.x)
    cells = values.stack().rename("value").reset_index()
    cells.columns = ["dose", "x", "value"]
    cells = cells.assign(
        t_x=cells["x"].map(count),
        t_dose=cells["dose"].map(short),
        t_value=cells["value"].map(percent),
    )
    columns = [count(v) for v in values.columns]
    doses = [short(v) for v in values.index]
    title = ability.metric.replace("_", " ")
    x = alt.X(
        "t_x:N", sort=columns, title=_WORDS[ability.x], axis=alt.Axis(labelAngle=0, grid=False)
    )
    y = alt.Y("t_dose:N", sort=doses[::-1], title=ability.dose, axis=alt.Axis(grid=False))
    base = alt.Chart(charts.rows_of(**cells.to_dict("list"))).encode(x, y)
    scale = alt.Scale(range=ramp(5), domain=[0, 1])
    squares = base.mark_rect(stroke="@page", strokeWidth=1).encode(
        color=alt.Color("value:Q", scale=scale, legend=alt.Legend(title=title, format="%")),
        tooltip=[
            alt.Tooltip("t_x:N", title=_WORDS[ability.x]),
            alt.Tooltip("t_dose:N", title=ability.dose),
            alt.Tooltip("t_value:N", title=title),
        ],
    )
    chart = squares
    if len(cells) <= _CELLS and len(columns) <= 12:
        light = alt.condition(f"datum.value < {_SPLIT}", alt.value("@onlow"), alt.value("@onhigh"))
        chart = squares + base.mark_text(fontSize=11).encode(
            text=alt.Text("value:Q", format=".0%"), color=light
        )
    return charts.figure(
        f"heat-{key}",
        f"{title[0].upper()}{title[1:]} by {ability.dose} and {_WORDS[ability.x]}: {name}",
        chart,
        f"Heat map of {title} for {name}; the highest value, {percent(np.nanmax(values))}, is at "
        f"{cells.loc[cells['value'].idxmax(), 't_x']} {_WORDS[ability.x]}.",
        data=Table(
            (ability.dose, *columns),
            tuple(
                (d, *(percent(v) for v in row))
                for d, row in zip(doses, values.to_numpy(), strict=True)
            ),
        ),
        height=max(120, 34 * len(doses) + 20),
    )
