"""How many decades a rise takes, with an interval: from a jump to a straight line."""

import numpy as np
from scipy import special

from scaling.analysis.emergence.result import Span
from scaling.analysis.emergence.series import Series
from scaling.analysis.emergence.shapefit import fit_places
from scaling.analysis.emergence.shapes import SMOOTH, sigmoid_places

_WIDTHS = 40
_NARROWEST = 0.25  # of the least step: a jump to these scales
_WIDEST = 4.0  # ranges: a straight line to these scales


def rise_width(s: Series, curve: np.ndarray, factor: float) -> tuple[float, Span]:
    """Decades from 10 to 90 % of the rise of the best sigmoid, whatever its kind, and the 95 %
    profile-likelihood interval; an end is None where the data do not bound it: below, a jump within
    one step fits as well, above, a rise that has no ends.

    curve [L]: a fit of the means, for their variances, to which the luck of a place adds."""
    slope = np.gradient(curve, s.u)
    w = 1 / (s.variance(curve) * max(factor, s.floor) + (slope * s.luck) ** 2)
    span = s.u[-1] - s.u[0]
    step = np.diff(s.u).min()
    widths = np.geomspace(_NARROWEST * step, _WIDEST * span, _WIDTHS)
    sigmoids = [shape for shape in SMOOTH.values() if shape.sigmoid]

    def misfit(width: float) -> float:
        theta = sigmoid_places((s.u[0], s.u[-1]), width, step)
        return min(fit_places(shape, s.u, s.y, w, theta, s.box) for shape in sigmoids)

    least = np.array([misfit(width) for width in widths])
    best = int(least.argmin())
    freedom = max(len(s.y) - 4, 1)
    limit = special.fdtri(1, freedom, 0.95) if factor > 1 or s.floor < 1 else 3.841
    inside = np.flatnonzero(least <= least[best] + limit)
    low, high = inside[0], inside[-1]
    return float(widths[best]), (
        None if low == 0 else float(widths[low - 1]),
        None if high == len(widths) - 1 else float(widths[high + 1]),
    )
