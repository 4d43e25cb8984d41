"""Statuses mean what they say, and what a design does not determine is not reported as known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.compare import compare
from scaling.analysis.fit import fit
from scaling.analysis.fitted import Fit
from scaling.analysis.intervals import Spread
from scaling.analysis.law import factorial
from scaling.analysis.status import STATUSES, status_of
from scaling.cli import main
from scaling.errors import UserError
from tests.analysis.synthetic import STARTS, TRUTH, sweep

DATA = Path(__file__).parent.parent / "data"
CASES = DATA / "cases"
A = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])


def true_loss(n, d):
    return TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]


def runs(sizes, ratios, noise=0.003, seed=0) -> pd.DataFrame:
    table = factorial(n_params=sizes, ratio=ratios)
    table["n_tokens"] = table["n_params"] * table.pop("ratio")
    wiggle = np.exp(noise * np.random.default_rng(seed).standard_normal(len(table)))
    return table.assign(loss=true_loss(table["n_params"], table["n_tokens"]) * wiggle)


def true_size(flops: float) -> float:
    scale = TRUTH["alpha"] * TRUTH["A"] / (TRUTH["beta"] * TRUTH["B"])
    return scale ** (1 / (TRUTH["alpha"] + TRUTH["beta"])) * (flops / 6) ** A


@pytest.fixture(scope="module")
def two_sizes() -> Fit:
    return fit("chinchilla", runs((2e8, 1e9), np.geomspace(5, 320, 10)), starts=300)


@pytest.fixture(scope="module")
def one_ratio() -> Fit:
    return fit("chinchilla", runs(np.geomspace(5e7, 3e9, 20), (20,)), starts=300, profile=False)


def test_every_word_has_a_meaning(two_sizes, one_ratio):
    assert {two_sizes.status, one_ratio.status} <= set(STATUSES)
    assert all(STATUSES.values())
    assert STATUSES["not_unique"] in str(two_sizes).splitlines()[0]


def test_nothing_that_ran_to_the_end_is_a_failure(capsys, tmp_path):
    path, out = CASES / "28-unconverged-ok" / "ref.csv", tmp_path / "fit.json"
    command = ["fit", str(path), "--starts", "1", "--seed", "2", "--no-profile"]
    assert main([*command, "--json", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("status failed")
    assert "status failed" in said.err
    assert "try more starts" in said.err
    read = Fit.from_json(out)
    assert (read.status, read.params["A"].ci95) == ("failed", None)
    with pytest.raises(UserError, match="failed"):
        read.predict({"n_params": [1e9], "n_tokens": [1e10]})
    whole = fit("chinchilla", pd.read_csv(path), profile=False, starts=300)
    assert whole.status == "ok"


def test_one_start_confirms_nothing():
    single = {name: [value] for name, value in TRUTH.items()}
    result = fit("chinchilla", sweep(), starts=single, profile=False)
    assert result.status == "unconfirmed"
    assert "more starts" in result.remedy
    assert fit("chinchilla", sweep(), starts=STARTS, profile=False).status == "ok"


def test_the_worst_that_applies_is_the_word():
    curved = Spread(np.eye(2), np.ones(2), 10.0, np.zeros(2, bool), np.zeros(9))
    fine = {
        "spread": curved,
        "objective": 1.0,
        "touching": np.zeros(2, bool),
        "several": False,
        "starts": {"at_best": 5},
        "r2": 0.9,
        "n_free": 2,
    }
    changes = {
        "unconfirmed": {"starts": {"at_best": 1}},
        "misfit": {"r2": -0.2},
        "at_bound": {"touching": np.array([True, False])},
        "not_unique": {"several": True},
        "failed": {"objective": np.nan},
    }
    assert status_of(**fine) == "ok"
    assert [*reversed(STATUSES)] == ["ok", *changes]
    found = dict(fine)
    for word, change in changes.items():  # each is worse than what applied before
        found |= change
        assert status_of(**found) == word
    assert status_of(**fine | {"starts": {"at_best": 0}}) == "failed"
    assert status_of(**fine | {"starts": {"at_best": 1}, "n_free": 0}) == "ok"


def test_as_many_parameters_as_points_leave_no_intervals():
    table = runs((1e8, 1e9), (5, 50, 500)).iloc[:5]
    result = fit("chinchilla", table, starts=200)
    assert result.dof == 0
    assert all(p.ci95 is None for p in (result.params | result.derived).values())
    assert any("no degrees of freedom" in w for w in result.warnings)
    assert "no R²" in str(result)
    again = Fit.from_json(result.to_json())
    assert again.region is None
    if result.status != "failed":
        assert result.predict(table)["ci_low"].isna().all()
        with pytest.raises(UserError, match="as many free parameters as points"):
            result.sample()


def test_few_runs_a_parameter_are_said():
    ladder = runs((2e8, 4e8, 8e8, 1.6e9), (20, 40, 100, 200))
    result = fit("chinchilla", ladder, starts=300, profile=False)
    assert any("16 points for 5 free parameters, fewer than 4" in w for w in result.warnings)


def test_two_sizes_determine_neither_exponent_nor_optimum(two_sizes):
    assert two_sizes.status == "not_unique"
    assert "a third value of n_params" in two_sizes.remedy
    for name in ("E", "A", "alpha"):
        assert not two_sizes.params[name].identified
    assert two_sizes.params["beta"].identified
    assert not two_sizes.derived["a"].identified
    low, high = two_sizes.derived["a"].ci95
    assert low < A < high
    best = two_sizes.optimal(1e21)
    assert not best["determined"].any()
    assert best["n_params_low"][0] < true_size(1e21) < best["n_params_high"][0]
    assert any("a third value of n_params" in w for w in best.attrs["warnings"])


def test_predictions_hold_where_the_runs_were_and_span_the_ridge_elsewhere(two_sizes):
    points = pd.DataFrame({"n_params": [2e8, 7e10], "n_tokens": [1e10, 1.4e12]})
    out = two_sizes.predict(points)
    assert out["determined"].tolist() == [True, False]
    truth = true_loss(points["n_params"], points["n_tokens"])
    assert ((out["ci_low"] < truth) & (truth < out["ci_high"])).all()
    assert any("row 2" in w and "not determined" in w for w in out.attrs["warnings"])
    again = Fit.from_json(two_sizes.to_json())
    pd.testing.assert_frame_equal(again.predict(points), out)
    pd.testing.assert_frame_equal(again.optimal(1e21), two_sizes.optimal(1e21))
    wide = two_sizes.sample()[:, 3]
    assert np.ptp(wide) > 5 * np.ptp(two_sizes.region.draws[:, 3])


def test_a_bootstrap_does_not_hide_the_ridge():
    table = runs((2e8, 1e9), np.geomspace(5, 320, 10))
    result = fit("chinchilla", table, starts=300, profile=False, bootstrap=Bootstrap(60))
    low, high = result.derived["a"].ci95
    assert low < A < high
    assert not result.derived["a"].identified
    assert not result.optimal(1e21)["determined"].any()


def test_one_ratio_of_tokens_to_parameters_does_not_tell_the_terms_apart(one_ratio):
    assert one_ratio.status == "not_unique"
    assert "another number of tokens per parameter (all have about 20" in one_ratio.remedy
    with pytest.raises(UserError, match=r"no compute-optimal size .* add runs at another number"):
        one_ratio.optimal(1e21)  # the optimum it happened on has one term only
    alpha, beta = (one_ratio.params[name] for name in ("alpha", "beta"))
    for p in (alpha, beta):
        assert not p.identified
        assert p.ci95[1] - p.ci95[0] > 1


def test_search_boxes_give_way_and_chosen_bounds_do_not():
    table = sweep(noise=0.001)
    n, d = table["n_params"], table["n_tokens"]
    wiggle = table["loss"] / true_loss(n, d)
    steep = table.assign(loss=(2.5 + 1e35 * n**-4.7 + 2100 * d**-0.37) * wiggle)
    free = fit("chinchilla", steep, profile=False, starts=600)
    assert free.params["alpha"].value == pytest.approx(4.7, abs=0.3)
    assert any("gave way for A, alpha" in w for w in free.warnings)
    kept = fit("chinchilla", steep, profile=False, starts=600, bounds={"A": (1e-6, 1e18)})
    assert kept.status == "at_bound"
    assert "A stops at its upper bound 1e+18" in kept.remedy
    assert "--bound A=1e-06:HIGH" in kept.remedy
    assert kept.objective > 2 * free.objective


def test_intervals_beside_a_bound_are_marked():
    stuck = fit("chinchilla", sweep(), bounds={"beta": (0.1, 0.3)}, starts=STARTS, profile=False)
    assert stuck.params["alpha"].conditional == ("beta",)
    assert stuck.params["beta"].conditional == ()
    assert "given beta at the bound" in str(stuck)
    data = json.loads(stuck.to_json())
    assert data["params"]["alpha"]["conditional"] == ["beta"]
    assert Fit.from_json(stuck.to_json()).params == stuck.params


def test_an_outlier_is_named():
    table = sweep(noise=0.002)
    table.loc[7, "loss"] *= 1.15
    said = [w for w in fit("chinchilla", table, starts=STARTS, profile=False).warnings
            if "left aside" in w]  # fmt: skip
    assert len(said) == 1
    assert "row 8 (n_params" in said[0]
    assert "without it" in said[0]
    clean = fit("chinchilla", sweep(noise=0.002), starts=STARTS, profile=False)
    assert not any("left aside" in w for w in clean.warnings)


def test_rising_losses_have_no_optimum():
    rising = sweep()
    rising["loss"] = 2 + 0.1 * np.log(rising["n_params"] / 1e7) + 2100 * rising["n_tokens"] ** -0.37
    result = fit("chinchilla", rising, profile=False, starts=300)
    with pytest.raises(UserError, match="no compute-optimal size at 1e\\+21 FLOPs"):
        result.optimal(1e21)


def test_far_predictions_are_as_wide_as_a_bootstrap_makes_them():
    ladder = runs((2e8, 4e8, 8e8, 1.6e9), (20, 40, 100, 200), seed=3)
    far = {"n_params": [7e10], "n_tokens": [1.4e12]}
    width = []
    for how in (None, Bootstrap(300, "case")):
        out = fit("chinchilla", ladder, starts=300, profile=False, bootstrap=how).predict(far)
        width.append(float(np.log(out["ci_high"] / out["ci_low"]).iloc[0]))
    assert 0.6 < width[0] / width[1] < 1.6


def test_tied_budgets_are_left_out_as_a_whole():
    table = pd.read_csv(CASES / "25-compare-isoflop" / "iso.csv")
    found = compare(["chinchilla", "kaplan"], table, starts=60)
    assert found.table["largest_mape"].notna().all()
    one = table[table["flops"] == table["flops"].max()] if "flops" in table else table.iloc[-6:]
    few = compare(["kaplan_n"], one.assign(n_tokens=one["n_tokens"].iloc[0]).assign(flops=1e20))
    missing = few.table.columns[few.table.isna().any()]
    assert len(missing)
    assert "nan" not in str(few).lower()
    assert any(f"no {missing[-1]}" in w or "no largest_mape" in w for w in few.warnings)


def test_the_decay_constants_reach_their_global_optimum_without_profiles():
    table = pd.read_csv(DATA / "published" / "muennighoff_data_constrained.csv")
    known = {
        "E": np.exp(0.6254804),
        "A": np.exp(6.255414),
        "B": np.exp(7.3049974),
        "alpha": 0.3526596,
    }
    found = fit("data_constrained", table, pinned=known, profile=False)
    assert found.objective <= 0.01580466248
    assert found.starts["at_best"] >= 2
