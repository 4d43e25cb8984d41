"""Every registered optimiser keeps the same promises. A new one is tested by its registry line."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scaling import sharding
from scaling.config import OPTIMIZERS, ModelConfig, OptimConfig
from scaling.models import mup
from scaling.models.params import infos, param
from scaling.optim.build import is_decayed, make_optimizer

D, F, V, L = 8, 16, 32, 3
MODEL = ModelConfig(width=D, depth=L)

# A learning rate at which each kind of step gets far on the quadratic in STEPS steps.
LEARNING_RATES = {"sign": 0.03, "gradient": 0.02, "relative": 0.03, "spectral": 0.05}
STEPS = 60

# Settings besides the defaults that take another path through an optimiser.
VARIANTS = [
    ("adafactor", {"factor_from": 2, "momentum": 0.9, "parameter_scale": True}),
    ("adamw", {"nesterov": True}),
    ("muon", {"scale": "rms", "nesterov": False}),
    ("sgd", {"momentum": 0.0}),
    ("sgd", {"nesterov": True}),
]
EVERY = [(name, {}) for name in OPTIMIZERS] + VARIANTS


class Toy(nnx.Module):
    """One parameter of every role a model has; matrices in stacked and single form."""

    def __init__(self, key):
        keys = jax.random.split(key, 5)
        normal = jax.random.normal
        self.embedding = param(normal(keys[0], (V, D)), ("vocab", "embed"), "embedding")
        self.position = param(normal(keys[1], (V, D)), (None, "embed"), "position")
        # As vmapped constructors leave them: metadata of one layer, values of all.
        self.up = nnx.Param(normal(keys[2], (L, D, F)), axes=("embed", "mlp"), role="mlp")
        self.down = nnx.Param(normal(keys[3], (L, F, D)), axes=("mlp", "embed"), role="mlp")
        self.block_gain = nnx.Param(jnp.ones((L, D)), axes=(None,), role="norm")
        self.gain = param(jnp.ones(D), (None,), "norm")
        self.head = param(normal(keys[4], (D, V)), ("embed", "vocab"), "head")


def optim_config(name, options=None, **fields):
    entry = OPTIMIZERS.load(name)
    return OptimConfig(name=name, options=entry(**(options or {})), **fields)


@pytest.fixture(params=EVERY, ids=lambda p: "-".join([p[0], *map(str, p[1])]))
def config(request):
    return optim_config(*request.param)


def toy():
    return Toy(jax.random.key(0))


def squares(params):
    return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))


def make_step(opt):
    @jax.jit
    def step(params, state, lr):
        updates, state = opt.update(jax.grad(squares)(params), state, params)
        return jax.tree.map(lambda p, u: p - lr * u, params, updates), state

    return step


def types(tree):
    """Structure, shapes, dtypes and layouts."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [jax.typeof(leaf) for leaf in leaves]


