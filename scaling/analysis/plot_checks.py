"""Figures that test a fit: residuals, predicted against actual, bootstrap corner, profiles."""

import numpy as np
from matplotlib.axes import Axes

from scaling.analysis.compare import compute_axis
from scaling.analysis.fitted import Fit
from scaling.analysis.intervals import t_quantile
from scaling.analysis.objective import get_loss
from scaling.analysis.plot_style import BLUE, GREY, VERMILION, plain_ticks, styled
from scaling.errors import UserError


def _with_points(fit: Fit) -> None:
    if fit.table is None or fit.residuals is None:
        raise UserError("this fit was read from JSON and has no points to draw: fit it again")


@styled
def residual_plot(fit: Fit, ax: Axes) -> Axes:
    """Residuals against compute (or the law's first column), with the Huber width shaded: points
    outside it pull with constant force."""
    _with_points(fit)
    name, x = compute_axis(fit.law, fit.table)
    log = get_loss(fit.loss).log
    ax.plot(x, fit.residuals, "o", ms=3, color=BLUE, alpha=0.7)
    ax.axhline(0, color="black", lw=0.8)
    if get_loss(fit.loss).huber:
        ax.axhspan(-fit.delta, fit.delta, color=GREY, alpha=0.3, lw=0, label=f"±δ = {fit.delta:g}")
        ax.legend()
    label = f"ln {fit.law.target.name}" if log else fit.law.target.name
    ax.set(xlabel=name, ylabel=f"residual of {label}")
    if (x > 0).all():
        ax.set_xscale("log")
    return ax


@styled
def predicted_actual(fit: Fit, ax: Axes) -> Axes:
    """Predicted against measured; held-out points as diamonds with 95 % prediction intervals."""
    _with_points(fit)
    target = fit.law.target.name
    actual = fit.table[target].to_numpy(np.float64)
    predicted = (
        actual * np.exp(-fit.residuals) if get_loss(fit.loss).log else actual - fit.residuals
    )
    ax.plot(actual, predicted, "o", ms=3, color=BLUE, alpha=0.7, label="fitted")
    everything = [actual, predicted]
    if fit.held_out is not None:
        held = fit.held_out
        bars = np.abs(held[["pi_low", "pi_high"]].to_numpy().T - held["predicted"].to_numpy())
        ax.errorbar(
            held["actual"], held["predicted"], bars, fmt="D", ms=4, color=VERMILION, lw=0.8,
            label="held out",
        )  # fmt: skip
        everything += [held["actual"].to_numpy(), held["predicted"].to_numpy()]
    ends = np.array([min(v.min() for v in everything), max(v.max() for v in everything)])
    ax.plot(ends, ends, color="black", lw=0.8)
    ax.set(xlabel=f"measured {target}", ylabel=f"predicted {target}")
    if get_loss(fit.loss).log:
        ax.set(xscale="log", yscale="log")
        plain_ticks(ax.xaxis)
        plain_ticks(ax.yaxis)
    ax.legend()
    return ax


@styled
def profile_curves(fit: Fit, ax: Axes) -> Axes:
    """The profile of every parameter on one scale: distance from the optimum in standard errors,
    and the square root of the rise, signed. A straight line of slope 1 is a quadratic optimum;
    a curve that never reaches the dashed 95 % lines belongs to a parameter that is not bounded."""
    if not fit.profiles:
        raise UserError("this fit has no profiles: fit without --no-profile")
    q = t_quantile(0.975, fit.dof)
    for k, (name, p) in enumerate(fit.profiles.items()):
        i = [param.name for param in fit.law.params].index(name)
        se = max(np.sqrt(fit.cov[i, i]), 1e-300)
        u = (p.z - fit.z[i]) / se
        v = np.sign(u) * np.sqrt(p.rise / max(p.height, 1e-300)) * q
        order = np.argsort(np.append(u, 0.0))
        x, y = np.append(u, 0.0)[order], np.append(v, 0.0)[order]
        shown = np.abs(y) < 2 * q
        ax.plot(x[shown], y[shown], marker="osD^v<>P"[k % 8], ms=3, lw=1, label=name)
    for side in (-q, q):
        ax.axhline(side, color=GREY, ls="--", lw=0.8)
    ax.plot([-2 * q, 2 * q], [-2 * q, 2 * q], color="black", lw=0.6)
    ax.set(xlabel="distance from the optimum (standard errors)", ylabel="signed root of the rise")
    ax.set_xlim(-4 * q, 4 * q)
    ax.legend(ncols=2)
    return ax


@styled
def corner(fit: Fit, ax: Axes) -> Axes:
    """Bootstrap draws of every pair of parameters, with histograms on the diagonal; the optimum
    in vermilion. Drawn as a grid of inset Axes inside `ax`."""
    if fit.draws is None:
        raise UserError("a corner plot needs bootstrap draws: fit with --bootstrap N")
    free = np.flatnonzero(np.ptp(fit.draws, axis=0) > 0)
    names = [
        f"ln {fit.law.params[i].name}" if fit.law.params[i].transform == "log"
        else fit.law.params[i].name
        for i in free
    ]  # fmt: skip
    ax.set_axis_off()
    size = 1 / len(free)
    limits = np.percentile(fit.draws[:, free], [0.5, 99.5], axis=0)
    for row, i in enumerate(free):
        for column, j in enumerate(free[: row + 1]):
            box = (column * size, 1 - (row + 1) * size, 0.88 * size, 0.88 * size)
            cell = ax.inset_axes(box)
            cell.grid(False)
            cell.set_xlim(limits[:, column])
            if row == column:
                cell.hist(fit.draws[:, j], bins=30, range=tuple(limits[:, column]), color=BLUE)
            else:
                cell.plot(fit.draws[:, j], fit.draws[:, i], ".", ms=1.5, color=BLUE, alpha=0.4)
                cell.set_ylim(limits[:, row])
                cell.axhline(fit.z[i], color=VERMILION, lw=0.7)
            cell.axvline(fit.z[j], color=VERMILION, lw=0.7)
            cell.tick_params(labelsize=5, length=2)
            if row == len(free) - 1:
                cell.set_xlabel(names[column])
            else:
                cell.set_xticklabels([])
            if column == 0 and row:
                cell.set_ylabel(names[row])
            else:
                cell.set_yticklabels([])
    return ax
