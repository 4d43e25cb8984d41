"""A transformer (pre-norm), causal or seeing the whole row, as an NNX pytree.

B rows, T positions, D width, H query heads, K head size, V vocabulary. Parameters are float32;
activations are `config.dtype`; norms, attention weights and logits are float32. Layers are stacked
along a leading axis: one set of arrays whatever the depth.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.config import ModelConfig, option
from scaling.errors import UserError
from scaling.models import cpu, layers, mup
from scaling.models.base import (
    Architecture,
    Grows,
    MatrixCost,
    Mixing,
    Model,
    ShowsAttention,
)
from scaling.models.blocks import Block, matrix
from scaling.sharding import constrain, gather, spec, ways


@dataclasses.dataclass(frozen=True)
class TransformerOptions(Architecture):
    """A pre-norm transformer. D width, L layers, H query heads, G key/value heads, K head size, F
    hidden size of the MLP. None means "derive it"."""

    visibilities: ClassVar[tuple[str, ...]] = ("causal", "full")

    n_heads: int = option(4, "query heads", low=1)
    n_kv_heads: int | None = option(None, "key/value heads (None: n_heads; 1: MQA)", low=1)
    head_size: int | None = option(None, "size of a head (None: width / n_heads)", low=1)
    mlp_ratio: float = option(4.0, "MLP hidden size over width", low=0.01, high=1000.0)
    norm: str = option("rmsnorm", "normalisation", choices=("rmsnorm", "layernorm"))
    norm_eps: float = option(
        1e-6, "added to the mean square under a norm's root", low=1e-20, high=1.0
    )
    activation: str = option("gelu", "MLP non-linearity", choices=("gelu", "swiglu", "relu2"))
    position: str = option(
        "rope", "position code", choices=("rope", "learned", "sinusoidal", "none")
    )
    rope_theta: float = option(10_000.0, "RoPE base wavelength", low=1.0)
    qk_norm: bool = option(False, "normalise queries and keys per head (learned gain)")
    zero_init_out: bool = option(False, "zero-initialise the output projections of every block")
    layers: str = option(
        "auto",
        "scan the stack, unroll it, or choose by depth and backend",
        choices=("auto", "scan", "unroll"),
    )
    remat: str = option(
        "none", "what the backward pass recomputes", choices=("none", "dots", "block")
    )
    attention: str = option("auto", "attention kernel", choices=("auto", "xla", "blocked", "cudnn"))

    def heads(self, model: ModelConfig) -> tuple[int, int, int]:
        """(H, G, K) with every "derive it" resolved."""
        size = self.head_size or model.width // self.n_heads
        return self.n_heads, self.n_kv_heads or self.n_heads, size

    def hidden(self, model: ModelConfig) -> int:
        """F."""
        return round(self.mlp_ratio * model.width)

    def check(self, model: ModelConfig) -> None:
        width, heads = f"model.width={model.width}", f"model.transformer.n_heads={self.n_heads}"
        if self.head_size is None and model.width % self.n_heads:
            raise UserError(f"{width} is not a multiple of {heads}")
        H, G, K = self.heads(model)
        if self.position == "rope" and K % 2:
            derived = "" if self.head_size else f" ({width} / {heads})"
            raise UserError(
                f"RoPE needs an even head size; model.transformer.head_size is {K}{derived}"
            )
        if H % G:
            raise UserError(f"{heads} is not a multiple of model.transformer.n_kv_heads={G}")
        if self.attention == "cudnn" and model.dtype != "bfloat16":
            raise UserError(
                "model.transformer.attention='cudnn' computes in bfloat16 only; set model.dtype"
            )
        if self.hidden(model) < 1:
            raise UserError(
                f"model.transformer.mlp_ratio={self.mlp_ratio} gives an empty MLP at {width}"
            )

    def check_backend(self, backend: str) -> None:
        if self.attention == "cudnn" and backend != "gpu":
            raise UserError(
                f"model.transformer.attention='cudnn' needs a GPU, this is {backend}; 'auto' takes "
                "the best there is, and 'xla' gives an upper bound of the memory"
            )

    def build(self, model: ModelConfig, *, vocab_size: int, seq_len: int, rngs: nnx.Rngs):
        return Transformer(model, vocab_size=vocab_size, seq_len=seq_len, rngs=rngs)

    def split_sizes(self, model: ModelConfig) -> list[tuple[str, str, int]]:
        return [
            ("heads", "model.transformer.n_heads", self.n_heads),
            ("mlp", "MLP hidden size", self.hidden(model)),
            ("embed", "model.width", model.width),
        ]

    def widest(self, model: ModelConfig) -> int:
        return self.hidden(model)

    def sizes_in_words(self, model: ModelConfig) -> str:
        own = f"n_heads={self.n_heads}, head_size={self.head_size}, mlp_ratio={self.mlp_ratio:g}"
        return f"{super().sizes_in_words(model)}, model.transformer: {own}"

    def mixing(self, model: ModelConfig, seq_len: int) -> Mixing:
        """Logits and weighted sum: two products of T x K per head and query. Half of the square is
        masked, as Dao 2023 (arXiv 2307.08691, section 4.1) counts; the entries on and below the
        diagonal are (T + 1) / 2T of it."""
        H, _, K = self.heads(model)
        products = 2.0 * model.depth * 2 * seq_len * K * H
        return Mixing(products, products / 2, 3.0 * model.depth * seq_len * H)

    def unrolled(self, seq_len: int) -> "TransformerOptions":
        return dataclasses.replace(self, layers="unroll", attention="xla")

    def param_counts(self, model: ModelConfig, vocab_size: int, seq_len: int) -> dict[str, int]:
        """In closed form. A tied head has none of its own. Norms have a gain and no bias."""
        H, G, K = self.heads(model)
        D, L = model.width, model.depth
        mlp_matrices = 3 if self.activation == "swiglu" else 2
        return {
            "embedding": vocab_size * D,
            "position": seq_len * D if self.position == "learned" else 0,
            "attention": L * 2 * D * K * (H + G),
            "mlp": L * mlp_matrices * D * self.hidden(model),
            "norm": L * (2 * D + (2 * K if self.qk_norm else 0)) + D,
            "head": 0 if model.tied else D * vocab_size,
        }

    def matrix_cost(self, model: ModelConfig, vocab_size: int, seq_len: int) -> MatrixCost:
        counts = self.param_counts(model, vocab_size, seq_len)
        D = model.width
        return MatrixCost(counts["attention"] + counts["mlp"] + D * vocab_size, vocab_size * D)


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values (L, B, G, S, K) of what rows have read. valid (B, S): places that hold a
    token and not padding. used: int32, places filled so far, the same in every row."""

    keys: jax.Array
    values: jax.Array
    valid: jax.Array
    used: jax.Array


