"""Stochastic gradient descent with heavy-ball or Nesterov momentum (Sutskever et al. 2013)."""

import dataclasses
from typing import Any

import optax

from scaling.config import option
from scaling.models.params import ParamInfo


@dataclasses.dataclass(frozen=True)
class SGD:
    momentum: float = option(0.9, "decay of the velocity; 0 is plain SGD", low=0.0, high=0.999999)
    nesterov: bool = option(False, "look ahead by one step")

    def build(self, infos: Any) -> optax.GradientTransformation:
        if not self.momentum:
            return optax.identity()
        return optax.trace(self.momentum, self.nesterov)

    def step_kind(self, info: ParamInfo) -> str:
        return "gradient"
