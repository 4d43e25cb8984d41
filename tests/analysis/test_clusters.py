"""Which rows belong together, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.clusters import resolve
from scaling.analysis.fit import fit
from scaling.analysis.laws.chinchilla import CHINCHILLA
from scaling.analysis.laws.multi_power import MULTI_POWER
from scaling.errors import UserError
from tests.analysis.synthetic import STARTS, sweep

OPTIONS = {"starts": STARTS, "profile": False}


def rows(**columns) -> pd.DataFrame:
    """Four sizes at three lengths."""
    n, d = np.repeat([1e7, 2e7, 4e7, 8e7], 3), np.tile([1e8, 2e8, 4e8], 4)
    return pd.DataFrame({"n_params": n, "n_tokens": d, "loss": 3.0, **columns})


def trunks() -> pd.DataFrame:
    """Our own sweep: of each size the longest run is the trunk, from which the others branched."""
    names = [f"r{k}" for k in range(12)]
    parents = [None if k % 3 == 2 else f"r{k - k % 3 + 2}" for k in range(12)]
    return rows(run_id=names, **{"parent.run_id": parents})


@pytest.mark.parametrize("asked", [None, "parent.run_id"])
def test_a_trunk_and_its_branches_are_one_cluster(asked):
    found = resolve(trunks(), CHINCHILLA, asked)
    assert found.labels.tolist() == np.repeat(range(4), 3).tolist()


def test_branches_of_branches_belong_to_the_first_run():
    table = trunks()
    table.loc[0, "parent.run_id"] = "r1"  # r0 began from r1, which began from r2
    assert resolve(table, CHINCHILLA).labels.tolist()[:3] == [0, 0, 0]


def test_rows_without_a_name_are_clusters_of_their_own():
    named = rows(host=["a", "a", None, "b", "b", "", "c", "c", np.nan, "d", "d", "NaN"])
    found = resolve(named, CHINCHILLA, "host")
    counts = np.bincount(found.labels)
    assert sorted(counts) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert found.notices[0].startswith("4 of 12 rows have no host")


@pytest.mark.parametrize("column", ["run_id", "run_name", "run", "name", "display_name"])
def test_several_rows_of_a_run_are_one_cluster(column):
    found = resolve(rows(**{column: np.repeat(list("abcd"), 3)}), CHINCHILLA)
    assert found.by == column
    assert found.count == 4


def test_one_row_a_run_is_independent_whatever_else_repeats():
    found = resolve(rows(run_id=list("abcdefghijkl"), seed=0), CHINCHILLA)
    assert found.labels is None
    assert not found.notices


def test_a_name_of_several_sizes_is_no_run():
    assert resolve(rows(name=np.tile(list("abc"), 4)), CHINCHILLA).labels is None


def test_a_size_and_seed_at_several_lengths_is_a_run():
    table = pd.concat([rows(seed=0), rows(seed=1)], ignore_index=True)
    assert resolve(table, CHINCHILLA).count == 8


@pytest.mark.parametrize("asked", [False, "none"])
def test_clusters_can_be_switched_off(asked):
    assert resolve(trunks(), CHINCHILLA, asked).labels is None


def test_bad_names_are_refused():
    with pytest.raises(UserError, match="did you mean 'run_id'"):
        resolve(trunks(), CHINCHILLA, "runid")
    with pytest.raises(UserError, match="name the column"):
        resolve(trunks(), CHINCHILLA, True)


def test_the_law_of_curves_takes_curves_and_three_are_few():
    found = resolve(MULTI_POWER.example()[1], MULTI_POWER)
    assert found.by == "curve"
    assert "only 3 clusters" in found.notices[0]


def shifted(seed: int, by_run: float) -> pd.DataFrame:
    """12 runs at 6 lengths, whose losses move together by `by_run`."""
    table, rng = pd.concat([sweep(1e-3, seed), sweep(1e-3, seed + 1)]), np.random.default_rng(seed)
    table["run"] = np.repeat([f"r{k}" for k in range(12)], 6)
    table["loss"] *= np.exp(by_run * np.repeat(rng.standard_normal(12), 6))
    return table.reset_index(drop=True)


def test_run_effects_widen_intervals_by_default_and_the_result_says_so():
    table = shifted(0, 0.01)
    found = fit("chinchilla", table, **OPTIONS)
    naive = fit("chinchilla", table, cluster=False, **OPTIONS)
    assert np.ptp(found.params["E"].ci95) > 1.5 * np.ptp(naive.params["E"].ci95)
    assert found.dof == 11
    (told,) = [w for w in found.warnings if "72 rows count as 12 independent clusters" in w]
    assert "--cluster none" in told
    assert not any("cluster" in w for w in naive.warnings)


def test_where_runs_are_unknown_the_warning_says_what_they_would_do():
    table = shifted(0, 0.01).drop(columns="run")
    found = fit("chinchilla", table, **OPTIONS)
    (told,) = [w for w in found.warnings if "nothing says whether" in w]
    assert float(told.split("intervals are ")[1].split(" times")[0]) > 1.1
    quiet = fit("chinchilla", table, cluster=False, **OPTIONS)
    assert not any("nothing says whether" in w for w in quiet.warnings)


def test_new_runs_vary_as_much_as_runs_did():
    """Prediction intervals hold a new run's effect, which residuals of a fit show only in part."""
    table = shifted(3, 0.01)
    found = fit("chinchilla", table, **OPTIONS)
    ahead = found.predict(table.iloc[[0]])
    half = np.log(ahead["pi_high"] / ahead["pi_low"]).iloc[0] / 2
    assert half > 1.96 * 0.01 * 0.8
    quantiles = np.quantile(found.residuals, [0.025, 0.975])
    assert np.ptp(np.quantile(found.residual_quantiles, [0.025, 0.975])) > 1.1 * np.ptp(quantiles)


def test_resamples_are_of_clusters_unless_told_otherwise():
    table = shifted(0, 0.01)
    whole = fit("chinchilla", table, bootstrap=20, **OPTIONS)
    assert whole.bootstrap["method"] == "cluster"
    assert whole.bootstrap["cluster"] == "run"
    rowwise = fit("chinchilla", table, bootstrap=Bootstrap(20, "case"), **OPTIONS)
    assert any("take rows for independent" in w for w in rowwise.warnings)
    with pytest.raises(UserError, match="residual bootstrap of isoflop"):
        fit("isoflop", table, bootstrap=Bootstrap(20, "residual"))
