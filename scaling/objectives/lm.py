"""Next-token cross-entropy."""

import dataclasses

from scaling.objectives.base import Objective


@dataclasses.dataclass(frozen=True)
class LanguageModel(Objective):
    """Every position predicts the token after it; what `Objective` does unless told otherwise."""
