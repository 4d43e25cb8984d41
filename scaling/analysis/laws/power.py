"""One power law in one quantity, L = (X_c/X)^a: Kaplan's three trends, and any column `x`."""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import LOSS, N_PARAMS, N_TOKENS, Column, Law, Param, factorial

X_COLUMN = Column("x", "any", "the scaled quantity; choose it with --map x=COLUMN")
SCORE = Column("loss", "nats/token or any", "evaluation loss, or another score; --map loss=COLUMN")
PF_DAYS = Column("pf_days", "PF-days", "1 PF-day = 8.64e19 FLOPs; compute at the critical batch")


class Power(Law):
    """L(X) = (X_c/X)^a: a straight line on log-log axes that falls to zero, not to an entropy.

    X in the unit of its column, L in nats/token. Kaplan et al. fitted it where the *other*
    resources were no bottleneck (models trained to convergence for L(N), large models stopped
    early for L(D), the critical batch size for L(C_min)).
    """

    paper = "Kaplan et al. 2020 (arXiv:2001.08361), eqs. 1.1 to 1.3"
    params = (
        Param(
            "X_c",
            1e-30,
            1e60,
            "log",
            doc="the X at which the loss would be 1",
            widest=(1e-90, 1e240),
        ),
        Param("a", 1e-4, 5.0, doc="exponent", widest=(1e-4, 20.0)),
    )

    def __init__(self, name: str, column: Column, published: dict[str, float] | None = None):
        self.name = name
        self.column = column
        self.columns = (column,)
        self.target = SCORE if column == X_COLUMN else LOSS
        self.formula = f"L = (X_c / {column.name})^a"
        self.published = MappingProxyType({"Kaplan et al. 2020": published} if published else {})

    def log_predict(self, theta, x):
        return theta["a"] * (jnp.log(theta["X_c"]) - jnp.log(x[self.column.name]))

    def starts(self, table):
        """Ordinary least squares on logs, which is the log_mse optimum, and steps around it."""
        log_x, log_y = np.log(table[self.column.name]), np.log(table[self.target.name])
        centred = log_x - log_x.mean()
        slope = -(centred @ log_y) / max(centred @ centred, 1e-300)
        a = np.clip(slope, 1e-3, 4.0) * np.array([0.5, 1.0, 2.0])
        a = np.clip(a, 1e-3, 4.0)
        log_scale = np.clip(log_x.mean() + log_y.mean() / a, -60, 130)
        return {"X_c": np.exp(log_scale), "a": a}

    def example(self):
        truth = next(iter(self.published.values()), {"X_c": 1e9, "a": 0.2})
        return truth, factorial(**{self.column.name: truth["X_c"] * np.geomspace(1e-9, 1e-4, 9)})


POWER = Power("power", X_COLUMN)
KAPLAN_N = Power("kaplan_n", N_PARAMS, {"X_c": 8.8e13, "a": 0.076})
KAPLAN_D = Power("kaplan_d", N_TOKENS, {"X_c": 5.4e13, "a": 0.095})
KAPLAN_C = Power("kaplan_c", PF_DAYS, {"X_c": 3.1e8, "a": 0.050})
