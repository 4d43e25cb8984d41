"""Figures of an `Emergence`. Every function draws into the Axes it is given and returns it.

Intervals are 95 %. Chance is a dotted line, the ceiling a dashed one, the resolution of one run
(one item in n) a grey band at the bottom.
"""

import functools
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling.analysis.emergence.result import Emergence, Level
from scaling.analysis.emergence.surface import frontier, heat_table
from scaling.analysis.plot import figure
from scaling.analysis.plot_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    plain_ticks,
    styled,
)
from scaling.analysis.probe_table import require_one_condition
from scaling.errors import UserError

NAMES = {
    "n_params": "parameters",
    "n_params_non_embedding": "non-embedding parameters",
    "n_tokens": "training tokens",
    "flops": "training compute (FLOPs)",
    "loss": "loss (nats/token)",
}
_MOST_PANELS = 12
_CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, "#000000")


def _errorbars(ax: Axes, levels: tuple[Level, ...], colour: str, label: str | None) -> None:
    x, y = np.array([v.x for v in levels]), np.array([v.mean for v in levels])
    ends = np.array([v.ci or (v.mean, v.mean) for v in levels])
    half = np.maximum(np.abs(ends.T - y), 0)
    style = {"capsize": 2, "elinewidth": 0.8, "ms": 3.5, "marker": "o"}
    ax.errorbar(x, y, yerr=half, color=colour, label=label, **style)


def _runs(
    ax: Axes, levels: tuple[Level, ...], colour: str, label: str | None, alpha: float
) -> None:
    """A dot for every run, those of one scale side by side within a hundredth of the axis."""
    width = np.log(max(v.x for v in levels) / min(v.x for v in levels)) / 100
    for k, level in enumerate(levels):
        spread = np.linspace(-1, 1, len(level.values)) if len(level.values) > 1 else np.zeros(1)
        style = {"color": colour, "alpha": alpha, "ms": 3.5, "mew": 0}
        name = label if k == 0 else None
        ax.plot(level.x * np.exp(width * spread), level.values, "o", label=name, **style)


def _law(ax: Axes, found: Emergence, metric: str) -> None:
    """The smooth law that suffices, or the nearest one and the place of the break."""
    tested = found.breaks.get(metric)
    if tested is None:
        return
    x, y = np.array(tested.curve).T
    name = tested.suffices or "nearest smooth law"
    ax.plot(x, y, color=PURPLE, lw=1, ls="-" if tested.suffices else ":", label=name)
    if tested.bends:
        ax.axvline(tested.place, color=VERMILION, ls="--", lw=1, label=tested.change)


def _label(value) -> str:
    """A number for a tick: 405M rather than 4.05e+08; words as they are."""
    if isinstance(value, str):
        return value
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e15:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _scale(ax: Axes, x: str) -> None:
    ax.set(xscale="log", xlabel=NAMES.get(x, x.replace("_", " ")))
    low, high = ax.get_xlim()
    if high < 30 * low:
        plain_ticks(ax.xaxis)
        ax.xaxis.set_major_formatter(lambda value, _: _label(value))
    if high < 4 * low:
        ax.xaxis.set_major_locator(MaxNLocator(4))
    if x == "loss" and not ax.xaxis_inverted():
        ax.invert_xaxis()  # better models to the right


@styled
def curve(found: Emergence, ax: Axes, *, colour: str = BLUE, label: str | None = None) -> Axes:
    """The metric against scale with intervals, runs, chance, ceiling, resolution and onset."""
    if found.resolution:
        ax.axhspan(0, found.resolution, color=GREY, alpha=0.25, lw=0, label="resolution 1/n")
    if found.chance is not None:
        ax.axhline(found.chance, color=GREY, ls=":", lw=1, label="chance")
    if found.ceiling is not None:
        ax.axhline(found.ceiling, color=GREY, ls="--", lw=1, label="ceiling")
    _errorbars(ax, found.levels, colour, label or found.metric)
    _law(ax, found, found.metric)
    if found.n_runs > len(found.levels):
        _runs(ax, found.levels, colour, None, alpha=0.35)
    if found.onset:
        smallest, largest = found.levels[0].x, found.levels[-1].x
        low, high = found.onset.low or smallest, found.onset.high or largest
        ax.axvspan(low, high, color=VERMILION, alpha=0.12, lw=0)
        ax.axvline(found.onset.x, color=VERMILION, lw=1, label="onset, 95 %")
    ax.set(ylabel=found.metric.replace("_", " "), title=textwrap.fill(found.title, 44))
    _scale(ax, found.x)
    ax.legend()
    return ax


