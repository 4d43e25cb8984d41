"""Small pieces that models are built from. B rows, T positions, D width, H heads, K head size."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.models.params import param
from scaling.sharding import constrain, gather, spec


def dense(x: jax.Array, weight: nnx.Param, *out_axes: str | None) -> jax.Array:
    """x (..., in) times weight (in, out), in x's dtype; the result is laid out as `out_axes`.

    Naming the result's layout is what turns a product over a split dimension into an all-reduce.
    """
    # Cast first: in bfloat16 the gather moves half the bytes.
    w = gather(weight[...].astype(x.dtype), *weight.get_metadata("axes"))
    return _product(x, w, spec(*out_axes))


def dense_many(x: jax.Array, *weights: nnx.Param) -> list[jax.Array]:
    """`dense` of one x (B, T, in) with several weights, each split as its own output dimension.

    Where every device keeps whole weights they stand side by side in one product, which reads x
    once and turns the narrow products going backwards into a wide one: 3 to 8 % less CPU time a
    step. Under FSDP the joined copy would be kept for going backwards, which is what remat by
    gathering again is there to avoid.
    """
    outs = [w.get_metadata("axes")[1] for w in weights]
    mesh = jax.sharding.get_abstract_mesh().shape
    if mesh["fsdp"] * mesh["tensor"] > 1:
        return [dense(x, w, "batch", "seq", out) for w, out in zip(weights, outs, strict=True)]
    whole = [gather(w[...].astype(x.dtype), None, None) for w in weights]
    y = _product(x, jnp.concatenate(whole, axis=1), spec("batch", "seq", None))
    ends = list(itertools.accumulate(w.shape[1] for w in whole))
    parts = jnp.split(y, ends[:-1], axis=-1)
    return [constrain(part, "batch", "seq", out) for part, out in zip(parts, outs, strict=True)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x: jax.Array, w: jax.Array, layout: jax.P) -> jax.Array:
    return jnp.einsum("...i,io->...o", x, w, out_sharding=layout)


def _product_forward(x, w, layout):
    return _product(x, w, layout), (x, w)


def _product_backward(layout, residuals, g):
    """The two products that jax would make, with the weight's gradient asked for as XLA likes it.

    jax's own rule computes it transposed, and XLA on CPU then copies the larger operand with its
    dimensions swapped: 16 % of the CPU time of a step at 4 layers of width 128. Here the operand
    that is copied is the narrower one.
    """
    x, w = residuals
    dx = jnp.einsum("...o,io->...i", g, w, out_sharding=jax.typeof(x).sharding.spec)
    split = jax.typeof(w).sharding.spec
    if jax.default_backend() == "cpu" and w.shape[0] > w.shape[1]:
        dw_oi = jnp.einsum("...o,...i->oi", g, x, out_sharding=jax.P(*split[::-1]))
        # The barrier keeps XLA from folding the transpose back into the product.
        return dx, jax.lax.optimization_barrier(dw_oi).T
    return dx, jnp.einsum("...i,...o->io", x, g, out_sharding=split)


_product.defvjp(_product_forward, _product_backward)


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


@jax.custom_vjp
def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) * up (Shazeer 2020), keeping nothing but its inputs for going backwards."""
    return jax.nn.silu(gate) * up


def _swiglu_backward(residuals, g):
    gate, up = residuals
    s = jax.nn.sigmoid(gate)
    g = g * s
    return g * up * (1 + gate * (1 - s)), g * gate


swiglu.defvjp(lambda gate, up: (swiglu(gate, up), (gate, up)), _swiglu_backward)


def rope_table(positions_T: jax.Array, head_size: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """cos and sin of shape (..., T, head_size / 2), float32 (Su et al. 2021, eq. 34)."""
    frequency = theta ** (-jnp.arange(0, head_size, 2, dtype=jnp.float32) / head_size)
    angle = positions_T[..., None].astype(jnp.float32) * frequency
    return jnp.cos(angle), jnp.sin(angle)


@jax.custom_vjp
def rope(x_BHTK: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotates pairs (i, i + K/2); cos and sin broadcast against (B, H, T, K/2)."""
    half = x_BHTK.shape[-1] // 2
    a, b = x_BHTK[..., :half], x_BHTK[..., half:]
    cos, sin = cos.astype(x_BHTK.dtype), sin.astype(x_BHTK.dtype)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


# The gradient of a rotation is the rotation back; jax would pad and add up four halves.
rope.defvjp(
    lambda x, cos, sin: (rope(x, cos, sin), (cos, sin)),
    lambda table, g: (rope(g, table[0], -table[1]), None, None),
)


def sinusoids(positions_T: jax.Array, width: int) -> jax.Array:
    """Fixed position code (..., T, width) of Vaswani et al. 2017, section 3.5."""
    half = (width + 1) // 2
    frequency = jnp.exp(-math.log(10_000.0) * jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions_T[..., None].astype(jnp.float32) * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)[..., :width]


def softcap(logits: jax.Array, cap: float) -> jax.Array:
    """cap * tanh(logits / cap) (Gemma 2 report, 2024, section 2); cap 0 is the identity."""
    return cap * jnp.tanh(logits / cap) if cap else logits
