"""The shape of the model in place of its size: width, depth and tokens."""

import itertools

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import N_TOKENS, Column, Law, Param, factorial, log_sum_exp
from scaling.analysis.laws.chinchilla import E
from scaling.analysis.starts import additive_starts

WIDTH = Column("width", "units", "model (residual) width")
DEPTH = Column("depth", "layers", "number of blocks")
TERMS = (("width", "A", "a"), ("depth", "B", "b"), ("n_tokens", "C", "c"))


class WidthDepth(Law):
    """L(W, P, D) = E + A W^-a + B P^-b + C D^-c with W width, P depth, D tokens; nats/token.

    It says which shape to buy, where N alone cannot. a and b are only told apart by runs that vary
    the aspect ratio at a similar size.
    """

    name = "width_depth"
    formula = "L = E + A width^-a + B depth^-b + C n_tokens^-c"
    paper = "McLeish et al. 2025 (Gemstones, arXiv:2502.06857), width-depth law"
    columns = (WIDTH, DEPTH, N_TOKENS)
    params = (
        E,
        *(
            param
            for column, scale, exponent in TERMS
            for param in (
                Param(scale, 1e-6, 1e18, "log", doc=f"{column} scale", widest=(1e-6, 1e80)),
                Param(exponent, 0.0, 6.0, doc=f"{column} exponent", widest=(0.0, 24.0)),
            )
        ),
    )

    def log_predict(self, theta, x):
        return log_sum_exp(
            jnp.log(theta["E"]),
            *(jnp.log(theta[s]) - theta[e] * jnp.log(x[column]) for column, s, e in TERMS),
        )

    def starts(self, table):
        columns = [table[column].to_numpy(np.float64) for column, _, _ in TERMS]
        target = table[self.target.name].to_numpy(np.float64)
        exponents = list(itertools.product((0.2, 0.6, 1.5), repeat=3))
        found = additive_starts(target, columns, exponents)
        return dict(zip((p.name for p in self.params), found.T, strict=True))

    def example(self):
        design = factorial(
            width=(256, 512, 1024, 2048), depth=(4, 8, 16, 32), n_tokens=(1e9, 1e10, 1e11)
        )
        return dict(E=1.9, A=60.0, a=0.75, B=1.4, b=0.9, C=1100.0, c=0.35), design


WIDTH_DEPTH = WidthDepth()
