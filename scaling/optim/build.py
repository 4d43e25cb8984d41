"""From a config to the optimiser that a training step uses.

The learning rate is not in here: the step multiplies by it, `params - lr * updates`, with lr an
input of the compiled program. One program then serves every schedule and every budget.
"""

from typing import Any

import jax
import optax

from scaling.config import ModelConfig, OptimConfig
from scaling.models.mup import gradient_scale, lr_multiplier
from scaling.models.params import ParamInfo


def make_optimizer(
    optim: OptimConfig, model: ModelConfig, infos: Any
) -> optax.GradientTransformationExtraArgs:
    """Clipping, the optimiser's direction (under muP of gradients as large as at the base size),
    then muP multipliers and decoupled decay.

    `infos` is the parameter tree with a ParamInfo at every leaf. The `update` returned gives what
    the step subtracts after multiplying it by the learning rate; it is told the rate, `lr`, because
    an average of steps remembers the rates of their times.

    Decay is added after the multipliers, so its strength is lr * weight_decay for every matrix:
    muP shrinks the learning rate of wide matrices, but the time over which weights are forgotten
    should not grow with width (Wang & Aitchison 2024, arXiv 2405.13698).
    """
    kind = optim.options
    scales = jax.tree.map(lambda info: gradient_scale(model, info, kind.step_kind(info)), infos)
    multipliers = jax.tree.map(lambda info: lr_multiplier(model, info, kind.step_kind(info)), infos)
    decays = jax.tree.map(
        lambda info: optim.weight_decay * is_decayed(info, optim.decay_embeddings), infos
    )

    def rescale(grads, params):
        return jax.tree.map(lambda g, scale: g if scale == 1.0 else g * scale, grads, scales)

    def scale_and_decay(updates, params):
        def one(u, p, multiplier, decay):
            # Factors of one and zero leave no trace in the program.
            u = u if multiplier == 1.0 else u * multiplier
            return u + decay * p if decay else u

        return jax.tree.map(one, updates, params, multipliers, decays)

    # At the base size the chain, and so the tree of its state, is what it is without muP.
    raised = [optax.stateless(rescale)] if set(jax.tree.leaves(scales)) != {1.0} else []
    clip = [optax.clip_by_global_norm(optim.clip_norm)] if optim.clip_norm else []
    return optax.with_extra_args_support(
        optax.chain(*clip, *raised, kind.build(infos), optax.stateless(scale_and_decay))
    )


def is_decayed(info: ParamInfo, decay_embeddings: bool) -> bool:
    """Matrices decay, gains do not; look-up tables only when asked: their rows are rarely hit."""
    if info.role in ("embedding", "position"):
        return decay_embeddings
    return info.is_matrix
