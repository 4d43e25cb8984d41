"""Least-squares fits of the shapes to many data sets at once.

Legend as in `shapes`: B data sets, G places of a grid, L scales. Weights are one set for all.
"""

from dataclasses import dataclass

import numpy as np

from scaling.analysis.emergence.shapes import Shape

_TINY = 1e-300
_ZOOMS = 7
_MOVES = np.array([(a, b) for a in (-1.0, 0.0, 1.0) for b in (-1.0, 0.0, 1.0)])


@dataclass(frozen=True)
class Fitted:
    """Best fits of one shape: `chi2` [B] weighted squares, `theta` [B, Q], `ends` [B, 2] the
    levels before and after the rise, `curve` [B, L]."""

    chi2: np.ndarray
    theta: np.ndarray
    ends: np.ndarray
    curve: np.ndarray


Box = tuple[float, float, float, float]  # least and most of the level before, and of that after


def _levels(s, box: Box):
    """The best two levels under the box from the sums s = (aa, ab, bb, ay, by), broadcast
    together: (loss without y'y, low, high). A convex problem: inside, or on one of four edges."""
    aa, ab, bb, ay, by = s
    lo0, hi0, lo1, hi1 = box
    det = np.maximum(aa * bb - ab * ab, 1e-12 * aa * bb + _TINY)
    low, high = (ay * bb - by * ab) / det, (by * aa - ay * ab) / det
    inside = (low >= lo0) & (low <= hi0) & (high >= lo1) & (high <= hi1)
    low, high = np.clip(low, lo0, hi0), np.clip(high, lo1, hi1)

    def loss(p, q):
        return p * p * aa + 2 * p * q * ab + q * q * bb - 2 * (p * ay + q * by)

    best = np.where(inside, loss(low, high), np.inf)
    for edge, before in ((lo0, True), (hi0, True), (lo1, False), (hi1, False)):
        if before:
            p, q = edge, np.clip((by - ab * edge) / np.maximum(bb, _TINY), lo1, hi1)
        else:
            p, q = np.clip((ay - ab * edge) / np.maximum(aa, _TINY), lo0, hi0), edge
        value = loss(p, q)
        better = value < best
        best, low = np.where(better, value, best), np.where(better, p, low)
        high = np.where(better, q, high)
    return best, low, high


def _sums(g: np.ndarray, y: np.ndarray, w: np.ndarray):
    """The sums of `_levels` for one curve a data set and move: g [B, M, L], y [B, L]."""
    a, wb = 1 - g, w * g
    wa = w * a
    return (
        (wa * a).sum(-1), (wa * g).sum(-1), (wb * g).sum(-1),
        np.matmul(wa, y[..., None])[..., 0], np.matmul(wb, y[..., None])[..., 0],
    )  # fmt: skip


def fit_shape(shape: Shape, u, y, w, width: float, box: Box) -> Fitted:
    """Fits of `shape` to y [B, L] with weights w [L]: the best place of the grid, then a search
    around it that halves its steps."""
    ends = (u[0], u[-1])
    theta, step = shape.grid(ends, width)
    loss, low, high = _on_grid(shape, u, y, w, theta, box)
    at = loss.argmin(1)
    rows = np.arange(len(y))
    found, low, high = theta[at], low[rows, at], high[rows, at]
    if theta.shape[1]:
        bounds = theta.min(0), theta.max(0)
        moves = np.unique(_MOVES[:, : theta.shape[1]], axis=0)
        size = step[at]
        for _ in range(_ZOOMS):
            size = size / 2
            near = found[:, None] + moves * size[:, None]
            near[..., -1] = np.clip(near[..., -1], bounds[0][-1], bounds[1][-1])
            loss, lows, highs = _levels(_sums(shape.rise(u[None, None], near, ends), y, w), box)
            at = loss.argmin(1)
            found, low, high = near[rows, at], lows[rows, at], highs[rows, at]
    curve = shape.rise(u[None], found, ends)
    curve = low[:, None] + (high - low)[:, None] * curve
    return Fitted((w * (y - curve) ** 2).sum(1), found, np.stack([low, high], 1), curve)


def _on_grid(shape: Shape, u, y, w, theta, box: Box):
    """`_levels` [B, G] at all places of a grid theta [G, Q]."""
    g = shape.rise(u[None], theta, (u[0], u[-1]))  # [G, L]
    a = 1 - g
    s = ((w * a * a).sum(1), (w * a * g).sum(1), (w * g * g).sum(1), y @ (w * a).T, y @ (w * g).T)
    return _levels(s, box)


def fit_places(shape: Shape, u, y, w, theta, box: Box) -> float:
    """The least weighted squares of one data set y [L] at given places theta [G, Q]."""
    loss, _, _ = _on_grid(shape, u, y[None], w, theta, box)
    return float(loss.min() + (w * y * y).sum())
