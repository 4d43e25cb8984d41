"""What XLA's CPU backend is quick at, and nothing else: the same numbers in forms that suit it.

Products laid out so that no large operand is copied, and gradients written by hand where jax's own
copy and pad. Behind one switch: `on()` is False on accelerators, and inside `off()`, which forward
mode (jvp, Hessian-vector products) needs: jax cannot take a hand-written gradient forwards.
Dimensions as in `scaling.models.attention`. What each is worth is said where it stands, measured
with experiments/bench/throughput.py.
"""

import functools
import itertools
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp

from scaling.sharding import constrain, gather, spec

# Up to this depth an unrolled stack compiles fast enough to be worth its speed, where a scan over
# layers costs almost a factor of two.
UNROLL_UP_TO = 8

# A context that jax's caches of traced functions know of.
_plain = jax.make_user_context(default_value=False)


def on() -> bool:
    """Whether what is traced now may use this file."""
    return jax.default_backend() == "cpu" and not _plain.value


def off() -> AbstractContextManager:
    """Inside, models are traced as they are written, for derivatives of every kind."""
    return _plain(True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x: jax.Array, w: jax.Array, layout: jax.P) -> jax.Array:
    """x (..., in) times w (in, out), laid out as `layout`.

    jax's own rule computes the weight's gradient transposed, and XLA then copies the larger operand
    with its dimensions swapped: 16 % of the time of a step at 4 layers of width 128. Here the
    operand that is copied is the narrower one.
    """
    return jnp.einsum("...i,io->...o", x, w, out_sharding=layout)


def _product_backward(layout, residuals, g):
    x, w = residuals
    dx = jnp.einsum("...o,io->...i", g, w, out_sharding=jax.typeof(x).sharding.spec)
    split = jax.typeof(w).sharding.spec
    if w.shape[0] > w.shape[1]:
        dw_oi = jnp.einsum("...o,...i->oi", g, x, out_sharding=jax.P(*split[::-1]))
        # The barrier keeps XLA from folding the transpose back into the product.
        return dx, jax.lax.optimization_barrier(dw_oi).T
    return dx, jnp.einsum("...i,...o->io", x, g, out_sharding=split)


product.defvjp(lambda x, w, layout: (product(x, w, layout), (x, w)), _product_backward)


def products(x: jax.Array, *weights) -> list[jax.Array]:
    """x (B, T, in) times several weights side by side, as one product: x is read once, and going
    backwards the narrow products are a wide one. 3 to 8 % of the time of a step."""
    whole = [gather(w[...].astype(x.dtype), None, None) for w in weights]
    y = product(x, jnp.concatenate(whole, axis=1), spec("batch", "seq", None))
    ends = list(itertools.accumulate(w.shape[1] for w in whole))
    outs = [w.get_metadata("axes")[1] for w in weights]
    parts = jnp.split(y, ends[:-1], axis=-1)
    return [constrain(part, "batch", "seq", out) for part, out in zip(parts, outs, strict=True)]


@jax.custom_vjp
def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) * up, keeping nothing but its inputs for going backwards."""
    return jax.nn.silu(gate) * up


def _swiglu_backward(residuals, g):
    gate, up = residuals
    s = jax.nn.sigmoid(gate)
    g = g * s
    return g * up * (1 + gate * (1 - s)), g * gate


swiglu.defvjp(lambda gate, up: (swiglu(gate, up), (gate, up)), _swiglu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def rotated(rotate, x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """rotate(x, cos, sin), whose gradient is the rotation back; jax pads and adds four halves."""
    return rotate(x, cos, sin)


rotated.defvjp(
    lambda rotate, x, cos, sin: (rotate(x, cos, sin), (cos, sin)),
    lambda rotate, table, g: (rotate(g, table[0], -table[1]), None, None),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 4))
def attended(forward, q, k, v, scale, mask):
    """The first result of forward(q, k, v, scale, mask) -> (out, exp, total).

    The gradient is as jax would write it, but for two things: sum_s w_ts dw_ts is taken as
    sum_k g_tk out_tk (Dao et al. 2022), and what is summed over queries is put as XLA likes it.
    Together 4 % of the time of a step at 4 layers of width 128.
    """
    return forward(q, k, v, scale, mask)[0]


def _attended_forward(forward, q, k, v, scale, mask):
    out, exp, total = forward(q, k, v, scale, mask)
    return out, (q, k, v, exp, total, out)


def _attended_backward(forward, scale, residuals, g):
    q, k, v, exp, total, out = residuals
    g = g.astype(jnp.float32) / total
    mean = jnp.sum(g * out.astype(jnp.float32), axis=-1, keepdims=True)
    g = g.astype(v.dtype)
    d_exp = jnp.einsum("bhtk,bhsk->bhts", g, v, preferred_element_type=jnp.float32)
    d_logits = (exp * (d_exp - mean)).astype(k.dtype)
    dq = jnp.einsum("bhts,bhsk->bhtk", d_logits, k) * scale
    return dq, _over_queries(d_logits, q * scale), _over_queries(exp.astype(v.dtype), g), None


attended.defvjp(_attended_forward, _attended_backward)


def _over_queries(w_BHTS, x_BHTK):
    """sum_t w[t, s] x[t, k], (B, H, S, K)."""
    # The fast products sum over the last dimension of their left side. The barriers keep XLA from
    # folding the transposes, of the narrow operand and result, into the product.
    columns = jax.lax.optimization_barrier(jnp.swapaxes(x_BHTK, 2, 3))
    sums = jnp.einsum("bhkt,bhts->bhks", columns, w_BHTS)
    return jnp.swapaxes(jax.lax.optimization_barrier(sums), 2, 3)
