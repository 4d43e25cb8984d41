"""Task accuracy from task loss: a bounded sigmoid."""

from types import MappingProxyType

import jax
import numpy as np

from scaling.analysis.law import Column, Law, Param, factorial

TASK_LOSS = Column("loss", "bits/byte or nats", "loss of the right answer to the task", False)
ACCURACY = Column("accuracy", "fraction", "task accuracy, 0 to 1", False, span=(0, 1))


class Sigmoid(Law):
    """accuracy(x) = a / (1 + exp(-k (x - x0))) + b with -1 <= a <= 0, k >= 0, b <= 1.

    b is the accuracy at zero loss, b + a that at infinite loss (chance), x0 the loss half-way, k
    the steepness. Points far from x0 leave one end of the curve free: add the ideal point
    (loss 0, accuracy 1), as `scaling.analysis.downstream` does, to hold the upper one.
    """

    name = "sigmoid"
    formula = "accuracy = a / (1 + exp(-k (loss - x0))) + b"
    paper = "Bhagia et al. 2024 (OLMo ladder, arXiv:2412.04403), step 2"
    columns = (TASK_LOSS,)
    target = ACCURACY
    params = (
        Param("a", -1.0, 0.0, doc="chance minus ceiling"),
        Param("k", 1e-3, 1e3, "log", doc="steepness per unit of loss"),
        Param("x0", -100.0, 100.0, doc="loss half-way"),
        Param("b", 0.0, 1.0, doc="accuracy at zero loss"),
    )
    loss = "mse"
    published = MappingProxyType(
        {
            "Bhagia et al. 2024 (MMLU)": dict(a=-0.7421, k=4.8334, x0=0.6160, b=1.0),
            "Bhagia et al. 2024 (HellaSwag)": dict(a=-0.7301, k=12.7417, x0=0.7667, b=0.9921),
            "Bhagia et al. 2024 (PIQA)": dict(a=-0.4586, k=5.0330, x0=0.9630, b=1.0),
            "Bhagia et al. 2024 (SocialIQA)": dict(a=-0.5985, k=7.1644, x0=0.8938, b=0.9995),
        }
    )

    def predict(self, theta, x):
        return theta["a"] * jax.nn.sigmoid(theta["k"] * (x["loss"] - theta["x0"])) + theta["b"]

    def starts(self, table):
        """Half-way points at quantiles of the losses, steepness in units of their spread."""
        x = table["loss"].to_numpy(np.float64)
        accuracy = table[self.target.name].to_numpy(np.float64)
        spread = max(np.ptp(x), 1e-6)
        grid = factorial(
            k=np.clip(np.array([2.0, 6.0, 20.0]) / spread, 2e-3, 5e2),
            x0=np.quantile(x, (0.05, 0.3, 0.6, 0.9)),
            b=np.clip([accuracy.max(), 0.98], 0.02, 0.98),
        )
        chance = np.clip(accuracy.min(), 0.01, None)
        out = {name: grid[name].to_numpy() for name in ("k", "x0", "b")}
        return out | {"a": np.clip(chance - out["b"], -0.98, -0.02)}

    def example(self):
        truth = dict(a=-0.65, k=7.0, x0=0.9, b=0.97)
        return truth, factorial(loss=np.linspace(0.3, 1.8, 25))


SIGMOID = Sigmoid()
