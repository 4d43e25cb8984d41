"""What an objective is: it owns the batch, from the rows of a source to a loss.

A kind of objective is one file with a frozen dataclass of its options and one line in
`scaling.config.OBJECTIVES`. B rows, T = data.seq_len positions, V vocabulary of the source; the
model's has `extra_ids` more.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.config import DataConfig, ModelConfig, option
from scaling.errors import UserError

Rows = Mapping[str, np.ndarray]
# bits(n) -> (n, B) uint64: of each row its own, a function of (seed of the run, place of the row in
# the endless sequence of rows), so that a resumed run draws what it would have drawn.
Bits = Callable[[int], np.ndarray]


class Field(NamedTuple):
    """One array of a batch: `shape` of a row, the logical axes of these dimensions, and type."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    dtype: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Given:
    """What an objective gets besides parameters and batch. key: of this step, never used before.
    dials: scalars of this step by name, the learning rate ("lr") among them."""

    key: jax.Array
    dials: Mapping[str, jax.Array]


def token_nll(logits_BTV: jax.Array, targets_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(negative log-likelihood, log-partition), both (B, T) float32 in nats.

    The target's logit is picked by comparing with an iota, not by a gather: that works on a
    vocabulary split over devices, and its gradient is no scatter.
    """
    log_z = jax.nn.logsumexp(logits_BTV, axis=-1)
    is_target = jnp.arange(logits_BTV.shape[-1]) == targets_BT[..., None]
    picked = jnp.sum(jnp.where(is_target, logits_BTV, 0.0), axis=-1)
    return log_z - picked, log_z


@dataclasses.dataclass(frozen=True)
class Objective:
    """Cross-entropy of the batch's targets, nll + z_loss * log_z^2, over its weighted places.

    visibility: what of a row the model may see (`scaling.models.base.VISIBILITIES`). next_token:
    whether the model says what comes next, which probes and bits per byte are about.
    """

    visibility: ClassVar[str] = "causal"
    next_token: ClassVar[bool] = True
    z_loss: float = option(
        0.0, "weight of the squared log-partition (PaLM, section 5)", low=0.0, high=1e6
    )

    def check(self, model: ModelConfig, data: DataConfig) -> None:
        """Raises UserError for a model or data that the objective cannot serve."""
        if self.visibility not in model.options.visibilities:
            able = ", ".join(model.options.visibilities)
            raise UserError(
                f"model.name={model.name!r} cannot serve this objective: its positions would have "
                f"to see the row {self.visibility!r}, and they see it {able} only"
            )

    def extra_ids(self, data: DataConfig) -> int:
        """Tokens of its own, numbered from V on."""
        return 0

    def predictions(self, data: DataConfig) -> int:
        """Targets with weight in a full row: what a row counts as in tokens and FLOPs."""
        return data.seq_len

    def flops(self, forward: float, training: float, data: DataConfig) -> tuple[float, float]:
        """FLOPs of one prediction, (forward, training), from those of one position that is read."""
        reads = data.seq_len / self.predictions(data)
        return forward * reads, training * reads

    def layout(self, data: DataConfig) -> dict[str, Field]:
        """Every array of a batch, by name: tokens, targets, weights, and with
        data.documents="masked" segments and positions."""
        kinds = {"tokens": jnp.int32, "targets": jnp.int32, "weights": jnp.float32}
        if data.documents == "masked":
            kinds |= {"segments": jnp.int32, "positions": jnp.int32}
        return {name: Field((data.seq_len,), ("seq",), dtype) for name, dtype in kinds.items()}

    def make(self, rows: Rows, bits: Bits, vocab_size: int) -> Rows:
        """The batch of `layout` from rows of the source (next-token rows). vocab_size: V."""
        return rows

    def dials(self, share: Any) -> dict[str, Any]:
        """Scalars that change along the run, by name; share: of its steps that are behind, a number
        or an array of numbers, which gives arrays."""
        return {}

    def draw(self, batch: Mapping[str, jax.Array], given: Given) -> dict[str, jax.Array]:
        """Arrays (B, ...) for `loss` that hold this step's randomness: drawn for the whole batch,
        so that neither microbatches nor devices change what a row is given."""
        return {}

    def loss(
        self, model: Any, batch: Mapping[str, jax.Array], given: Given
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """(sum of the objective over places, {"nll": sum in nats, "weight": how many}).

        `nll` is of the targets; what is added to it for training is only in the first result.
        """
        return self.cross_entropy(model.forward(batch, self.visibility), batch)

    def cross_entropy(
        self, logits: jax.Array, batch: Mapping[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`loss` from the logits (B, T, V)."""
        nll, log_z = token_nll(logits, batch["targets"])
        weights = batch["weights"]
        nll_sum = jnp.sum(nll * weights)
        total = nll_sum
        if self.z_loss:
            total = total + self.z_loss * jnp.sum(jnp.square(log_z) * weights)
        return total, {"nll": nll_sum, "weight": jnp.sum(weights)}
