import numpy as np
import pandas as pd
import pytest

from scaling.analysis.fit import fit
from scaling.analysis.law import factorial
from scaling.analysis.laws.optimum import (
    ENVELOPE,
    ISOFLOP,
    ISOFLOP_AKIMA,
    REFERENCE_C,
    TRUE_A,
    TRUE_OPTIMUM,
    with_true_loss,
)
from scaling.errors import UserError


def design(low: float, high: float, drift: float = 0.0, budgets: int = 6) -> pd.DataFrame:
    """IsoFLOP runs from exp(low) to exp(high) times the optimal size, whose centre moves by `drift`
    per unit of ln C."""
    table = factorial(flops=np.geomspace(1e19, 1e22, budgets), at=np.linspace(low, high, 9))
    best = TRUE_OPTIMUM["N_ref"] * (table["flops"] / REFERENCE_C) ** TRUE_A
    shift = drift * np.log(table["flops"] / REFERENCE_C)
    return with_true_loss(table.assign(n_params=best * np.exp(table["at"] + shift)))


def test_the_parabola_is_biased_by_a_drifting_grid_and_the_result_says_so():
    found = fit(ISOFLOP, design(-1.0, 3.5, drift=0.2), profile=False)
    assert found.theta["a"] - TRUE_A > 0.03
    told = [w for w in found.warnings if w.startswith("bias on this design")]
    assert len(told) == 1
    assert f"{found.theta['a']:.3f}" in told[0]
    assert any("biased even without noise" in w for w in found.warnings)


def test_akima_is_nearly_free_of_that_bias():
    found = fit(ISOFLOP_AKIMA, design(-1.0, 3.5, drift=0.2), profile=False)
    assert found.theta["a"] == pytest.approx(TRUE_A, abs=0.001)


def test_a_minimum_at_the_edge_is_left_out_and_named():
    table = design(-1.0, 1.0)
    cut = table[(table["flops"] > 1.01e19) | (table["at"] > 0.2)]
    found = fit(ISOFLOP, cut, profile=False)
    assert found.n_points == 5
    assert any("1e+19 FLOPs left out: the minimum lies outside" in w for w in found.warnings)


@pytest.mark.parametrize("law", [ISOFLOP, ISOFLOP_AKIMA])
def test_one_budget_is_refused(law):
    with pytest.raises(UserError, match="2 budgets or more, and found 1 in 1"):
        fit(law, design(-1, 1, budgets=1))


def noisy(seed: int = 0) -> pd.DataFrame:
    """Four sizes at each of ten budgets, 0.3 % of noise on the loss."""
    table = design(-1.5, 1.5, budgets=10)
    table = table[table["at"].isin(np.sort(table["at"].unique())[[0, 3, 5, 8]])]
    wiggle = 0.003 * np.random.default_rng(seed).standard_normal(len(table))
    return table.assign(loss=table["loss"] * np.exp(wiggle)).reset_index(drop=True)


def test_minima_weighted_by_their_own_residuals_on_request():
    rng = np.random.default_rng(0)
    table = design(-1.0, 1.0)
    small = table["flops"] < 1e20
    table["loss"] += rng.normal(0, np.where(small, 0.02, 0.0005))
    weight = ISOFLOP.weighted("own").reduce(table).set_index("flops")["weight"]
    assert weight[weight.index < 1e20].max() < 0.1 * weight[weight.index > 1e20].min()
    assert weight.mean() == pytest.approx(1.0)


def test_no_budget_decides_by_passing_near_its_points():
    """With one degree of freedom a budget, residuals near zero happen: pooled weights differ by the
    shapes of the parabolas only."""
    pooled, own = (ISOFLOP.weighted(way).reduce(noisy())["weight"] for way in ("pooled", "own"))
    assert own.max() / own.min() > 50
    assert pooled.max() / pooled.min() < 10


def test_pooled_weights_vary_less_and_are_told():
    slopes = {"pooled": [], "own": []}
    for seed in range(40):
        table = noisy(seed)
        for way, found in slopes.items():
            minima = ISOFLOP.weighted(way).reduce(table)
            log_c, log_n = np.log(minima["flops"]), np.log(minima["n_params_opt"])
            found.append(np.polyfit(log_c, log_n, 1, w=np.sqrt(minima["weight"]))[0])
    assert np.std(slopes["own"]) > 1.3 * np.std(slopes["pooled"])
    default = fit(ISOFLOP, noisy(), profile=False)
    assert default.theta["a"] == pytest.approx(slopes["pooled"][0], rel=1e-9)
    assert any("one relative deviation of the loss, 0." in w for w in default.warnings)
    own = fit(ISOFLOP, noisy(), weights="own", profile=False)
    assert any("residuals of each budget alone" in w for w in own.warnings)


def test_weights_of_runs_are_refused_where_minima_are_weighed():
    table = noisy().assign(w=1.0)
    with pytest.raises(UserError, match="weighs minima, not runs: --weights pooled, own, none"):
        fit(ISOFLOP, table, weights="w", profile=False)


def test_bootstrap_reduces_every_resample_anew():
    table = design(-1.0, 1.0)
    table["loss"] += np.random.default_rng(1).normal(0, 0.002, len(table))
    found = fit(ISOFLOP, table, bootstrap=100, profile=False)
    low, high = found.params["a"].ci95
    assert low < TRUE_A < high
    assert high - low < 0.2


def test_an_envelope_of_one_size_is_refused():
    runs = ENVELOPE.example()[1]
    sizes = np.sort(runs["n_params"].unique())
    three = runs[runs["n_params"].isin([sizes[0], sizes[10], sizes[-1]])]
    with pytest.raises(UserError, match="found 1; add runs"):
        fit(ENVELOPE, three)
