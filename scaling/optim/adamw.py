"""AdamW (Kingma & Ba 2015, arXiv 1412.6980; Loshchilov & Hutter 2019, arXiv 1711.05101)."""

import dataclasses
from typing import Any

import optax

from scaling.config import option
from scaling.models.params import ParamInfo


@dataclasses.dataclass(frozen=True)
class AdamW:
    b1: float = option(0.9, "decay of the first moment", low=0.0, high=0.999999)
    b2: float = option(0.95, "decay of the second moment", low=0.0, high=0.999999)
    eps: float = option(1e-8, "added to the root of the second moment", low=0.0, high=1.0)
    nesterov: bool = option(False, "look ahead by one step (Dozat 2016)")

    def build(self, infos: Any) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.b1, self.b2, self.eps, nesterov=self.nesterov)

    def step_kind(self, info: ParamInfo) -> str:
        return "sign"
