"""Intervals against closed forms: on a law that is a straight line they are those of regression."""

import numpy as np
import pytest

from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.fit import fit
from scaling.analysis.intervals import t_quantile


@pytest.mark.parametrize(
    ("p", "dof", "expected"),
    [
        (0.975, 1, 12.7062047),
        (0.975, 2, 4.3026527),
        (0.975, 10, 2.2281389),
        (0.995, 30, 2.7499957),
        (0.975, 1e6, 1.9599664),
        (0.5, 5, 0.0),
    ],
)
def test_t_quantiles_of_the_tables(p, dof, expected):
    assert t_quantile(p, dof) == pytest.approx(expected, abs=3e-7)


def test_profile_of_a_straight_line_is_the_robust_t_interval():
    """ln L = a ln X_c - a ln x: slope, HC3 standard error and t quantile worked out by hand."""
    rng = np.random.default_rng(0)
    x = np.geomspace(1e3, 1e9, 25)
    loss = np.exp(1.5 - 0.07 * np.log(x) + 0.01 * rng.standard_normal(25))
    result = fit("power", {"x": x, "loss": loss}, loss="log_mse")
    G = np.stack([np.ones(25), -np.log(x)], 1)
    inverse = np.linalg.inv(G.T @ G)
    beta = inverse @ G.T @ np.log(loss)
    r = np.log(loss) - G @ beta
    leverage = np.einsum("ni,ij,nj->n", G, inverse, G)
    S = G * (r / (1 - leverage))[:, None]
    se = np.sqrt((inverse @ S.T @ S @ inverse)[1, 1])
    assert result.params["a"].value == pytest.approx(beta[1], rel=1e-9)
    assert result.params["a"].se == pytest.approx(se, rel=1e-6)
    q = t_quantile(0.975, 23)
    ends = (beta[1] - q * se, beta[1] + q * se)
    assert result.params["a"].ci95 == pytest.approx(ends, rel=1e-4)


def test_cluster_sandwich_sums_scores_within_runs():
    """Every row three times over, as one run: the errors of the plain fit, not smaller ones."""
    rng = np.random.default_rng(1)
    x = np.geomspace(1e3, 1e9, 40)
    loss = np.exp(1.5 - 0.07 * np.log(x) + 0.01 * rng.standard_normal(40))
    once = fit("power", {"x": x, "loss": loss}, loss="log_mse", profile=False)
    rows = {"x": np.repeat(x, 3), "loss": np.repeat(loss, 3), "run": np.repeat(np.arange(40), 3)}
    naive = fit("power", rows, loss="log_mse", profile=False, cluster=False)
    by_run = fit("power", rows, loss="log_mse", profile=False)
    assert by_run.params["a"].se == pytest.approx(once.params["a"].se, rel=1e-6)
    assert naive.params["a"].se < 0.7 * once.params["a"].se
    assert by_run.dof == 39


def test_residuals_of_few_points_are_drawn_as_wide_as_the_noise_behind_them():
    """The residual bootstrap of a straight line through 8 points: the error of least squares with
    its n - 2 degrees of freedom, which is 15 % wider than that of n."""
    rng = np.random.default_rng(3)
    x = np.geomspace(1e3, 1e9, 8)
    loss = np.exp(1.5 - 0.07 * np.log(x) + 0.01 * rng.standard_normal(8))
    how = Bootstrap(4000, "residual")
    result = fit("power", {"x": x, "loss": loss}, loss="log_mse", bootstrap=how, profile=False)
    at = np.log(x) - np.log(x).mean()
    se = np.sqrt(np.sum(result.residuals**2) / 6 / np.sum(at**2))
    assert result.params["a"].se == pytest.approx(se, rel=0.05)
