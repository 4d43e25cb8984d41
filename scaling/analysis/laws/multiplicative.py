"""Parameters and tokens as factors of one excess: neither is a bottleneck of its own."""

import itertools

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import N_PARAMS, N_TOKENS, Law, Param, log_sum_exp
from scaling.analysis.laws.chinchilla import ALPHA, BETA, E, design
from scaling.analysis.starts import additive_starts


class Multiplicative(Law):
    """L(N, D) = E + A N^-alpha D^-beta, E and L in nats/token.

    For a model that could represent its source, and is short of training only: more tokens take
    every size down to the same E. At a fixed N D the excess is monotone in N, so no size is
    compute-optimal.
    """

    name = "multiplicative"
    formula = "L(N, D) = E + A N^-alpha D^-beta"
    paper = "Zhang et al. 2024 (arXiv:2402.17193), multiplicative joint law"
    columns = (N_PARAMS, N_TOKENS)
    params = (
        E,
        Param("A", 1e-6, 1e36, "log", doc="scale of the excess", widest=(1e-6, 1e160)),
        ALPHA,
        BETA,
    )

    def log_predict(self, theta, x):
        factors = theta["alpha"] * jnp.log(x["n_params"]) + theta["beta"] * jnp.log(x["n_tokens"])
        return log_sum_exp(jnp.log(theta["E"]), jnp.log(theta["A"]) - factors)

    def starts(self, table):
        n, d, loss = (table[c].to_numpy(np.float64) for c in ("n_params", "n_tokens", "loss"))
        pairs = np.array(list(itertools.product((0.15, 0.4, 0.8, 1.5), repeat=2)))
        scales = [additive_starts(loss, [n**a * d**b], [[1.0]])[0, :2] for a, b in pairs]
        (E, A), (alpha, beta) = np.transpose(scales), pairs.T
        return dict(E=E, A=A, alpha=alpha, beta=beta)

    def example(self):
        return dict(E=1.7, A=9e5, alpha=0.32, beta=0.35), design()


MULTIPLICATIVE = Multiplicative()
