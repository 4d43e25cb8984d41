"""`Fit`: what was found, how sure it is, what it predicts, and all that is needed to repeat it.

A Fit read back from JSON predicts and allocates exactly as the one that was written: the file
holds the optimum, the parameters that are as plausible, and the quantiles of the residuals.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.intervals import Profile
from scaling.analysis.law import Law
from scaling.analysis.region import DRAWS, Region
from scaling.errors import UserError
from scaling.outputs import write_output
from scaling.reading import read_bytes


@dataclass(frozen=True)
class Interval:
    """An estimate. `ci95` is None where no interval could be computed; an infinite end means that
    the data do not bound the parameter on that side, and `identified` is then False. The interval
    of what is not identified spans all parameters that fit as well. `conditional` names parameters
    on a bound: the interval holds given that they stay there."""

    value: float
    se: float
    ci95: tuple[float, float] | None
    identified: bool = True
    at_bound: bool = False
    conditional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Basin:
    """A local optimum: its objective, its place z [P], and how many starts ended in it."""

    objective: float
    z: np.ndarray
    starts: int


@dataclass(frozen=True)
class Fit:
    """The result of `fit`. Arrays are float64; z are search coordinates in the order of the law's
    parameters; `residuals` are target minus prediction in the space of the loss, row by row."""

    law: Law
    status: str  # one of scaling.analysis.status.STATUSES
    remedy: str  # what to do about it, "" when it is ok
    advice: str  # the runs that would determine the law
    n_points: int
    objective: float
    params: dict[str, Interval]
    derived: dict[str, Interval]
    starts: dict[str, int]
    basins: list[Basin]
    warnings: list[str]
    loss: str
    delta: float
    seed: int
    r2: float
    condition: float
    z: np.ndarray
    box: np.ndarray  # [2, P] bounds in z
    cov: np.ndarray  # [P, P] sandwich covariance in z
    dof: int
    residual_quantiles: np.ndarray
    ranges: dict[str, tuple[float, float]]
    data_hash: str
    versions: dict[str, str]
    interval: str  # where ci95 comes from: profile, sandwich, the bootstrap method, or none
    region: Region | None = None  # plausible parameters; None without degrees of freedom
    holdout: dict[str, float] | None = None
    bootstrap: dict[str, Any] | None = None
    draws: np.ndarray | None = None  # [draws, P] in z, bootstrap only
    # Only while the data are at hand:
    table: pd.DataFrame | None = field(default=None, repr=False)
    residuals: np.ndarray | None = field(default=None, repr=False)
    profiles: Mapping[str, Profile] = field(default_factory=dict, repr=False)
    held_out: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def theta(self) -> dict[str, float]:
        """The optimum, {name: natural value}."""
        return {name: p.value for name, p in self.params.items()}

    def sample(self, n: int = DRAWS) -> np.ndarray:
        """Plausible parameters [n, P] in z: bootstrap draws, or refits that follow the likelihood.
        Where other parameters fit as well, half of them are those. Raises UserError when the fit
        has no degrees of freedom and nothing says how wide they lie."""
        if self.region is None:
            raise UserError(
                f"the fit of {self.law.name} has as many free parameters as points: nothing says "
                "how wide its predictions are; add runs or pin what is known"
            )
        return self.region.sample(n)

    def predict(self, table: Any) -> pd.DataFrame:
        """Columns predicted, ci_low, ci_high (95 % confidence, of the law's curve), pi_low, pi_high
        (95 % prediction, of a new measurement) and determined for each row. Where `determined` is
        False, parameters that fit as well predict otherwise: the interval spans them.
        `.attrs["warnings"]` says so, and names columns more than a decade outside of the fit."""
        from scaling.analysis.predict import predict

        self.require_success()
        return predict(self, table)

    def disagreement(self, table: Any) -> float:
        """Greatest relative difference, over the rows, between what parameters that fit equally
        well predict: 0 for a unique optimum. Several sets may well predict the same loss."""
        from scaling.analysis.predict import disagreement

        self.require_success()
        return disagreement(self, table)

    def optimal(self, flops: float | Sequence[float]) -> pd.DataFrame:
        """Compute-optimal allocation for each budget: flops, n_params, n_tokens,
        tokens_per_param, each with _low and _high (95 %), and determined (as in `predict`). Raises
        UserError when the law does not say how to allocate compute, or has no optimum here."""
        from scaling.analysis.predict import optimal

        self.require_success()
        return optimal(self, flops)

    def require_success(self) -> None:
        """Raises UserError for a fit that failed."""
        if self.status == "failed":
            raise UserError(f"the fit of {self.law.name} failed: it predicts nothing")

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The fit as JSON text; also written to `path` (atomically) when one is given."""
        from scaling.analysis.serialise import dumps

        text = dumps(self)
        if path is not None:
            write_output(path, text + "\n", "--json")
        return text

    @staticmethod
    def from_json(source: str | os.PathLike) -> "Fit":
        """Reads `to_json` back, from a path or from the text itself. The data, profiles and
        residuals by point are not in it. Raises UserError."""
        from scaling.analysis.serialise import loads

        if isinstance(source, str) and source.lstrip().startswith("{"):
            return loads(source, "the fit")
        return loads(read_bytes(source), str(source))

    def __str__(self) -> str:
        from scaling.analysis.describe import describe

        return describe(self)


def twins(basins: Sequence[Basin]) -> list[Basin]:
    """The best optimum and those that are as good as it, to within rounding."""
    return [b for b in basins if b.objective <= basins[0].objective * (1 + 1e-6) + 1e-18]
