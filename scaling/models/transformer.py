"""A decoder-only transformer (pre-norm) as an NNX pytree.

B rows, T positions, D width, H query heads, K head size, V vocabulary. Parameters are float32;
activations are `config.dtype`; norms, attention weights and logits are float32. Layers are stacked
along a leading axis: one set of arrays whatever the depth.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.config import ModelConfig
from scaling.models import layers, mup
from scaling.models.attention import attend, attention_weights
from scaling.models.params import param
from scaling.sharding import constrain, gather, spec

# Up to this depth an unrolled stack compiles fast enough to be worth its speed on CPU, where
# a scan over layers costs almost a factor of two (experiments/bench/throughput.py).
UNROLL_UP_TO = 8


def _all_but_gathered(primitive, *_, **__) -> bool:
    """Keeps every intermediate but gathered weights: FSDP gathers them again going backwards."""
    return primitive.name != "reshard"


def _products(primitive, *args, **params) -> bool:
    """Keeps the results of matrix products, also of those behind a rule of our own."""
    if primitive.name == "custom_vjp_call":
        return "dot_general" in str(params["call_jaxpr"])
    return jax.checkpoint_policies.checkpoint_dots(primitive, *args, **params)


_POLICIES = {
    "none": None,
    "dots": _products,
    "block": jax.checkpoint_policies.nothing_saveable,
}


class Attention(nnx.Module):
    """Multi-head, grouped-query or multi-query causal self-attention."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, self.config = config.width, config
        self.n_heads = config.n_heads
        self.n_kv_heads = config.n_kv_heads or config.n_heads
        self.head_size = config.head_size or D // config.n_heads
        kv_axis = "heads" if self.n_kv_heads == self.n_heads else "kv_heads"
        q_size, kv_size = self.n_heads * self.head_size, self.n_kv_heads * self.head_size
        new = functools.partial(_matrix, config, role="attention", rngs=rngs)
        self.query = new((D, q_size), ("embed", "heads"))
        self.key = new((D, kv_size), ("embed", kv_axis))
        self.value = new((D, kv_size), ("embed", kv_axis))
        self.out = new((q_size, D), ("heads", "embed"), zero=config.zero_init_out)
        if config.qk_norm:
            self.query_norm = layers.Norm(self.head_size, "rmsnorm", config.norm_eps)
            self.key_norm = layers.Norm(self.head_size, "rmsnorm", config.norm_eps)

    def __call__(self, x_BTD, rope_table, segments_BT):
        q, k, v = self._projected(x_BTD, rope_table)
        return self._attended(q, k, v, segments_BT=segments_BT)

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
        if self.config.qk_norm:
            q, k = self.query_norm(q), self.key_norm(k)
        if rope_table is not None:
            q, k = layers.rope(q, *rope_table), layers.rope(k, *rope_table)
        return q, k, v

    def _attended(self, q, k, v, **masks):
        cfg = self.config
        scale = mup.attention_scale(cfg)
        k, v = self._repeat(k), self._repeat(v)
        out = attend(q, k, v, scale=scale, kernel=cfg.attention, **masks)
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
        D, F = config.width, round(config.mlp_ratio * config.width)
        new = functools.partial(_matrix, config, role="mlp", rngs=rngs)
        self.kind = config.activation
        self.up = new((D, F), ("embed", "mlp"))
        if config.activation == "swiglu":
            self.gate = new((D, F), ("embed", "mlp"))
        self.down = new((F, D), ("mlp", "embed"), zero=config.zero_init_out)

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
        self.attention_norm = layers.Norm(config.width, config.norm, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = layers.Norm(config.width, config.norm, config.norm_eps)
        self.mlp = MLP(config, rngs=rngs)
        self.residual_scale = mup.residual_scale(config)

    def __call__(self, x_BTD, rope_table, segments_BT):
        attended = self.attention(self.attention_norm(x_BTD), rope_table, segments_BT)
        return self._residual(x_BTD, attended)

    def extend(self, x_BTD, *rest):
        """(output, keys, values); see `Attention.extend`."""
        attended, keys, values = self.attention.extend(self.attention_norm(x_BTD), *rest)
        return self._residual(x_BTD, attended), keys, values

    def _residual(self, x_BTD, attended_BTD):
        s = self.residual_scale
        x_BTD = x_BTD + s * attended_BTD
        return x_BTD + s * self.mlp(self.mlp_norm(x_BTD))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values (L, B, G, S, K) of what rows have read. valid (B, S): places that hold a
    token and not padding. used: int32, places filled so far, the same in every row."""

    keys: jax.Array
    values: jax.Array
    valid: jax.Array
    used: jax.Array


class Transformer(nnx.Module):
    """tokens (B, T) -> logits (B, T, V). Static fields hold the config; arrays are parameters."""

    def __init__(self, config: ModelConfig, *, vocab_size: int, seq_len: int, rngs: nnx.Rngs):
        self.config, self.vocab_size = config, vocab_size
        D, V = config.width, vocab_size
        self.embedding = _matrix(config, (V, D), ("vocab", "embed"), role="embedding", rngs=rngs)
        if config.position == "learned":
            shape = (seq_len, D)
            self.position = _matrix(config, shape, (None, "embed"), role="position", rngs=rngs)
        keys = jax.random.split(rngs.params(), config.depth)
        self.blocks = jax.vmap(lambda key: Block(config, rngs=nnx.Rngs(params=key)))(keys)
        self.final_norm = layers.Norm(D, config.norm, config.norm_eps)
        if not config.tied:
            self.head = _matrix(config, (D, V), ("embed", "vocab"), role="head", rngs=rngs)

    def __call__(
        self,
        tokens_BT: jax.Array,
        segments_BT: jax.Array | None = None,
        positions_BT: jax.Array | None = None,
    ) -> jax.Array:
        """Float32 logits (B, T, V). `positions_BT` defaults to 0..T-1 in every row."""
        positions = jnp.arange(tokens_BT.shape[1]) if positions_BT is None else positions_BT
        x_BTD = self._embed(tokens_BT, positions)
        x_BTD = self._stack(x_BTD, self._rope_table(positions), segments_BT)
        return self._logits(self.final_norm(x_BTD))

    def attention_weights(self, tokens_BT: jax.Array) -> jax.Array:
        """(L, B, H, T, T) float32: weight of key s for query t in every head, for looking at."""
        positions = jnp.arange(tokens_BT.shape[1])
        rope_table = self._rope_table(positions)

        def layer(x, block):
            weights = block.attention.weights(block.attention_norm(x), rope_table)
            return block(x, rope_table, None), weights

        return jax.lax.scan(layer, self._embed(tokens_BT, positions), self.blocks)[1]

    def new_cache(self, batch: int, size: int) -> Cache:
        """An empty cache for `batch` rows of at most `size` places."""
        cfg = self.config
        heads, head_size = cfg.n_kv_heads or cfg.n_heads, cfg.head_size or cfg.width // cfg.n_heads
        kv_axis = "heads" if heads == cfg.n_heads else "kv_heads"
        zeros = jnp.zeros((cfg.depth, batch, heads, size, head_size), cfg.dtype)
        zeros = constrain(zeros, None, "batch", kv_axis, "seq", None)
        valid = constrain(jnp.zeros((batch, size), bool), "batch", "seq")
        return Cache(zeros, zeros, valid, jnp.zeros((), jnp.int32))

    def extend(
        self, tokens_BT: jax.Array, is_token_BT: jax.Array, cache: Cache
    ) -> tuple[jax.Array, Cache]:
        """Logits (B, T, V) of T more places and the cache with them; `is_token` is False at pads.

        Equal to a full forward over each row's tokens without its pads. The caller sees to it that
        the cache has T places left.
        """
        T, S = tokens_BT.shape[1], cache.valid.shape[1]
        before = jnp.sum(cache.valid, axis=1, keepdims=True, dtype=jnp.int32)
        seen = before + jnp.cumsum(is_token_BT, axis=1, dtype=jnp.int32)
        positions = jnp.maximum(seen - 1, 0)
        valid = jax.lax.dynamic_update_slice_in_dim(cache.valid, is_token_BT, cache.used, axis=1)
        causal = jnp.arange(S) <= cache.used + jnp.arange(T)[:, None]
        mask_BTS = causal & valid[:, None, :]
        rope_table = self._rope_table(positions)

        def layer(x, inputs):
            block, keys, values = inputs
            x, *cached = block.extend(x, rope_table, mask_BTS, keys, values, cache.used)
            return x, tuple(cached)

        x_BTD = self._embed(tokens_BT, positions)
        x_BTD, (keys, values) = jax.lax.scan(layer, x_BTD, (self.blocks, cache.keys, cache.values))
        logits = self._logits(self.final_norm(x_BTD))
        return logits, Cache(keys, values, valid, cache.used + T)

    def _rope_table(self, positions):
        """cos and sin, (1 or B, 1, T, K/2): with a heads axis to broadcast over; None without."""
        cfg = self.config
        if cfg.position != "rope":
            return None
        head_size = cfg.head_size or cfg.width // cfg.n_heads
        tables = layers.rope_table(positions, head_size, cfg.rope_theta)
        return tuple(t[None, None] if t.ndim == 2 else t[:, None] for t in tables)

    def _embed(self, tokens_BT, positions):
        table = gather(self.embedding[...], "vocab", "embed")
        x_BTD = table.at[tokens_BT].get(out_sharding=spec("batch", "seq", "model"))
        if self.config.position == "learned":
            places = gather(self.position[...], None, "embed")
            x_BTD = x_BTD + places.at[positions].get(out_sharding=_like(positions))
        elif self.config.position == "sinusoidal":
            x_BTD = x_BTD + layers.sinusoids(positions, self.config.width)
        return x_BTD.astype(self.config.dtype)

    def _stack(self, x_BTD, rope_table, segments_BT):
        cfg = self.config

        def layer(x, block):
            return block(x, rope_table, segments_BT), None

        # XLA merges a recomputation in an unrolled stack with the original, so whatever is to be
        # computed again going backwards (remat, gathered weights) wants a scan.
        fsdp = jax.sharding.get_abstract_mesh().shape["fsdp"] > 1
        shallow = cfg.depth <= UNROLL_UP_TO and cfg.remat == "none" and not fsdp
        unroll = cfg.layers == "unroll" or (cfg.layers == "auto" and shallow)
        policy = _POLICIES[cfg.remat]
        if policy is None and fsdp and not unroll:
            policy = _all_but_gathered
        if policy is not None:
            layer = jax.checkpoint(layer, policy=policy, prevent_cse=unroll)
        return jax.lax.scan(layer, x_BTD, self.blocks, unroll=cfg.depth if unroll else 1)[0]

    def _logits(self, x_BTD):
        if self.config.tied:
            table = gather(self.embedding[...], "vocab", "embed").astype(x_BTD.dtype)
            logits = jnp.einsum(
                "btd,vd->btv", x_BTD, table, out_sharding=spec("batch", "seq", "vocab")
            )
        else:
            logits = layers.dense(x_BTD, self.head, "batch", "seq", "vocab")
        logits = logits.astype(jnp.float32) * mup.logit_scale(self.config)
        return layers.softcap(logits, self.config.logit_softcap)


def _like(positions):
    return spec("seq", "model") if positions.ndim == 1 else spec("batch", "seq", "model")


def _matrix(config, shape, axes, *, role, rngs, zero=False):
    """A normal matrix with the parametrisation's standard deviation, or zeros."""
    if zero:
        return param(jnp.zeros(shape), axes, role)
    std = mup.init_std(config, role, fan_in=shape[0])
    return param(std * jax.random.normal(rngs.params(), shape), axes, role)
