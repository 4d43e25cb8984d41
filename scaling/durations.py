"""How long something lasts: one number and one unit, written "2e6 tokens" or "20 tokens_per_param".

A duration is one string, so two contradicting budgets cannot be set at once.
"""

import dataclasses
import math
import re

from scaling.errors import UserError, shown, unknown

UNITS = ("steps", "tokens", "epochs", "tokens_per_param", "flops", "%")
MOST_STEPS = 10**9  # a learning rate for each of them is computed before a run starts
_SUFFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_FORM = re.compile(r"\s*([+-]?[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?)([kKMBGT]?)\s*([a-z_]+|%)\s*")


@dataclasses.dataclass(frozen=True)
class Rates:
    """What turns a duration into steps.

    tokens_per_step: predictions of a step. unique_tokens: tokens of one epoch (None: endless).
    n_params: parameters in the convention the recipe uses. flops_per_token: training FLOPs.
    """

    tokens_per_step: int
    unique_tokens: int | None
    n_params: int
    flops_per_token: float


@dataclasses.dataclass(frozen=True)
class Duration:
    """A length of training. `unit` is one of UNITS; "%" is a share of the whole run."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: "str | Duration", *, field: str = "duration") -> "Duration":
        """Reads "400k tokens", "1e15 flops", "25%". Raises UserError naming `field`."""
        if isinstance(text, Duration):
            return text
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None or not any(c.isdigit() for c in match[1]):
            raise UserError(
                f"{field}={shown(text)} is not one number and one unit; write for example "
                f"'2e6 tokens' (units: {', '.join(UNITS)})"
            )
        value = float(match[1].replace("_", "")) * _SUFFIX[match[2]]
        if match[3] not in UNITS:
            raise unknown(f"unit in {field}={shown(text)}:", match[3], UNITS)
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{field}={shown(text)} must be a finite number, zero or more")
        return cls(value, match[3])

    def __str__(self) -> str:
        return f"{self.value:.17g} {self.unit}" if self.unit != "%" else f"{self.value:.17g}%"

    def steps(
        self, rates: Rates, total_steps: int | None = None, *, field: str = "duration"
    ) -> int:
        """Whole optimiser steps, rounded up (to nearest for "%").

        Raises UserError when the unit has no meaning here (epochs of an endless source, or a share
        of a run whose length is what is being asked for), or when a run would never end.
        """
        if self.unit == "%":
            if total_steps is None:
                raise UserError(
                    f"{field}='{self}': the length of a run cannot be a share of itself"
                )
            return round(self.value / 100 * total_steps)
        if self.unit == "epochs" and rates.unique_tokens is None:
            raise UserError(f"{field}='{self}': this data source is endless and has no epochs")
        tokens = {
            "steps": self.value * rates.tokens_per_step,
            "tokens": self.value,
            "epochs": self.value * (rates.unique_tokens or 0),
            "tokens_per_param": self.value * rates.n_params,
            "flops": self.value / rates.flops_per_token,
        }[self.unit]
        # The epsilon keeps float noise (3.0000000004 steps) from buying a whole extra step.
        steps = max(0, math.ceil(tokens / rates.tokens_per_step - 1e-9))
        if total_steps is None and steps > MOST_STEPS:
            raise UserError(f"{field}='{self}' is {steps:.3g} steps; {MOST_STEPS:.0e} is the most")
        return steps
