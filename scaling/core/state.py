"""Everything that changes while training, as one pytree of arrays."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Arrays only; what is static is closed over by the step.

    key: uint32[2], data of the key that all randomness of steps is drawn from. step: int32,
    optimiser steps taken. n_tokens: uint32[2], (low, high) words of the number of predicted tokens
    with weight, counted from the batches. n_skipped: int32, updates dropped
    because they were not finite. params: the model. opt_state: the optimiser's arrays.
    """

    key: jax.Array
    step: jax.Array
    n_tokens: jax.Array
    n_skipped: jax.Array
    params: Any
    opt_state: optax.OptState


def init_state(params: Any, optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """The state before the first step. key: of steps, a typed key."""
    return TrainState(
        key=jax.random.key_data(key),
        step=jnp.zeros((), jnp.int32),
        n_tokens=jnp.zeros(2, jnp.uint32),
        n_skipped=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
    )


def add_tokens(words: jax.Array, n: jax.Array) -> jax.Array:
    """(low, high) + n with carry: 64-bit counting without 64-bit types."""
    low = words[0] + n.astype(jnp.uint32)
    return jnp.stack([low, words[1] + (low < words[0])])


def token_count(state: TrainState) -> int:
    """`state.n_tokens` as a Python integer."""
    low, high = (int(w) for w in state.n_tokens)
    return low + (high << 32)
