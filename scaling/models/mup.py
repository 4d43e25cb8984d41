"""Every rule that differs between the standard (SP) and the maximal update parametrisation (muP).

muP keeps the size of activations and of their change per step independent of width and depth, so
that the learning rate tuned at (base_width, base_depth) stays right at any other size. Width:
Yang et al. 2022 (arXiv 2203.03466), Table 8, written relative to the base model: with
m = width / base_width,

                      input, position   hidden        head          gains
    init std          as SP             as SP         as SP sqrt(m) as SP
    forward factor    1                 1             1 / m         1
    lr, Adam, Lion    1                 1 / m         1             1
    lr, SGD           m                 1             m             1
    epsilon, Adam     1 / m             1 / m         1 / m         1 / m

Depth, with l = depth / base_depth and alpha the model's `depth_alpha`: every residual branch is
multiplied by l^-alpha; inside a block the learning rate is multiplied by l^(alpha - 1) for
optimisers whose step does not depend on the gradient's size, by l^(2 alpha - 1) for SGD, and
Adam's epsilon by l^-alpha. alpha = 1/2: Yang et al. 2023 (arXiv 2310.02244, Table 1), Bordelon et
al. 2023 (arXiv 2309.16620); the theory covers one matrix per branch, and with the several of
attention and MLP transfer over depth is an approximation. alpha = 1, which does not ask for that:
CompleteP (Dey et al. 2025, arXiv 2505.01618). Measured: experiments/mup_transfer.py.

Epsilon follows the gradients: the head's factor makes every one of them 1 / m, and those inside a
branch l^-alpha of that. With a fixed epsilon wide models learn less the more of their gradients
fall below it (Everett et al. 2024, arXiv 2407.05872). `gradient_scale` raises the gradients by the
inverse instead, which to Adam is the same.

Where we leave Table 8: it gives gains m under SGD, which is right for a gain per channel and too
much for one shared by all heads (QK-norm). A gain at 1 is stable and merely learns more slowly.

At the base size, or with parametrization "sp", every factor is exactly one (except the SP values
themselves), so muP equals SP there bit for bit.
"""

import math

from scaling.config import ModelConfig
from scaling.models.params import HIDDEN, ParamInfo

# How large an optimiser's step is, which decides its learning rates:
#   sign      every entry moves by about lr (Adam, Lion)
#   gradient  proportional to the gradient (SGD)
#   relative  proportional to the RMS of the parameter itself (Adafactor with parameter scale)
#   spectral  spectral norm about sqrt(out / in): Muon, whose orthogonal step already meets the
#             condition muP is derived from (Yang, Simon & Bernstein 2023, arXiv 2310.17813)
STEP_KINDS = ("sign", "gradient", "relative", "spectral")


def width_ratio(model: ModelConfig) -> float:
    """m = width / base_width under muP; 1 under SP."""
    return model.width / model.base_width if model.parametrization == "mup" else 1.0


def depth_ratio(model: ModelConfig) -> float:
    """l = depth / base_depth under muP; 1 under SP."""
    return model.depth / model.base_depth if model.parametrization == "mup" else 1.0


def init_std(model: ModelConfig, role: str, fan_in: int) -> float:
    """Standard deviation of a matrix with `fan_in` rows at initialisation.

    Matrices keep the variance of what they are given, 1 / sqrt(fan_in) (LeCun et al. 1998,
    section 4.6). For an embedding the input is one-hot, so its effective fan-in is one. An
    embedding that is also the head starts with the head's scale: otherwise the first logits would
    have a standard deviation of sqrt(width).
    """
    assert role in ("embedding", "position", "head", *HIDDEN), role
    if role == "embedding" and model.tied:
        return math.sqrt(width_ratio(model) / model.width)
    if role in ("embedding", "position"):
        return 1.0
    if role == "head":
        return math.sqrt(width_ratio(model) / fan_in)
    return 1.0 / math.sqrt(fan_in)


def attention_scale(model: ModelConfig) -> float:
    """Factor on q·k. SP: 1 / sqrt(head size). muP: falls as 1 / head size when heads grow.

    Once queries and keys are aligned, q·k grows like the head size and not like its square root
    (Yang et al. 2022, definition 4.1). `head_size` given: heads keep their size and more of them
    come with width, and both rules agree. `head_size` None: the number of heads is what stays, so
    the base model's heads have base_width / n_heads.
    """
    heads = model.options
    size = heads.head_size or model.width // heads.n_heads
    if heads.head_size is not None:
        return 1.0 / math.sqrt(size)
    return 1.0 / math.sqrt(size * width_ratio(model))


def logit_scale(model: ModelConfig) -> float:
    """Factor on the logits, tied or untied."""
    return 1.0 / width_ratio(model)


def residual_scale(model: ModelConfig) -> float:
    """Factor on what a block's branch adds to the residual stream."""
    return depth_ratio(model) ** -model.depth_alpha


def gradient_scale(model: ModelConfig, info: ParamInfo, step_kind: str) -> float:
    """Factor on a gradient, by which Adam's epsilon means what it meant at the base size.

    One for optimisers whose step follows the gradient's size, and for those without an epsilon
    that could matter.
    """
    if step_kind != "sign":
        return 1.0
    in_branch = depth_ratio(model) ** model.depth_alpha if _in_block(info) else 1.0
    return width_ratio(model) * in_branch


def lr_multiplier(model: ModelConfig, info: ParamInfo, step_kind: str) -> float:
    """Learning rate of one parameter over the run's learning rate (table at the top)."""
    assert step_kind in STEP_KINDS, step_kind
    m = width_ratio(model)
    width_rule = 1.0
    if info.is_hidden:
        # A relative step moves entries by lr * std = lr / sqrt(fan_in); muP asks for 1 / fan_in.
        powers = {"sign": -1.0, "gradient": 0.0, "relative": -0.5, "spectral": 0.0}
        width_rule = m ** powers[step_kind]
    elif info.is_matrix and step_kind == "gradient":
        width_rule = m
    power = 2 * model.depth_alpha - 1 if step_kind == "gradient" else model.depth_alpha - 1
    depth_rule = depth_ratio(model) ** power if _in_block(info) else 1.0
    return width_rule * depth_rule


def _in_block(info: ParamInfo) -> bool:
    return info.is_stacked or info.is_hidden
