"""What a probe is, and what it may know of the run it looks at.

A probe is one file with a frozen dataclass whose fields are its options, registered in
`scaling.config.PROBES`:

    check(target: Target) -> None                       raises UserError; before any compute
    __call__(model: ScoredModel, key: int) -> ProbeResult

`key` fixes the items, so every model of a sweep answers the same questions.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from scaling.config import DataConfig, RunConfig
from scaling.errors import UserError
from scaling.probes.result import ProbeResult


@dataclasses.dataclass(frozen=True)
class Target:
    """The run that a probe is asked of. seq_len: longest context, in predictions."""

    data: DataConfig
    vocab_size: int
    seq_len: int

    @classmethod
    def of(cls, config: RunConfig, vocab_size: int) -> "Target":
        """A run as probes may ask it. vocab_size: of its model. Raises UserError for a model that
        does not say what comes next, which every probe asks."""
        if not config.objective.options.next_token:
            raise UserError(
                f"a run with objective.name={config.objective.name!r} says nothing of the next "
                "token, which probes ask for; leave probes out, or train with 'lm'"
            )
        return cls(config.data, vocab_size, config.data.seq_len)

    def world(self, source: str, probe: str) -> Any:
        """The world of data source `source`, which `probe` needs. Raises UserError."""
        if self.data.name != source:
            raise UserError(
                f"probe {probe!r} asks about the world of data.name={source!r}; "
                f"this run was trained on {self.data.name!r}"
            )
        return self.data.options.world(self.data)


def check_shots(probe: str, shots: Sequence[int]) -> None:
    """Raises UserError for numbers of shots that are negative or given twice."""
    for number in shots:
        if number < 0 or list(shots).count(number) > 1:
            raise UserError(f"probe {probe}: shots={list(shots)} must be different numbers from 0")


class Probe(Protocol):
    def check(self, target: Target) -> None: ...

    def __call__(self, model: Any, key: int) -> ProbeResult: ...
