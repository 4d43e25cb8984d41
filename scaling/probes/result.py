"""What a probe hands back: counts per group of items, so that nothing needs a second run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cell:
    """Items that belong together (one condition, one number of shots).

    metrics: {name: {"n", "sum", "sum_sq"}}; accuracy and exact_match are 0 or 1 for an item.
    chance and ceiling: expected `ceiling_of` of guessing, and of the best possible answers to these
    very items; None where they are not known.
    """

    keys: Mapping[str, str | int | float]
    n: int
    metrics: Mapping[str, Mapping[str, float]]
    chance: float | None = None
    ceiling: float | None = None
    ceiling_of: str = "accuracy"


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    groups: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: {"groups": [...]}."""
        return {"groups": [dataclasses.asdict(group) for group in self.groups]}


def make_cell(
    keys: Mapping[str, str | int | float],
    values: Mapping[str, np.ndarray],
    *,
    chance: float | None = None,
    ceiling: float | None = None,
    ceiling_of: str = "accuracy",
) -> Cell:
    """Adds up `values`, {metric: one number for each item}."""
    tallies = {}
    for name, value_N in values.items():
        v = np.asarray(value_N, np.float64)
        tallies[name] = {"n": len(v), "sum": float(v.sum()), "sum_sq": float(np.square(v).sum())}
    n = next(iter(tallies.values()))["n"]
    assert all(tally["n"] == n for tally in tallies.values()), keys
    return Cell(dict(keys), n, tallies, chance, ceiling, ceiling_of)
