"""Figures of tables and fits: loss, IsoFLOP curves, allocation, contours, comparison.

Every function draws a Fit or a table into the Axes it is given and returns that Axes; `save`
writes a figure. Colours are those of Okabe & Ito (2008) and cividis, which colour-blind readers
can tell apart; marks differ in shape as well. Checks of a fit are in `plot_checks`.
"""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from scaling.analysis.compare import Comparison
from scaling.analysis.fitted import Fit
from scaling.analysis.isoflop import budgets, curve_minimum
from scaling.analysis.objective import theta_of
from scaling.analysis.plot_checks import predicted_actual, profile_curves, residual_plot
from scaling.analysis.plot_style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    plain_ticks,
    styled,
    with_style,
)
from scaling.analysis.tables.choose import require
from scaling.doors.outputs import check_output, write_output
from scaling.errors import UserError

_FORMATS = (".svg", ".pdf", ".png")


def figure(rows: int = 1, columns: int = 1, size: float = 3.4) -> tuple[Figure, np.ndarray]:
    """An empty figure without global state, and its Axes [rows, columns]."""
    fig = Figure(figsize=(columns * size * 1.25, rows * size), layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False)


def check_format(path: str | Path) -> Path:
    """The path, or UserError when `save` could not tell the format from its ending."""
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise UserError(f"figure {target}: the name must end in {', '.join(_FORMATS)}")
    check_output(path, "--plot")
    return target


def save(fig: Figure, path: str | Path) -> Path:
    """Writes SVG, PDF or PNG by the ending of `path`, without a date in it. Raises UserError."""
    target = check_format(path)
    ending, drawn = target.suffix.lower(), io.BytesIO()
    stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending, {})
    with with_style():
        fig.savefig(drawn, format=ending[1:], dpi=200, metadata=stamp)
    write_output(path, drawn.getvalue(), "--plot")
    return target


