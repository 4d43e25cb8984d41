"""What must hold for every registered model, and for every option of the transformer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import MODELS, OPTIMIZERS
from scaling.core.build import abstract_batch, abstract_dials, make_program
from scaling.core.step import make_train_step
from scaling.models import layers
from scaling.models.attention import attend
from scaling.sharding import abstract_mesh, make_mesh, parse_mesh, use_mesh
from tests.helpers import VOCAB, random_batch, relative_error, small_config

OPTIONS = {
    "mqa": {"n_kv_heads": 1},
    "head_size": {"head_size": 6},
    "layernorm": {"norm": "layernorm"},
    "swiglu": {"activation": "swiglu"},
    "relu2": {"activation": "relu2"},
    "learned": {"position": "learned"},
    "sinusoidal": {"position": "sinusoidal"},
    "no_position": {"position": "none"},
    "qk_norm": {"qk_norm": True},
    "softcap": {"logit_softcap": 5.0},
    "tied": {"tied": True},
    "zero_init": {"zero_init_out": True},
    "bfloat16": {"dtype": "bfloat16"},
    "mup": {"parametrization": "mup", "base_width": 16, "base_depth": 1},
    "mlp_ratio": {"mlp_ratio": 2.5},
}


@functools.cache
def one_device_mesh():
    return make_mesh(parse_mesh(""))


def logits_of(model_options, batch, **extra):
    """Logits of a fresh model; zero-initialised outputs are filled, so that every part counts."""
    config = small_config(model=model_options)
    with use_mesh(one_device_mesh()):
        params = make_program(config, VOCAB, one_device_mesh()).init(0).params
        params = jax.tree.map(lambda p: p + 0.01 * (p == 0), params)
        return params(jnp.asarray(batch["tokens"]), **extra), params


@pytest.mark.parametrize("name", OPTIONS)
def test_no_position_sees_the_future(name):
    """The gradient of the outputs up to t with respect to later inputs is exactly zero."""
    config = small_config(model=OPTIONS[name])
    tokens = random_batch(config)["tokens"][:2]
    with use_mesh(one_device_mesh()):
        params = make_program(config, VOCAB, one_device_mesh()).init(0).params
        params = jax.tree.map(lambda p: p + 0.01 * (p == 0), params)

        def early_logits(nudges_TD):
            # Nudge the residual stream's input at every position of every row.
            original = params._embed
            object.__setattr__(params, "_embed", lambda *a: original(*a) + nudges_TD[None])
            try:
                return jnp.sum(jnp.sin(params(tokens)[:, :7].astype(jnp.float32)))
            finally:
                object.__delattr__(params, "_embed")

        width = config.model.width
        nudges = jnp.zeros((tokens.shape[1], width), config.model.dtype)
        gradient = jax.jit(jax.grad(early_logits))(nudges)
        sensitivity = np.abs(np.asarray(gradient, np.float32)).max(axis=1)
    assert (sensitivity[:7] > 0).all()
    assert (sensitivity[7:] == 0).all()


@pytest.mark.parametrize("option", ["scan", "unroll"])
@pytest.mark.parametrize("remat", ["none", "dots", "block"])
def test_layer_loops_and_remat_change_no_gradient(option, remat):
    def gradient(**model):
        config = small_config(model=model)
        objective = config.objective.options
        batch = {k: jnp.asarray(v) for k, v in random_batch(config).items()}
        with use_mesh(one_device_mesh()):
            params = make_program(config, VOCAB, one_device_mesh()).init(0).params
            mean = lambda p: objective.loss(p, batch, None)[0]  # noqa: E731
            return jax.tree.leaves(jax.jit(jax.grad(mean))(params))

    reference = gradient(layers="scan", remat="none")
    assert relative_error(gradient(layers=option, remat=remat), reference) < 1e-5


def test_blocked_attention_is_attention():
    """Outputs and gradients, with and without segments."""
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 3, 128, 8))
    segments = jnp.asarray([[0] * 9 + [1] * 119, [0] * 128])

    def total(kernel, rows, q, k, v):
        out = attend(q, k, v, scale=0.3, segments_BT=rows, kernel=kernel)
        return jnp.sum(jnp.sin(out))

    with use_mesh(one_device_mesh()):
        for rows in (None, segments):
            values = [
                jax.value_and_grad(functools.partial(total, kernel, rows), (0, 1, 2))(q, k, v)
                for kernel in ("xla", "blocked")
            ]
            assert relative_error(values[1], values[0]) < 1e-5


def plain_attention(q, k, v):
    T = q.shape[2]
    logits = jnp.where(jnp.tril(jnp.ones((T, T), bool)), 0.3 * q @ jnp.swapaxes(k, 2, 3), -jnp.inf)
    return jax.nn.softmax(logits) @ v


def plain_rope(x, cos, sin):
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


HEADS = jax.random.normal(jax.random.key(0), (3, 2, 3, 32, 8))
TABLE = layers.rope_table(jnp.arange(32), 8, 100.0)


@pytest.mark.parametrize(
    ("ours", "plain", "arguments"),
    [
        (lambda *x: attend(*x, scale=0.3, kernel="xla"), plain_attention, HEADS),
        (lambda x: layers.rope(x, *TABLE), lambda x: plain_rope(x, *TABLE), HEADS[:1]),
        (layers.swiglu, lambda a, b: a / (1 + jnp.exp(-a)) * b, HEADS[:2]),
    ],
    ids=["attention", "rope", "swiglu"],
)
def test_gradients_written_by_hand_are_those_jax_derives(ours, plain, arguments):
    def value_and_gradients(function):
        total = lambda *x: jnp.sum(jnp.sin(function(*x)))  # noqa: E731
        return jax.value_and_grad(total, tuple(range(len(arguments))))(*arguments)

    with use_mesh(one_device_mesh()):
        derived = value_and_gradients(plain)
        assert relative_error(value_and_gradients(ours), derived) < 1e-5


def test_segments_are_separate_worlds():
    """A row of two packed documents gives each the logits it has alone."""
    config = small_config(model={"position": "rope"})
    tokens = random_batch(config)["tokens"][:1]
    first, second = tokens[:, :6], tokens[:, 6:]
    segments = jnp.asarray([[0] * 6 + [1] * 10])
    positions = jnp.asarray([[*range(6), *range(10)]])
    packed, params = logits_of({}, {"tokens": tokens}, segments_BT=segments, positions_BT=positions)
    with use_mesh(one_device_mesh()):
        alone = [params(jnp.asarray(part)) for part in (first, second)]
    np.testing.assert_allclose(packed, np.concatenate(alone, axis=1), rtol=2e-5, atol=2e-6)


def test_rope_sees_relative_positions_only():
    config = small_config(model={"position": "rope", "depth": 1})
    batch = random_batch(config)
    positions = jnp.broadcast_to(jnp.arange(16), (16, 16))
    here, params = logits_of({"depth": 1}, batch, positions_BT=positions)
    with use_mesh(one_device_mesh()):
        there = params(jnp.asarray(batch["tokens"]), positions_BT=positions + 100)
    np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)


def test_softcap_bounds_the_logits():
    config = small_config()
    loud, _ = logits_of({"logit_softcap": 0.5}, random_batch(config))
    assert np.abs(loud).max() <= 0.5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_train_step_has_types_on_an_abstract_mesh(name, optimizer):
    """Every registered model with every optimiser, on 256 devices that do not exist."""
    config = small_config(
        model={"name": name, "width": 64},
        optim={"name": optimizer},
        train={"batch_size": 128},
        eval={"batch_size": 128},
    )
    mesh = abstract_mesh(parse_mesh("data:16,fsdp:4,tensor:4"))
    with use_mesh(mesh):
        program = make_program(config, VOCAB, mesh)
        step = make_train_step(config, program.optimizer)
        rest = abstract_batch(config, mesh), abstract_dials(config)
        state, _ = jax.eval_shape(step, program.abstract_state, *rest)
    describe = lambda x: (x.shape, x.dtype, jax.typeof(x).sharding.spec)  # noqa: E731
    before = [describe(x) for x in jax.tree.leaves(program.abstract_state)]
    assert before == [describe(x) for x in jax.tree.leaves(state)]


def test_eight_billion_parameters_are_typed_without_being_made():
    config = small_config(
        model={"width": 4096, "n_heads": 32, "n_kv_heads": 8, "depth": 36, "mlp_ratio": 3.5,
               "activation": "swiglu", "remat": "block"},
        data={"seq_len": 4096},
        train={"batch_size": 1024},
        eval={"batch_size": 256},
    )  # fmt: skip
    mesh = abstract_mesh(parse_mesh("data:64,fsdp:4"))
    with use_mesh(mesh):
        program = make_program(config, 128_000, mesh)
        step = make_train_step(config, program.optimizer)
        rest = abstract_batch(config, mesh), abstract_dials(config)
        jax.eval_shape(step, program.abstract_state, *rest)
    assert sum(x.size for x in jax.tree.leaves(program.abstract_state.params)) > 8e9
