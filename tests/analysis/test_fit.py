"""`fit`: recovery, evidence, statuses, hold-out, and everything that must be refused."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from scaling.analysis import predict as predict_module
from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.fit import fit
from scaling.analysis.fitted import Fit
from scaling.analysis.law import N_PARAMS, Law, Param
from scaling.errors import UserError
from tests.analysis.synthetic import STARTS, TRUTH, sweep

OPTIONS = {"starts": STARTS, "profile": False}


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit("chinchilla", sweep(), starts=STARTS)


def test_recovers_the_truth_within_its_own_intervals(fitted):
    assert fitted.status == "ok"
    for name, truth in TRUTH.items():
        estimate = fitted.params[name]
        assert estimate.ci95[0] < truth < estimate.ci95[1]
        assert estimate.ci95[0] < estimate.value < estimate.ci95[1]
        assert estimate.identified
        assert not estimate.at_bound
    assert fitted.params["alpha"].ci95[1] - fitted.params["alpha"].ci95[0] < 0.1
    assert fitted.derived["a"].value == pytest.approx(0.37 / 0.72, abs=0.03)
    assert fitted.starts == {"n": 3, "converged": 3, "at_best": 3, "dropped": 0}
    assert fitted.r2 > 0.999
    assert fitted.condition > 10


def test_objective_and_residuals_are_of_the_fit_that_is_reported(fitted):
    table, theta = sweep(), fitted.theta
    predicted = (
        theta["E"]
        + theta["A"] * table["n_params"] ** -theta["alpha"]
        + theta["B"] * table["n_tokens"] ** -theta["beta"]
    )
    r = np.log(table["loss"]) - np.log(predicted)
    np.testing.assert_allclose(fitted.residuals, r, atol=1e-9)
    huber = np.where(abs(r) <= 1e-3, r * r / 2, 1e-3 * (abs(r) - 5e-4)).sum()
    assert fitted.objective == pytest.approx(huber, rel=1e-9)


def test_same_seed_same_json_and_other_data_other_hash():
    one, two = (fit("chinchilla", sweep(), bootstrap=20, **OPTIONS) for _ in range(2))
    assert one.to_json() == two.to_json()
    other = fit("chinchilla", sweep(seed=1), bootstrap=20, **OPTIONS)
    assert other.data_hash != one.data_hash


def test_order_of_rows_and_extra_columns_do_not_matter():
    shuffled = sweep().sample(frac=1, random_state=0).assign(comment="x")
    one, two = fit("chinchilla", sweep(), **OPTIONS), fit("chinchilla", shuffled, **OPTIONS)
    assert one.theta["alpha"] == pytest.approx(two.theta["alpha"], rel=1e-6)


def test_weights_act_like_repeated_rows():
    table = sweep()
    count = np.where(np.arange(36) < 6, 3, 1)
    weighted = fit("chinchilla", table, weights=count, **OPTIONS)
    repeated = fit("chinchilla", table.loc[table.index.repeat(count)], **OPTIONS)
    by_name = fit("chinchilla", table.assign(w=count), weights="w", **OPTIONS)
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-9)
    assert weighted.objective == by_name.objective
    assert any("12 row(s) repeat" in w for w in repeated.warnings)


def test_pins_and_bounds():
    pinned = fit("chinchilla", sweep(), pinned={"E": 1.75}, **OPTIONS)
    assert pinned.params["E"].value == pytest.approx(1.75)
    assert pinned.params["E"].se == 0
    assert pinned.status == "ok"
    stuck = fit("chinchilla", sweep(), bounds={"beta": (0.1, 0.3)}, starts=STARTS)
    assert stuck.status == "at_bound"
    assert stuck.params["beta"].at_bound
    assert any("beta = 0.3 lies on its bound" in w for w in stuck.warnings)


def test_a_bound_that_pins_is_said():
    result = fit("chinchilla", sweep(), bounds={"E": (1.8, 1.8)}, profile=False, starts=40)
    assert result.params["E"].value == pytest.approx(1.8)
    assert "the bounds of E leave one value: it is pinned at 1.8" in result.warnings


def test_one_model_size_is_not_unique():
    table = sweep()
    table = table[table["n_params"] == table["n_params"].iloc[0]]
    result = fit("chinchilla", pd.concat([table, table.assign(n_tokens=table["n_tokens"] * 7)]))
    assert result.status == "not_unique"
    assert not result.params["A"].identified
    assert any("all n_params equal" in w for w in result.warnings)
    assert any("fit equally well" in w for w in result.warnings)


class Twofold(Law):
    """Only the product of its two parameters matters: a flat direction, and no twin basins."""

    name, formula, paper = "twofold", "L = p q N^-0.1", "none"
    columns = (N_PARAMS,)
    params = (Param("p", 0.1, 1e3, "log", (3.0,)), Param("q", 0.1, 1e3, "log", (5.0,)))

    def log_predict(self, theta, x):
        return jnp.log(theta["p"]) + jnp.log(theta["q"]) - 0.1 * jnp.log(x["n_params"])

    def example(self):
        return {"p": 3.0, "q": 5.0}, sweep()


def test_a_flat_direction_is_not_unique_without_twin_basins():
    result = fit(Twofold(), sweep())
    assert result.status == "not_unique"
    assert [p.identified for p in result.params.values()] == [False, False]


def test_unbounded_profile_says_not_identified():
    """Tokens so many that their term is lost in the noise: beta cannot be told."""
    table = sweep(noise=0.02)
    loss = 1.8 + 480 * table["n_params"] ** -0.35
    wiggle = np.exp(0.02 * np.random.default_rng(0).standard_normal(36))
    result = fit("chinchilla", table.assign(loss=loss * wiggle), starts=STARTS)
    assert not (result.params["B"].identified and result.params["beta"].identified)
    assert any("not identified" in w for w in result.warnings)


def test_hardly_more_points_than_parameters_is_said(fitted):
    few = fit("chinchilla", sweep().sample(7, random_state=0), **OPTIONS)
    assert any("only 2 degrees" in warning for warning in few.warnings)
    assert not any("degrees of freedom" in warning for warning in fitted.warnings)


def test_equal_optima_may_predict_alike_or_not(fitted):
    assert fitted.disagreement(sweep()) == 0
    for shift, low, high in ((1e-6, 0, 1e-4), (0.1, 0.01, 10)):
        twin = (fitted.z + shift)[None]
        two = replace(fitted.region, ridge=twin, depth=np.zeros(1), room=np.ones(1))
        assert low < replace(fitted, region=two).disagreement(sweep()) < high


def test_holdout_is_predicted_and_not_fitted():
    table = sweep(noise=0.001)
    result = fit("chinchilla", table, holdout="flops>1e21", **OPTIONS)
    held = table["flops"] > 1e21
    assert result.holdout["n"] == held.sum()
    assert result.n_points == 36 - held.sum()
    assert 0 < result.holdout["mape"] < 0.01
    assert abs(result.holdout["bias"]) <= result.holdout["mape"]
    assert any("extrapolation: flops" in w for w in result.warnings)
    spoiled = table.assign(loss=np.where(held, table["loss"] * 2, table["loss"]))
    again = fit("chinchilla", spoiled, holdout=held.to_numpy(), **OPTIONS)
    assert again.theta == result.theta
    assert again.holdout["bias"] == pytest.approx(-0.5, abs=0.01)


def test_cluster_errors_see_dependence_within_runs():
    table, rng = sweep(noise=0.0), np.random.default_rng(3)
    shift = np.exp(0.01 * rng.standard_normal(6))[np.arange(36) // 6]
    table["loss"] *= shift * np.exp(1e-4 * rng.standard_normal(36))
    table["run"] = table["run"].to_numpy()
    naive = fit("chinchilla", table, bootstrap=200, cluster=False, **OPTIONS)
    cluster = fit(
        "chinchilla", table, bootstrap=Bootstrap(200, "cluster"), cluster="run", **OPTIONS
    )
    assert cluster.bootstrap["method"] == "cluster"
    assert cluster.params["E"].se > 1.3 * naive.params["E"].se


@pytest.mark.parametrize("method", ["case", "residual", "parametric"])
def test_bootstraps_agree_with_the_sandwich(method):
    rows = OPTIONS | {"cluster": False}
    fitted = fit("chinchilla", sweep(), **rows)
    result = fit("chinchilla", sweep(), bootstrap=Bootstrap(300, method), **rows)
    assert result.interval == method
    assert result.bootstrap["converged"] >= 295
    for name in ("alpha", "beta"):
        assert 0.4 < result.params[name].se / fitted.params[name].se < 2.5


@pytest.mark.slow
def test_long_tables_are_screened_and_reach_the_same_optimum():
    table = pd.concat([sweep(seed=k) for k in range(140)], ignore_index=True)
    result = fit("chinchilla", table, starts=100, profile=False)
    near = fit("chinchilla", table, starts={k: [v] for k, v in TRUTH.items()}, profile=False)
    assert result.objective == pytest.approx(near.objective, rel=1e-8)
    assert result.starts["n"] == 100


def test_number_of_starts_can_be_chosen():
    assert fit("chinchilla", sweep(), starts=17, profile=False).starts["n"] == 17
    assert fit("power", {"x": [1e3, 1e4, 1e5], "loss": [4, 3.5, 3]}, starts=9).starts["n"] == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "chinchila"}, "did you mean 'chinchilla'"),
        ({"loss": "huberr"}, "did you mean 'huber'"),
        ({"delta": 0.0}, "delta is 0"),
        ({"pinned": {"alfa": 1}}, "did you mean 'alpha'"),
        ({"pinned": {"A": -1}}, "must be a positive number"),
        ({"pinned": {"alpha": np.nan}}, "must be a finite number"),
        ({"bounds": {"alpha": (1, 0)}}, "wrong way round"),
        ({"bounds": {"A": (0, 10)}}, "must be a positive number"),
        ({"starts": 0}, "at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"starts": {"gamma": [1]}}, "parameter of chinchilla 'gamma'"),
        ({"weights": "w"}, "unknown column 'w'"),
        ({"weights": [1.0, 2.0]}, "2 weights for 36 rows"),
        ({"weights": np.r_[np.ones(35), -1]}, "weights must be positive numbers: see row 36"),
        ({"holdout": "flops>1"}, "takes every row"),
        ({"holdout": "flops>1e40"}, "no row matches"),
        ({"holdout": np.ones(3, bool)}, "3 entries for 36 rows"),
        ({"bootstrap": 1}, "ask for 2 or more"),
        ({"cluster": "runs"}, "did you mean 'run'"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    options = {"law": "chinchilla", "table": sweep(), **options}
    with pytest.raises(UserError, match=message) as caught:
        fit(options.pop("law"), options.pop("table"), **options)
    assert "\n" not in str(caught.value)


def test_bad_tables_are_refused():
    with pytest.raises(UserError, match="4 points cannot determine the 5 free"):
        fit("chinchilla", sweep().iloc[:4])
    assert fit("chinchilla", sweep().iloc[::9], pinned=TRUTH | {"E": 1.8}, starts=1).n_points == 4
    one_budget = sweep().assign(flops=1e20)
    with pytest.raises(UserError):
        fit("isoflop", one_budget)
    with pytest.raises(UserError, match="needs positive accuracy"):
        fit(
            "sigmoid",
            {"loss": [1, 2, 3, 4, 5], "accuracy": [0, 0.1, 0.2, 0.3, 0.4]},
            loss="log_mse",
        )
    with pytest.raises(UserError, match="a cluster bootstrap needs the column"):
        fit("chinchilla", sweep().drop(columns="run"), bootstrap=Bootstrap(10, "cluster"))
    with pytest.raises(UserError, match="did you mean 'case'"):
        Bootstrap(10, "cas")


def test_json_has_the_published_names(fitted):
    data = json.loads(fitted.to_json())
    for name in (
        "law", "status", "n_points", "objective", "params", "starts", "basins", "holdout",
        "bootstrap", "warnings",
    ):  # fmt: skip
        assert name in data
    assert set(data["params"]["alpha"]) == {
        "value",
        "se",
        "ci95",
        "identified",
        "at_bound",
        "conditional",
    }
    assert {"n", "converged", "at_best"} <= set(data["starts"])
    held = json.loads(fit("chinchilla", sweep(), holdout="flops>1e21", **OPTIONS).to_json())
    assert set(held["holdout"]) == {"n", "mape", "bias"}


def test_read_back_fit_predicts_and_allocates_the_same(tmp_path, fitted):
    path = tmp_path / "fit.json"
    points = {"n_params": [1e9, 3e9], "n_tokens": [2e10, 1e11]}
    boot = fit("chinchilla", sweep(), bootstrap=50, **OPTIONS)
    for original in (fitted, boot):
        original.to_json(path)
        again = Fit.from_json(path)
        pd.testing.assert_frame_equal(again.predict(points), original.predict(points))
        pd.testing.assert_frame_equal(again.optimal([1e20]), original.optimal([1e20]))
        assert json.loads(again.to_json())["params"] == json.loads(original.to_json())["params"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not whole JSON"),
        ('{"law": "chinchilla"}', "status is missing"),
        ("[]", "must be an object"),
    ],
)
def test_broken_json_is_refused(tmp_path, text, fault):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"bad.json.*{fault}"):
        Fit.from_json(path)
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        Fit.from_json(tmp_path / "none.json")


def test_prediction_bands_nest_and_warn_beyond_a_decade(fitted):
    out = fitted.predict({"n_params": [1e8, 1e12], "n_tokens": [1e10, 1e11]})
    assert (out["pi_low"] <= out["ci_low"]).all()
    assert (out["ci_low"] <= out["predicted"]).all()
    assert (out["predicted"] <= out["ci_high"]).all()
    assert (out["ci_high"] <= out["pi_high"]).all()
    assert any("n_params = 1e+12 is 2.2 decades outside" in w for w in out.attrs["warnings"])
    assert (out["pi_high"] / out["pi_low"] > 1 + 2 * 1.96 * 0.002).all()  # the noise is 0.003
    near = fitted.predict({"n_params": [1e8], "n_tokens": [1e10]})
    assert near.attrs["warnings"] == []
    with pytest.raises(UserError, match="column 'n_tokens'"):
        fitted.predict({"n_params": [1e8]})


def test_optimal_is_the_argmin_on_the_budget(fitted):
    best = fitted.optimal([1e21]).iloc[0]
    assert 6 * best["n_params"] * best["n_tokens"] == pytest.approx(1e21)
    assert best["tokens_per_param"] == pytest.approx(best["n_tokens"] / best["n_params"])
    assert best["n_params_low"] < best["n_params"] < best["n_params_high"]
    sizes = best["n_params"] * np.array([0.9, 1.0, 1.1])
    losses = fitted.predict({"n_params": sizes, "n_tokens": 1e21 / 6 / sizes})["predicted"]
    assert losses.argmin() == 1
    for bad in (0, -1, np.nan):
        with pytest.raises(UserError, match="budgets must be positive"):
            fitted.optimal(bad)
    with pytest.raises(UserError, match="does not say how to allocate"):
        fit("power", {"x": [1e3, 1e4, 1e5, 1e6], "loss": [4, 3.5, 3, 2.6]}).optimal(1e20)


def test_printed_table_names_what_matters(fitted):
    text = str(fitted)
    for part in ("chinchilla: L(N, D)", "status ok", "alpha", "95 % interval (profile)", "R²"):
        assert part in text


def test_long_predictions_are_made_in_blocks_that_agree(fitted, monkeypatch):
    n = 2501
    table = pd.DataFrame({"n_params": np.geomspace(1e8, 1e9, n), "n_tokens": np.full(n, 1e10)})
    whole = fitted.predict(table)
    monkeypatch.setattr(predict_module, "_CELLS", 1e6)  # 1,000 rows of 1,000 draws
    blocks = fitted.predict(table)
    assert len(blocks) == n
    for column in ("predicted", "ci_low", "ci_high"):
        np.testing.assert_allclose(blocks[column], whole[column], rtol=1e-12)


class Hopeless(Law):
    """Predicts nothing that is a number."""

    name, formula, paper = "hopeless", "L = ?", "none"
    columns = (N_PARAMS,)
    params = (Param("k", 0.0, 1.0, grid=(0.5,)),)

    def log_predict(self, theta, x):
        return theta["k"] * x["n_params"] * np.nan

    def example(self):
        return {"k": 0.5}, sweep()


def test_a_fit_that_fails_says_so_and_predicts_nothing():
    result = fit(Hopeless(), sweep())
    assert result.status == "failed"
    assert json.loads(result.to_json())["params"]["k"]["value"] is None
    with pytest.raises(UserError, match="the fit of hopeless failed"):
        result.predict(sweep())
    with pytest.raises(UserError, match="failed"):
        result.optimal(1e20)
