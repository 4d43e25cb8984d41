"""Over-training: the loss of a model of N parameters trained on M tokens per parameter."""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import N_PARAMS, Column, Law, Param, factorial, power_allocation

RATIO = Column("tokens_per_param", "tokens/parameter", "token multiplier M = D/N")


class Gadre(Law):
    """L(N, M) = E + a N^eta + b 6^(eta/2) (M N)^eta with eta < 0; nats/token.

    It is Chinchilla with tied exponents in the coordinates C = 6 N^2 M, least squares in the loss
    itself: on log-log axes all M share one slope, and over-training only shifts the line.
    """

    name = "gadre"
    formula = "L(N, M) = E + a N^eta + b 6^(eta/2) (M N)^eta"
    paper = "Gadre et al. 2024 (arXiv:2403.08540), loss under over-training"
    columns = (N_PARAMS, RATIO)
    params = (
        Param("a", -1e12, 1e12, doc="model-size scale"),
        Param("b", -1e12, 1e12, doc="data scale"),
        Param("eta", -2.0, -1e-3, grid=(-0.05, -0.15, -0.3, -0.5, -0.9), doc="common exponent"),
        Param("E", -1e3, 1e3, doc="irreducible loss"),
    )
    loss = "mse"
    linear = ("a", "b", "E")
    linear_space = "linear"
    published = MappingProxyType(
        {"Gadre et al. 2024 (RedPajama)": dict(a=166.21, b=366.69, eta=-0.27285, E=1.83665)}
    )

    def predict(self, theta, x):
        eta = theta["eta"]
        log_n, log_m = jnp.log(x["n_params"]), jnp.log(x["tokens_per_param"])
        model = theta["a"] * jnp.exp(eta * log_n)
        data = theta["b"] * jnp.exp(eta * (log_m + log_n + jnp.log(6.0) / 2))
        return theta["E"] + model + data

    def optimal(self, theta, flops):
        eta, scale = -theta["eta"], theta["b"] * 6 ** (theta["eta"] / 2)
        return power_allocation(theta["a"], eta, scale, eta, flops)

    def example(self):
        design = factorial(n_params=np.geomspace(1e7, 4e8, 4), tokens_per_param=(5, 20, 80, 320))
        return next(iter(self.published.values())), design


GADRE = Gadre()
