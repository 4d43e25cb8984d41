"""Every figure draws into the Axes it is given, returns it, and refuses what it cannot draw."""

import numpy as np
import pytest

from scaling.analysis import plot, plot_checks
from scaling.analysis.compare import compare
from scaling.analysis.fit import fit
from scaling.analysis.fitted import Fit
from scaling.analysis.law import factorial
from scaling.errors import UserError
from tests.analysis.synthetic import STARTS, sweep

N_AND_D = [plot.loss_compute, plot.contours, plot.collapse, plot.allocation]
CHECKS = [
    plot_checks.residual_plot,
    plot_checks.predicted_actual,
    plot_checks.profile_curves,
    plot_checks.corner,
]


@pytest.fixture(scope="module")
def fitted():
    return fit("chinchilla", sweep(), starts=STARTS, bootstrap=40, holdout="flops>1e21")


@pytest.fixture
def ax():
    return plot.figure()[1][0, 0]


@pytest.mark.parametrize("draw", [*N_AND_D, *CHECKS], ids=lambda f: f.__name__)
def test_figure_draws_and_returns_its_axes(draw, fitted, ax):
    before = len(ax.get_children())
    assert draw(fitted, ax) is ax
    assert len(ax.get_children()) > before


@pytest.mark.parametrize("draw", [plot.loss_compute, plot.isoflop])
def test_tables_can_be_drawn_without_a_fit(draw, ax):
    table = factorial(flops=(1e18, 1e19), n_params=np.geomspace(1e7, 1e9, 7))
    tokens = table["flops"] / 6 / table["n_params"]
    loss = 1.8 + 480 * table["n_params"] ** -0.35 + 2100 * tokens**-0.37
    assert draw(table.assign(n_tokens=tokens, loss=loss), ax) is ax


def test_isoflop_stars_stand_at_the_minima(ax):
    n = np.geomspace(1e7, 1e9, 9)
    table = factorial(flops=(1e18, 1e20), n_params=n)
    best = np.where(table["flops"] == 1e18, 1e8, 3e9)
    table = table.assign(
        n_tokens=table["flops"] / 6 / table["n_params"],
        loss=2 + 0.1 * np.log(table["n_params"] / best) ** 2,
    )
    plot.isoflop(table, ax)
    stars = [line for line in ax.lines if line.get_marker() == "*"]
    assert [s.get_xdata()[0] for s in stars] == pytest.approx([1e8, 3e9])
    assert [s.get_markerfacecolor() == "none" for s in stars] == [False, True]


def test_held_out_points_are_marked(fitted, ax):
    plot_checks.predicted_actual(fitted, ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "held out" in labels
    diamonds = next(line for line in ax.lines if line.get_marker() == "D")
    assert len(diamonds.get_xdata()) == fitted.holdout["n"]


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_save_writes_the_format_and_nothing_else(tmp_path, suffix, fitted):
    fig, axes = plot.figure()
    plot_checks.residual_plot(fitted, axes[0, 0])
    path = plot.save(fig, tmp_path / f"a{suffix}")
    head = path.read_bytes()[:200]
    assert {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[suffix] in head
    assert list(tmp_path.iterdir()) == [path]


def test_overview_and_comparison_pages(fitted, tmp_path):
    assert len(plot.overview(fitted).axes) >= 6
    curve = fit("power_offset", {"x": np.geomspace(1, 1e4, 8), "loss": np.linspace(4, 3, 8)})
    assert len(plot.overview(curve).axes) >= 2
    fig = plot.comparison_figure(compare(["power", "power_offset"], curve.table, folds=2))
    assert len(fig.axes) == 3


def test_what_cannot_be_drawn_is_refused(fitted, ax, tmp_path):
    again = Fit.from_json(fitted.to_json())
    with pytest.raises(UserError, match="fit it again"):
        plot_checks.residual_plot(again, ax)
    with pytest.raises(UserError, match="fit it again"):
        plot.loss_compute(again, ax)
    plain = fit("power", {"x": [1e3, 1e4, 1e5, 1e6], "loss": [4, 3.5, 3, 2.6]}, profile=False)
    for draw, message in (
        (plot_checks.corner, "needs bootstrap draws"),
        (plot_checks.profile_curves, "no profiles"),
        (plot.contours, "law of n_params and n_tokens"),
        (plot.collapse, "column 'n_params'"),
    ):
        with pytest.raises(UserError, match=message):
            draw(plain, ax)
    with pytest.raises(UserError, match="must end in"):
        plot.save(ax.figure, tmp_path / "a.jpg")
    with pytest.raises(UserError, match="no such directory"):
        plot.save(ax.figure, tmp_path / "no" / "a.png")
