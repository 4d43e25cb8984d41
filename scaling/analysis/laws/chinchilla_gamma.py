"""Chinchilla with an interaction: the two bottlenecks are summed before a common power."""

import itertools

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import N_PARAMS, N_TOKENS, Law, Param, log_sum_exp, power_allocation
from scaling.analysis.laws.chinchilla import ALPHA, BETA, A, B, E, design
from scaling.analysis.starts import additive_starts


class ChinchillaGamma(Law):
    """L(N, D) = E + (A N^-alpha + B D^-beta)^gamma, E and L in nats/token.

    gamma = 1 is Chinchilla; small gamma with E -> 0 is Kaplan's form. Only gamma alpha and
    gamma beta are seen far from the crossover, so gamma itself needs runs on both sides of it.
    """

    name = "chinchilla_gamma"
    formula = "L(N, D) = E + (A N^-alpha + B D^-beta)^gamma"
    paper = "joins Kaplan et al. 2020, eq. 1.5, and Hoffmann et al. 2022, eq. 2"
    columns = (N_PARAMS, N_TOKENS)
    params = (E, A, B, ALPHA, BETA, Param("gamma", 0.02, 20.0, "log", doc="interaction exponent"))

    fractions = ("a",)

    def log_predict(self, theta, x):
        reducible = jnp.logaddexp(
            jnp.log(theta["A"]) - theta["alpha"] * jnp.log(x["n_params"]),
            jnp.log(theta["B"]) - theta["beta"] * jnp.log(x["n_tokens"]),
        )
        return log_sum_exp(jnp.log(theta["E"]), theta["gamma"] * reducible)

    def starts(self, table):
        """Chinchilla's starts, with each term raised to 1/gamma for a few gamma."""
        columns = [table[c].to_numpy(np.float64) for c in ("n_params", "n_tokens")]
        exponents = list(itertools.product((0.15, 0.3, 0.6, 1.0), repeat=2))
        target = table[self.target.name].to_numpy(np.float64)
        E, A, alpha, B, beta = additive_starts(target, columns, exponents).T
        gamma = np.repeat((0.4, 0.7, 1.0, 1.5), len(E))
        E, A, alpha, B, beta = (np.tile(v, 4) for v in (E, A, alpha, B, beta))
        A, B = (np.clip(v ** (1 / gamma), 1e-5, 1e17) for v in (A, B))
        return dict(E=E, A=A, B=B, alpha=alpha / gamma, beta=beta / gamma, gamma=gamma)

    def derived(self, theta):
        return {"a": theta["beta"] / (theta["alpha"] + theta["beta"])}

    def optimal(self, theta, flops):
        return power_allocation(theta["A"], theta["alpha"], theta["B"], theta["beta"], flops)

    def example(self):
        truth = dict(E=1.82, A=1.1e4, B=1.2e5, alpha=0.5, beta=0.55, gamma=0.7)
        return truth, design()


CHINCHILLA_GAMMA = ChinchillaGamma()
