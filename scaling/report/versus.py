"""`scaling report A B`: is the second sweep better than the first, and by how much compute?"""

import pathlib
import time

import altair as alt
import numpy as np
import pandas as pd

from scaling.errors import UserError
from scaling.report import charts
from scaling.report.collect import Chapter, Study, collect
from scaling.report.content import Figure, Section, Table, Text
from scaling.report.contrast import differences, frontier, multipliers, one_number, paired
from scaling.report.estimate import Estimate, estimate, mark
from scaling.report.progress import Steps
from scaling.report.text import greek, interval, listing, number, percent, plural, power
from scaling.report.write import Report, make_directory, publish

_COLUMNS = ("name", "n_params", "n_tokens", "flops", "loss")


def write_comparison(
    base: pathlib.Path, new: pathlib.Path, out: pathlib.Path | None = None, *, quiet: bool = False
) -> Report:
    """Compares the groups with a law that both sweeps have (by name, or the only one of each) and
    writes report.html and report.json to `out` (default: BASE/report/versus-NEW). Raises UserError
    when there is nothing to compare."""
    start = time.monotonic()
    with Steps(quiet) as steps:
        studies = [steps.do(f"records: {p.name}", lambda p=p: collect(p)) for p in (base, new)]
        labels = _labels(*studies)
        pairs = _matched(*studies)
        sections = []
        for first, second in pairs:
            sections.append(
                steps.do(
                    f"fits: {first.title}",
                    lambda g=first, h=second: _section(studies, (g, h), labels),
                )
            )
        name = new.resolve().name
        out = out or base / "report" / f"versus-{name}"
        make_directory(out)
        title = f"{labels[1]} against {labels[0]}"
        subtitle = "Two sweeps: " + listing(
            [f"{label}, {plural(len(s.runs), 'run')}" for label, s in zip(labels, studies,
                                                                        strict=True)]
        )  # fmt: skip
        head = {"base": studies[0].sweep_id, "new": studies[1].sweep_id}
        steps.do("page", lambda: publish(title, subtitle, sections, out, head))
    lines = tuple(s.summary for s in sections if s.summary)
    seconds = time.monotonic() - start
    return Report(out / "report.html", ("report.html", "report.json"), lines, seconds)


def _labels(base: Study, new: Study) -> tuple[str, str]:
    """Names of the two sweeps, told apart by their directories when the names are the same."""
    if base.name != new.name:
        return base.name, new.name
    return tuple(f"{s.name} ({s.path.resolve().name})" for s in (base, new))


def _matched(base: Study, new: Study) -> list[tuple[Chapter, Chapter]]:
    first, second = ({g.name: g for g in s.groups if g.law} for s in (base, new))
    common = [(first[name], second[name]) for name in first if name in second]
    if not common and len(first) == len(second) == 1:
        common = [(*first.values(), *second.values())]
    if not common:
        raise UserError(
            f"{base.path} has groups {', '.join(first) or 'without a law'}, {new.path} has "
            f"{', '.join(second) or 'none with a law'}: no group is in both"
        )
    return common


def _section(studies: list[Study], groups: tuple[Chapter, Chapter], labels) -> Section:
    key, title = f"versus-{groups[0].key}", groups[0].title
    try:
        if groups[0].law != groups[1].law:
            raise UserError(f"one is fitted by {groups[0].law}, the other by {groups[1].law}")
        base, new = (
            estimate(group, study.table(group), check=False)
            for study, group in zip(studies, groups, strict=True)
        )
    except UserError as error:
        return Section(key, title, [Text(f"Not compared: {error}.", "missing")])
    changes = differences(base.fit, new.fit)
    blocks = [_changes(changes, labels)]
    facts = {"changes": _plain(changes.drop(columns=["base", "new"]))}
    summary, parts = "", []
    for make in (_paired, _speedup, _multiplied):
        try:
            text, more, told = make(base, new, labels)
            parts.append(text)
            blocks += [Text(text), *more]
            facts |= told
        except UserError as error:
            blocks.append(Text(f"Left out: {error}.", "missing"))
    blocks.insert(0, _frontiers(base, new, labels))
    summary = f"{title}: {' '.join(parts)}"
    return Section(key, title, blocks, summary, facts)


def _changes(changes: pd.DataFrame, labels) -> Table:
    rows = []
    for row in changes.itertuples():
        neutral = 1.0 if row.kind == "ratio" else 0.0
        clear = not row.low <= neutral <= row.high
        change = f"×{number(row.change)}" if row.kind == "ratio" else number(row.change)
        rows.append(
            (
                greek(row.constant),
                f"{number(row.base.value)} {interval(row.base.ci95)}",
                f"{number(row.new.value)} {interval(row.new.ci95)}",
                change,
                interval((row.low, row.high)),
                mark(row.base) or mark(row.new) or ("differs" if clear else "no difference shown"),
            )
        )
    names = ("constant", labels[0], labels[1], "change", "95 % interval of the change", "")
    return Table(names, tuple(rows), "Constants of both laws; E, A and B change by a factor")


def _paired(base: Estimate, new: Estimate, labels):
    both = paired(base.table, new.table)
    if both.empty:
        raise UserError("no run of one sweep has the size and tokens of a run of the other")
    ratio = both["new"] / both["base"] - 1
    mean, error = float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(len(ratio)))
    better = int((ratio < 0).sum())
    text = (
        f"At {plural(len(both), 'point')} of equal size and tokens the loss of {labels[1]} is "
        f"{percent(abs(mean))} {'lower' if mean < 0 else 'higher'} on average (standard error "
        f"{percent(error)}), lower at {better} of them."
    )
    return text, [], {"paired": {"n": len(both), "mean": mean, "se": error, "n_lower": better}}


