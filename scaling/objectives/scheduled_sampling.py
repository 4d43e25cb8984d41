"""Scheduled sampling: some of what is read is the model's own (Bengio et al. 2015, 1506.03099).

In two passes, as Mihaylova & Martins 2019 (arXiv 1906.07651, section 3) do it for models that read
a row at once: the first pass reads the true tokens and says at every position what it would have
written; the second reads those in place of some of the true ones. No gradient flows through what
was written. Later positions were written after a true past, not after what was written before them.
"""

import dataclasses

import jax
import jax.numpy as jnp

from scaling.config import DataConfig, ModelConfig, option
from scaling.errors import UserError
from scaling.objectives.base import Objective
from scaling.sharding import constrain


@dataclasses.dataclass(frozen=True)
class ScheduledSampling(Objective):
    """The rate at which own tokens are read rises in a straight line over the run, from `first` to
    `last` (Bengio's epsilon is one minus it). At rate 0 the loss is that of `lm`."""

    first: float = option(0.0, "share of own tokens at the first step", low=0.0, high=1.0)
    last: float = option(0.25, "share of own tokens at the last step", low=0.0, high=1.0)

    def check(self, model: ModelConfig, data: DataConfig) -> None:
        super().check(model, data)
        if data.documents == "masked":
            raise UserError(
                "objective.name='scheduled_sampling' would read across documents what it wrote; "
                "set data.documents='stream'"
            )

    def dials(self, share):
        return {"sampling_rate": self.first + (self.last - self.first) * share}

    def flops(self, forward, training, data):
        return super().flops(2 * forward, training + forward, data)

    def draw(self, batch, given):
        rows = jnp.arange(batch["tokens"].shape[0])
        keys = jax.vmap(lambda row: jax.random.key_data(jax.random.fold_in(given.key, row)))(rows)
        return {"row_keys": constrain(keys, "batch", None)}

    def loss(self, model, batch, given):
        tokens = batch["tokens"]
        logits = jax.lax.stop_gradient(model.forward(batch, self.visibility))
        logits = constrain(logits, "batch", "seq", None)

        def one(data, logits_TV):
            writes, reads = jax.random.split(jax.random.wrap_key_data(data))
            # By the Gumbel trick: the likeliest after noise is a sample.
            written = jnp.argmax(logits_TV + jax.random.gumbel(writes, logits_TV.shape), axis=-1)
            return written, jax.random.uniform(reads, logits_TV.shape[:1])

        written, u = jax.vmap(one)(batch["row_keys"], logits)
        before = jnp.concatenate([tokens[:, :1], written[:, :-1].astype(tokens.dtype)], axis=1)
        own = (u < given.dials["sampling_rate"]) & (jnp.arange(tokens.shape[1]) > 0)
        mixed = {**batch, "tokens": jnp.where(own, before, tokens)}
        return super().loss(model, mixed, given)
