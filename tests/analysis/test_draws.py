"""Bootstrap draws are optima of their resamples, wherever those lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.analysis import bootstrap
from scaling.analysis.bootstrap import Bootstrap, resamples
from scaling.analysis.draws import predictions, search
from scaling.analysis.fit import fit, pose, start_points
from scaling.analysis.laws.chinchilla import CHINCHILLA
from scaling.analysis.solver import solve
from tests.analysis.synthetic import STARTS, sweep

DATA = Path(__file__).parents[1] / "data" / "published"
DRAWS = 40


@pytest.fixture(scope="module")
def ladder():
    """16 runs of the OLMo ladder, on which the optimum of one resample in seven has E = 0."""
    table = pd.read_csv(DATA / "olmo_ladder_step1.csv").rename(columns={"bits_per_byte": "loss"})
    table = table[(table["task"] == "piqa_val_5shot") & (table["mode"] == "train")]
    return fit("chinchilla", table, bootstrap=DRAWS, profile=False, starts=300)


def objectives(problem, z) -> np.ndarray:
    """The Huber objective of each draw on its own resample."""
    r = np.abs(predictions(replace(problem, w=problem.w[0]), z) - problem.t)
    return np.sum(problem.w * np.where(r < 1e-3, r * r / 2, 1e-3 * (r - 5e-4)), 1)


def test_no_draw_is_worse_than_what_many_starts_find(ladder):
    problem = pose(CHINCHILLA, ladder.table, ladder.loss, ladder.delta)
    drawn = resamples(Bootstrap(DRAWS, "case"), problem, ladder.z, 5, ladder.seed)
    starts = start_points(CHINCHILLA, ladder.table, 25, 0, *ladder.box)
    many = replace(drawn, w=np.repeat(drawn.w, len(starts), 0))
    found = solve(many, np.tile(starts, (DRAWS, 1)), *ladder.box)
    best = found.f.reshape(DRAWS, -1).min(1)
    assert (objectives(drawn, ladder.draws) <= best * (1 + 1e-3)).all()


def test_an_interval_reaches_the_bound_that_resamples_reach(ladder):
    assert ladder.bootstrap["converged"] == DRAWS
    assert ladder.params["E"].ci95[0] < 1e-4


def test_where_the_optimum_is_not_unique_the_interval_is_the_whole_ridge():
    """One size: E and A N^-alpha cannot be told apart, whichever of them a start gave the loss."""
    table = sweep()
    table = table[table["n_params"] == table["n_params"].iloc[0]]
    found = fit("chinchilla", table, bootstrap=DRAWS, profile=False, starts=300, cluster=False)
    assert found.status == "not_unique"
    low, high = found.params["alpha"].ci95
    assert high - low > 1


def test_resamples_with_too_few_points_are_counted_and_said():
    few = sweep().iloc[[0, 4, 9, 13, 20, 26, 33]]
    found = fit("chinchilla", few, bootstrap=DRAWS, profile=False, starts=STARTS, cluster=False)
    assert any("fewer distinct points than there are free parameters" in w for w in found.warnings)
    every = fit("chinchilla", sweep(), bootstrap=10, profile=False, starts=STARTS, cluster=False)
    assert not any("distinct points" in w for w in every.warnings)


def test_resamples_of_few_clusters_are_searched_once_and_stay_in_order(monkeypatch):
    """Of three runs there are ten resamples; each draw is the optimum of its own."""
    sizes = []

    def counted(sampled, *rest):
        sizes.append(len(sampled.w))
        return search(sampled, *rest)

    monkeypatch.setattr(bootstrap, "search", counted)
    table = sweep().assign(run=np.arange(36) % 3)
    how = Bootstrap(DRAWS, "cluster")
    found = fit("chinchilla", table, bootstrap=how, cluster="run", profile=False)
    assert sizes[-1] <= 10
    problem = pose(CHINCHILLA, found.table, found.loss, found.delta)
    drawn = resamples(how, problem, found.z, 5, found.seed, groups=np.arange(36) % 3)
    again = search(drawn, [found.z], *found.box)
    np.testing.assert_allclose(objectives(drawn, found.draws), again.f, rtol=1e-4)
