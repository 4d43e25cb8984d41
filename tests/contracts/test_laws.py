"""Every registered law: described, finite, differentiable, and recovered from its own example."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.analysis.fit import fit
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import theta_of, z_of

# Approaches 1 and 2 read N* off a finite sweep: they are close to the truth, and never exact.
APPROXIMATE = {"envelope": 0.05, "envelope_hull": 0.05, "isoflop": 2e-3, "isoflop_akima": 2e-3}
# Laws whose fit takes ten seconds and more, most of it to compile.
SLOW = ("broken_2", "broken_3", "kaplan_steps", "multi_power")


@pytest.fixture(params=list(LAWS))
def law(request):
    return LAWS.load(request.param)


def example(law):
    """(truth, table with its target): noiseless, computed by the law itself if it is missing."""
    truth, table = law.example()
    missing = [c.name for c in law.input_columns if c.name not in table]
    if missing == [law.target.name]:
        with jax.enable_x64(True):
            target = np.asarray(law.predict(dict(truth), law.prepare(table)))
        table = table.assign(**{law.target.name: target})
    assert {c.name for c in law.input_columns} <= set(table)
    return dict(truth), table


def test_a_law_says_what_it_is(law):
    assert LAWS.load(law.name) is law
    assert "=" in law.formula
    assert re.search(r"\b(19|20)\d\d\b", law.paper), law.paper
    assert type(law).__doc__
    assert all(c.unit and c.doc for c in (*law.input_columns, law.target))
    assert all(p.doc for p in law.params)
    assert len({p.name for p in law.params}) == len(law.params)
    assert set(law.linear) <= {p.name for p in law.params}


def test_starts_lie_inside_the_bounds_and_cover_the_parameters(law):
    starts = law.starts(law.reduce(example(law)[1]))
    assert {p.name for p in law.params} - set(law.linear) <= set(starts)
    for p in law.params:
        values = np.asarray(starts.get(p.name, [p.lower]))
        assert ((values >= p.lower) & (values <= p.upper)).all(), p.name


def test_prediction_and_its_derivatives_are_finite_at_truth_and_starts(law):
    truth, table = example(law)
    reduced = law.reduce(table)
    starts = law.starts(reduced)
    with jax.enable_x64(True):
        x = law.prepare(reduced)
        points = [truth, *law.published.values()]
        if not law.linear:
            points += [{k: v[i] for k, v in starts.items()} for i in (0, -1)]
        slopes = jax.jit(jax.jacfwd(lambda z: law.predict(theta_of(law, z), x)))
        for theta in points:
            value = law.predict(dict(theta), x)
            assert value.dtype == jnp.float64
            assert value.shape == (len(reduced),)
            assert np.isfinite(value).all()
            assert np.isfinite(slopes(jnp.asarray(z_of(law, theta)))).all()
            if (np.asarray(value) > 0).all():
                assert np.allclose(np.exp(law.log_predict(dict(theta), x)), value, rtol=1e-12)


def test_published_results_lie_inside_the_bounds(law):
    for source, theta in law.published.items():
        assert set(theta) == {p.name for p in law.params}, source
        for p in law.params:
            assert p.lower <= theta[p.name] <= p.upper, (source, p.name)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in LAWS]
)
def test_the_truth_is_recovered(name):
    law = LAWS.load(name)
    truth, table = example(law)
    found = fit(law, table, profile=False)
    assert found.status == "ok", found
    tolerance = APPROXIMATE.get(law.name, 1e-6)
    for name, value in truth.items():
        assert found.theta[name] == pytest.approx(value, rel=tolerance), name


def test_the_allocation_is_a_minimum_that_spends_the_budget(law):
    truth, _ = example(law)
    budget = 3e20
    with jax.enable_x64(True):
        best = law.optimal(truth, jnp.asarray(budget))
        if best is None:
            pytest.skip("says nothing about allocation")
        n, d = (float(best[k]) for k in ("n_params", "n_tokens"))
        assert 6 * n * d == pytest.approx(budget)
        sizes = n * np.array([0.8, 1.0, 1.25])
        tokens = budget / (6 * sizes)
        columns = {"n_params": sizes, "n_tokens": tokens, "tokens_per_param": tokens / sizes}
        if {c.name for c in law.columns} <= set(columns):
            loss = np.asarray(law.predict(truth, columns))
            assert loss[1] < loss[0]
            assert loss[1] < loss[2]
