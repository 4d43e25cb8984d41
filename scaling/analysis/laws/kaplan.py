"""Kaplan et al.: the loss of a model of N parameters trained, stopped early, on D tokens."""

from types import MappingProxyType

import jax.numpy as jnp

from scaling.analysis.law import N_PARAMS, N_TOKENS, Law, Param, power_allocation
from scaling.analysis.laws.chinchilla import design

WIDE = (1e-12, 1e90)  # how far the search for a scale goes when the data ask for it


class Kaplan(Law):
    """L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D.

    N: non-embedding parameters, D: tokens, L: nats/token. There is no irreducible loss, so the
    constants belong to one vocabulary and one data set. The optimum on C = 6 N D follows because
    the power alpha_D is monotone: N* ~ C^(alpha_D / (alpha_N + alpha_D)).
    """

    name = "kaplan"
    formula = "L(N, D) = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D"
    paper = "Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5"
    columns = (N_PARAMS, N_TOKENS)
    params = (
        Param(
            "N_c", 1e-3, 1e30, "log", (1e9, 1e12, 1e15), "parameters at which L would be 1", WIDE
        ),
        Param("D_c", 1e-3, 1e30, "log", (1e9, 1e12, 1e15), "tokens at which L would be 1", WIDE),
        Param("alpha_N", 1e-3, 4.0, "log", (0.05, 0.1, 0.3), "model-size exponent"),
        Param("alpha_D", 1e-3, 4.0, "log", (0.05, 0.1, 0.3), "data exponent"),
    )
    published = MappingProxyType(
        {"Kaplan et al. 2020": dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)}
    )

    fractions = ("a",)

    def log_predict(self, theta, x):
        ratio = theta["alpha_N"] / theta["alpha_D"]
        model = ratio * (jnp.log(theta["N_c"]) - jnp.log(x["n_params"]))
        data = jnp.log(theta["D_c"]) - jnp.log(x["n_tokens"])
        return theta["alpha_D"] * jnp.logaddexp(model, data)

    def derived(self, theta):
        return {"a": theta["alpha_D"] / (theta["alpha_N"] + theta["alpha_D"])}

    def optimal(self, theta, flops):
        ratio = theta["alpha_N"] / theta["alpha_D"]
        return power_allocation(theta["N_c"] ** ratio, ratio, theta["D_c"], 1.0, flops)

    def example(self):
        return self.published["Kaplan et al. 2020"], design()


KAPLAN = Kaplan()
