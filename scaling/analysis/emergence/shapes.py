"""The curves that a rise is held against: smooth families, and changes within one step of a grid.

Every shape is linear in its levels and has at most two other parameters. Legend: B data sets,
G places of a search grid, L scales, Q parameters that are not levels, u = log10 of the scale
(rising), g in [0, 1] or beyond: value = low + (high - low) g(u; theta).

A smooth family may rise by no more than a stated width allows: the middle 80 % of its rise takes
at least that many decades. Without a bound every sigmoid contains a jump as its limit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LN9 = float(np.log(9.0))
_WIDTHS = 9  # of a search grid
_WIDEST = 4.0  # ranges of the data: a wider sigmoid is a straight line or an exponential
_TAILS = {  # sigmoid: (value at t, where it is .1, where it is .9)
    "logistic": (lambda t: 1 / (1 + np.exp(-t)), -LN9, LN9),
    "gompertz": (lambda t: np.exp(-np.exp(-t)), -np.log(np.log(10)), -np.log(-np.log(0.9))),
    "weibull": (lambda t: -np.expm1(-np.exp(t)), np.log(-np.log(0.9)), np.log(np.log(10))),
}


Ends = tuple[float, float]  # u of the smallest and of the largest scale


@dataclass(frozen=True)
class Shape:
    """One smooth family. `rise` maps (u [..., L], theta [..., Q], ends) to g [..., L]; `grid` maps
    (ends, least width in decades) to (theta [G, Q], step [G, Q]): the places of a search and how
    far apart they are. `formula`: for people. `gradual`: the rise never picks up.
    `n_params` counts the two levels."""

    name: str
    formula: str
    n_params: int
    gradual: bool
    rise: Callable[[np.ndarray, np.ndarray, Ends], np.ndarray]
    grid: Callable[[Ends, float], tuple[np.ndarray, np.ndarray]]

    @property
    def sigmoid(self) -> bool:
        """Whether it has a width of its own: theta is (place, log10 of the width)."""
        return self.n_params == 4


def _linear(u: np.ndarray, _: np.ndarray, ends: Ends) -> np.ndarray:
    return (u - ends[0]) / (ends[1] - ends[0])


def _no_grid(ends: Ends, width: float) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((1, 0)), np.zeros((1, 0))


def _power(sign: float) -> Callable[[np.ndarray, np.ndarray, Ends], np.ndarray]:
    """theta: the exponent, positive. Scaled to 0 at the smallest scale and 1 at the largest."""

    def rise(u: np.ndarray, theta: np.ndarray, ends: Ends) -> np.ndarray:
        c = -sign * theta * np.log(10)
        return np.expm1(c * (u - ends[0])) / np.expm1(c * (ends[1] - ends[0]))

    return rise


def _power_grid(ends: Ends, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Exponents up to that at which 80 % of the rise take `width` decades; the least one is a
    straight line in all but name."""
    steepest = LN9 / np.log(10) / width
    least = min(0.05 / (ends[1] - ends[0]), steepest / 2)
    exponents = np.geomspace(least, steepest, 24)[:, None]
    return exponents, exponents * (exponents[1] / exponents[0] - 1)


def _sigmoid(name: str) -> Callable[[np.ndarray, np.ndarray, Ends], np.ndarray]:
    value, low, high = _TAILS[name]

    def rise(u: np.ndarray, theta: np.ndarray, _: Ends) -> np.ndarray:
        t = (u - theta[..., :1]) * 10.0 ** -theta[..., 1:] * (high - low) + (low + high) / 2
        return value(np.clip(t, -40, 40))

    return rise


def _sigmoid_grid(ends: Ends, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Widths from the least to four ranges, places a quarter of a width apart."""
    span = ends[1] - ends[0]
    widths = np.geomspace(width, max(_WIDEST * span, 2 * width), _WIDTHS)
    theta = [sigmoid_places(ends, w, w) for w in widths]
    apart = np.log10(widths[1] / widths[0])
    step = [np.full((len(t), 2), (w / 4, apart)) for t, w in zip(theta, widths, strict=True)]
    return np.concatenate(theta), np.concatenate(step)


def sigmoid_places(ends: Ends, width: float, scale: float) -> np.ndarray:
    """theta [G, 2] of one width at places a quarter of `scale` apart, somewhat beyond the ends."""
    reach = min(width, ends[1] - ends[0])
    places = np.arange(ends[0] - reach, ends[1] + reach + scale / 8, scale / 4)
    return np.stack([places, np.full(len(places), np.log10(width))], 1)


SMOOTH = {
    shape.name: shape
    for shape in (
        Shape("linear", "a + b ln x", 2, True, _linear, _no_grid),
        Shape("power law", "a - b x^-c", 3, True, _power(1.0), _power_grid),
        Shape("rising power law", "a + b x^c", 3, False, _power(-1.0), _power_grid),
        Shape("logistic", "a + b / (1 + x^-c)", 4, False, _sigmoid("logistic"), _sigmoid_grid),
        Shape("gompertz", "a + b exp(-x^-c)", 4, False, _sigmoid("gompertz"), _sigmoid_grid),
        Shape("weibull", "a - b exp(-x^c)", 4, False, _sigmoid("weibull"), _sigmoid_grid),
    )
}
