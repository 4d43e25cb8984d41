"""A few dials -> every setting that depends on size: shape, batch, learning rate, schedule.

    config = default_config()
    recipe.apply(config, "one_depth", params=40e3, duration="2M tokens")

A recipe is a class with the rules as methods, and one line in RECIPES. Each rule names its source
and what speaks against it. N here is always the number of parameters in the matrices of the blocks
(`matrix_params`), Kaplan's non-embedding count; D is training tokens.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import ml_collections

from scaling.durations import Duration
from scaling.errors import UserError, unknown


class Recipe(Protocol):
    """The rules of a recipe. dict[str, Any] are sections and fields of the config."""

    width_step: int
    """Widths are multiples of this, a whole number of heads."""

    def shape(self, width: int) -> dict[str, Any]:
        """The model section at this width."""
        ...

    def deep(self, depth: int) -> dict[str, Any]:
        """The model section at this depth. Raises UserError where depth is not a dial."""
        ...

    def family(self, width: int) -> Iterator[dict[str, Any]]:
        """Model sections of this width that a parameter target may choose from."""
        ...

    def training(
        self, model: dict[str, Any], n: int, length: Duration, seq_len: int
    ) -> dict[str, Any]:
        """The optim and train sections for N = n and this length of training."""
        ...


def matrix_params(model: Mapping[str, Any]) -> int:
    """Parameters in attention and MLP matrices: no embeddings, no head, no gains.

    Per layer D (2 H + 2 G) K + m D F, with width D, H query heads and G key/value heads of size K,
    and m = 2 MLP matrices (3 for SwiGLU) of hidden size F. With H K = D, G = H, F = 4 D and m = 2
    this is 12 D^2, as in Kaplan et al. 2020 (arXiv 2001.08361), eq. 2.1.
    """
    width, own = model["width"], model["transformer"]
    heads = own["n_heads"]
    head_size = own.get("head_size") or width // heads
    kv_heads = own.get("n_kv_heads") or heads
    hidden = round(own["mlp_ratio"] * width)
    mlp_matrices = 3 if own["activation"] == "swiglu" else 2
    attention = width * (2 * heads + 2 * kv_heads) * head_size
    return model["depth"] * (attention + mlp_matrices * width * hidden)


def apply(
    config: ml_collections.ConfigDict,
    name: str,
    *,
    width: int | None = None,
    depth: int | None = None,
    params: float | None = None,
    duration: str | None = None,
) -> ml_collections.ConfigDict:
    """Writes the recipe's settings into `config` (from `default_config()`) and returns it.

    See `settings`; `duration` None keeps the one in `config`. The row length is
    config.data.seq_len.
    """
    length = duration or config.train.duration
    seq_len = config.data.seq_len
    dials = {"width": width, "depth": depth, "params": params}
    config.update(settings(name, **dials, duration=length, seq_len=seq_len))
    return config


def settings(
    name: str,
    *,
    duration: str,
    seq_len: int,
    width: int | None = None,
    depth: int | None = None,
    params: float | None = None,
) -> dict[str, Any]:
    """The sections model, optim and train that the recipe sets.

    Exactly one of `width`, `depth` and `params` sets the size; `params` takes the achievable shape
    whose N is nearest in ratio. `duration` is a length of training as config.train.duration takes
    it.

    Raises UserError for an unknown recipe or a dial that the recipe cannot follow.
    """
    recipe = _find(name)
    dials = {"width": width, "depth": depth, "params": params}
    given = {dial: value for dial, value in dials.items() if value is not None}
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise UserError(f"recipe {name!r} needs exactly one of width, depth, params; got {found}")
    (dial, value), *_ = given.items()
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise UserError(f"recipe {name!r}: {dial}={value!r} must be a positive number")
    model = _choose_shape(name, recipe, dial, value)
    length = Duration.parse(duration, field="duration")
    training = recipe.training(model, matrix_params(model), length, seq_len)
    training["train"]["duration"] = str(length)
    return {"model": model, **training}


def governed(name: str) -> dict[str, Any]:
    """Sections and fields that the recipe sets, with the values of a model of width 1,024."""
    return settings(name, width=1024, duration="1B tokens", seq_len=1024)


def _find(name: str) -> Recipe:
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()


def _choose_shape(name: str, recipe: Recipe, dial: str, value: float) -> dict[str, Any]:
    if dial == "params":
        return _nearest(name, recipe, value)
    if value != int(value):
        raise UserError(f"recipe {name!r}: {dial}={value!r} must be a whole number")
    shape = recipe.shape(width=int(value)) if dial == "width" else recipe.deep(int(value))
    if shape["width"] % recipe.width_step:
        raise UserError(
            f"recipe {name!r}: width={shape['width']} is not a multiple of its head size "
            f"{recipe.width_step}"
        )
    return shape


def _nearest(name: str, recipe: Recipe, target: float) -> dict[str, Any]:
    """The shape of the recipe's family whose N is nearest to `target` in ratio."""
    best, best_distance, width = None, math.inf, recipe.width_step
    while True:
        counts = [(abs(math.log(matrix_params(s) / target)), s) for s in recipe.family(width)]
        distance, shape = min(counts, key=lambda c: c[0])
        if distance < best_distance:
            best, best_distance = shape, distance
        if min(matrix_params(s) for _, s in counts) > target:
            break
        width += recipe.width_step
    if best_distance > math.log(2):
        raise UserError(
            f"recipe {name!r}: params={target:g} is out of reach; its nearest shape has "
            f"{matrix_params(best)} parameters in its blocks"
        )
    return best


