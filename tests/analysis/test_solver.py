"""The batched solver against closed forms, finite differences and its own promises."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.analysis import solver
from scaling.analysis.fit import box
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import LOSSES, make_evaluate, make_project, rho, theta_of, z_of
from scaling.analysis.solver import Problem, block_size, padded, solve
from tests.analysis.synthetic import STARTS, TRUTH, sweep

CHINCHILLA = LAWS.load("chinchilla")
LO, HI = box(CHINCHILLA, {}, {})


def problem(loss="log_huber", delta=1e-3, **kwargs) -> Problem:
    table, kind = sweep(**kwargs), LOSSES[loss]
    t = table["loss"].to_numpy()
    t = np.log(t) if kind.log else t
    return Problem(CHINCHILLA, kind, delta, CHINCHILLA.prepare(table), t, np.ones(len(t)))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_and_hessian_match_finite_differences(loss):
    p = problem(loss, delta=2e-3)
    z = z_of(CHINCHILLA, {**TRUTH, "alpha": 0.352})
    with jax.enable_x64(True):
        evaluate = jax.jit(make_evaluate(CHINCHILLA, p.loss))

        def at(z):
            return evaluate(jnp.asarray(z), p.x, p.t, p.w * 1.5, p.delta)

        here, h = at(z), 1e-7
        for j in range(5):
            step = h * np.eye(5)[j]
            up, down = at(z + step), at(z - step)
            slope = float(up.f - down.f) / (2 * h)
            assert float(here.g[j]) == pytest.approx(slope, rel=1e-4, abs=1e-9)
            np.testing.assert_allclose(here.H[j], (up.g - down.g) / (2 * h), rtol=2e-4, atol=1e-6)
    assert np.linalg.eigvalsh(here.K).min() >= -1e-12


def test_huber_is_the_textbook_one():
    r, delta = np.array([-0.5, 0.05, 2.0]), 0.1
    got = rho(LOSSES["log_huber"], jnp.asarray(r), delta)
    np.testing.assert_allclose(got, [0.1 * 0.45, 0.00125, 0.1 * 1.95], rtol=1e-6)


def test_objective_is_a_sum_so_doubling_the_rows_doubles_it():
    p = problem()
    z0 = z_of(CHINCHILLA, STARTS)
    once, twice = solve(p, z0, LO, HI), solve(replace(p, w=2 * p.w), z0, LO, HI)
    assert twice.f.min() == pytest.approx(2 * once.f.min(), rel=1e-9)
    np.testing.assert_allclose(twice.z[0], once.z[0], atol=1e-5)


def test_noiseless_truth_is_recovered_to_rounding():
    p = problem(noise=0.0)
    solution = solve(p, z_of(CHINCHILLA, STARTS), LO, HI)
    best = solution.z[np.argmin(solution.f)]
    np.testing.assert_allclose(best, z_of(CHINCHILLA, TRUTH), rtol=1e-7)
    assert solution.f.min() < 1e-20


def test_nothing_nearby_is_lower_than_the_optimum():
    p = problem()
    solution = solve(p, z_of(CHINCHILLA, STARTS), LO, HI)
    best = solution.z[np.argmin(solution.f)]
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        evaluate = jax.jit(make_evaluate(CHINCHILLA, p.loss))
        for size in (1e-2, 1e-3, 1e-4, 1e-5):
            for _ in range(20):
                z = best + size * rng.standard_normal(5)
                assert evaluate(z, p.x, p.t, p.w, p.delta).f >= solution.f.min() * (1 - 1e-12)


def test_pins_and_bounds_hold_and_the_rest_adapts():
    p = problem()
    lo, hi = box(CHINCHILLA, {"beta": (0.0, 0.3)}, {"E": 1.7})
    solution = solve(p, z_of(CHINCHILLA, STARTS), lo, hi)
    with jax.enable_x64(True):
        theta = theta_of(CHINCHILLA, jnp.asarray(solution.z))
    np.testing.assert_allclose(theta["E"], 1.7, rtol=1e-14)
    np.testing.assert_allclose(theta["beta"], 0.3, rtol=1e-14)
    assert solution.converged.all()
    assert np.ptp(solution.f) < 1e-9 * solution.f.min()


def test_a_start_that_cannot_be_evaluated_spoils_no_other():
    p = problem()
    z0 = np.concatenate([z_of(CHINCHILLA, STARTS), np.full((1, 5), np.nan)])
    solution = solve(p, z0, LO, HI)
    assert not solution.converged[-1]
    assert np.isinf(solution.f[-1])
    assert solution.converged[:-1].all()


def test_dropping_keeps_the_best_and_is_counted():
    p = problem()
    rng = np.random.default_rng(0)
    z0 = z_of(CHINCHILLA, TRUTH) + rng.standard_normal((60, 5)) * [0.3, 3, 3, 0.3, 0.3]
    kept, full = solve(p, z0, LO, HI, keep=20), solve(p, z0, LO, HI)
    assert kept.dropped.sum() > 0
    assert not full.dropped.any()
    assert not (kept.dropped & kept.converged).any()
    assert kept.f.min() == pytest.approx(full.f.min(), rel=1e-9)


def test_resamples_do_not_see_each_other():
    p = problem()
    z0 = np.tile(z_of(CHINCHILLA, TRUTH), (3, 1))
    w = np.random.default_rng(1).multinomial(p.n, np.full(p.n, 1 / p.n), size=3).astype(float)
    together = solve(replace(p, w=w), z0, LO, HI)
    for k in range(3):
        alone = solve(replace(p, w=w[k]), z0[:1], LO, HI)
        assert together.f[k] == pytest.approx(alone.f[0], rel=1e-10)


def test_linear_parameters_are_projected_exactly():
    law = LAWS.load("routed")
    truth, table = law.example()
    with jax.enable_x64(True):
        x = law.prepare(table)
        t = np.asarray(law.log_predict(truth, x))
        lo, hi = box(law, {}, {"c": truth["c"]})
        start = z_of(law, {**truth, "a": 0.0, "b": 0.0, "d": 0.0})
        project = make_project(law, LOSSES["log_mse"])
        z = project(jnp.asarray(start), x, t, np.ones(len(t)), lo, hi)
    np.testing.assert_allclose(z, z_of(law, truth), rtol=1e-7)


def test_float64_stays_inside_the_engine():
    solve(problem(), z_of(CHINCHILLA, STARTS), LO, HI)
    assert jnp.ones(1).dtype == jnp.float32


def test_blocks_shrink_with_the_table():
    p = problem()
    assert block_size(p, 5, starts=4500) == 128
    assert block_size(p, 5, starts=3) == 8
    longer = replace(p, t=np.zeros(100_000), w=np.ones(100_000))
    assert 1 <= block_size(longer, 5, starts=100) <= 4


def test_rows_of_weight_zero_change_no_fit(monkeypatch):
    p = problem(seed=5)
    longer = padded(p)
    assert longer.n > p.n
    assert longer.w.sum() == p.w.sum()
    assert padded(longer) is longer
    z0 = z_of(CHINCHILLA, STARTS)
    with_rows = solve(p, z0, LO, HI)
    monkeypatch.setattr(solver, "padded", lambda problem: problem)
    without = solve(p, z0, LO, HI)
    assert with_rows.f.min() == pytest.approx(without.f.min(), rel=1e-12)
    np.testing.assert_allclose(with_rows.z[0], without.z[0], rtol=1e-6)
    np.testing.assert_array_equal(with_rows.converged, without.converged)


def test_resamples_are_padded_as_one_problem_is():
    p = problem()
    draws = np.ones((3, p.n)) * [[1.0], [2.0], [3.0]]
    one = padded(replace(p, w=draws))
    assert one.w.shape == (3, one.n)
    assert one.w.sum() == draws.sum()
    each = jax.tree.map(lambda v: np.stack([v] * 3), p.x)
    batched = padded(replace(p, x=each, t=np.stack([p.t] * 3), w=draws, batched=True))
    assert {v.shape for v in jax.tree.leaves(batched.x)} == {(3, one.n)}


def test_arrays_that_are_not_one_value_a_row_are_left_alone():
    p = problem()
    packed = replace(p, x={**p.x, "packed": np.zeros((2, p.n))})
    assert padded(packed) is packed
