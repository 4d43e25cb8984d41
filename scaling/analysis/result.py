"""`Result`: what a fit found, how sure it is, and all that is needed to repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.intervals import Profile
from scaling.analysis.law import Law
from scaling.analysis.region import DRAWS, Region
from scaling.errors import UserError


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
class Result:
    """What `scaling.analysis.fitted.Fit` knows. Arrays are float64; z are search coordinates in
    the order of the law's parameters; `residuals` are target minus prediction in the space of the
    loss, row by row."""

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

    def require_success(self) -> None:
        """Raises UserError for a fit that failed."""
        if self.status == "failed":
            raise UserError(f"the fit of {self.law.name} failed: it predicts nothing")


def twins(basins: Sequence[Basin]) -> list[Basin]:
    """The best optimum and those that are as good as it, to within rounding."""
    return [b for b in basins if b.objective <= basins[0].objective * (1 + 1e-6) + 1e-18]