def rows_of(tokens: float, seq_len: int) -> int:
    """Rows in a batch of about `tokens` tokens, at least one."""
    return max(1, round(tokens / seq_len))


def total_tokens(length: Duration, n: int, name: str) -> float:
    """D of a run of this length; FLOPs count as 6 N per token (Kaplan et al. 2020, section 2.1)."""
    factors = {"tokens": 1.0, "tokens_per_param": n, "flops": 1.0 / (6 * n)}
    if length.unit not in factors:
        raise UserError(
            f"recipe {name!r} follows the token budget: give duration='{length}' in "
            f"{', '.join(factors)}"
        )
    return length.value * factors[length.unit]


class OneDepth:
    """Small models that give a clean law in minutes on a CPU: one depth, more and more heads.

    Depth 3, heads of 8, widths from 16 (9k parameters) up. Measured on the `stdlib` bytes: from
    0.5M tokens on, a Chinchilla fit (approach 3) has a mean error of 0.5 %, while ladders of mixed
    depth miss their largest size by 2 to 5 %. Batches of 1,024 tokens, because larger ones starve
    the small budgets of steps and bend the curves.
    Caveat: depth stays fixed, so far above width 128 this is not how anyone would build a model;
    exponents are those of this family.
    """

    width_step = 8

    def shape(self, width: int, depth: int = 3) -> dict[str, Any]:
        return {
            "depth": depth,
            "width": width,
            "tied": False,
            "transformer": {
                "n_heads": max(1, width // 8),
                "head_size": 8,
                "mlp_ratio": 4.0,
                "activation": "relu2",
                "norm": "rmsnorm",
                "position": "rope",
                "qk_norm": True,
                "zero_init_out": True,
            },
        }

    def deep(self, depth: int) -> dict[str, Any]:
        raise UserError(f"recipe 'one_depth' has 3 layers; set width or params, not {depth=}")

    def family(self, width: int) -> Iterator[dict[str, Any]]:
        yield self.shape(width)

    def training(
        self, model: dict[str, Any], n: int, length: Duration, seq_len: int
    ) -> dict[str, Any]:
        # Found by grid at widths 16 to 64; the exponent is an interpolation, not a theory.
        peak = 0.02 * (32 / model["width"]) ** 0.25
        return {
            "optim": {
                "name": "muon",
                "peak_lr": peak,
                "weight_decay": 0.0,
                # Nats at width 32 and 0.46M tokens of stdlib: warm-up of 1, 20, 50, 100 steps
                # 1.830, 1.811, 1.835, 1.841; 1-sqrt, linear decay 1.835, 1.832; half, twice the
                # peak 1.904, 1.832. In steps, so that runs of all lengths can share a trunk.
                "schedule": {
                    "name": "wsd",
                    "warmup": "20 steps",
                    "final": 0.0,
                    "wsd": {"decay": "25%"},
                },
            },
            "train": {"batch_size": rows_of(1024, seq_len)},
        }


class StepLaw:
    """Llama-like shapes with learning rate and batch size by Step Law.

    Li et al. 2025 (arXiv 2503.04715), eq. 1: peak lr = 1.79 N^-0.713 D^0.307, batch = 0.58 D^0.571
    tokens, cosine to a fixed final rate of 1e-5.
    Caveat: fitted for N from 60M to 1B and D from 2B to 100B with AdamW. At small N the rule asks
    for absurd rates (0.2 at N = 10k), so below 1M parameters it is refused.
    """

    width_step = 64
    smallest = 1_000_000

    def shape(self, width: int, depth: int | None = None) -> dict[str, Any]:
        return {
            # 64 channels a layer, the middle of the flat region of Kaplan et al. 2020, figure 5;
            # theory would let depth grow with the logarithm of width (Levine et al. 2020,
            # arXiv 2006.12467).
            "depth": depth or max(1, round(width / 64)),
            "width": width,
            "tied": False,
            "transformer": {
                "n_heads": max(1, width // 64),
                "head_size": 64,
                # Three matrices of 8/3 D cost what two of 4 D do (Shazeer 2020, arXiv 2002.05202,
                # section 2); hidden size a multiple of 64, for the hardware.
                "mlp_ratio": math.ceil(8 / 3 * width / 64) * 64 / width,
                "activation": "swiglu",
                "norm": "rmsnorm",
                "position": "rope",
                "qk_norm": False,
                "zero_init_out": False,
            },
        }

    def deep(self, depth: int) -> dict[str, Any]:
        return self.shape(64 * depth, depth)

    def family(self, width: int) -> Iterator[dict[str, Any]]:
        """Depths within a factor of about 1.5 of the aspect rule, where the loss hardly changes."""
        usual = width / 64
        for depth in range(max(1, math.ceil(usual / 1.5)), max(1, math.floor(usual * 1.5)) + 1):
            yield self.shape(width, depth)

    def training(
        self, model: dict[str, Any], n: int, length: Duration, seq_len: int
    ) -> dict[str, Any]:
        if n < self.smallest:
            raise UserError(
                f"recipe 'step_law': {n} parameters are far below what its learning-rate rule was "
                f"fitted on (60M to 1B); take at least {self.smallest}, or 'one_depth' or 'mup'"
            )
        tokens = total_tokens(length, n, "step_law")
        peak = 1.79 * n**-0.713 * tokens**0.307
        return {
            "optim": {
                "name": "adamw",
                "peak_lr": peak,
                "weight_decay": 0.1,
                "clip_norm": 1.0,
                # The paper warms up over 2,000 steps; a share suits short runs as well.
                "schedule": {"name": "cosine", "warmup": "2%", "final": min(1.0, 1e-5 / peak)},
            },
            "train": {"batch_size": rows_of(0.58 * tokens**0.571, seq_len)},
        }


class Kaplan(StepLaw):
    """The settings of Kaplan et al. 2020 (arXiv 2001.08361), for replications.

    Learning rate by eq. D.1, 0.003239 - 0.0001395 ln N; batches of 2^19 tokens, 3,000 steps of
    warm-up, cosine to zero (section 2.2).
    Caveat: Porian et al. 2024 (arXiv 2406.19146) trace most of the difference to Chinchilla to
    these choices: the warm-up is too long and the batch too large for small budgets. That is what
    a replication wants to see, and a reason not to use it otherwise.
    """

    def shape(self, width: int, depth: int | None = None) -> dict[str, Any]:
        shape = super().shape(width, depth)
        plain = {"activation": "gelu", "norm": "layernorm", "position": "learned"}
        own = shape["transformer"] | plain | {"mlp_ratio": 4.0}
        return shape | {"transformer": own}

    def training(
        self, model: dict[str, Any], n: int, length: Duration, seq_len: int
    ) -> dict[str, Any]:
        peak = 0.003239 - 0.0001395 * math.log(n)
        if peak <= 0:
            raise UserError(f"recipe 'kaplan': eq. D.1 has no learning rate for N = {n}")
        return {
            "optim": {
                "name": "adamw",
                "peak_lr": peak,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
                "schedule": {"name": "cosine", "warmup": "3000 steps", "final": 0.0},
            },
            "train": {"batch_size": rows_of(2**19, seq_len)},
        }


class MuP(OneDepth):
    """The shapes of `one_depth` under muP with AdamW: one learning rate for every width.

    Tuned at width 32, it transfers by the rules of scaling/models/mup.py (Yang et al. 2022, arXiv
    2203.03466): at rates 2^-7, 2^-6, 2^-5 and 0.46M tokens of stdlib, width 32 reached 1.987,
    1.931, 1.948 nats and width 64 1.894, 1.831, 1.859.
    Caveat: transfer is over width at a fixed number of steps and batch size; a longer run or a
    larger batch wants another rate.
    """

    base_width = 32
    peak_lr = 2**-6

    def shape(self, width: int, depth: int = 3) -> dict[str, Any]:
        muP = {"parametrization": "mup", "base_width": self.base_width, "base_depth": 3}
        return super().shape(width, depth) | muP

    def deep(self, depth: int) -> dict[str, Any]:
        return self.shape(self.base_width, depth)

    def training(
        self, model: dict[str, Any], n: int, length: Duration, seq_len: int
    ) -> dict[str, Any]:
        settings = super().training(model, n, length, seq_len)
        settings["optim"] |= {"name": "adamw", "peak_lr": self.peak_lr}
        return settings


RECIPES = {"one_depth": OneDepth, "step_law": StepLaw, "kaplan": Kaplan, "mup": MuP}
