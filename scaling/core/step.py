"""The pure, jitted, donating steps. No clock, no logging; their only randomness is the state's key.

One train program serves every schedule, budget and chunk length of a model: learning rates and
other dials come in as arrays, and the number of steps to take is a dynamic argument of the loop.
So a run that is cut in other places (resume, branches, evaluations) executes the same machine
code, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from scaling.config import RunConfig
from scaling.core.state import TrainState, add_tokens
from scaling.objectives.base import Given, token_nll
from scaling.sharding import constrain, ways

N_CALIBRATION_BINS = 15
METRICS = ("loss", "grad_norm", "update_norm", "n_tokens", "skipped")
# On CPU, what a layer makes of the rows is to stay in the cache of a core, and products are to be
# large (experiments/LOG.md).
CACHE_BYTES = 2**19
LEAST_TOKENS = 256


def make_train_step(
    config: RunConfig, optimizer: optax.GradientTransformation, in_cache: bool = False
) -> Callable:
    """step(state, batch, dials) -> (state, metrics); a pure function of arrays, not yet jitted.

    `batch` is as the objective lays it out; `dials` are float32 scalars, `lr` and those of the
    objective. `metrics` are scalars named in METRICS; `loss` is the mean nll in nats per weighted
    token, without z-loss. `in_cache`: rows are taken a few at a time, as gradient accumulation
    takes them.
    """
    objective = config.objective.options

    def gradient(params, batch, given):
        def sums(params, batch):
            return objective.loss(params, batch, given)

        batch = {**batch, **objective.draw(batch, given)}
        grad_of = jax.value_and_grad(sums, has_aux=True)
        n_micro = config.train.n_microbatches * (cache_pieces(config) if in_cache else 1)
        if n_micro == 1:
            (_, aux), grads = grad_of(params, batch)
            return grads, aux
        return _accumulated(grad_of, n_micro, params, batch)

    def step(state: TrainState, batch: dict[str, jax.Array], dials: dict[str, jax.Array]):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        grads, aux = gradient(state.params, batch, Given(key, dials))
        lr = dials["lr"]
        weight = jnp.maximum(aux["weight"], 1.0)
        grads = jax.tree.map(lambda g: g / weight, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, lr=lr)
        params = jax.tree.map(lambda p, u: p - lr * u, state.params, updates)
        grad_norm = optax.tree.norm(grads)
        skipped = jnp.zeros((), jnp.int32)
        if config.optim.skip_nonfinite:
            good = jnp.isfinite(grad_norm) & jnp.isfinite(aux["nll"])
            keep = lambda new, old: jnp.where(good, new, old)  # noqa: E731
            params = jax.tree.map(keep, params, state.params)
            opt_state = jax.tree.map(keep, opt_state, state.opt_state)
            skipped = 1 - good.astype(jnp.int32)
        n_tokens = jnp.sum(batch["weights"] > 0, dtype=jnp.int32)
        metrics = {
            "loss": aux["nll"] / weight,
            "grad_norm": grad_norm,
            "update_norm": lr * optax.tree.norm(updates),
            "n_tokens": n_tokens,
            "skipped": skipped,
        }
        new_state = TrainState(
            key=state.key,
            step=state.step + 1,
            n_tokens=add_tokens(state.n_tokens, n_tokens),
            n_skipped=state.n_skipped + skipped,
            params=params,
            opt_state=opt_state,
        )
        return new_state, metrics

    return step


def _accumulated(grad_of, n_micro, params, batch):
    """(gradients, sums) over `n_micro` parts of the rows, one after the other.

    Every device of the data axis adds up its own parts, and one all-reduce ends the step: left to
    itself jax would all-reduce the gradient of each part.
    """

    def add_up(params, batch, zero):
        # Splitting (B) as (B / n, n) keeps each device's rows on the device.
        micro = {k: _split_rows(v, n_micro) for k, v in batch.items()}

        def add(total, rows):
            (_, aux), grads = grad_of(params, rows)
            return jax.tree.map(jnp.add, total, (grads, aux)), None

        zeros = jax.tree.map(jnp.zeros_like, params), {"nll": zero, "weight": zero}
        return jax.lax.scan(add, zeros, micro)[0]

    def local(params, batch):
        own, zero = jax.lax.pcast((params, jnp.zeros(())), "data", to="varying")
        return jax.lax.psum(add_up(own, batch, zero), "data")

    # XLA refuses a mapped axis of one device. On GPUs attention is a `shard_map` of its own, and
    # jax cannot differentiate one within another when activations are computed again.
    one = jax.sharding.get_abstract_mesh().shape["data"] == 1
    if one or jax.default_backend() == "gpu":
        return add_up(params, batch, jnp.zeros(()))
    rows = jax.P("data")
    total = jax.shard_map(local, axis_names={"data"}, in_specs=(jax.P(), rows), out_specs=jax.P())
    return total(params, batch)


def cache_pieces(config: RunConfig) -> int:
    """Into how many pieces each device of the mesh in use divides the rows of a microbatch, a power
    of two, so that the widest activation of a piece fits CACHE_BYTES, LEAST_TOKENS permitting."""
    parts = ways("batch") * config.train.n_microbatches
    rows, seq_len = config.train.batch_size // parts, config.data.seq_len
    row_bytes = 4 * seq_len * config.model.options.widest(config.model)
    while rows % 2 == 0 and rows * row_bytes > CACHE_BYTES and rows // 2 * seq_len >= LEAST_TOKENS:
        rows //= 2
    return config.train.batch_size // parts // rows


def make_train_steps(
    config: RunConfig, optimizer: optax.GradientTransformation, in_cache: bool | None = None
) -> Callable:
    """steps(state, batches, dials, n) -> (state, metrics): takes the first `n` of K steps, jitted.

    `batches` arrays are (K, B, ...), `dials` (K,), `n` an int32 scalar of at most K; `metrics` are
    (K,), zero beyond `n`. `state` is donated. `in_cache`: see `make_train_step`; by default on CPU.
    """
    in_cache = jax.default_backend() == "cpu" if in_cache is None else in_cache
    step = make_train_step(config, optimizer, in_cache)

    def steps(state, batches, dials, n):
        def body(k, carry):
            state, log = carry
            batch = {name: rows[k] for name, rows in batches.items()}
            state, metrics = step(state, batch, {name: dial[k] for name, dial in dials.items()})
            return state, {name: log[name].at[k].set(metrics[name]) for name in METRICS}

        K = dials["lr"].shape[0]
        integer = ("n_tokens", "skipped")
        log = {m: jnp.zeros(K, jnp.int32 if m in integer else jnp.float32) for m in METRICS}
        return jax.lax.fori_loop(0, n, body, (state, log))

    return jax.jit(steps, donate_argnums=0)


def make_eval_step(config: RunConfig) -> Callable:
    """eval_step(params, batch) -> sums over the batch's weighted tokens, jitted.

    nll (T,), weight (T,): by position, so that the in-context learning score needs no second
    pass. entropy: of the predictions, in nats. confidence, correct, count (bins,): for the
    expected calibration error (Guo et al. 2017, eq. 3) of the most likely token.
    """
    visibility = config.objective.options.visibility

    def eval_step(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        logits = constrain(params.forward(batch, visibility), "batch", "seq", None)
        nll, log_z = token_nll(logits, batch["targets"])
        weights = batch["weights"]
        p = jnp.exp(logits - log_z[..., None])
        entropy = log_z - jnp.sum(p * logits, axis=-1)
        confidence, guess = jnp.max(p, axis=-1), jnp.argmax(logits, axis=-1)
        correct = (guess == batch["targets"]).astype(jnp.float32)
        bin_of = jnp.clip(confidence * N_CALIBRATION_BINS, 0, N_CALIBRATION_BINS - 1)
        in_bin = jnp.arange(N_CALIBRATION_BINS) == bin_of.astype(jnp.int32)[..., None]
        in_bin = in_bin * weights[..., None]
        return {
            "nll": jnp.sum(nll * weights, axis=0),
            "weight": jnp.sum(weights, axis=0),
            "entropy": jnp.sum(entropy * weights),
            "confidence": jnp.sum(confidence[..., None] * in_bin, axis=(0, 1)),
            "correct": jnp.sum(correct[..., None] * in_bin, axis=(0, 1)),
            "count": jnp.sum(in_bin, axis=(0, 1)),
        }

    return jax.jit(eval_step)


def _split_rows(rows, n):
    """(B, ...) -> (n, B / n, ...), every device keeping its own rows."""
    sharding = jax.typeof(rows).sharding.spec
    split = jax.P(sharding[0], None, *sharding[1:])
    parts = rows.reshape(rows.shape[0] // n, n, *rows.shape[1:], out_sharding=split)
    return jnp.swapaxes(parts, 0, 1)