def with_names(tree):
    """{dotted name: leaf} for a tree shaped like Toy."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path).split(".")[1].split("[")[0]: leaf for path, leaf in flat}


def test_lowers_a_quadratic(config):
    params = toy()
    opt = make_optimizer(dataclasses.replace(config, clip_norm=0), MODEL, infos(params))
    step, state = make_step(opt), jax.jit(opt.init)(params)
    before = {k: float(squares(v)) for k, v in with_names(params).items()}
    kind = config.options.step_kind(with_names(infos(params))["up"])
    for _ in range(STEPS):
        params, state = step(params, state, LEARNING_RATES[kind])
    for name, leaf in with_names(params).items():
        assert float(squares(leaf)) < 0.7 * before[name], name


def test_keeps_structure_dtype_and_shape(config):
    params = toy()
    opt = make_optimizer(config, MODEL, infos(params))
    state = opt.init(params)
    updates, new_state = opt.update(jax.grad(squares)(params), state, params)
    assert types(updates) == types(params)
    assert types(new_state) == types(state)


def test_sharded_equals_single_device(config):
    params = toy()
    tree = infos(params)
    opt = make_optimizer(dataclasses.replace(config, weight_decay=0.1), MODEL, tree)
    step = make_step(opt)
    expected, _ = step(*step(params, opt.init(params), 0.1), 0.1)

    mesh = sharding.make_mesh(sharding.parse_mesh("data:2,fsdp:2,tensor:2"))
    layout = with_names(sharding.param_shardings(mesh, tree))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, sharding.param_shardings(mesh, tree))
        first = jax.jit(opt.init)(placed)
        placed, state = make_step(opt)(placed, first, 0.1)
        placed, state = make_step(opt)(placed, state, 0.1)
    for name, leaf in with_names(placed).items():
        wanted = with_names(expected)[name]
        np.testing.assert_allclose(leaf, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
        assert leaf.sharding == layout[name], name
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = next((n for n in layout if f".{n}" in jax.tree_util.keystr(path[-2:])), None)
        if name and leaf.shape == with_names(params)[name].shape:
            assert leaf.sharding == layout[name], path
    # A loop over steps carries the state, so a step must not change its type.
    assert types(state) == types(first)


def test_decay_moves_matrices_only(config):
    """At zero gradient the direction is zero, so all that is left is decay."""
    params = toy()
    zeros = jax.tree.map(jnp.zeros_like, params)
    for tables in (False, True):
        decayed = dataclasses.replace(config, weight_decay=0.5, decay_embeddings=tables)
        opt = make_optimizer(decayed, MODEL, infos(params))
        updates, _ = opt.update(zeros, opt.init(params), params)
        wanted = {"up", "down", "head"} | ({"embedding", "position"} if tables else set())
        for name, leaf in with_names(updates).items():
            factor = 0.5 if name in wanted else 0.0
            np.testing.assert_allclose(leaf, factor * with_names(params)[name], err_msg=name)


def test_learning_rate_multipliers_reach_the_update(config):
    """Twice the base width and four times its depth: updates differ by the table's factors."""
    params = toy()
    tree = infos(params)
    grads = jax.grad(squares)(params)
    wide = ModelConfig(width=D, depth=4, parametrization="mup", base_width=D // 2, base_depth=1)

    def updates(model):
        opt = make_optimizer(config, model, tree)
        return with_names(opt.update(grads, opt.init(params), params)[0])

    plain, scaled = updates(MODEL), updates(wide)
    seen = set()
    for name, info in with_names(tree).items():
        factor = mup.lr_multiplier(wide, info, config.options.step_kind(info))
        seen.add(factor)
        # Not to the bit: Adam's epsilon falls with width, and Newton-Schulz sees other rounding.
        close = {"rtol": 1e-4, "atol": 1e-6}
        np.testing.assert_allclose(scaled[name], factor * plain[name], **close, err_msg=name)
    assert len(seen) > 1


def test_clips_to_the_global_norm():
    params = toy()
    opt = make_optimizer(
        optim_config("sgd", {"momentum": 0.0}, clip_norm=0.5), MODEL, infos(params)
    )
    updates, _ = opt.update(jax.grad(squares)(params), opt.init(params), params)
    assert float(jnp.sqrt(squares(updates))) == pytest.approx(0.5, rel=1e-5)
    free = make_optimizer(optim_config("sgd", {"momentum": 0.0}, clip_norm=0), MODEL, infos(params))
    updates, _ = free.update(jax.grad(squares)(params), free.init(params), params)
    np.testing.assert_allclose(updates.up[...], 2 * params.up[...], rtol=1e-6)


def test_muon_orthogonalises_each_layer_and_leaves_the_rest_to_adam():
    params = toy()
    grads = jax.grad(squares)(params)
    muon = make_optimizer(optim_config("muon", clip_norm=0), MODEL, infos(params))
    adam = make_optimizer(optim_config("adamw", clip_norm=0), MODEL, infos(params))
    by_muon, _ = muon.update(grads, muon.init(params), params)
    by_adam, _ = adam.update(grads, adam.init(params), params)
    for matrix, factor in ((by_muon.up[...], (F / D) ** 0.5), (by_muon.down[...], 1.0)):
        singular = np.linalg.svd(np.asarray(matrix) / factor, compute_uv=False)
        assert singular.shape == (L, min(D, F))
        # Newton-Schulz with these coefficients ends between 0.7 and 1.2, by design.
        assert singular.min() > 0.5
        assert singular.max() < 1.3
    np.testing.assert_allclose(by_muon.head[...], by_adam.head[...])
    np.testing.assert_allclose(by_muon.block_gain[...], by_adam.block_gain[...])


def test_muon_options_scale_what_they_say():
    params = toy()
    grads = jax.grad(squares)(params)

    def updates(**options):
        opt = make_optimizer(optim_config("muon", options, clip_norm=0), MODEL, infos(params))
        return opt.update(grads, opt.init(params), params)[0]

    plain, tuned = updates(), updates(adam_lr=0.25, scale="rms")
    np.testing.assert_allclose(tuned.head[...], 0.25 * plain.head[...], rtol=1e-6)
    rms = float(jnp.sqrt(jnp.mean(jnp.square(tuned.up[...]))))
    # An orthogonal D x F matrix has RMS 1 / sqrt(max(D, F)), so the entries come to about 0.2.
    assert 0.15 < rms < 0.25


def test_adafactor_keeps_rows_and_columns_of_large_matrices():
    params = toy()
    opt = make_optimizer(optim_config("adafactor", {"factor_from": 2}), MODEL, infos(params))
    sizes = sorted(leaf.size for leaf in jax.tree.leaves(opt.init(params)))
    assert max(sizes) < V * D


def test_roles_that_decay():
    roles = with_names(infos(toy()))
    assert {n for n, i in roles.items() if is_decayed(i, False)} == {"up", "down", "head"}
