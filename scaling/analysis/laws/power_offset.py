"""One power law over an irreducible loss, L = E + A X^-a."""

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import Law, Param, factorial, log_sum_exp
from scaling.analysis.laws.power import X_COLUMN
from scaling.analysis.starts import additive_starts

E = Param("E", 1e-9, 1e6, "log", doc="irreducible loss")
A = Param("A", 1e-30, 1e60, "log", doc="scale: the reducible loss at X = 1", widest=(1e-30, 1e240))
EXPONENT = Param("a", 0.0, 5.0, doc="exponent", widest=(0.0, 20.0))
EXPONENTS = (0.03, 0.07, 0.15, 0.3, 0.6, 1.2, 2.4)


class PowerOffset(Law):
    """L(X) = E + A X^-a, E and L in nats/token, X in the unit of its column.

    Pin E (`pinned={"E": 1.7}`, `--pin E=1.7`) when another fit or a known entropy gives it; over
    less than two decades of X a free E and a are strongly correlated.
    """

    name = "power_offset"
    formula = "L = E + A x^-a"
    paper = "Henighan et al. 2020 (arXiv:2010.14701), eq. 1.1"
    columns = (X_COLUMN,)
    params = (E, A, EXPONENT)

    def log_predict(self, theta, x):
        return log_sum_exp(jnp.log(theta["E"]), jnp.log(theta["A"]) - theta["a"] * jnp.log(x["x"]))

    def starts(self, table):
        x, target = table["x"].to_numpy(np.float64), table[self.target.name].to_numpy(np.float64)
        found = additive_starts(target, [x], [(a,) for a in EXPONENTS])
        return dict(zip(("E", "A", "a"), found.T, strict=True))

    def example(self):
        return {"E": 1.7, "A": 400.0, "a": 0.34}, factorial(x=np.geomspace(1e6, 1e11, 16))


POWER_OFFSET = PowerOffset()
