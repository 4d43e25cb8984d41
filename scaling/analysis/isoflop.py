"""The bottom of one IsoFLOP curve: a parabola, or an Akima spline through the points.

Hoffmann et al. 2022 (arXiv:2203.15556), section 3.2, fitted a parabola to the loss over ln N at
each budget; Porian et al. 2024 (arXiv:2406.19146) interpolated with Akima's spline, which follows
asymmetric curves but has no residuals to tell its error from.
"""

from dataclasses import dataclass

import numpy as np

from scaling.errors import UserError

SAME_BUDGET = np.log(1.2)  # budgets closer than 20 % are one budget


@dataclass(frozen=True)
class Minimum:
    """The lowest point of a curve y(x). `edge` says why it is not a minimum, "" when it is; `std`
    is the standard error of x from the residuals `rss` (a sum of squares with `dof` degrees of
    freedom), `unit` the same for residuals of deviation 1. NaN where the method has none."""

    x: float
    y: float
    std: float = np.nan
    edge: str = ""
    unit: float = np.nan
    rss: float = np.nan
    dof: int = 0


def budgets(flops: np.ndarray) -> np.ndarray:
    """The group number of each budget, int [rows], in rising order. A new group begins wherever
    the sorted budgets leave a gap of more than 20 %, so budgets read off a figure still group.
    Raises UserError when a group spans more than twice that: those are not IsoFLOP runs."""
    order = np.argsort(flops, kind="stable")
    steps = np.diff(np.log(flops[order])) > SAME_BUDGET
    groups = np.empty(len(flops), int)
    groups[order] = np.concatenate([[0], np.cumsum(steps)])
    for number in range(groups.max() + 1):
        same = flops[groups == number]
        if np.log(same.max() / same.min()) > 2 * SAME_BUDGET:
            raise UserError(
                f"the budgets from {same.min():.3g} to {same.max():.3g} FLOPs run into each other; "
                "IsoFLOP analysis needs runs at a few separate budgets (or fit chinchilla instead)"
            )
    return groups


def parabola_minimum(x: np.ndarray, y: np.ndarray) -> Minimum:
    """The vertex of the least-squares parabola, its standard error by the delta method from the
    residuals (4 points or more). Flagged when it opens downwards or lies outside the points."""
    if len(np.unique(x)) < 3:
        return Minimum(np.nan, np.nan, edge="fewer than 3 sizes")
    centre, half = x.mean(), np.ptp(x) / 2
    design = np.vander((x - centre) / half, 3)
    coefs, *_ = np.linalg.lstsq(design, y, rcond=None)
    a, b, c = coefs
    if a <= 0:
        return Minimum(np.nan, np.nan, edge="the parabola has no minimum")
    u = -b / (2 * a)
    at = centre + half * u
    slope = np.array([b / (2 * a * a), -1 / (2 * a), 0.0])
    unit = half * np.sqrt(slope @ np.linalg.solve(design.T @ design, slope))
    rss, dof = float(np.sum((design @ coefs - y) ** 2)), len(x) - 3
    std = unit * np.sqrt(rss / dof) if dof else np.nan
    edge = "" if x.min() < at < x.max() else "the minimum lies outside the sizes"
    return Minimum(at, c - b * b / (4 * a), std, edge, unit, rss, dof)


def akima_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Akima's slope at every knot, float64 [knots]. Akima 1970 (J. ACM 17, 589): the mean of the
    neighbouring secants, each weighted by how much the secants bend on the other side."""
    secants = np.diff(y) / np.diff(x)
    first, last = secants[0], secants[-1]
    second, before = secants[min(1, len(secants) - 1)], secants[max(-2, -len(secants))]
    left = [3 * first - 2 * second, 2 * first - second]
    right = [2 * last - before, 3 * last - 2 * before]
    m = np.concatenate([left, secants, right])
    bends = np.abs(np.diff(m))
    after, prior = bends[2:], bends[:-2]
    total = after + prior
    flat = total <= 1e-9 * max(total.max(), 1e-300)
    weight = np.where(flat, 0.5, after / np.where(flat, 1.0, total))
    return weight * m[1:-2] + (1 - weight) * m[2:-1]


def akima_minimum(x: np.ndarray, y: np.ndarray) -> Minimum:
    """The lowest point of the Akima spline through the points, exactly. Repeated x keep their
    lowest y. Flagged when it is the first or the last point."""
    order = np.lexsort((y, x))
    x, first = np.unique(x[order], return_index=True)
    y = y[order][first]
    if len(x) < 3:
        return Minimum(np.nan, np.nan, edge="fewer than 3 sizes")
    t, h = akima_slopes(x, y), np.diff(x)
    secants = np.diff(y) / h
    # y(x_i + u) = y_i + t_i u + c u^2 + d u^3 on the interval i
    c = (3 * secants - 2 * t[:-1] - t[1:]) / h
    d = (t[:-1] + t[1:] - 2 * secants) / h**2
    best_x, best_y = x[np.argmin(y)], y.min()
    for i in range(len(h)):
        roots = np.roots([3 * d[i], 2 * c[i], t[i]])
        u = roots.real[(np.abs(roots.imag) < 1e-12) & (roots.real > 0) & (roots.real < h[i])]
        values = y[i] + u * (t[i] + u * (c[i] + u * d[i]))
        if len(u) and values.min() < best_y:
            best_x, best_y = x[i] + u[np.argmin(values)], values.min()
    edge = "the minimum is the smallest or largest size" if best_x in (x[0], x[-1]) else ""
    return Minimum(best_x, best_y, edge=edge)


def curve_minimum(method: str, n_params: np.ndarray, loss: np.ndarray) -> Minimum:
    """The minimum over ln N: of the loss for "parabola", of ln loss for "akima"."""
    if method == "parabola":
        return parabola_minimum(np.log(n_params), loss)
    assert method == "akima", method
    found = akima_minimum(np.log(n_params), np.log(loss))
    return Minimum(found.x, np.exp(found.y), found.std, found.edge)
