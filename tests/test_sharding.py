"""A mesh changes where numbers live, not what they are."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from scaling.core.build import make_program
from scaling.core.step import make_train_step
from scaling.errors import UserError
from scaling.sharding import (
    check_divisible,
    gathered_spec,
    make_mesh,
    parse_mesh,
    place,
    process_rows,
    spec,
    use_mesh,
)
from tests.helpers import VOCAB, factorisations, random_batch, relative_error, small_config

# Grouped heads cannot be split 8 ways, SwiGLU has the most matrices, tying uses the table twice.
VARIANTS = {
    "plain": {"qk_norm": True},
    "grouped": {"n_kv_heads": 2, "activation": "swiglu", "tied": True, "position": "learned"},
}


def mesh_id(shape):
    return "x".join(str(s) for s in shape.values())


def loss_and_gradients(config, mesh_shape):
    mesh = make_mesh(mesh_shape)
    objective = config.objective.options
    with use_mesh(mesh):
        state = make_program(config, VOCAB, mesh).init(0)
        batch = place(mesh, random_batch(config), "batch")
        mean = lambda params, batch: objective.loss(params, batch, None)[0]  # noqa: E731
        loss, grads = jax.jit(jax.value_and_grad(mean))(state.params, batch)
        return jax.device_get((loss, jax.tree.leaves(grads))), grads


@functools.cache
def one_device(variant):
    return loss_and_gradients(small_config(model=VARIANTS[variant]), parse_mesh(""))[0]


@pytest.mark.parametrize(
    ("mesh_shape", "variant"),
    [
        *((shape, "plain") for shape in factorisations()),
        *(
            (parse_mesh(text), "grouped")
            for text in ("fsdp:8", "tensor:8", "data:2,fsdp:2,tensor:2")
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else mesh_id(v),
)
def test_loss_and_gradients_equal_one_device(mesh_shape, variant):
    config = small_config(model=VARIANTS[variant])
    (loss, grads), arrays = loss_and_gradients(config, mesh_shape)
    expected_loss, expected_grads = one_device(variant)
    assert abs(loss - expected_loss) < 1e-5 * abs(expected_loss)
    assert relative_error(grads, expected_grads) < 1e-5
    # A gradient lies where its parameter lies, so the optimiser moves nothing.
    up = arrays.blocks.mlp.up.get_value()
    ways = mesh_shape["fsdp"] * mesh_shape["tensor"]
    assert up.addressable_shards[0].data.size * ways == up.size


@functools.cache
def one_step(mesh_text, n_microbatches, **model):
    """Loss and parameters after a step of SGD, which adds the gradient as it is."""
    mesh = make_mesh(parse_mesh(mesh_text))
    config = small_config(
        model=VARIANTS["grouped"] | {"n_kv_heads": 4} | model,
        optim={"name": "sgd", "clip_norm": 0.0},
        train={"n_microbatches": n_microbatches},
    )
    with use_mesh(mesh):
        program = make_program(config, VOCAB, mesh)
        batch = place(mesh, random_batch(config), "batch")
        step = jax.jit(make_train_step(config, program.optimizer))
        state, metrics = step(program.init(0), batch, {"lr": 0.1})
        return float(metrics["loss"]), jax.device_get(jax.tree.leaves(state.params))


@pytest.mark.parametrize(
    "mesh_text", ["data:8", "data:4,fsdp:2", "fsdp:8", "data:2,fsdp:2,tensor:2"]
)
def test_microbatches_on_a_mesh_equal_one_batch_on_one_device(mesh_text):
    loss, params = one_step(mesh_text, 2)
    expected_loss, expected = one_step("", 1)
    assert abs(loss - expected_loss) < 1e-5 * abs(expected_loss)
    assert relative_error(params, expected) < 1e-5


def test_a_kernel_runs_on_each_device_by_itself(monkeypatch):
    """The way to cuDNN and back, with jax's own attention in place of the kernel."""
    kernel = jax.nn.dot_product_attention

    def stand_in(*arrays, implementation, **options):
        assert implementation == "cudnn"
        return kernel(*arrays, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    half = {"dtype": "bfloat16"}
    _, params = one_step("data:2,fsdp:2,tensor:2", 1, attention="cudnn", **half)
    assert relative_error(params, one_step("", 1, **half)[1]) < 1e-2


@pytest.mark.parametrize(
    ("mesh_shape", "optimizer"),
    [
        *((shape, "adamw") for shape in factorisations()),
        (parse_mesh("data:2,fsdp:2,tensor:2"), "muon"),
    ],
    ids=lambda v: v if isinstance(v, str) else mesh_id(v),
)
def test_parameters_and_optimiser_state_are_split(mesh_shape, optimizer):
    config = small_config(optim={"name": optimizer})
    mesh = make_mesh(mesh_shape)
    with use_mesh(mesh):
        program = make_program(config, VOCAB, mesh)
        state = program.init(0)
    ways = mesh_shape["fsdp"] * mesh_shape["tensor"]
    matrices = [x for x in jax.tree.leaves(state) if x.size >= 32 * 32]
    assert len(matrices) > 8  # Parameters and at least one moment each.
    for array in matrices:
        per_device = {s.device: s.data.nbytes for s in array.addressable_shards}
        assert set(per_device.values()) == {array.nbytes // ways}
    for plan, array in zip(
        jax.tree.leaves(program.abstract_state), jax.tree.leaves(state), strict=True
    ):
        assert (plan.shape, plan.dtype, plan.sharding) == (array.shape, array.dtype, array.sharding)


def test_the_same_seed_gives_the_same_parameters_on_any_mesh():
    config = small_config()
    leaves = []
    for shape in (parse_mesh(""), parse_mesh("data:2,fsdp:2,tensor:2")):
        mesh = make_mesh(shape)
        with use_mesh(mesh):
            leaves.append(
                jax.device_get(jax.tree.leaves(make_program(config, VOCAB, mesh).init(7)))
            )
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mesh_axis_splits_one_dimension_only():
    with pytest.raises(ValueError, match="one dimension only"):
        spec("heads", "mlp")
    with pytest.raises(UserError, match=r"unknown logical axis 'head'.*did you mean 'heads'"):
        spec("head")


def test_gathering_undoes_storage_splits_only():
    assert spec("embed", "mlp") == P("fsdp", "tensor")
    assert gathered_spec("embed", "mlp") == P(None, "tensor")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date:2", r"unknown mesh axis 'date'; did you mean 'data'"),
        ("data:x", r"'data:x' is not AXIS:SIZE"),
        ("data:0", r"'data:0' is not AXIS:SIZE"),
        ("data:2,data:4", r"axis 'data' is given twice"),
        ("data", r"'data' is not AXIS:SIZE"),
    ],
)
def test_a_malformed_mesh_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_mesh(text)


def test_a_mesh_larger_than_the_machine_is_refused():
    with pytest.raises(UserError, match=r"needs 16 devices, but there are 8"):
        make_mesh(parse_mesh("data:16"))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"model.transformer.n_heads=6 cannot be split 4 ways"):
        check_divisible(parse_mesh("tensor:4"), {"heads": ("model.transformer.n_heads", 6)})


def test_one_process_holds_all_rows():
    mesh = make_mesh(parse_mesh("data:4,tensor:2"))
    assert process_rows(mesh, (16, 8)) == slice(0, 16)
    assert process_rows(mesh, (3, 16, 8), axis=1) == slice(0, 16)
