"""Choosing the next token. B rows, V vocabulary."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from scaling.errors import UserError

LEAST_TEMPERATURE = 1e-4


@dataclasses.dataclass(frozen=True)
class Sampling:
    """temperature 0 is greedy. top_k: only the k likeliest (0: all). top_p: only the smallest set
    of likeliest tokens that holds this probability (nucleus: Holtzman et al. 2020, section 3.1)."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        temperature = self.temperature
        if temperature != 0 and not LEAST_TEMPERATURE <= temperature < math.inf:
            raise UserError(
                f"temperature={temperature!r} must be 0 (greedy) or a finite number from "
                f"{LEAST_TEMPERATURE} on: below, logits over it overflow"
            )
        if not self.top_k >= 0 or not 0 < self.top_p <= 1:
            raise UserError(
                f"sampling needs top_k >= 0 and 0 < top_p <= 1; got top_k={self.top_k!r}, "
                f"top_p={self.top_p!r}"
            )


GREEDY = Sampling()


def choose(logits_BV: jax.Array, keys_B: jax.Array, how: Sampling) -> jax.Array:
    """(B,) int32 tokens; one random key a row, so that rows do not depend on each other."""
    if how.temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    kept = restrict(logits_BV / how.temperature, how)
    return jax.vmap(jax.random.categorical)(keys_B, kept).astype(jnp.int32)


def restrict(logits_BV: jax.Array, how: Sampling) -> jax.Array:
    """The logits with -inf where top_k and top_p forbid; the likeliest token always stays."""
    V = logits_BV.shape[-1]
    if not 0 < how.top_k < V and how.top_p >= 1:
        return logits_BV
    # By rank, not by value: of tokens that tie the first go first, as in argmax.
    rank_BV = jnp.argsort(jnp.argsort(-logits_BV, axis=-1, stable=True), axis=-1)
    if 0 < how.top_k < V:
        logits_BV = jnp.where(rank_BV < how.top_k, logits_BV, -jnp.inf)
    if how.top_p < 1:
        p_BV = jax.nn.softmax(-jnp.sort(-logits_BV, axis=-1), axis=-1)
        # A token stays if those before it do not hold top_p yet.
        n_kept_B1 = jnp.sum(jnp.cumsum(p_BV, axis=-1) - p_BV < how.top_p, -1, keepdims=True)
        logits_BV = jnp.where(rank_BV < n_kept_B1, logits_BV, -jnp.inf)
    return logits_BV
