"""What a fit may be called: one word, decided in one place, and the sentence that goes with it."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from scaling.analysis.intervals import Spread

# From the worst to the best: a fit has the first that applies.
STATUSES = MappingProxyType(
    {
        "failed": "no start ran to the end: the numbers are no optimum, and nothing is predicted",
        "not_unique": "several sets of parameters fit equally well: quote none of them alone",
        "at_bound": "a bound stops the fit: the other numbers hold given that bound",
        "misfit": "the law describes these data no better than their mean",
        "unconfirmed": "one start only reached this optimum: a better one may exist",
        "ok": "the optimum converged, and several starts reached it",
    }
)
_SINGULAR = 1e10  # condition of the scaled curvature from which the optimum is not unique


def status_of(
    *,
    spread: Spread,
    objective: float,
    touching: np.ndarray,
    several: bool,
    starts: Mapping[str, int],
    r2: float,
    n_free: int,
) -> str:
    """The word for a fit. `touching` [P] marks the parameters on a bound, `several` says that other
    optima are equally good, `starts` is that of the Fit."""
    if not np.isfinite(objective) or not (starts["at_best"] or several):
        return "failed"
    if spread.condition > _SINGULAR or spread.flat.any() or several:
        return "not_unique"
    if touching.any():
        return "at_bound"
    if not r2 > 0 and n_free:
        return "misfit"
    if starts["at_best"] < 2 and n_free:
        return "unconfirmed"
    return "ok"


def what_to_do(status: str, law: str, advice: str, bounds: str) -> str:
    """The sentence that follows the status of a fit that is not ok. `advice` names the runs that
    would determine the law, `bounds` what a bound stopped ("" where nothing)."""
    return {
        "failed": "check units and columns, try more starts (--starts) or another loss, or pin what"
        f" is known (--pin); {law} may not be a law for these data",
        "not_unique": advice,
        "at_bound": bounds,
        "misfit": "check units and columns, and compare laws (`scaling compare`)",
        "unconfirmed": "fit with more starts (leave --starts out for the law's own)",
        "ok": "",
    }[status]
