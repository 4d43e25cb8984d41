"""What a transformer is made of: attention, MLP, and the block of both.

B rows, T positions, D width, H query heads, G key/value heads, K head size, F size of the MLP.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.config import ModelConfig
from scaling.models import layers, mup
from scaling.models.attention import attend, attention_weights
from scaling.models.params import param
from scaling.sharding import constrain, spec


def matrix(config, shape, axes, *, role, rngs, zero=False):
    """A normal matrix with the parametrisation's standard deviation, or zeros."""
    if zero:
        return param(jnp.zeros(shape), axes, role)
    std = mup.init_std(config, role, fan_in=shape[0])
    return param(std * jax.random.normal(rngs.params(), shape), axes, role)


class Attention(nnx.Module):
    """Multi-head, grouped-query or multi-query self-attention."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, self.config, own = config.width, config, config.options
        self.n_heads, self.n_kv_heads, self.head_size = own.heads(config)
        kv_axis = "heads" if self.n_kv_heads == self.n_heads else "kv_heads"
        q_size, kv_size = self.n_heads * self.head_size, self.n_kv_heads * self.head_size
        new = functools.partial(matrix, config, role="attention", rngs=rngs)
        self.query = new((D, q_size), ("embed", "heads"))
        self.key = new((D, kv_size), ("embed", kv_axis))
        self.value = new((D, kv_size), ("embed", kv_axis))
        self.out = new((q_size, D), ("heads", "embed"), zero=own.zero_init_out)
        if own.qk_norm:
            self.query_norm = layers.Norm(self.head_size, "rmsnorm", own.norm_eps)
            self.key_norm = layers.Norm(self.head_size, "rmsnorm", own.norm_eps)

    def __call__(self, x_BTD, rope_table, **masks):
        """masks: segments_BT and visibility of `attend`."""
        return self._attended(*self._projected(x_BTD, rope_table), **masks)

    def extend(self, x_BTD, rope_table, mask_BTS, key_BGSK, value_BGSK, start):
        """Attention of T new positions to a cache of S, into which they go at `start`.

        Returns (output, keys, values).
        """
        q, k, v = self._projected(x_BTD, rope_table)
        keys = jax.lax.dynamic_update_slice_in_dim(key_BGSK, k, start, axis=2)
        values = jax.lax.dynamic_update_slice_in_dim(value_BGSK, v, start, axis=2)
        return self._attended(q, keys, values, mask_BTS=mask_BTS), keys, values

    def weights(self, x_BTD, rope_table):
        """Who looks where: (B, H, T, T) float32, rows sum to 1."""
        q, k, _ = self._projected(x_BTD, rope_table)
        scale = mup.attention_scale(self.config)
        return attention_weights(q, self._repeat(k), scale=scale)

    def _projected(self, x_BTD, rope_table):
        """Queries (B, H, T, K), keys and values (B, G, T, K)."""
        q, k, v = layers.dense_many(x_BTD, self.query, self.key, self.value)
        q = self._split(q, self.n_heads)
        k, v = self._split(k, self.n_kv_heads), self._split(v, self.n_kv_heads)
        if self.config.options.qk_norm:
            q, k = self.query_norm(q), self.key_norm(k)
        if rope_table is not None:
            q, k = layers.rope(q, *rope_table), layers.rope(k, *rope_table)
        return q, k, v

    def _attended(self, q, k, v, **masks):
        cfg = self.config
        scale = mup.attention_scale(cfg)
        k, v = self._repeat(k), self._repeat(v)
        out = attend(q, k, v, scale=scale, kernel=cfg.options.attention, **masks)
        B, H, T, K = out.shape
        out = jnp.swapaxes(out, 1, 2).reshape(
            B, T, H * K, out_sharding=spec("batch", "seq", "heads")
        )
        return layers.dense(out, self.out, "batch", "seq", "model")

    def _split(self, x_BTE, n_heads):
        """(B, T, heads * K) -> (B, heads, T, K)."""
        B, T, _ = x_BTE.shape
        axis = jax.typeof(x_BTE).sharding.spec[2]
        split = jax.P(*spec("batch", "seq"), axis, None)
        return jnp.swapaxes(x_BTE.reshape(B, T, n_heads, self.head_size, out_sharding=split), 1, 2)

    def _repeat(self, x_BGSK):
        """Key/value heads (B, G, S, K) -> one per query head (B, H, S, K)."""
        groups = self.n_heads // self.n_kv_heads
        if groups == 1:
            return x_BGSK
        B, G, S, K = x_BGSK.shape
        wide = jnp.broadcast_to(x_BGSK[:, :, None], (B, G, groups, S, K))
        return constrain(wide.reshape(B, G * groups, S, K), "batch", "heads", "seq", None)


class MLP(nnx.Module):
    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, own = config.width, config.options
        F = own.hidden(config)
        new = functools.partial(matrix, config, role="mlp", rngs=rngs)
        self.kind = own.activation
        self.up = new((D, F), ("embed", "mlp"))
        if own.activation == "swiglu":
            self.gate = new((D, F), ("embed", "mlp"))
        self.down = new((F, D), ("mlp", "embed"), zero=own.zero_init_out)

    def __call__(self, x_BTD):
        if self.kind == "swiglu":
            gate, up = layers.dense_many(x_BTD, self.gate, self.up)
            hidden = layers.swiglu(gate, up)
        else:
            hidden = layers.dense(x_BTD, self.up, "batch", "seq", "mlp")
            hidden = layers.activation(self.kind, hidden)
        return layers.dense(hidden, self.down, "batch", "seq", "model")


class Block(nnx.Module):
    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        norm = config.options.norm, config.options.norm_eps
        self.attention_norm = layers.Norm(config.width, *norm)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = layers.Norm(config.width, *norm)
        self.mlp = MLP(config, rngs=rngs)
        self.residual_scale = mup.residual_scale(config)

    def __call__(self, x_BTD, rope_table, **masks):
        attended = self.attention(self.attention_norm(x_BTD), rope_table, **masks)
        return self._residual(x_BTD, attended)

    def extend(self, x_BTD, *rest):
        """(output, keys, values); see `Attention.extend`."""
        attended, keys, values = self.attention.extend(self.attention_norm(x_BTD), *rest)
        return self._residual(x_BTD, attended), keys, values

    def _residual(self, x_BTD, attended_BTD):
        s = self.residual_scale
        x_BTD = x_BTD + s * attended_BTD
        return x_BTD + s * self.mlp(self.mlp_norm(x_BTD))
