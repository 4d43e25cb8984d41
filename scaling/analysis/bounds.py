"""The box a fit searches: limits that mean something, and search boxes that give way.

The bounds of a parameter are of two kinds. A limit of meaning (an irreducible loss or an exponent
is not negative, a share at most 1) holds whatever the data ask for. The rest only says where to
look first: a fit that such a bound would stop goes on beyond it, up to `Param.widest`.
"""

import numpy as np

from scaling.analysis.law import TRANSFORMS, Law
from scaling.analysis.objective import values_of, z_of
from scaling.errors import UserError, unknown

_AT_BOUND = 1e-7  # of the width of the box, in z


def box(law: Law, bounds, pinned) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds [P] in z; equal where pinned. Raises UserError."""
    names = [p.name for p in law.params]
    for name in (*bounds, *pinned):
        if name not in names:
            raise unknown(f"parameter of {law.name}", name, names)
    low, high = {}, {}
    for p in law.params:
        low[p.name], high[p.name] = p.lower, p.upper
        if p.name in bounds:
            low[p.name], high[p.name] = map(float, bounds[p.name])
            if not low[p.name] <= high[p.name]:
                raise UserError(f"bounds of {p.name}: {bounds[p.name]} are the wrong way round")
        if p.name in pinned:
            low[p.name] = high[p.name] = float(pinned[p.name])
        for value in (low[p.name], high[p.name]):
            if not np.isfinite(value) or (p.transform == "log" and value <= 0):
                kind = "positive" if p.transform == "log" else "finite"
                raise UserError(f"{p.name}={value:g}: it must be a {kind} number")
        if p.name in pinned and p.name not in bounds and not p.lower <= value <= p.upper:
            raise UserError(f"{p.name}={value:g} lies outside of {p.lower:g} to {p.upper:g}")
    return z_of(law, low), z_of(law, high)


def touching(z: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """Which parameters lie on a bound, bool [P]; a pinned one does not."""
    margin = _AT_BOUND * (hi - lo)
    return (lo < hi) & ((z <= lo + margin) | (z >= hi - margin))


def wider(law: Law, lo, hi, kept: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """The box with twice the room wherever it may give way. All sides give way together, so that
    terms that may change places still can. `kept`: parameters whose bounds the caller chose."""
    low, high = lo.copy(), hi.copy()
    for i, p in enumerate(law.params):
        if p.name not in kept and p.widest is not None:
            forward = TRANSFORMS[p.transform].forward
            least, most = (float(forward(np.float64(v))) for v in p.widest)
            low[i], high[i] = max(2 * lo[i] - hi[i], least), min(2 * hi[i] - lo[i], most)
    return low, high


def gives_way(z, lo, hi, low, high) -> bool:
    """Whether z [P] touches a bound of the box [lo, hi] that the box [low, high] does not have."""
    gives = np.where(z > (lo + hi) / 2, high > hi, low < lo)
    return bool((touching(z, lo, hi) & gives).any())


def explain(law: Law, value: dict[str, np.ndarray], stuck: np.ndarray, lo, hi) -> str:
    """Which parameters lie on which bound, and how to widen it. "" where none does."""
    low, high, out = values_of(law, lo), values_of(law, hi), []
    for p, hit in zip(law.params, stuck, strict=True):
        if not hit:
            continue
        least, most, v = (float(d[p.name]) for d in (low, high, value))
        above = abs(v - most) <= abs(v - least)
        side, bound = ("upper", most) if above else ("lower", least)
        further = f"{least:.4g}:HIGH" if above else f"LOW:{most:.4g}"
        limit = (p.lower, p.upper)[above] == bound and p.widest is None
        meaning = ", a limit of the law itself" if limit else ""
        out.append(
            f"{p.name} stops at its {side} bound {bound:.4g}{meaning} "
            f"(--bound {p.name}={further} looks further, --pin {p.name}=VALUE holds it)"
        )
    return "; ".join(out)
