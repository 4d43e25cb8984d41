"""Adafactor (Shazeer & Stern 2018, arXiv 1804.04235, algorithm 4)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from scaling.config import option
from scaling.models.params import ParamInfo


class _Average(NamedTuple):
    """The moving average of steps, a tree like the parameters."""

    steps: Any


def _average_of_steps(decay: float) -> optax.GradientTransformationExtraArgs:
    """a <- decay a + (1 - decay) lr u; the update is a / lr, which the caller multiplies by lr."""

    def init(params):
        return _Average(jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, lr=1.0, **_):
        steps = jax.tree.map(lambda a, u: decay * a + (1 - decay) * lr * u, state.steps, updates)
        per_rate = jnp.where(lr > 0, 1 / jnp.where(lr > 0, lr, 1.0), 0.0)
        return jax.tree.map(lambda a: a * per_rate, steps), _Average(steps)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclasses.dataclass(frozen=True)
class Adafactor:
    """Second moments of large matrices are kept as one row and one column each.

    A stack of layers is one parameter: clipping and the parameter scale are taken over the stack.
    Algorithm 4 has no momentum. Where it is asked for, the average is of whole steps, each at the
    rate of its time, as in optax and transformers; a step at rate zero, such as
    the last one of a schedule with `final` 0, changes nothing.
    """

    decay_rate: float = option(
        0.8, "c in beta2 at step t, 1 - t^-c (section 7.2)", low=0.0, high=1.0
    )
    factor_from: int = option(128, "factor matrices whose two largest sides reach this", low=2)
    clip_rms: float = option(1.0, "largest RMS of an update (section 6); 0 is off", low=0.0)
    momentum: float = option(0.0, "decay of the first moment; 0 keeps none", low=0.0, high=0.999999)
    parameter_scale: bool = option(
        False, "steps relative to the RMS of the parameter (section 8); lowers a good peak_lr"
    )
    min_scale: float = option(1e-3, "least RMS a parameter is taken to have", low=0.0, high=1.0)

    def build(self, infos: Any) -> optax.GradientTransformation:
        parts = [
            optax.scale_by_factored_rms(
                decay_rate=self.decay_rate, min_dim_size_to_factor=self.factor_from
            )
        ]
        if self.clip_rms:
            parts.append(optax.clip_by_block_rms(self.clip_rms))
        if self.parameter_scale:
            parts.append(optax.scale_by_param_block_rms(self.min_scale))
        if self.momentum:
            parts.append(_average_of_steps(self.momentum))
        return optax.chain(*parts)

    def step_kind(self, info: ParamInfo) -> str:
        return "relative" if self.parameter_scale else "sign"