class Transformer(Model, Grows, ShowsAttention):
    """tokens (B, T) -> logits (B, T, V). Static fields hold the config; arrays are parameters."""

    def __init__(self, config: ModelConfig, *, vocab_size: int, seq_len: int, rngs: nnx.Rngs):
        self.config, self.vocab_size = config, vocab_size
        D, V = config.width, vocab_size
        self.embedding = matrix(config, (V, D), ("vocab", "embed"), role="embedding", rngs=rngs)
        if config.options.position == "learned":
            shape = (seq_len, D)
            self.position = matrix(config, shape, (None, "embed"), role="position", rngs=rngs)
        keys = jax.random.split(rngs.params(), config.depth)
        self.blocks = jax.vmap(lambda key: Block(config, rngs=nnx.Rngs(params=key)))(keys)
        self.final_norm = layers.Norm(D, config.options.norm, config.options.norm_eps)
        if not config.tied:
            self.head = matrix(config, (D, V), ("embed", "vocab"), role="head", rngs=rngs)

    def __call__(self, tokens_BT, segments_BT=None, positions_BT=None, *, visibility="causal"):
        positions = jnp.arange(tokens_BT.shape[1]) if positions_BT is None else positions_BT
        x_BTD = self._embed(tokens_BT, positions)
        masks = {"segments_BT": segments_BT, "visibility": visibility}
        x_BTD = self._stack(x_BTD, self._rope_table(positions), masks)
        return self._logits(self.final_norm(x_BTD))

    def attention_weights(self, tokens_BT):
        positions = jnp.arange(tokens_BT.shape[1])
        rope_table = self._rope_table(positions)

        def layer(x, block):
            weights = block.attention.weights(block.attention_norm(x), rope_table)
            return block(x, rope_table), weights

        return jax.lax.scan(layer, self._embed(tokens_BT, positions), self.blocks)[1]

    def new_cache(self, batch, size):
        cfg = self.config
        H, G, K = cfg.options.heads(cfg)
        kv_axis = "heads" if G == H else "kv_heads"
        zeros = jnp.zeros((cfg.depth, batch, G, size, K), cfg.dtype)
        zeros = constrain(zeros, None, "batch", kv_axis, "seq", None)
        valid = constrain(jnp.zeros((batch, size), bool), "batch", "seq")
        return Cache(zeros, zeros, valid, jnp.zeros((), jnp.int32))

    def extend(self, tokens_BT, is_token_BT, cache):
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
        own = self.config.options
        if own.position != "rope":
            return None
        head_size = own.heads(self.config)[2]
        tables = layers.rope_table(positions, head_size, own.rope_theta)
        return tuple(t[None, None] if t.ndim == 2 else t[:, None] for t in tables)

    def _embed(self, tokens_BT, positions):
        table = gather(self.embedding[...], "vocab", "embed")
        x_BTD = table.at[tokens_BT].get(out_sharding=spec("batch", "seq", "model"))
        if self.config.options.position == "learned":
            places = gather(self.position[...], None, "embed")
            x_BTD = x_BTD + places.at[positions].get(out_sharding=_like(positions))
        elif self.config.options.position == "sinusoidal":
            x_BTD = x_BTD + layers.sinusoids(positions, self.config.width)
        return x_BTD.astype(self.config.dtype)

    def _stack(self, x_BTD, rope_table, masks):
        cfg, own = self.config, self.config.options

        def layer(x, block):
            return block(x, rope_table, **masks), None

        # XLA merges a recomputation in an unrolled stack with the original, so whatever is to be
        # computed again going backwards (remat, gathered weights) wants a scan.
        gathered = ways("embed") > 1
        shallow = cfg.depth <= cpu.UNROLL_UP_TO and own.remat == "none" and not gathered
        unroll = own.layers == "unroll" or (own.layers == "auto" and shallow)
        policy = _POLICIES[own.remat]
        if policy is None and gathered and not unroll:
            policy = _all_but_gathered
        if policy is not None:
            layer = jax.checkpoint(layer, policy=policy, prevent_cse=unroll)
        return jax.lax.scan(layer, x_BTD, self.blocks, unroll=cfg.depth if unroll else 1)[0]

    def _logits(self, x_BTD):
        if self.config.tied:
            logits = layers.tied_head(x_BTD, self.embedding)
        else:
            logits = layers.dense(x_BTD, self.head, "batch", "seq", "vocab")
        logits = logits.astype(jnp.float32) * mup.logit_scale(self.config)
        return layers.softcap(logits, self.config.logit_softcap)


def _like(positions):
    return spec("seq", "model") if positions.ndim == 1 else spec("batch", "seq", "model")
