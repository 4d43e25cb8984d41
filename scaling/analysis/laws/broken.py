"""Smoothly broken power laws: a straight line on log-log axes that bends at up to three places."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import Law, Param, factorial
from scaling.analysis.laws.power import SCORE, X_COLUMN


def place_name(i: int) -> str:
    """d1 for the first break, the ratio r_i = d_i / d_(i-1) >= 1 for the later ones: in order,
    because two breaks that change places are the same curve."""
    return "d1" if i == 1 else f"r{i}"


def break_params(i: int) -> tuple[Param, ...]:
    """The three parameters of break i."""
    later = Param(f"r{i}", 1.0, 1e40, "log", doc=f"place of break {i} over that of break {i - 1}")
    return (
        Param(f"c{i}", -10.0, 10.0, doc=f"change of slope at break {i}"),
        Param("d1", 1e-30, 1e40, "log", doc="place of break 1") if i == 1 else later,
        Param(f"f{i}", 0.01, 10.0, "log", doc=f"width of break {i}"),
    )


class Broken(Law):
    """y = E + b x^-c0 prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i), for i = 1 .. n breaks.

    Before the first break the slope is -c0, after break i it is -(c0 + c_1 + ... + c_i); d_i is
    where it bends and f_i how sharply (small is sharp). y > 0 in the unit of the target, x in the
    unit of its column. Three numbers a break: with few points read the basins and the intervals.
    """

    paper = "Caballero et al. 2022 (arXiv:2210.14891), eq. 1"
    columns = (X_COLUMN,)
    target = SCORE

    def __init__(self, breaks: int):
        self.breaks = breaks
        self.name = f"broken_{breaks}"
        bends = " ".join(f"(1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in self.indices)
        self.formula = f"y = E + b x^-c0 {bends}".strip()
        self.params = (
            Param("E", 1e-12, 1e6, "log", doc="limit of y"),
            Param("b", 1e-40, 1e80, "log", doc="scale"),
            Param("c0", -5.0, 5.0, doc="first slope"),
            *itertools.chain.from_iterable(break_params(i) for i in self.indices),
        )

    @property
    def indices(self) -> range:
        return range(1, self.breaks + 1)

    def log_predict(self, theta, x):
        log_x = jnp.log(x["x"])
        curve = jnp.log(theta["b"]) - theta["c0"] * log_x
        log_d = 0.0
        for i in self.indices:
            log_d += jnp.log(theta[place_name(i)])
            c, f = theta[f"c{i}"], theta[f"f{i}"]
            curve -= c * f * jax.nn.softplus((log_x - log_d) / f)
        return jnp.logaddexp(jnp.log(theta["E"]), curve)

    def derived(self, theta):
        """The places of the later breaks."""
        out, place = {}, theta["d1"] if self.breaks else None
        for i in self.indices[1:]:
            place = place * theta[f"r{i}"]
            out[f"d{i}"] = place
        return out

    def starts(self, table):
        """Breaks at quantiles of ln x, sharp or wide; slopes by least squares on ln(y - E)."""
        log_x = np.log(table["x"].to_numpy(np.float64))
        y = table[self.target.name].to_numpy(np.float64)
        places = np.quantile(log_x, np.linspace(0.1, 0.9, 7))
        rows = [
            self._start(log_x, y, fraction * y.min(), at, width * max(np.ptp(log_x), 1e-6))
            for at in itertools.combinations(places, self.breaks)
            for width in ((0.02, 0.1) if self.breaks else (1.0,))
            for fraction in (1e-3, 0.5, 0.95)
        ]
        return {p.name: np.array([r[p.name] for r in rows]) for p in self.params}

    def _start(self, log_x, y, floor, places, width) -> dict[str, float]:
        width = float(np.clip(width, 0.02, 5.0))
        bends = [width * np.logaddexp(0.0, (log_x - at) / width) for at in places]
        basis = np.stack([np.ones_like(log_x), -log_x, *(-bend for bend in bends)], axis=1)
        solution = np.linalg.lstsq(basis, np.log(y - floor), rcond=1e-8)[0]
        slopes = np.clip(solution[1:], -4.5, 4.5)
        out = {"E": floor, "b": np.exp(np.clip(solution[0], -80, 170)), "c0": slopes[0]}
        for i, step in zip(self.indices, np.diff(places, prepend=0.0), strict=True):
            out |= {f"c{i}": slopes[i], place_name(i): np.exp(step), f"f{i}": width}
        return out

    def example(self):
        truth = {"E": 0.4, "b": 12.0, "c0": 0.05}
        bends = ((0.5, 1e3, 0.2), (-0.45, 1e3, 0.25), (0.7, 1e2, 0.2))
        for i, (c, place, f) in zip(self.indices, bends, strict=False):
            truth |= {f"c{i}": c, place_name(i): place, f"f{i}": f}
        if not self.breaks:
            truth["c0"] = 0.3
        return truth, factorial(x=np.geomspace(1e1, 1e11, 60))


BROKEN_0, BROKEN_1, BROKEN_2, BROKEN_3 = (Broken(n) for n in range(4))
