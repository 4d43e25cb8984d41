"""Repeated data: further epochs, and parameters beyond what the data fill, are worth less."""

from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import (
    N_PARAMS,
    N_TOKENS,
    Column,
    Law,
    Param,
    factorial,
    log_sum_exp,
)
from scaling.analysis.laws.chinchilla import ALPHA, A, B, E
from scaling.analysis.laws.chinchilla_tied import tied_starts

N_UNIQUE = Column("n_unique_tokens", "tokens", "distinct training tokens; n_tokens counts repeats")


# Close together: N' has a kink where N meets N_opt(U), so the objective has many local optima.
EXCESS = (0.5, 1.0, 1.7, 3.0, 5.0, 10.0, 30.0, 100.0)


def effective(total, unique, decay):
    """X' = U + U R* (1 - exp(-R/R*)) with R = X/U - 1 repeats: what `total` is worth in fresh
    units. Muennighoff et al. 2023, section 3. Shapes broadcast."""
    repeats = jnp.maximum(total / unique - 1, 0.0)
    return unique * (1 - decay * jnp.expm1(-repeats / decay))


class DataConstrained(Law):
    """L = E + A N'^-alpha + B D'^-alpha, nats/token, with D' = effective(D, U, R_D*) for U unique
    tokens and N' = effective(N, min(N, N_opt(U)), R_N*), N_opt(U) = (A/B)^(1/alpha) U being the
    size for which U tokens are compute-optimal (on C = 6 N D, with tied exponents).

    The paper pins A, B, E, alpha from runs without repeats and fits the two decay constants. They
    trade against each other: look at `identified` before quoting R_D* or R_N*.
    """

    name = "data_constrained"
    formula = (
        "L = E + A N'^-alpha + B D'^-alpha; D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' alike"
    )
    paper = "Muennighoff et al. 2023 (arXiv:2305.16264), section 3 and appendix A"
    columns = (N_PARAMS, N_TOKENS, N_UNIQUE)
    params = (
        E,
        A,
        B,
        ALPHA,
        Param(
            "R_D",
            1e-2,
            1e5,
            "log",
            (2.0, 10.0, 50.0, 250.0),
            "decay constant of repeats",
        ),
        Param("R_N", 1e-2, 1e5, "log", EXCESS, "decay constant of excess parameters"),
    )
    published = MappingProxyType(
        {
            "Muennighoff et al. 2023": dict(
                E=np.exp(0.6254804),
                A=np.exp(6.255414),
                B=np.exp(7.3049974),
                alpha=0.3526596,
                R_D=15.387756,
                R_N=5.309743,
            )
        }
    )

    def log_predict(self, theta, x):
        alpha = theta["alpha"]
        tokens = jnp.minimum(x["n_unique_tokens"], x["n_tokens"])
        # alpha = 0 is inside the bounds, where N_opt would overflow for A > B.
        ratio = (jnp.log(theta["A"]) - jnp.log(theta["B"])) / jnp.maximum(alpha, 1e-3)
        log_enough = jnp.clip(ratio + jnp.log(tokens), -100, 100)
        filled = jnp.minimum(jnp.exp(log_enough), x["n_params"])
        n_eff = effective(x["n_params"], filled, theta["R_N"])
        d_eff = effective(x["n_tokens"], tokens, theta["R_D"])
        return log_sum_exp(
            jnp.log(theta["E"]),
            jnp.log(theta["A"]) - alpha * jnp.log(n_eff),
            jnp.log(theta["B"]) - alpha * jnp.log(d_eff),
        )

    def starts(self, table):
        base = tied_starts(table, self.target.name)
        count = len(base["E"])
        decays = factorial(R_D=self.params[4].grid, R_N=self.params[5].grid)
        out = {name: np.tile(value, len(decays)) for name, value in base.items()}
        return out | {c: np.repeat(decays[c].to_numpy(), count) for c in ("R_D", "R_N")}

    def example(self):
        design = factorial(
            n_params=np.geomspace(1e7, 4e9, 6),
            n_unique_tokens=(1e8, 1e9, 1e10),
            epochs=(1, 3, 10, 40, 160),
        )
        design = design.assign(n_tokens=design["n_unique_tokens"] * design["epochs"])
        return self.published["Muennighoff et al. 2023"], design


DATA_CONSTRAINED = DataConstrained()
