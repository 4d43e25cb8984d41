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

Depth, with l = depth / base_depth: every residual branch is multiplied by 1 / sqrt(l), and the
learning rate of what lies inside a block by 1 / sqrt(l) for optimisers whose step does not depend
on the gradient's size (Yang et al. 2023, arXiv 2310.02244, Table 1; Bordelon et al. 2023,
arXiv 2309.16620). The theory covers one matrix per branch; attention and MLP have more, and there
transfer over depth is an approximation (measured: experiments/mup_transfer.py).

Where we leave Table 8: it gives gains m under SGD, which is right for a gain per channel and too
much for one shared by all heads (QK-norm). A gain at 1 is stable and merely learns more slowly.

At the base size, or with parametrization "sp", every factor is exactly one (except the SP values
themselves), so muP equals SP there bit for bit.
"""

import math

from scaling.config import ModelConfig
from scaling.models.params import ParamInfo

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
    assert role in ("embedding", "position", "attention", "mlp", "head"), role
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
    size = model.head_size or model.width // model.n_heads
    if model.head_size is not None:
        return 1.0 / math.sqrt(size)
    return 1.0 / math.sqrt(size * width_ratio(model))


def logit_scale(model: ModelConfig) -> float:
    """Factor on the logits, tied or untied."""
    return 1.0 / width_ratio(model)


def residual_scale(model: ModelConfig) -> float:
    """Factor on what a block's branch adds to the residual stream."""
    return 1.0 / math.sqrt(depth_ratio(model))


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
    in_block = info.is_stacked or info.is_hidden
    depth_rule = residual_scale(model) if in_block and step_kind != "gradient" else 1.0
    return width_rule * depth_rule
