"""Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2)."""

import dataclasses
from typing import Any

import optax

from scaling.config import option
from scaling.models.params import ParamInfo


@dataclasses.dataclass(frozen=True)
class Lion:
    """Every entry moves by exactly lr: expect a peak 3 to 10 times below AdamW's (section 5).

    A sign has no rounding to hide in: where an entry's average lies within float32 rounding of
    zero, another order of adding up moves it the other way. Runs on other machines or meshes so
    differ by more than with other optimisers, though not by more than such entries matter.
    """

    b1: float = option(0.9, "weight of the momentum in the sign", low=0.0, high=0.999999)
    b2: float = option(0.99, "decay of the momentum", low=0.0, high=0.999999)

    def build(self, infos: Any) -> optax.GradientTransformation:
        return optax.scale_by_lion(self.b1, self.b2)

    def step_kind(self, info: ParamInfo) -> str:
        return "sign"