def _speedup(base: Estimate, new: Estimate, labels):
    s = one_number(base, new)
    text = (
        f"With one exponent and one asymptote for both lower hulls, {labels[1]} is worth "
        f"{number(s.value)} times the compute of {labels[0]} (95 % interval {interval(s.ci95)}"
        f"{mark(s) and ', ' + mark(s)})."
    )
    ends = None if s.ci95 is None else list(s.ci95)
    return text, [], {"speedup": {"value": s.value, "ci95": ends}}


def _multiplied(base: Estimate, new: Estimate, labels):
    low, high = _common(base, new)
    table = multipliers(base, new, np.geomspace(low, high, 25))
    ends = table.iloc[[0, -1]]
    told = [
        f"{number(r.multiplier)} {interval((r.low, r.high))} at {power(r.flops)} FLOPs"
        for r in ends.itertuples()
    ]
    text = (
        f"Each with its own law, {labels[0]} needs as many times the compute of {labels[1]} for "
        f"the same loss: {' and '.join(told)}."
    )
    return text, [_multiplier_figure(table, labels)], {"multipliers": _plain(table)}


def _common(base: Estimate, new: Estimate) -> tuple[float, float]:
    """The range of compute that both sweeps cover. Raises UserError when they do not overlap."""
    ranges = [(e.table["flops"].min(), e.table["flops"].max()) for e in (base, new)]
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    if not low < high:
        raise UserError("the two sweeps have no range of compute in common")
    return float(low), float(high)


def _frontiers(base: Estimate, new: Estimate, labels) -> Figure:
    """Runs of both sweeps and the compute-optimal loss of both laws with bands."""
    parts, curves = [], []
    for label, found in zip(labels, (base, new), strict=True):
        parts.append(found.table.assign(sweep=label))
        if found.has_optimum and found.of_n_and_d:
            flops = found.table["flops"]
            grid = np.geomspace(flops.min(), 2 * flops.max(), 40)
            many = frontier(found.fit, found.fit.sample(), grid)
            low, high = np.percentile(many, [2.5, 97.5], axis=0)
            centre = frontier(found.fit, found.fit.z[None], grid)[0]
            curves.append(
                pd.DataFrame(
                    {"flops": grid, "loss": centre, "low": low, "high": high, "sweep": label}
                )
            )
    table = pd.concat(parts)
    colour = charts.series_colour(labels, None, "sweep")
    x = charts.x_axis("flops", "compute (FLOPs)", kind="power", over=table["flops"])
    title = "loss (nats per token)"
    layers = []
    if curves:
        data = charts.rows_of(**pd.concat(curves).to_dict("list"))
        layers = [
            alt.Chart(data).mark_area(opacity=0.2).encode(
                x, charts.y_axis("low", title), alt.Y2("high:Q"), color=colour
            ),
            alt.Chart(data).mark_line(strokeWidth=1.8).encode(
                x, charts.y_axis("loss", title), color=colour
            ),
        ]  # fmt: skip
    dots = alt.Chart(alt.Data(values=charts.shown(table, (*_COLUMNS, "sweep"))))
    layers.append(
        dots.mark_point(filled=True, size=40, opacity=0.85).encode(
            x,
            charts.y_axis("loss", title),
            color=colour,
            shape=alt.Shape("sweep:N", sort=None, legend=None),
            tooltip=[alt.Tooltip("sweep:N"), *charts.tooltips(table, _COLUMNS)],
        )
    )
    return charts.figure(
        f"frontiers-{base.group.key}",
        "Loss over compute",
        alt.layer(*layers),
        f"Runs of {labels[0]} and {labels[1]} over compute, with the loss of the compute-optimal "
        "models of both laws and 95 % bands.",
        caption="Lines: compute-optimal models of each law, with 95 % bands.",
        switches=("x", "y"),
        data=charts.data_table(table, _COLUMNS),
    )


def _multiplier_figure(table: pd.DataFrame, labels) -> Figure:
    shown = table.assign(t_m=table["multiplier"].map(number), t_c=table["flops"].map(power))
    data = charts.rows_of(**shown.to_dict("list"))
    x = charts.x_axis("flops", "compute (FLOPs)", kind="power", over=table["flops"])
    title = "compute multiplier"
    finite = table["high"].where(np.isfinite(table["high"])).max()
    scale = {"clamp": True, "domainMax": float(finite)} if np.isfinite(finite) else {}
    area = alt.Chart(data).mark_area(opacity=0.2, color="@n", clip=True)
    line = alt.Chart(data).mark_line(color="@n", point={"size": 26, "filled": True, "color": "@n"})
    one = alt.Chart(charts.rows_of(y=[1.0])).mark_rule(color="@muted", strokeDash=[3, 3])
    return charts.figure(
        "multiplier",
        f"What compute is worth with {labels[1]}",
        alt.layer(
            one.encode(y="y:Q"),
            area.encode(x, charts.y_axis("low", title, **scale), alt.Y2("high:Q")),
            line.encode(
                x,
                charts.y_axis("multiplier", title, **scale),
                tooltip=[
                    alt.Tooltip("t_c:N", title="FLOPs"),
                    alt.Tooltip("t_m:N", title="multiplier"),
                ],
            ),
        ),
        f"How many times more compute {labels[0]} needs for the loss of {labels[1]}, with a 95 % "
        "band; the dashed line is one, no difference.",
        caption=f"Above one, {labels[1]} is better. The band is 95 %.",
        switches=("x", "y"),
        data=Table(
            ("FLOPs", "loss", "multiplier", "95 %"),
            tuple(
                (power(r.flops), number(r.loss, 4), number(r.multiplier), interval((r.low, r.high)))
                for r in table.itertuples()
            ),
        ),
    )


def _plain(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")
