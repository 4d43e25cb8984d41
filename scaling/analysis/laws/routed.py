"""Routed experts: the loss of N dense parameters with E experts."""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import Column, Law, Param, factorial

LN10 = float(np.log(10.0))
N_DENSE = Column("n_params_dense", "parameters", "parameters that one token uses")
N_EXPERTS = Column("n_experts", "experts", "1 for a dense model")


def saturating_experts(n_experts, e_start, e_max):
    """E^ with 1/E^ = 1/(E - 1 + 1/(1/E_s - 1/E_m)) + 1/E_m: E_s at one expert, E_m at infinitely
    many (Clark et al. 2022, the saturated law). Needs 1 <= E_s < E_m; shapes broadcast."""
    shift = 1 / jnp.maximum(1 / e_start - 1 / e_max, 1e-12)
    return 1 / (1 / (n_experts - 1 + shift) + 1 / e_max)


class Routed(Law):
    """log10 L = a n + b e + c n e + d with n = log10 N, e = log10 E^ (see `saturating_experts`).

    N counts the parameters used per token, L in nats/token; dense models are E = 1. a, b < 0 and
    c > 0: experts help less as the model grows. Fitted by least squares on log L. Only b, c, d
    and the place of E_s together describe the dense line, so its slope is a + c log10 E_s.
    """

    name = "routed"
    formula = "log10 L = a log10 N + b log10 E^ + c log10 N log10 E^ + d"
    paper = "Clark et al. 2022 (arXiv:2202.01169), joint law with saturation, table 3"
    columns = (N_DENSE, N_EXPERTS)
    params = (
        Param("a", -10.0, 10.0, doc="size exponent"),
        Param("b", -10.0, 10.0, doc="expert exponent"),
        Param("c", -10.0, 10.0, doc="interaction"),
        Param("d", -100.0, 100.0, doc="log10 of the scale"),
        Param("E_s", 1.0, 100.0, "log", (1.2, 2.0, 4.0, 10.0), "experts that one is worth"),
        Param("E_m", 2.0, 1e7, "log", (64.0, 256.0, 1e3, 1e4), "experts at saturation"),
    )
    loss = "log_mse"
    linear = ("a", "b", "c", "d")
    linear_space = "log"
    published = MappingProxyType(
        {
            "Clark et al. 2022 (S-Base)": dict(
                a=-0.082, b=-0.108, c=0.009, d=1.104, E_s=1.847, E_m=314.5
            )
        }
    )

    def log_predict(self, theta, x):
        n = jnp.log10(x["n_params_dense"])
        e = jnp.log10(saturating_experts(x["n_experts"], theta["E_s"], theta["E_m"]))
        slope = theta["a"] + theta["c"] * e
        return LN10 * (slope * n + theta["b"] * e + theta["d"])

    def derived(self, theta):
        dense = theta["a"] + theta["c"] * jnp.log10(theta["E_s"])
        return {"dense_slope": dense, "experts_useless_at": 10 ** (-theta["b"] / theta["c"])}

    def example(self):
        design = factorial(
            n_params_dense=np.geomspace(1.5e7, 1.3e9, 5), n_experts=(1, 2, 4, 8, 32, 128, 512)
        )
        return self.published["Clark et al. 2022 (S-Base)"], design


def effective_params(theta, n_params_dense, n_experts):
    """The dense model N^ of the same loss: L(N^, 1) = L(N, E). Clark et al. 2022, section 5.1."""
    n = jnp.log10(n_params_dense)
    e = jnp.log10(saturating_experts(n_experts, theta["E_s"], theta["E_m"]))
    one = jnp.log10(theta["E_s"])
    routed = theta["a"] * n + theta["b"] * (e - one) + theta["c"] * n * e
    return 10 ** (routed / (theta["a"] + theta["c"] * one))


ROUTED = Routed()
