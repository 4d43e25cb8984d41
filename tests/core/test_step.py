"""The training step: what must not matter does not, what is counted is counted."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.core import step
from scaling.core.build import abstract_batch, make_program
from scaling.core.state import add_tokens, token_count
from scaling.core.step import METRICS, make_eval_step, make_train_steps
from scaling.sharding import make_mesh, parse_mesh, place, use_mesh
from tests.helpers import VOCAB, random_batch, relative_error, small_config

LRS = np.full(4, 1e-2, np.float32)


@functools.cache
def mesh():
    return make_mesh(parse_mesh("data:2"))


@functools.cache
def compiled(config):
    """(program, jitted steps), once per config of this file."""
    program = make_program(config, VOCAB, mesh())
    return program, make_train_steps(config, program.optimizer)


def run(config, batches, cuts=(4,), lrs=LRS):
    """Final state and metrics after steps dispatched in groups of the sizes `cuts`."""
    with use_mesh(mesh()):
        program, steps = compiled(config)
        state = program.init(0)
        done, log = 0, []
        for n in cuts:
            index = [min(done + i, 3) for i in range(4)]
            group = place(mesh(), {k: v[index] for k, v in batches.items()}, None, "batch")
            state, metrics = steps(state, group, {"lr": jnp.asarray(lrs[index])}, jnp.int32(n))
            log.append({name: np.asarray(metrics[name])[:n] for name in METRICS})
            done += n
        joined = {name: np.concatenate([part[name] for part in log]) for name in METRICS}
        return jax.device_get(state), joined


def test_where_dispatches_are_cut_changes_no_bit():
    config = small_config()
    batches = random_batch(config, 4)
    whole, whole_log = run(config, batches)
    for cuts in [(1, 1, 1, 1), (3, 1), (1, 2, 1)]:
        parts, parts_log = run(config, batches, cuts)
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
            np.testing.assert_array_equal(a, b)
        for name in METRICS:
            np.testing.assert_array_equal(whole_log[name], parts_log[name])


@pytest.mark.parametrize("n", [2, 4])
def test_microbatches_equal_one_batch(n):
    """Also when they hold different numbers of counted tokens."""
    batches = random_batch(small_config(), 4)
    batches["weights"][:, :5] = 0.0
    one, log_one = run(small_config(optim={"name": "sgd"}), batches)
    config = small_config(optim={"name": "sgd"}, train={"n_microbatches": n})
    many, log_many = run(config, batches)
    assert relative_error(jax.tree.leaves(many.params), jax.tree.leaves(one.params)) < 1e-5
    np.testing.assert_allclose(log_many["loss"], log_one["loss"], rtol=1e-6)
    assert token_count(many) == token_count(one)


def test_rows_that_are_taken_as_the_cache_holds_them_equal_one_batch(monkeypatch):
    config = small_config(optim={"name": "sgd"})
    batches = random_batch(config, 4)
    batches["weights"][:, :5] = 0.0
    whole, log_whole = run(config, batches)
    monkeypatch.setattr(step, "CACHE_BYTES", 1)
    monkeypatch.setattr(step, "LEAST_TOKENS", 1)
    config = dataclasses.replace(config, name="pieces")  # compiled anew
    with use_mesh(mesh()):
        assert step.cache_pieces(config) > 1
    pieces, log_pieces = run(config, batches)
    assert relative_error(jax.tree.leaves(pieces.params), jax.tree.leaves(whole.params)) < 1e-5
    np.testing.assert_allclose(log_pieces["loss"], log_whole["loss"], rtol=1e-6)


def test_gradients_of_microbatches_are_reduced_over_devices_once():
    config = small_config(train={"n_microbatches": 4})
    with use_mesh(mesh()):
        program = make_program(config, VOCAB, mesh())
        step_fn = jax.jit(step.make_train_step(config, program.optimizer))
        batch = abstract_batch(config, mesh())
        program_text = step_fn.lower(program.abstract_state, batch, {"lr": 1.0}).compile().as_text()
    reductions = re.findall(r" all-reduce(?:-start)?\(.*op_name=\"([^\"]*)", program_text)
    assert reductions
    assert not [name for name in reductions if "while" in name]


@pytest.mark.parametrize(
    ("width", "rows", "pieces"),
    [(16, 32, 1), (32, 32, 2), (64, 32, 4), (128, 32, 8), (256, 32, 8), (256, 2, 1), (256, 24, 4)],
)
def test_pieces_fit_the_cache_and_are_not_too_small(width, rows, pieces):
    """On two devices, rows of 128 tokens and an MLP of 8/3 of the width."""
    config = small_config(model={"width": width, "mlp_ratio": 8 / 3}, data={"seq_len": 128},
                          train={"batch_size": rows})  # fmt: skip
    with use_mesh(mesh()):
        assert step.cache_pieces(config) == pieces


def test_tokens_are_counted_from_weights():
    config = small_config()
    batches = random_batch(config, 4)
    state, log = run(config, batches)
    assert token_count(state) == int((batches["weights"] > 0).sum())
    assert log["n_tokens"].tolist() == [(w > 0).sum() for w in batches["weights"]]


def test_token_counter_carries_over_32_bits():
    words = jnp.asarray([0xFFFF_FFF0, 3], jnp.uint32)
    low, high = (int(w) for w in add_tokens(words, jnp.int32(0x20)))
    assert low + (high << 32) == 0xFFFF_FFF0 + (3 << 32) + 0x20


def test_targets_without_weight_have_no_influence():
    config = small_config()
    batches = random_batch(config, 4)
    changed = batches | {"targets": np.where(batches["weights"] > 0, batches["targets"], 1)}
    a, _ = run(config, batches)
    b, _ = run(config, changed)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_non_finite_updates_are_skipped_and_counted_when_asked():
    batches = random_batch(small_config(), 4)
    batches["weights"][1] = np.inf
    config = small_config(optim={"skip_nonfinite": True})
    state, log = run(config, batches)
    assert log["skipped"].tolist() == [0, 1, 0, 0]
    assert int(state.n_skipped) == 1
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    state, log = run(small_config(), batches)
    assert not all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_z_loss_shrinks_the_partition_function_but_is_no_part_of_the_loss():
    batches = random_batch(small_config(), 4)
    _, log_plain = run(small_config(), batches)
    _, log_z = run(small_config(objective={"lm": {"z_loss": 1.0}}), batches)
    assert log_plain["loss"][0] == log_z["loss"][0]
    assert log_plain["grad_norm"][0] != log_z["grad_norm"][0]


def test_a_learning_rate_of_zero_changes_no_parameter():
    config = small_config()
    batches = random_batch(config, 4)
    with use_mesh(mesh()):
        before = jax.device_get(compiled(config)[0].init(0).params)
    after, _ = run(config, batches, lrs=np.zeros(4, np.float32))
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_array_equal(x, y)


def test_evaluation_agrees_with_numpy():
    config = small_config()
    batch = {k: v[:8] for k, v in random_batch(config).items()}
    with use_mesh(mesh()):
        params = make_program(config, VOCAB, mesh()).init(3).params
        placed = place(mesh(), batch, "batch")
        sums = jax.device_get(make_eval_step(config)(params, placed))
        logits = np.asarray(params(placed["tokens"]), np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    weights = batch["weights"]
    nll = -np.log(np.take_along_axis(p, batch["targets"][..., None], -1)[..., 0])
    np.testing.assert_allclose(sums["nll"], (nll * weights).sum(0), rtol=1e-5)
    np.testing.assert_allclose(sums["weight"], weights.sum(0))
    entropy = -(p * np.log(p)).sum(-1)
    np.testing.assert_allclose(sums["entropy"], (entropy * weights).sum(), rtol=1e-5)
    correct = (p.argmax(-1) == batch["targets"]) * weights
    assert sums["correct"].sum() == correct.sum()
    bins = np.minimum((p.max(-1) * 15).astype(int), 14)
    for b in range(15):
        np.testing.assert_allclose(sums["count"][b], weights[bins == b].sum())
        expected = (p.max(-1) * weights)[bins == b].sum()
        np.testing.assert_allclose(sums["confidence"][b], expected, rtol=1e-5)
