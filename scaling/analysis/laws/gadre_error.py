"""Average top-1 error from loss: an exponential that saturates at chance."""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import LOSS, Column, Law, Param, factorial

ERROR = Column("error", "fraction", "top-1 error averaged over tasks, 0 to 1", False, span=(0, 1))


class GadreError(Law):
    """Err(L) = eps - k exp(-gamma L), L in nats/token, Err a fraction.

    eps is the error of a model that has learned nothing. Chained after the loss law it predicts
    the tasks of a run that was never trained; see `scaling.analysis.chain`.
    """

    name = "gadre_error"
    formula = "error = eps - k exp(-gamma loss)"
    paper = "Gadre et al. 2024 (arXiv:2403.08540), average error from loss"
    columns = (LOSS,)
    target = ERROR
    params = (
        Param("k", -1e9, 1e9, doc="scale"),
        Param("gamma", 1e-3, 20.0, "log", (0.1, 0.3, 0.6, 1.0, 2.0, 4.0), "rate per nat"),
        Param("eps", -10.0, 10.0, doc="error at infinite loss"),
    )
    loss = "mse"
    linear = ("k", "eps")
    linear_space = "linear"
    published = MappingProxyType(
        {"Gadre et al. 2024 (RedPajama)": dict(k=2.2065, gamma=0.71459, eps=0.85699)}
    )

    def predict(self, theta, x):
        return theta["eps"] - theta["k"] * jnp.exp(-theta["gamma"] * x["loss"])

    def example(self):
        return next(iter(self.published.values())), factorial(loss=np.linspace(2.2, 6.0, 12))


GADRE_ERROR = GadreError()
