import numpy as np
import pandas as pd
import pytest

from scaling.analysis.chain import Chain
from scaling.analysis.downstream import ladder
from scaling.analysis.fit import fit
from scaling.analysis.intervals import percentiles
from scaling.analysis.laws.chinchilla import design
from scaling.analysis.overtrain import overtrained
from scaling.errors import UserError

TRUTH = dict(E=0.5, A=60.0, B=300.0, alpha=0.25, beta=0.28)


def measured(rng, noise: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, evaluations) of a two-step truth with relative noise on the loss."""
    runs = design()
    n, d = runs["n_params"], runs["n_tokens"]
    loss = TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]
    runs["loss"] = loss * np.exp(noise * rng.standard_normal(len(runs)))
    x = np.linspace(0.6, 2.0, 40)
    accuracy = 0.25 + 0.7 * (1 - 1 / (1 + np.exp(-6 * (x - 1.0))))
    evaluations = pd.DataFrame({"loss": x, "accuracy": accuracy + noise * rng.standard_normal(40)})
    return runs, evaluations


def true_accuracy(n: float, d: float) -> float:
    loss = TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]
    return 0.25 + 0.7 * (1 - 1 / (1 + np.exp(-6 * (loss - 1.0))))


def test_the_ladder_predicts_a_larger_model_and_its_bands_hold_the_truth():
    runs, evaluations = measured(np.random.default_rng(0), 0.005)
    steps = ladder(runs, evaluations, ideal=False, profile=False)
    big = pd.DataFrame({"n_params": [7e10], "n_tokens": [2e12]})
    found = steps.predict(big).iloc[0]
    truth = true_accuracy(7e10, 2e12)
    assert found["predicted"] == pytest.approx(truth, abs=0.02)
    assert found["ci_low"] < truth < found["ci_high"]
    assert found["pi_low"] <= found["ci_low"]
    assert found["pi_high"] >= found["ci_high"]


def test_uncertainty_of_both_steps_reaches_the_chain():
    runs, evaluations = measured(np.random.default_rng(1), 0.01)
    exact_runs, exact = measured(np.random.default_rng(1), 1e-6)
    big = pd.DataFrame({"n_params": [7e9], "n_tokens": [2e11]})

    def width(runs, evaluations):
        band = ladder(runs, evaluations, ideal=False, profile=False).predict(big).iloc[0]
        return band["ci_high"] - band["ci_low"]

    both, first, second = (
        width(runs, evaluations),
        width(runs, exact),
        width(exact_runs, evaluations),
    )
    assert both > 0.9 * max(first, second)
    assert min(first, second) > 1e-4


def test_the_ideal_point_holds_the_ceiling():
    _, evaluations = measured(np.random.default_rng(2), 0.005)
    runs = measured(np.random.default_rng(2), 0.005)[0]
    upper = evaluations[evaluations["loss"] > 0.9]  # only the foot of the sigmoid is seen
    steps = ladder(runs, upper, profile=False)
    assert steps.second.predict({"loss": [0.0]})["predicted"][0] == pytest.approx(1.0, abs=0.02)
    assert steps.second.n_points == len(upper) + 1


def test_overtrained_chains_error_after_loss():
    n, m = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 4e8, 4), [5.0, 20.0, 80.0]))
    loss = 1.8 + 166 * n**-0.27 + 367 * 6**-0.135 * (m * n) ** -0.27
    error = 0.86 - 2.2 * np.exp(-0.71 * loss)
    losses = pd.DataFrame({"n_params": n, "tokens_per_param": m, "loss": loss})
    steps = overtrained(losses, losses.assign(error=error), profile=False)
    found = steps.predict({"n_params": [7e9], "tokens_per_param": [20.0]}).iloc[0]
    expected = 1.8 + 166 * 7e9**-0.27 + 367 * 6**-0.135 * (20 * 7e9) ** -0.27
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["predicted"] == pytest.approx(0.86 - 2.2 * np.exp(-0.71 * expected), rel=1e-6)


def test_fits_that_do_not_meet_are_refused():
    first = fit("power", {"x": [1.0, 2.0, 3.0], "loss": [3.0, 2.0, 1.5]}, profile=False)
    with pytest.raises(UserError, match="cannot be chained"):
        Chain(first, first)


ENDS = ["predicted", "ci_low", "ci_high", "pi_low", "pi_high"]


def few_runs() -> Chain:
    """A chain from hardly more points than parameters, whose draws go anywhere."""
    runs = pd.DataFrame(
        {
            "n_params": [1e7, 2e7, 1e8, 4e8, 1e9],
            "tokens_per_param": [20.0, 80.0, 20.0, 20.0, 20.0],
            "loss": [5.2, 4.6, 3.7, 3.32, 3.2],
        }
    )
    tests = pd.DataFrame({"loss": [5.2, 4.6, 3.7, 3.3], "error": [0.80, 0.82, 0.72, 0.66]})
    return overtrained(runs, tests, profile=False)


def test_an_interval_of_a_fraction_stays_a_fraction_and_doubts_are_said():
    far = pd.DataFrame({"n_params": [1e9, 1e12], "tokens_per_param": [20.0, 2000.0]})
    found = few_runs().predict(far)
    ends = found[ENDS].to_numpy()
    assert np.isfinite(ends).all()
    assert ((ends >= 0) & (ends <= 1)).all()
    assert any("hardly determine" in w for w in found.attrs["warnings"])


def test_predictions_of_one_fit_stay_fractions_too():
    second = few_runs().second
    found = second.predict({"loss": [0.5, 9.0]})
    ends = found.loc[found["determined"], ENDS].to_numpy()
    assert np.isfinite(ends).all()
    assert ((ends >= 0) & (ends <= 1)).all()
    assert ((found["predicted"] >= 0) & (found["predicted"] <= 1)).all()


def test_a_draw_that_predicts_nothing_counts_as_anything():
    values = np.linspace(0, 1, 201)[:, None] * np.ones(2)
    values[:40, 1] = np.nan
    low, high = percentiles(values)
    assert (low[0], high[0]) == (0.025, 0.975)
    assert (low[1], high[1]) == (-np.inf, np.inf)


def test_an_exponent_between_zero_and_one_keeps_its_interval_there():
    rng = np.random.default_rng(4)
    table = design().iloc[::5]
    n, d = table["n_params"], table["n_tokens"]
    table["loss"] = (0.5 + 60 * n**-0.25 + 300 * d**-0.28) * np.exp(0.05 * rng.standard_normal(7))
    found = fit("chinchilla", table, starts=60, profile=False)
    low, high = found.derived["a"].ci95
    assert 0 <= low < high <= 1
