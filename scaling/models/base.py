"""What a model is: its options with what is known of it unbuilt, and the module itself.

A kind of model is one file with an `Architecture` (its own options) and a `Model` that the
architecture builds, and one line in `scaling.config.MODELS`. What every model shares (width, depth,
compute type, parametrisation) is in `ModelConfig`. B rows, T positions, V vocabulary.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
from flax import nnx

from scaling.config import ModelConfig
from scaling.models.params import ParamInfo, infos
from scaling.sharding import abstract_mesh, parse_mesh, use_mesh

VISIBILITIES = ("causal", "full")


class Mixing(NamedTuple):
    """FLOPs of one token, forward, in which no parameter takes part: products over the context
    (a multiply-add is two), those of them that no mask throws away, and element-wise work on the
    weights of a softmax (which only appendix F of Hoffmann et al. 2022 counts)."""

    products: float = 0.0
    unmasked: float = 0.0
    elementwise: float = 0.0


class MatrixCost(NamedTuple):
    """Of a model's matrices: multiply-adds of one token in all of them (a head that is also the
    embedding counts, a look-up does not), and entries of the embedding."""

    products: float
    embedding: float


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Options of a kind of model, as fields, and what is known of it before it is built.

    `visibilities`: what of a row its positions may be allowed to see, of VISIBILITIES.
    """

    visibilities: ClassVar[tuple[str, ...]] = ("causal",)

    def check(self, model: ModelConfig) -> None:
        """Raises UserError for settings that are no model."""

    def check_backend(self, backend: str) -> None:
        """Raises UserError for settings that cannot run on "cpu", "gpu" or "tpu"."""

    def build(self, model: ModelConfig, *, vocab_size: int, seq_len: int, rngs: nnx.Rngs):
        """The `Model`, its parameters new. Called under `jax.eval_shape` and `jit` too."""
        raise NotImplementedError

    def split_sizes(self, model: ModelConfig) -> list[tuple[str, str, int]]:
        """(logical axis, field, size) of what a mesh may split, besides rows and vocabulary."""
        return [("embed", "model.width", model.width)]

    def widest(self, model: ModelConfig) -> int:
        """Numbers that the widest activation of a layer has per position."""
        return model.width

    def sizes_in_words(self, model: ModelConfig) -> str:
        """The fields that its memory follows from, for messages."""
        return f"model.width={model.width}, model.depth={model.depth}"

    def mixing(self, model: ModelConfig, seq_len: int) -> Mixing:
        """What a token costs besides the products with parameters."""
        return Mixing()

    def unrolled(self, seq_len: int) -> "Architecture":
        """The same computation without loops or kernels of a backend's own, for XLA to count."""
        return self

    def param_counts(self, model: ModelConfig, vocab_size: int, seq_len: int) -> Mapping[str, int]:
        """Parameters by role. A closed form may take the place of this reading of the model."""
        counts: dict[str, int] = collections.Counter()
        for size, info in _parameters(model, vocab_size, seq_len):
            counts[info.role] += size
        return counts

    def matrix_cost(self, model: ModelConfig, vocab_size: int, seq_len: int) -> MatrixCost:
        """From the parameters as well: every matrix is multiplied with once a token."""
        found = _parameters(model, vocab_size, seq_len)
        embedding = sum(size for size, info in found if info.role == "embedding")
        looked_up = ("embedding", "position")
        products = sum(n for n, info in found if info.is_matrix and info.role not in looked_up)
        return MatrixCost(products + (embedding if model.tied else 0), embedding)


def new_model(model: ModelConfig, vocab_size: int, seq_len: int, key: jax.Array) -> "Model":
    """The model of `model`, its parameters drawn from `key`. Call it under a mesh."""
    rngs = nnx.Rngs(params=key)
    return model.options.build(model, vocab_size=vocab_size, seq_len=seq_len, rngs=rngs)


def abstract_model(model: ModelConfig, vocab_size: int, seq_len: int) -> "Model":
    """`new_model` with shapes in place of arrays: traced, not made."""
    # The key is abstract too: nothing may be computed where the mesh is only planned.
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(functools.partial(new_model, model, vocab_size, seq_len), key)


@functools.lru_cache(maxsize=256)
def _parameters(model: ModelConfig, vocab_size: int, seq_len: int) -> list[tuple[int, ParamInfo]]:
    """(size, ParamInfo) of every parameter of the model, which is traced and not made."""
    with use_mesh(abstract_mesh(parse_mesh(""))):
        abstract = abstract_model(model, vocab_size, seq_len)
    leaves = zip(jax.tree.leaves(abstract), jax.tree.leaves(infos(abstract)), strict=True)
    return [(math.prod(array.shape), info) for array, info in leaves]


class Model(nnx.Module):
    """A module whose arrays are all parameters (`scaling.models.params.param`)."""

    def __call__(
        self,
        tokens_BT: jax.Array,
        segments_BT: jax.Array | None = None,
        positions_BT: jax.Array | None = None,
        *,
        visibility: str = "causal",
    ) -> jax.Array:
        """Float32 logits (B, T, V). Nothing is seen across segments; positions default to 0..T-1.
        visibility: of VISIBILITIES, one that the architecture has."""
        raise NotImplementedError

    def forward(self, batch: Mapping[str, jax.Array], visibility: str = "causal") -> jax.Array:
        """Logits (B, T, V) of a batch."""
        inputs = (batch["tokens"], batch.get("segments"), batch.get("positions"))
        return self(*inputs, visibility=visibility)


class Grows:
    """A model that reads on: what it has read of a row is kept in a cache."""

    def new_cache(self, batch: int, size: int) -> Any:
        """An empty cache for `batch` rows of at most `size` places."""
        raise NotImplementedError

    def extend(self, tokens_BT: jax.Array, is_token_BT: jax.Array, cache: Any):
        """(logits (B, T, V) of T more places, the cache with them); `is_token` is False at pads.

        Equal to a full forward over each row's tokens without its pads. The caller sees to it that
        the cache has T places left.
        """
        raise NotImplementedError


class ShowsAttention:
    """A model whose attention can be looked at."""

    def attention_weights(self, tokens_BT: jax.Array) -> jax.Array:
        """(L, B, H, T, T) float32: weight of key s for query t in every head."""
        raise NotImplementedError
