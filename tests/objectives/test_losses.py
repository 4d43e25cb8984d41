"""Losses against what is known of them: floors, limits, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.core.build import make_program
from scaling.core.step import make_train_steps
from scaling.data.pipeline import open_pipeline
from scaling.data.worlds.markov import _world
from scaling.durations import Rates
from scaling.models.base import Model
from scaling.objectives.base import Given
from scaling.objectives.scheduled_sampling import ScheduledSampling
from scaling.optim.schedules import dials
from scaling.sharding import constrain, make_mesh, parse_mesh, place, use_mesh
from tests.helpers import small_config


def trained(config, n_steps, mesh_text=""):
    """(losses of the steps, held-out nats of the masked or next tokens)."""
    pipeline = open_pipeline(
        config.data,
        objective=config.objective,
        batch_size=config.train.batch_size,
        seed=0,
        n_rows_eval=64,
    )
    mesh = make_mesh(parse_mesh(mesh_text))
    with use_mesh(mesh):
        program = make_program(config, pipeline.vocab_size, mesh)
        steps = make_train_steps(config, program.optimizer)
        batches = [pipeline.batch(k) for k in range(n_steps)]
        stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
        own = config.objective.options.dials
        steered = {"lr": np.full(n_steps, config.optim.peak_lr, np.float32)}
        steered |= {name: np.full(n_steps, own(0.0)[name], np.float32) for name in own(0.0)}
        placed = place(mesh, stacked, None, "batch")
        state, metrics = steps(program.init(0), placed, steered, n_steps)
    return np.asarray(metrics["loss"]), state, pipeline


def posteriors(p_VV, pi_V, tokens, seen):
    """P(x_t | the tokens where `seen`), (T, V), of a chain: forward and backward messages."""
    T, n = len(tokens), len(pi_V)
    evidence = np.where(seen[:, None], np.eye(n)[np.where(seen, tokens, 0)], 1.0)
    forward, backward = np.empty((T, n)), np.ones((T, n))
    forward[0] = pi_V * evidence[0]
    for t in range(1, T):
        forward[t] = (forward[t - 1] @ p_VV) * evidence[t]
        forward[t] /= forward[t].sum()
    for t in range(T - 2, -1, -1):
        backward[t] = p_VV @ (backward[t + 1] * evidence[t + 1])
        backward[t] /= backward[t].sum()
    both = forward * backward
    return both / both.sum(axis=1, keepdims=True)


def test_masked_prediction_of_a_chain_comes_down_to_its_floor():
    masks = {"rate": 0.25, "as_mask": 1.0, "as_random": 0.0}
    config = small_config(
        model={"width": 32, "n_heads": 2, "depth": 2, "position": "learned"},
        objective={"name": "masked", "masked": masks},
        data={"name": "markov", "seq_len": 16, "markov": {"vocab_size": 4, "concentration": 0.5}},
        train={"batch_size": 128},
        optim={"name": "adamw", "peak_lr": 1e-2},
    )
    losses, _, pipeline = trained(config, 300)
    p_VV, pi_V, _ = _world(4, 1, 0.5, 0)
    nats = []
    for batch in (pipeline.batch(k) for k in range(280, 300)):
        for tokens, targets, weights in zip(*batch.values(), strict=True):
            p = posteriors(p_VV, pi_V, tokens, tokens < 4)
            nats += [-np.log(p[t, targets[t]]) for t in np.flatnonzero(weights)]
    floor, error = np.mean(nats), np.std(nats) / np.sqrt(len(nats))
    assert losses[0] > 1.3 > floor
    # Of the same targets: what the model has above the exact posterior is what it has to learn.
    assert floor - 2 * error < losses[-20:].mean() < floor + 0.06


@pytest.mark.parametrize("mesh_text", ["", "data:4,tensor:2"])
def test_scheduled_sampling_at_rate_0_is_the_language_model_bit_for_bit(mesh_text):
    never = {"name": "scheduled_sampling", "scheduled_sampling": {"first": 0.0, "last": 0.0}}
    plain, other, _ = trained(small_config(), 6, mesh_text)
    sampled, state, _ = trained(small_config(objective=never), 6, mesh_text)
    np.testing.assert_array_equal(plain, sampled)
    for a, b in zip(jax.tree.leaves(other.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(a, b)


class Watched(Model, pytree=False):
    """Says token 3 with probability 3/4 and otherwise token 1, and keeps what it was given."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, tokens_BT, segments_BT=None, positions_BT=None, *, visibility="causal"):
        self.seen.append(np.asarray(tokens_BT))
        said = jnp.log(jnp.array([1e-30, 0.25, 1e-30, 0.75]))
        return constrain(jnp.broadcast_to(said, (*tokens_BT.shape, 4)), "batch", "seq", None)


def test_what_is_read_at_rate_r_is_its_own_in_that_share():
    seen, rate = [], 0.4
    tokens = np.zeros((64, 50), np.int32)
    batch = {"tokens": tokens, "targets": tokens, "weights": np.ones((64, 50), np.float32)}
    objective = ScheduledSampling()
    with use_mesh(make_mesh(parse_mesh(""))):
        batch = {k: constrain(jnp.asarray(v), "batch", "seq") for k, v in batch.items()}
        given = Given(jax.random.key(0), {"sampling_rate": jnp.float32(rate)})
        objective.loss(Watched(seen), {**batch, **objective.draw(batch, given)}, given)
        again = Given(jax.random.key(1), given.dials)
        objective.loss(Watched(seen), {**batch, **objective.draw(batch, again)}, again)
    true, mixed, _, other = seen
    assert (true == 0).all()
    assert (mixed[:, 0] == 0).all()
    own = mixed[:, 1:]
    error = 4 * np.sqrt(0.25 / own.size)
    assert np.mean(own != 0) == pytest.approx(rate, abs=error)
    assert np.mean(own == 3) == pytest.approx(0.75 * rate, abs=error)
    assert (mixed != other).any()


def test_the_rate_rises_along_the_run():
    share = {"name": "scheduled_sampling", "scheduled_sampling": {"first": 0.1, "last": 0.5}}
    config = small_config(objective=share, optim={"schedule": {"warmup": "0 steps"}})
    rates = trained_rates(config, 5)
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-6)


def trained_rates(config, n_steps):
    rates = Rates(tokens_per_step=1, unique_tokens=None, n_params=1, flops_per_token=1.0)
    return dials(config, n_steps, rates)["sampling_rate"]