@styled
def continuous(found: Emergence, ax: Axes) -> Axes:
    """The continuous metric against scale, with the smooth law that suffices or the break."""
    if not found.continuous_levels:
        raise UserError(f"{found.title}: no continuous metric was measured")
    _errorbars(ax, found.continuous_levels, GREEN, found.continuous)
    _law(ax, found, found.continuous)
    tested = found.breaks.get(found.continuous)
    title = "too few scales to test for a break"
    if tested:
        title = f"no smooth law (p = {tested.p_value:.2g})" if tested.bends else "smooth"
    ax.set(ylabel=found.continuous.replace("_", " "), title=title)
    _scale(ax, found.x)
    ax.legend()
    return ax


@styled
def seeds(found: Emergence, ax: Axes) -> Axes:
    """Every run by itself: near the knee a mean describes no run there is."""
    _runs(ax, found.levels, BLUE, "runs", alpha=0.55)
    x = [level.x for level in found.levels]
    medians = [float(np.median(level.values)) for level in found.levels]
    ax.plot(x, medians, "_", color=VERMILION, ms=11, mew=1.6, label="median")
    for value, style in ((found.chance, ":"), (found.ceiling, "--")):
        if value is not None:
            ax.axhline(value, color=GREY, ls=style, lw=1)
    ax.set(ylabel=found.metric.replace("_", " "), title="every run")
    _scale(ax, found.x)
    ax.legend()
    return ax


@styled
def mirage(found: Emergence, ax: Axes) -> Axes:
    """The exact match beside what the per-token probability predicts."""
    if found.mirage is None:
        raise UserError(f"{found.title}: no per-token probability was measured")
    m = found.mirage
    what = m.source if m.answer_tokens is None else f"p^{m.answer_tokens:.3g}"
    _errorbars(ax, found.levels, BLUE, found.metric)
    ax.plot([v.x for v in found.levels], m.predicted, "s--", color=ORANGE, ms=3.5, label=what)
    ax.set(ylabel=found.metric.replace("_", " "), title=f"predicted token by token, R² {m.r2:.2f}")
    _scale(ax, found.x)
    ax.legend()
    return ax


@styled
def loss_view(found: Emergence, ax: Axes) -> Axes:
    """The metric of every run against its loss, and the threshold of Du et al. 2024."""
    t = found.loss_threshold
    if t is None:
        raise UserError(f"{found.title}: fewer than 6 runs have a loss")
    loss, value = np.array(t.points).T
    ax.plot(loss, value, "o", color=BLUE, ms=3.5, alpha=0.7, label="runs")
    grid = np.linspace(loss.min(), loss.max(), 200)
    top = max(1.0, value.max()) if value.max() <= 1 else value.max()
    line = np.minimum(t.floor + t.slope * np.maximum(t.threshold - grid, 0), top)
    ax.plot(grid, line, color=VERMILION, label="threshold, 95 %")
    ax.axvspan(*t.ci95, color=VERMILION, alpha=0.12, lw=0)
    if found.chance is not None:
        ax.axhline(found.chance, color=GREY, ls=":", lw=1)
    ax.set(xlabel="loss (nats/token)", ylabel=found.metric.replace("_", " "))
    ax.set_title(f"threshold {t.threshold:.3g}")
    ax.invert_xaxis()
    ax.legend()
    return ax


@styled
def overview(found: Emergence) -> Figure:
    """One page of an ability: the curve and whatever else could be computed."""
    panels = [curve]
    if found.n_runs > len(found.levels):
        panels.append(seeds)
    if found.continuous_levels:
        panels.append(continuous)
    if found.mirage:
        panels.append(mirage)
    if found.loss_threshold:
        panels.append(loss_view)
    fig, axes = _grid(len(panels))
    for draw, ax in zip(panels, axes, strict=True):
        draw(found, ax)
    title = f"{found.verdict}: {found.explanation}"
    fig.suptitle(textwrap.fill(title, 55 * min(3, len(panels))), fontsize=9)
    return fig


