"""Chinchilla, approach 3: an irreducible loss and two power laws."""

import math
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import (
    N_PARAMS,
    N_TOKENS,
    Law,
    Param,
    factorial,
    log_sum_exp,
    power_allocation,
)

# How far the search goes when the data ask for more than its usual box holds.
TERM, STEEP = (1e-6, 1e80), (0.0, 16.0)

E = Param(
    "E", 1e-6, 1e3, "log", tuple(math.exp(e) for e in (-1, -0.5, 0, 0.5, 1)), "irreducible loss"
)
A = Param(
    "A", 1e-6, 1e18, "log", tuple(math.exp(a) for a in range(0, 30, 5)), "model-size scale", TERM
)
B = Param("B", 1e-6, 1e18, "log", tuple(math.exp(b) for b in range(0, 30, 5)), "data scale", TERM)
ALPHA = Param(
    "alpha", 0.0, 4.0, grid=(0.0, 0.5, 1.0, 1.5, 2.0), doc="model-size exponent", widest=STEEP
)
BETA = Param("beta", 0.0, 4.0, grid=(0.0, 0.5, 1.0, 1.5, 2.0), doc="data exponent", widest=STEEP)


class Chinchilla(Law):
    """L(N, D) = E + A N^-alpha + B D^-beta, E and L in nats/token.

    N in whichever convention the column holds (say which), D in tokens. `a` = beta/(alpha + beta)
    is the exponent of N*(C) on C = 6 N D. The grid of 4,500 starts is that of the paper.
    """

    name = "chinchilla"
    formula = "L(N, D) = E + A N^-alpha + B D^-beta"
    paper = "Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2 and appendix D.3"
    columns = (N_PARAMS, N_TOKENS)
    params = (E, A, B, ALPHA, BETA)
    fractions = ("a",)
    published = MappingProxyType(
        {
            "Hoffmann et al. 2022": dict(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
            "Besiroglu et al. 2024": dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
        }
    )

    def log_predict(self, theta, x):
        return log_sum_exp(
            jnp.log(theta["E"]),
            jnp.log(theta["A"]) - theta["alpha"] * jnp.log(x["n_params"]),
            jnp.log(theta["B"]) - theta["beta"] * jnp.log(x["n_tokens"]),
        )

    def derived(self, theta):
        return {"a": theta["beta"] / (theta["alpha"] + theta["beta"])}

    def optimal(self, theta, flops):
        return power_allocation(theta["A"], theta["alpha"], theta["B"], theta["beta"], flops)

    def example(self):
        return self.published["Besiroglu et al. 2024"], design()


def design():
    """Runs from 44M to 16B parameters at 5 to 320 tokens per parameter."""
    table = factorial(n_params=np.geomspace(44e6, 16e9, 8), tokens_per_param=(5, 20, 80, 320))
    return table.assign(n_tokens=table["n_params"] * table["tokens_per_param"])


CHINCHILLA = Chinchilla()
