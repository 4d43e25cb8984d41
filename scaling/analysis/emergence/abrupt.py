"""Changes that no smooth law makes: a jump within one step of the grid, and a kink.

Each is linear in its coefficients at every place, so that all places and all data sets are fitted
by one product. Only changes for the better count: a jump up, a kink after which the rise is
faster. Legend: B data sets, G places, L scales, u = log10 of the scale (rising).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_PER_STEP = 4  # kinks tried between two scales
_EXPONENTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Abrupt:
    """`columns` maps (place [G], u [L]) to the basis [G', L, P], its last column the change."""

    name: str
    n_params: int
    columns: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _between(u: np.ndarray) -> np.ndarray:
    """Kinks: at scales and between them, not before the first nor in the last step."""
    steps = np.arange(_PER_STEP) / _PER_STEP
    return (u[:-2, None] + steps * np.diff(u)[:-1, None]).ravel()


def _jump(u: np.ndarray):
    places = (u[1:] + u[:-1]) / 2
    after = (u > places[:, None]).astype(float)
    return places, np.stack([np.ones_like(after), after], -1)


def _jump_on_line(u: np.ndarray):
    places, columns = _jump(u)
    line = np.broadcast_to(u - u.mean(), columns.shape[:-1])
    return places[1:-1], np.stack([columns[..., 0], line, columns[..., 1]], -1)[1:-1]


def _kink(u: np.ndarray):
    places = _between(u)[1:]
    after = np.maximum(u - places[:, None], 0)
    line = np.broadcast_to(u - u.mean(), after.shape)
    return places, np.stack([np.ones_like(after), line, after], -1)


def _onset(u: np.ndarray):
    """Flat, then a power law of any exponent."""
    places = np.repeat(_between(u), len(_EXPONENTS))
    c = np.tile(_EXPONENTS, len(_between(u))) * np.log(10)
    after = -np.expm1(-c[:, None] * np.maximum(u - places[:, None], 0)) / c[:, None]
    return places, np.stack([np.ones_like(after), after], -1)


ABRUPT = {
    shape.name: shape
    for shape in (
        Abrupt("jump", 3, _jump),
        Abrupt("jump on a line", 4, _jump_on_line),
        Abrupt("kink", 4, _kink),
        Abrupt("flat, then a law", 4, _onset),
    )
}


@dataclass(frozen=True)
class Change:
    """The change that fits one data set best: `place` in u, `curve` [L]."""

    name: str
    place: float
    n_params: int
    curve: np.ndarray


class AbruptFit:
    """All abrupt shapes over one grid, posed once for weights w [L]; `better`: +1 or -1."""

    def __init__(self, u: np.ndarray, w: np.ndarray, better: float):
        self.root, self.posed = np.sqrt(w), []
        for shape in ABRUPT.values():
            places, columns = shape.columns(u)
            q, r = np.linalg.qr(columns * self.root[:, None])
            # the last coefficient has the sign of its product with q, but for that of r
            self.posed.append((shape, places, q, np.sign(r[:, -1, -1]) * better))

    def chi2(self, y: np.ndarray) -> np.ndarray:
        """Weighted squares [B] of y [B, L] from the shape with the least chi2 + 2 a parameter."""
        found = np.array([value for value, _ in self._each(y)])
        cost = np.array([2.0 * shape.n_params for shape in ABRUPT.values()])
        return np.take_along_axis(found, (found + cost[:, None]).argmin(0)[None], 0)[0]

    def best(self, y: np.ndarray) -> Change:
        """That shape for one data set y [L]."""
        each = self._each(y[None])
        cost = [
            least[0] + 2 * one[0].n_params for (least, _), one in zip(each, self.posed, strict=True)
        ]
        k = int(np.argmin(cost))
        (shape, places, q, flip), at = self.posed[k], each[k][1][0]
        part = (y * self.root) @ q[at]
        part[-1] = flip[at] * max(part[-1] * flip[at], 0.0)
        return Change(shape.name, float(places[at]), shape.n_params, q[at] @ part / self.root)

    def _each(self, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of every shape the least weighted squares [B] and where on its grid they are [B]."""
        z = y * self.root
        total, out = (z * z).sum(1), []
        for _, _, q, flip in self.posed:
            part = [z @ q[..., k].T for k in range(q.shape[-1])]  # [B, G] each
            gained = sum(v * v for v in part[:-1]) + np.maximum(part[-1] * flip, 0) ** 2
            at = gained.argmax(1)
            least = np.maximum(total - gained[np.arange(len(y)), at], 0)
            out.append((least, at))
        return out