@styled
def chart(
    found: dict[str, Emergence],
    table: pd.DataFrame,
    *,
    heat: tuple[str, str] | None = None,
    targets: Sequence[float] = (),
) -> Figure:
    """One page: the `overview` of a single condition, or the curves of several (up to 12 panels);
    with a heat map of (rows, columns) and iso-accuracy lines of `table` where asked for. Raises
    UserError when these would average over conditions."""
    if len(found) == 1 and not heat and not targets:
        return overview(next(iter(found.values())))
    first = next(iter(found.values()))
    panels = [functools.partial(curve, one) for one in list(found.values())[:_MOST_PANELS]]
    if len(found) > 1:
        panels.insert(0, functools.partial(conditions, found))
    if heat:
        require_one_condition(table, apart=heat)
        panels.append(functools.partial(heat_map, table, first.metric, *heat))
    if targets:
        require_one_condition(table)
        panels.append(functools.partial(frontier_plot, table, first.metric, targets))
    fig, axes = _grid(len(panels))
    for draw, ax in zip(panels, axes, strict=True):
        draw(ax=ax)
    return fig


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    """A figure of up to three panels a row."""
    fig, axes = figure(-(-panels // 3), min(3, panels), 3.0)
    for ax in axes.flat[panels:]:
        ax.remove()
    return fig, list(axes.flat[:panels])


@styled
def conditions(found: dict[str, Emergence], ax: Axes) -> Axes:
    """The curves of several conditions (`analyse_groups`) in one panel."""
    for k, (name, one) in enumerate(found.items()):
        _errorbars(ax, one.levels, _CYCLE[k % len(_CYCLE)], name)
    one = next(iter(found.values()))
    for level in {o.chance for o in found.values() if o.chance is not None}:
        ax.axhline(level, color=GREY, ls=":", lw=1)
    ax.set(ylabel=one.metric.replace("_", " "), title="all conditions")
    _scale(ax, one.x)
    ax.legend()
    return ax


@styled
def heat_map(table: pd.DataFrame, metric: str, rows: str, columns: str, ax: Axes) -> Axes:
    """`heat_table` as a picture with its numbers in it: heat_map(t, "accuracy", "shots",
    "n_params", ax)."""
    values = heat_table(table, metric, rows, columns)
    shown = values.to_numpy(np.float64)
    image = ax.imshow(shown, origin="lower", aspect="auto", cmap="cividis")
    ax.figure.colorbar(image, ax=ax, label=metric.replace("_", " "))
    if shown.size <= 120:
        middle = np.nanmean([np.nanmin(shown), np.nanmax(shown)])
        for (i, j), value in np.ndenumerate(shown):
            if np.isfinite(value):
                ink = "black" if value > middle else "white"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=6)
    for axis, labels in ((ax.xaxis, values.columns), (ax.yaxis, values.index)):
        every = -(-len(labels) // 10)
        axis.set_ticks(range(0, len(labels), every), [_label(v) for v in labels[::every]])
    ax.set(xlabel=NAMES.get(columns, columns), ylabel=NAMES.get(rows, rows))
    ax.grid(False)
    return ax


@styled
def frontier_plot(table: pd.DataFrame, metric: str, targets, ax: Axes) -> Axes:
    """Tokens that each size needs to reach each target, with lines of equal compute."""
    found = frontier(table, metric, targets)
    for k, (target, rows) in enumerate(found.groupby("target")):
        style = {"color": _CYCLE[k % len(_CYCLE)], "marker": "osD^v<>"[k % 7], "ms": 4}
        ax.plot(rows["n_params"], rows["n_tokens"], label=f"{metric} {target:g}", **style)
    reached = found.dropna()
    ax.set(xscale="log", yscale="log")
    if len(reached):
        n = np.array([reached["n_params"].min(), reached["n_params"].max()])
        for c in np.geomspace(reached["flops"].min(), reached["flops"].max(), 4):
            ax.plot(n, c / (6 * n), color=GREY, lw=0.6, ls=":", zorder=0, scaley=False)
    ax.set(xlabel="parameters", ylabel="training tokens")
    ax.legend()
    return ax
