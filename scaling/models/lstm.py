"""A stack of LSTM layers (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

B rows, T positions, D width, L layers, V vocabulary. Gates stand beside each other for every unit,
(D, 4) with input, forget, cell and output, so that a mesh may split the units. State is float32,
products are in `config.dtype`.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from scaling.config import ModelConfig, option
from scaling.errors import UserError
from scaling.models import layers
from scaling.models.base import Architecture, Grows, Model
from scaling.models.params import param
from scaling.sharding import constrain, gather, spec

GATES = 4


@dataclasses.dataclass(frozen=True)
class LSTMOptions(Architecture):
    """Every layer has model.width units; there are no norms and no residual stream."""

    forget_bias: float = option(
        1.0, "first bias of the forget gate (Jozefowicz et al. 2015)", low=-10.0, high=10.0
    )
    unroll: int = option(1, "positions in one turn of the loop over a row", low=1, high=10_000_000)

    def check(self, model: ModelConfig) -> None:
        if model.parametrization != "sp":
            raise UserError(
                f"model.parametrization={model.parametrization!r}: no rule for the learning rates "
                "of an lstm is known here; use 'sp' and tune each width"
            )

    def build(self, model: ModelConfig, *, vocab_size: int, seq_len: int, rngs: nnx.Rngs):
        return LSTM(model, vocab_size=vocab_size, rngs=rngs)

    def split_sizes(self, model: ModelConfig) -> list[tuple[str, str, int]]:
        return [(axis, "model.width", model.width) for axis in ("embed", "mlp")]

    def widest(self, model: ModelConfig) -> int:
        return GATES * model.width

    def unrolled(self, seq_len: int) -> "LSTMOptions":
        return dataclasses.replace(self, unroll=seq_len)


class Layer(nnx.Module):
    """x (B, T, D) -> h (B, T, D); state is (h, c), each (B, D)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, self.config = config.width, config
        bound = D**-0.5  # as the units' own width, after torch.nn.LSTM

        def new(axes):
            value = jax.random.uniform(rngs.params(), (D, D * GATES), minval=-bound, maxval=bound)
            return param(value, axes, "recurrent")

        self.input = new(("embed", "mlp"))
        self.recurrent = new(("embed", "mlp"))
        bias = jnp.zeros((D, GATES)).at[:, 1].set(config.options.forget_bias)
        self.bias = param(bias.reshape(-1), ("mlp",), "bias")

    def __call__(self, x_BTD, state, reset_BT, keep_BT):
        """(h at every position, state after the last). reset: forget all before this position.
        keep: False where a position is a pad and changes nothing. None: nowhere."""
        # What the inputs say is one product for all positions; the loop has only the recurrent one.
        said = layers.dense(x_BTD, self.input, "batch", "seq", "mlp")
        recurrent = gather(self.recurrent[...].astype(x_BTD.dtype), "embed", "mlp")
        bias = gather(self.bias[...], "mlp")

        def step(state, inputs):
            said_BE, reset_B, keep_B = inputs
            h, c = _where(reset_B, (jnp.zeros_like(s) for s in state), state)
            product = jnp.einsum(
                "bd,de->be", h.astype(x_BTD.dtype), recurrent, out_sharding=spec("batch", "mlp")
            )
            gates = (said_BE + product).astype(jnp.float32) + bias
            i, f, g, o = jnp.unstack(_by_unit(gates), axis=-1)
            c_new = jax.nn.sigmoid(f) * _split(c) + jax.nn.sigmoid(i) * jnp.tanh(g)
            h_new = jax.nn.sigmoid(o) * jnp.tanh(c_new)
            new = tuple(constrain(s, "batch", "model") for s in (h_new, c_new))
            state = new if keep_B is None else _where(keep_B, new, state)
            return state, state[0]

        inputs = [a if a is None else jnp.moveaxis(a, 1, 0) for a in (said, reset_BT, keep_BT)]
        unroll = min(self.config.options.unroll, x_BTD.shape[1])
        state, h_TBD = jax.lax.scan(step, state, tuple(inputs), unroll=unroll)
        return jnp.moveaxis(h_TBD, 0, 1).astype(x_BTD.dtype), state


def _where(chosen_B, new, state):
    """The arrays (B, D) of `new` in chosen rows, and those of `state` in the others."""
    if chosen_B is None:
        return state
    pairs = zip(new, state, strict=True)
    return tuple(jnp.where(chosen_B[:, None], a, b) for a, b in pairs)


def _by_unit(gates_BE):
    """(B, D * 4) -> (B, D, 4), each device its own units."""
    B, E = gates_BE.shape
    split = jax.P(*spec("batch", "mlp"), None)
    return gates_BE.reshape(B, E // GATES, GATES, out_sharding=split)


def _split(c_BD):
    return constrain(c_BD, "batch", "mlp")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """h and c (L, B, D) float32 of what rows have read."""

    h: jax.Array
    c: jax.Array


class LSTM(Model, Grows):
    def __init__(self, config: ModelConfig, *, vocab_size: int, rngs: nnx.Rngs):
        self.config = config
        D, V = config.width, vocab_size
        scale = D**-0.5 if config.tied else 1.0  # a head's, where it is one
        table = scale * jax.random.normal(rngs.params(), (V, D))
        self.embedding = param(table, ("vocab", "embed"), "embedding")
        keys = jax.random.split(rngs.params(), config.depth)
        self.layers = jax.vmap(lambda key: Layer(config, rngs=nnx.Rngs(params=key)))(keys)
        if not config.tied:
            head = jax.random.normal(rngs.params(), (D, V)) * D**-0.5
            self.head = param(head, ("embed", "vocab"), "head")

    def __call__(self, tokens_BT, segments_BT=None, positions_BT=None, *, visibility="causal"):
        assert visibility == "causal", visibility
        new = None
        if segments_BT is not None:
            changed = segments_BT[:, 1:] != segments_BT[:, :-1]
            new = constrain(jnp.pad(changed, ((0, 0), (1, 0))), "batch", "seq")
        cache = self.new_cache(tokens_BT.shape[0], 0)
        return self._read(tokens_BT, cache, new, None)[0]

    def new_cache(self, batch, size):
        zeros = jnp.zeros((self.config.depth, batch, self.config.width))
        zeros = constrain(zeros, None, "batch", "model")
        return State(zeros, zeros)

    def extend(self, tokens_BT, is_token_BT, cache):
        return self._read(tokens_BT, cache, None, is_token_BT)

    def _read(self, tokens_BT, cache, reset_BT, keep_BT):
        table = gather(self.embedding[...], "vocab", "embed")
        x_BTD = table.at[tokens_BT].get(out_sharding=spec("batch", "seq", "model"))
        x_BTD = x_BTD.astype(self.config.dtype)

        def layer(x, inputs):
            module, h, c = inputs
            return module(x, (h, c), reset_BT, keep_BT)

        stack = (self.layers, cache.h, cache.c)
        # Who wants no loop over the row wants none at all.
        flat = self.config.options.unroll >= tokens_BT.shape[1]
        unroll = self.config.depth if flat else 1
        x_BTD, (h, c) = jax.lax.scan(layer, x_BTD, stack, unroll=unroll)
        return self._logits(x_BTD), State(h, c)

    def _logits(self, x_BTD):
        if self.config.tied:
            logits = layers.tied_head(x_BTD, self.embedding)
        else:
            logits = layers.dense(x_BTD, self.head, "batch", "seq", "vocab")
        return layers.softcap(logits.astype(jnp.float32), self.config.logit_softcap)
