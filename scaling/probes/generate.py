"""`generate_until`: batched continuation with a key-value cache.

Prompts of different length are padded on the left, so that all rows write the same place of the
cache at the same time; attention and positions leave the pads out. Row r draws from a key of its
own (the request's number), so its continuation does not depend on what it shares a batch with.
Shapes: N requests, B rows, P prompt places, G new tokens.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.errors import UserError
from scaling.models.base import Grows
from scaling.probes.sampling import GREEDY, Sampling, choose
from scaling.probes.scorer import ScoredModel, batch_rows, width
from scaling.sharding import constrain, place, process_rows

Tokens = Sequence[int]


def generate_until(
    model: ScoredModel,
    prompts: Sequence[Tokens],
    *,
    until: Sequence[Tokens] = (),
    max_tokens: int,
    sampling: Sampling = GREEDY,
    seed: int = 0,
) -> list[list[int]]:
    """Continuations, cut before the first of the token sequences `until`.

    Raises UserError for an empty prompt, one that leaves no room for `max_tokens`, or a model
    that has no cache.
    """
    if not isinstance(model.params, Grows):
        raise UserError(f"{type(model.params).__name__} has no key-value cache to generate with")
    if max_tokens < 1:
        raise UserError(f"max_tokens={max_tokens} must be at least 1")
    longest = max((len(p) for p in prompts), default=0)
    if longest + max_tokens - 1 > model.target.seq_len:
        raise UserError(
            f"a prompt of {longest} tokens and {max_tokens} new ones do not fit the context of "
            f"{model.target.seq_len}"
        )
    if any(len(p) == 0 for p in prompts):
        raise UserError("an empty prompt has nothing to continue; begin it with a separator token")
    stops = [list(stop) for stop in until]
    order = np.argsort([len(p) for p in prompts], kind="stable")
    out: list[list[int]] = [[] for _ in prompts]
    at = 0
    while at < len(order):
        P = width(len(prompts[order[at]]))
        group = [i for i in order[at:] if len(prompts[i]) <= P]
        size = batch_rows(len(group), P + max_tokens, model.mesh)
        chosen = np.array(group[:size])
        grown = _continue(model, [prompts[i] for i in chosen], chosen, P, size, max_tokens,
                          sampling, seed, _single(stops))  # fmt: skip
        for i, row in zip(chosen, grown, strict=False):
            out[i] = cut(row.tolist(), stops)
        at += len(chosen)
    return out


def cut(tokens: list[int], stops: Sequence[Tokens]) -> list[int]:
    """`tokens` up to the first place where a stop sequence begins."""
    for at in range(len(tokens)):
        if any(stop and tokens[at : at + len(stop)] == list(stop) for stop in stops):
            return tokens[:at]
    return tokens


def _single(stops: Sequence[Tokens]) -> tuple[int, ...]:
    """Stops of one token end a batch early; longer ones are only cut off afterwards."""
    return tuple(stop[0] for stop in stops if len(stop) == 1)


def _continue(model, prompts, numbers, P, size, max_tokens, sampling, seed, stops) -> np.ndarray:
    tokens, is_token = np.zeros((size, P), np.int32), np.zeros((size, P), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, P - len(prompt) :] = prompt
        is_token[row, P - len(prompt) :] = True
    # A row without any token would have nothing to attend to.
    is_token[len(prompts) :, -1] = True
    request = np.zeros(size, np.int32)
    request[: len(numbers)] = numbers
    mine = process_rows(model.mesh, (size, P))
    batch = {"tokens": tokens, "is_token": is_token, "request": request}
    placed = place(model.mesh, {k: v[mine] for k, v in batch.items()}, "batch")
    return jax.device_get(_grow(model.params, placed, jnp.int32(seed), max_tokens, sampling, stops))


@functools.partial(jax.jit, static_argnames=("max_tokens", "sampling", "stops"))
def _grow(
    params: Any, batch: dict, seed: jax.Array, max_tokens: int, sampling: Sampling, stops: tuple
) -> jax.Array:
    """(B, max_tokens) int32, on every host; after a row's stop token anything may follow."""
    B, P = batch["tokens"].shape
    cache = params.new_cache(B, P + max_tokens)
    logits, cache = params.extend(batch["tokens"], batch["is_token"], cache)
    key = jax.random.key(seed)
    keys_B = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["request"])
    ones = batch["is_token"][:, -1:]

    def pick(logits_BV, step):
        logits_BV = constrain(logits_BV, "batch", None)
        token = choose(logits_BV, jax.vmap(lambda k: jax.random.fold_in(k, step))(keys_B), sampling)
        ends = functools.reduce(jnp.logical_or, [token == s for s in stops], token < 0)
        return token, ends

    def body(carry):
        step, last, done, grown, cache = carry
        logits, cache = params.extend(last[:, None], ones, cache)
        token, ends = pick(logits[:, 0], step)
        grown = jax.lax.dynamic_update_slice_in_dim(grown, token[:, None], step, axis=1)
        return step + 1, token, done | ends, grown, cache

    def unfinished(carry):
        step, _, done, _, _ = carry
        return (step < max_tokens) & ~jnp.all(done)

    first, done = pick(logits[:, -1], jnp.int32(0))
    grown = constrain(jnp.zeros((B, max_tokens), jnp.int32), "batch", None)
    grown = jax.lax.dynamic_update_slice_in_dim(grown, first[:, None], 0, axis=1)
    carry = (jnp.int32(1), first, done, grown, cache)
    grown = jax.lax.while_loop(unfinished, body, carry)[3]
    return constrain(grown, None, None)
