"""Small pieces that models are built from. B rows, T positions, D width, H heads, K head size."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.models import cpu
from scaling.models.params import param
from scaling.sharding import gather, spec, ways


def dense(x: jax.Array, weight: nnx.Param, *out_axes: str | None) -> jax.Array:
    """x (..., in) times weight (in, out), in x's dtype; the result is laid out as `out_axes`.

    Naming the result's layout is what turns a product over a split dimension into an all-reduce.
    """
    # Cast first: in bfloat16 the gather moves half the bytes.
    w = gather(weight[...].astype(x.dtype), *weight.get_metadata("axes"))
    if cpu.on():
        return cpu.product(x, w, spec(*out_axes))
    return jnp.einsum("...i,io->...o", x, w, out_sharding=spec(*out_axes))


def dense_many(x: jax.Array, *weights: nnx.Param) -> list[jax.Array]:
    """`dense` of one x (B, T, in) with several weights, each split as its own output dimension."""
    # Under FSDP a joined copy would be kept for going backwards, which is what remat by gathering
    # again is there to avoid.
    if cpu.on() and ways("embed") * ways("mlp") == 1:
        return cpu.products(x, *weights)
    return [dense(x, w, "batch", "seq", w.get_metadata("axes")[1]) for w in weights]


def tied_head(x_BTD: jax.Array, embedding: nnx.Param) -> jax.Array:
    """Logits (B, T, V) in x's dtype by the embedding (V, D)."""
    table = gather(embedding[...], "vocab", "embed").astype(x_BTD.dtype)
    return jnp.einsum("btd,vd->btv", x_BTD, table, out_sharding=spec("batch", "seq", "vocab"))


class Norm(nnx.Module):
    """RMSNorm or LayerNorm over the last dimension, with a gain and no bias, in float32.

    `eps` is added to the mean square (or variance) under the root."""

    def __init__(self, size: int, kind: str, eps: float):
        self.gain = param(jnp.ones(size), (None,), "norm")
        self.kind, self.eps = kind, eps

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        if self.kind == "layernorm":
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + self.eps)
        return (y * self.gain[...]).astype(x.dtype)


def activation(kind: str, x: jax.Array) -> jax.Array:
    """The non-linearity of an MLP without a gate."""
    if kind == "gelu":
        return jax.nn.gelu(x)
    assert kind == "relu2", kind
    return jnp.square(jax.nn.relu(x))


def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) * up (Shazeer 2020)."""
    return cpu.swiglu(gate, up) if cpu.on() else jax.nn.silu(gate) * up


def rope_table(positions_T: jax.Array, head_size: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """cos and sin of shape (..., T, head_size / 2), float32 (Su et al. 2021, eq. 34)."""
    frequency = theta ** (-jnp.arange(0, head_size, 2, dtype=jnp.float32) / head_size)
    angle = positions_T[..., None].astype(jnp.float32) * frequency
    return jnp.cos(angle), jnp.sin(angle)


def rope(x_BHTK: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates pairs (i, i + K/2); cos and sin broadcast against (B, H, T, K/2)."""
    return cpu.rotated(_rotate, x_BHTK, cos, sin) if cpu.on() else _rotate(x_BHTK, cos, sin)


def _rotate(x_BHTK, cos, sin):
    a, b = jnp.split(x_BHTK, 2, axis=-1)
    cos, sin = cos.astype(x_BHTK.dtype), sin.astype(x_BHTK.dtype)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def sinusoids(positions_T: jax.Array, width: int) -> jax.Array:
    """Fixed position code (..., T, width) of Vaswani et al. 2017, section 3.5."""
    half = (width + 1) // 2
    frequency = jnp.exp(-math.log(10_000.0) * jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions_T[..., None].astype(jnp.float32) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)[..., :width]


def softcap(logits: jax.Array, cap: float) -> jax.Array:
    """cap * tanh(logits / cap) (Gemma 2 report, 2024, section 2); cap 0 is the identity."""
    return cap * jnp.tanh(logits / cap) if cap else logits
