"""Attention behind one function; a new kernel is one branch here.

Dimensions: B rows, H heads, T query positions, S key positions, K head size. Heads come before
positions so that the two matrix products are plain batched products over contiguous (T, K) blocks,
which is what XLA on CPU is fast at.
"""

import jax
import jax.numpy as jnp

from scaling.models import cpu
from scaling.sharding import spec

# Stretches of queries of the "blocked" kernel: at most so many, and none shorter than this.
MOST_STRETCHES = 4
LEAST_STRETCH = 64
_HEADS = ("batch", "heads", "seq", None)


def attend(
    q_BHTK: jax.Array,
    k_BHSK: jax.Array,
    v_BHSK: jax.Array,
    *,
    scale: float,
    segments_BT: jax.Array | None = None,
    visibility: str = "causal",
    mask_BTS: jax.Array | None = None,
    kernel: str = "auto",
) -> jax.Array:
    """softmax(scale q k^T + mask) v, shape (B, H, T, K).

    visibility: "causal", nothing after itself, or "full", the whole row. With `segments_BT` a
    position sees only its own segment. `mask_BTS` (bool: query t may see key
    s) replaces the causal mask, for keys out of a cache; it always takes "xla". `kernel`: "xla"
    anywhere; "blocked", the same in stretches of queries, without most of what the mask throws
    away; "cudnn" on NVIDIA GPUs in bfloat16; "auto" takes cudnn where it can, and blocked on CPU.
    """
    T, S = q_BHTK.shape[2], k_BHSK.shape[2]
    if mask_BTS is not None:
        return _attend_masked(q_BHTK, k_BHSK, v_BHSK, scale, mask_BTS[:, None])
    if kernel == "auto":
        kernel = _choose(jax.default_backend(), q_BHTK.dtype)
    causal = visibility == "causal"
    assert causal or visibility == "full", visibility
    if kernel == "cudnn":
        return _attend_cudnn(q_BHTK, k_BHSK, v_BHSK, scale, segments_BT, causal)
    stretches = min(MOST_STRETCHES, T // LEAST_STRETCH)
    if kernel == "blocked" and causal and T == S and stretches and T % stretches == 0:
        return _attend_blocked(q_BHTK, k_BHSK, v_BHSK, scale, segments_BT, stretches)
    return _attend_xla(q_BHTK, k_BHSK, v_BHSK, scale, segments_BT, causal)


def _choose(backend: str, dtype: jnp.dtype) -> str:
    if backend == "gpu" and dtype == jnp.bfloat16:
        return "cudnn"
    return "blocked" if backend == "cpu" else "xla"


def _attend_blocked(q, k, v, scale, segments_BT, stretches):
    """Stretches of queries, each looking at no key after its own end.

    Two of them leave out a quarter of the square, of the half that the causal mask throws away;
    four leave out three eighths.
    """
    step = q.shape[2] // stretches
    outs = []
    for end in range(step, q.shape[2] + 1, step):
        rows = None if segments_BT is None else segments_BT[:, :end]
        queries = q[:, :, end - step : end]
        outs.append(_attend_xla(queries, k[:, :, :end], v[:, :, :end], scale, rows, True))
    return jnp.concatenate(outs, axis=2)


def _attend_xla(q, k, v, scale, segments_BT, causal):
    T, S = q.shape[2], k.shape[2]
    # The queries are the last T of S positions.
    mask = jnp.ones((T, S), bool)
    mask = jnp.tril(mask, S - T) if causal else mask
    if segments_BT is not None:
        same = segments_BT[:, None, -T:, None] == segments_BT[:, None, None, :]
        mask = mask & same
    return _attend_masked(q, k, v, scale, mask)


def _attend_masked(q, k, v, scale, mask):
    if cpu.on():
        return cpu.attended(_weighted, q, k, v, scale, mask)
    return _weighted(q, k, v, scale, mask)[0]


def _weighted(q, k, v, scale, mask):
    """(out, exp, total): softmax(logits) v, the exponentials, and their sums over keys."""
    # Dividing by the sums after the product costs T*K divisions instead of T*S.
    logits = _logits(q, k, scale, mask)
    exp = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    total = jnp.sum(exp, axis=-1, keepdims=True)
    out = jnp.einsum("bhts,bhsk->bhtk", exp.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (out / total).astype(v.dtype), exp, total


def attention_weights(q_BHTK: jax.Array, k_BHTK: jax.Array, *, scale: float) -> jax.Array:
    """softmax(scale q k^T + causal mask), (B, H, T, T) float32: for looking at heads."""
    T = q_BHTK.shape[2]
    return jax.nn.softmax(_logits(q_BHTK, k_BHTK, scale, jnp.tril(jnp.ones((T, T), bool))))


def _logits(q, k, scale, mask):
    # Scaling q costs T*K multiplications instead of T*S.
    logits = jnp.einsum("bhtk,bhsk->bhts", q * scale, k, preferred_element_type=jnp.float32)
    return jnp.where(mask, logits, jnp.finfo(jnp.float32).min)


def _attend_cudnn(q, k, v, scale, segments_BT, causal):
    """cuDNN wants (B, T, H, K) and knows nothing of explicit axes, so each device runs it alone."""

    def local(q, k, v, segments):
        to_bthk = lambda x: x.transpose(0, 2, 1, 3)  # noqa: E731
        mask = None
        if segments is not None:
            mask = segments[:, None, :, None] == segments[:, None, None, :]
        out = jax.nn.dot_product_attention(
            to_bthk(q),
            to_bthk(k),
            to_bthk(v),
            scale=scale,
            mask=mask,
            is_causal=causal,
            implementation="cudnn",
        )
        return out.transpose(0, 2, 1, 3)

    heads = spec(*_HEADS)
    rows = None if segments_BT is None else spec("batch", "seq")
    mapped = jax.shard_map(local, in_specs=(heads, heads, heads, rows), out_specs=heads)
    return mapped(q, k, v, segments_BT)
