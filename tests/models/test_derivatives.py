"""Derivatives of every kind through every model; what is written by hand is what jax derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import MODELS
from scaling.core.build import make_program
from scaling.models import cpu
from scaling.sharding import make_mesh, parse_mesh, use_mesh
from tests.helpers import VOCAB, random_batch, relative_error, small_config

OPTIONS = [{"name": name} for name in MODELS]
OPTIONS += [{"name": "transformer", "activation": "swiglu", "qk_norm": True}]


@pytest.fixture(params=OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def problem(request):
    """(loss of parameters, parameters, a direction)."""
    config = small_config(model={**request.param, "depth": 2, "width": 16, "n_heads": 2})
    mesh = make_mesh(parse_mesh(""))
    batch = {k: jnp.asarray(v[:4]) for k, v in random_batch(config).items()}
    with use_mesh(mesh):
        params = make_program(config, VOCAB, mesh).init(0).params
        keys = iter(jax.random.split(jax.random.key(1), 99))
        direction = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), params)

        def loss(params):
            total, sums = config.objective.options.loss(params, batch, None)
            return total / sums["weight"]

        yield loss, params, direction


def moved(params, direction, by):
    return jax.tree.map(lambda p, d: p + by * d, params, direction)


def along(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum(np.sum(np.asarray(x, np.float64) * np.asarray(y, np.float64)) for x, y in pairs)


def test_forward_mode_is_reverse_mode(problem):
    loss, params, direction = problem
    with cpu.off():
        _, forward = jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,)))(params, direction)
    by_hand = jax.jit(jax.grad(loss))(params)
    assert float(forward) == pytest.approx(float(along(by_hand, direction)), rel=1e-4)


def test_curvature_is_the_difference_of_gradients(problem):
    loss, params, direction = problem
    with cpu.off():
        product = jax.jit(lambda p, d: jax.jvp(jax.grad(loss), (p,), (d,))[1])(params, direction)
    gradient = jax.jit(jax.grad(loss))
    step = 1e-3
    difference = jax.tree.map(
        lambda a, b: (a - b) / (2 * step),
        gradient(moved(params, direction, step)),
        gradient(moved(params, direction, -step)),
    )
    ours, theirs = float(along(product, direction)), float(along(difference, direction))
    assert ours == pytest.approx(theirs, rel=0.02)
    cosine = along(product, difference) / np.sqrt(
        along(product, product) * along(difference, difference)
    )
    assert float(cosine) > 0.99


def test_the_switch_changes_no_gradient(problem):
    loss, params, _ = problem
    gradient = jax.jit(jax.grad(loss))
    by_hand = gradient(params)
    with cpu.off():
        derived = gradient(params)
    assert relative_error(by_hand, derived) < 1e-5
    assert np.isfinite(float(along(by_hand, by_hand)))