def _table_of(source: Fit | pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows behind a fit, or the table itself, with `flops` = 6 N D where it is missing."""
    table = source.table if isinstance(source, Fit) else source
    if table is None:
        raise UserError("this fit was read from JSON and has no points to draw: fit it again")
    if "flops" not in table and {"n_params", "n_tokens"} <= set(table.columns):
        table = table.assign(flops=6.0 * table["n_params"] * table["n_tokens"])
    require(table, columns)
    return table


def _of_n_and_d(fit: Fit) -> bool:
    return {c.name for c in fit.law.columns} == {"n_params", "n_tokens"}


@styled
def loss_compute(source: Fit | pd.DataFrame, ax: Axes) -> Axes:
    """Loss against compute, coloured by model size, with the lower envelope; a Fit adds the loss
    of its compute-optimal models with the 95 % confidence band."""
    table = _table_of(source, "flops", "n_params", "loss")
    points = ax.scatter(
        table["flops"], table["loss"], c=table["n_params"], norm=LogNorm(), cmap="cividis", s=14
    )
    ax.figure.colorbar(points, ax=ax, label="parameters")
    ordered = table.sort_values("flops")
    best = ordered[ordered["loss"] <= ordered["loss"].cummin()]
    ax.step(best["flops"], best["loss"], where="post", color=GREY, lw=1.2, label="envelope")
    if isinstance(source, Fit):
        grid = np.geomspace(table["flops"].min(), table["flops"].max() * 3, 60)
        if (frontier := _frontier(source, grid)) is not None:
            band = source.predict(frontier)
            ax.plot(grid, band["predicted"], color=VERMILION, label=f"{source.law.name}, optimal")
            ax.fill_between(grid, band["ci_low"], band["ci_high"], color=VERMILION, alpha=0.25)
    ax.set(xscale="log", yscale="log", xlabel="compute (FLOPs)", ylabel="loss (nats/token)")
    plain_ticks(ax.yaxis)
    ax.legend()
    return ax


def _frontier(fit: Fit, flops: np.ndarray) -> pd.DataFrame | None:
    """The compute-optimal n_params and n_tokens at each budget, if the law has an optimum."""
    if not _of_n_and_d(fit):
        return None
    try:
        return fit.optimal(flops)[["n_params", "n_tokens"]]
    except UserError:
        return None


@styled
def isoflop(source: Fit | pd.DataFrame, ax: Axes) -> Axes:
    """Loss over model size at every budget. A star marks the minimum of the parabola, its bar the
    95 % interval; an open star is an edge minimum, where the sweep ended first. A Fit of (N, D)
    adds its own curves."""
    table = _table_of(source, "flops", "n_params", "loss")
    flops = table["flops"].to_numpy(np.float64)
    group = budgets(flops)
    cmap = colormaps["cividis"]
    for k in range(group.max() + 1):
        rows = table[group == k].sort_values("n_params")
        colour = cmap(0.9 * k / max(group.max(), 1))
        n, loss = (rows[c].to_numpy(np.float64) for c in ("n_params", "loss"))
        ax.plot(n, loss, "o", ms=3, color=colour, label=f"{np.median(flops[group == k]):.1e}")
        found = curve_minimum("parabola", n, loss)
        if np.isfinite(found.x):
            _star(ax, found, colour)
        x = np.geomspace(n.min(), n.max(), 80)
        if isinstance(source, Fit) and _of_n_and_d(source):
            tokens = np.exp(np.interp(np.log(x), np.log(n), np.log(rows["n_tokens"])))
            ax.plot(
                x, source.predict({"n_params": x, "n_tokens": tokens})["predicted"], color=colour
            )
        elif len(n) > 2:
            ax.plot(x, np.polyval(np.polyfit(np.log(n), loss, 2), np.log(x)), color=colour, lw=1)
    ax.set(xscale="log", xlabel="parameters", ylabel="loss (nats/token)")
    ax.legend(title="FLOPs", fontsize=6, ncols=2)
    return ax


def _star(ax: Axes, found, colour) -> None:
    face = "none" if found.edge else colour
    ax.plot(np.exp(found.x), found.y, "*", ms=11, mec="black", mew=0.6, mfc=face, zorder=5)
    if np.isfinite(found.std) and not found.edge:
        ends = np.exp(found.x + np.array([-1.96, 1.96]) * found.std)
        ax.plot(ends, [found.y, found.y], color="black", lw=1, zorder=4)


@styled
def allocation(fit: Fit, ax: Axes, flops=None) -> Axes:
    """N* (and D*) against compute with 95 % bands, on log-log axes; the points of a law of optima
    are drawn too. `flops`: the range of budgets; default a decade beyond the data."""
    low, high = fit.ranges["flops"]
    grid = np.geomspace(*((low, high * 10) if flops is None else flops), 50)
    optimum = fit.optimal(grid)
    for name, label, colour in (
        ("n_params", "N* (parameters)", BLUE),
        ("n_tokens", "D* (tokens)", ORANGE),
    ):
        if name in optimum:
            ax.plot(grid, optimum[name], color=colour, label=label)
            ax.fill_between(
                grid, optimum[f"{name}_low"], optimum[f"{name}_high"], color=colour, alpha=0.2
            )
    if fit.table is not None and "n_params_opt" in fit.table:
        ax.plot(fit.table["flops"], fit.table["n_params_opt"], "*", color=BLUE, ms=9, mec="black")
    ax.axvspan(low, high, color=GREY, alpha=0.12, lw=0, label="fitted range")
    ax.set(xscale="log", yscale="log", xlabel="compute (FLOPs)", ylabel="optimal size")
    ax.legend()
    return ax


@styled
def contours(fit: Fit, ax: Axes) -> Axes:
    """Contours of the fitted L(N, D) with the data, and the efficient frontier with its band."""
    if not _of_n_and_d(fit):
        raise UserError(f"contours need a law of n_params and n_tokens, not {fit.law.name}")
    (n_low, n_high), (d_low, d_high) = (fit.ranges[c] for c in ("n_params", "n_tokens"))
    n, d = np.geomspace(n_low / 2, n_high * 2, 90), np.geomspace(d_low / 2, d_high * 2, 90)
    N, D = np.meshgrid(n, d)
    with jax.enable_x64(True):
        x = {"n_params": jnp.asarray(N.ravel()), "n_tokens": jnp.asarray(D.ravel())}
        theta = theta_of(fit.law, jnp.asarray(fit.z))
        loss = np.asarray(fit.law.predict(theta, x)).reshape(N.shape)
    lines = ax.contour(N, D, loss, levels=14, cmap="cividis_r", linewidths=1)
    ax.clabel(lines, fontsize=6)
    if fit.table is not None:
        ax.plot(fit.table["n_params"], fit.table["n_tokens"], "o", ms=2.5, color=GREY, label="runs")
    try:
        frontier = fit.optimal(np.geomspace(6 * n[0] * d[0], 6 * n[-1] * d[-1], 60))
        ax.plot(frontier["n_params"], frontier["n_tokens"], color=VERMILION, label="frontier")
        sides = (frontier["n_params_low"], frontier["n_params_high"])
        flops = frontier["flops"]
        ax.fill(
            np.concatenate([sides[0], sides[1][::-1]]),
            np.concatenate([flops / 6 / sides[0], (flops / 6 / sides[1])[::-1]]),
            color=VERMILION,
            alpha=0.2,
            lw=0,
        )
    except UserError:
        pass  # a law without an optimum still has contours
    ax.set(xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]))
    ax.set(xlabel="parameters", ylabel="tokens")
    ax.legend(loc="lower right", frameon=True, framealpha=0.9)
    return ax


@styled
def collapse(fit: Fit, ax: Axes) -> Axes:
    """Reducible loss over that of the compute-optimal model, against N/N*(C): all budgets fall on
    one curve when the law holds and the exponents are common."""
    table = _table_of(fit, "n_params", "n_tokens", "loss")
    flops = 6.0 * (table["n_params"] * table["n_tokens"]).to_numpy()
    frontier = _frontier(fit, flops)
    if frontier is None:
        raise UserError(f"collapse needs a law with an optimal allocation, not {fit.law.name}")
    floor = fit.theta.get("E", 0.0)
    best = fit.predict(frontier)["predicted"].to_numpy() - floor
    x = table["n_params"].to_numpy() / frontier["n_params"].to_numpy()
    y = (table["loss"].to_numpy() - floor) / best
    points = ax.scatter(x, y, c=flops, norm=LogNorm(), cmap="cividis", s=14)
    ax.figure.colorbar(points, ax=ax, label="compute (FLOPs)")
    middle = fit.optimal([np.exp(np.median(np.log(flops)))]).iloc[0]
    ratio = np.geomspace(x.min(), x.max(), 80)
    curve = fit.predict(
        {"n_params": middle["n_params"] * ratio, "n_tokens": middle["n_tokens"] / ratio}
    )["predicted"]
    least = fit.predict({"n_params": [middle["n_params"]], "n_tokens": [middle["n_tokens"]]})
    ax.plot(ratio, (curve - floor) / (least["predicted"][0] - floor), color=VERMILION, label="law")
    ax.set(xscale="log", yscale="log", xlabel="N / N*(C)", ylabel="(L − E) / (L*(C) − E)")
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    ax.legend()
    return ax


@styled
def overview(fit: Fit) -> Figure:
    """One page of a fit: what it says (where the law is of N and D) and how well it holds."""
    if fit.status == "failed":
        raise UserError("the fit failed: there is nothing to draw")
    checks = [predicted_actual, residual_plot]
    if fit.profiles:
        checks.append(profile_curves)
    panels = list(checks)
    if _of_n_and_d(fit):
        panels = [loss_compute, contours, collapse, *checks] if _has_optimum(fit) else panels
    elif _has_optimum(fit):
        panels = [allocation, *checks]
    fig, axes = figure(-(-len(panels) // 3), min(3, len(panels)))
    for draw, ax in zip(panels, axes.flat, strict=False):
        draw(fit, ax)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    return fig


def _has_optimum(fit: Fit) -> bool:
    low, high = fit.ranges.get("flops", (1e21, 1e21))
    try:
        fit.optimal([low / 100, high * 100])
    except UserError:
        return False
    return True


@styled
def comparison_figure(comparison: Comparison) -> Figure:
    """AICc differences, errors on what was left out, and the rollout along compute."""
    table, colours = comparison.table, (BLUE, ORANGE, GREEN, VERMILION, GREY)
    fig, axes = figure(1, 3)
    left, middle, right = axes[0]
    place = np.arange(len(table))
    left.barh(place, table["d_aicc"], color=BLUE)
    for at, value in zip(place, table["d_aicc"], strict=True):
        left.annotate(f" {value:.1f}", (value, at), va="center", fontsize=7)
    left.margins(x=0.15)
    left.set(yticks=place, yticklabels=table["law"], xlabel="AICc above the best")
    left.invert_yaxis()
    for k, column in enumerate(("largest_mape", "rollout_mape", "kfold_mape")):
        offset = (k - 1) * 0.26
        middle.barh(place + offset, 100 * table[column], 0.24, color=colours[k], label=column[:-5])
    middle.set(yticks=place, yticklabels=table["law"], xlabel="mean error on left-out rows (%)")
    middle.invert_yaxis()
    middle.legend()
    marks = "osD^v<>P"
    for k, (law, rows) in enumerate(comparison.rollout.groupby("law", sort=False)):
        style = {"color": colours[k % len(colours)], "marker": marks[k % len(marks)], "ms": 4}
        right.plot(rows["fitted_up_to"], 100 * rows["mape"], label=law, **style)
    axis = comparison.rollout["axis"].iloc[0]
    right.set(xscale="log", yscale="log", xlabel=f"fitted up to ({axis})")
    plain_ticks(right.yaxis)
    right.set_ylabel("error on the next band (%)")
    right.legend()
    return fig
