"""The Multi-Power Law: a whole loss curve from its learning-rate schedule."""

import itertools
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.law import Column, Law, Param
from scaling.analysis.lr_schedule import interpolated_rates, learning_rates
from scaling.analysis.starts import nonnegative_scales
from scaling.errors import UserError

CURVE = Column("curve", "name", "which training run the row belongs to", numeric=False)
STEP = Column("step", "updates", "optimiser step at which the loss was measured")
RESOLUTION = 1 / 16  # relative width of a block of steps, see `Curve`
KEEP_STARTS = 6


class Curve:
    """One schedule, ready to be cut into blocks of consecutive steps.

    The law sums over every step before t. Terms vary on the scale of ln(t - k) and ln eta_k, so
    steps are merged while neither moves by more than RESOLUTION; each block keeps its total drop
    and the drop-weighted means of eta_k and S_k, which leaves an error of second order (1e-6 nats
    on the published curves, 72,000 terms becoming 270).
    """

    def __init__(self, rates: np.ndarray):
        self.rates = rates
        self.summed = np.cumsum(rates)
        drop = np.zeros_like(rates)
        drop[1:] = rates[:-1] - rates[1:]
        before = self.summed - rates  # the sum up to and including step k - 1
        self.drop = np.cumsum(drop)
        self.drop_rate = np.cumsum(drop * rates)
        self.drop_before = np.cumsum(drop * before)
        self.floor = 1e-9 * rates.max()
        log_bin = np.floor(np.log(np.maximum(rates, self.floor)) / RESOLUTION)
        change = (np.diff(log_bin) != 0) | (np.diff(np.sign(drop)) != 0)
        self.edges = np.flatnonzero(change)  # a block ends after each of these steps

    def blocks(self, step: int) -> np.ndarray:
        """Total drop, mean eta and mean S of the blocks before `step`: float64 [3, blocks]."""
        reach = np.arange(int(np.log1p(step / 8) / RESOLUTION) + 1)
        back = step - np.floor(8 * np.expm1(RESOLUTION * reach)).astype(int)
        edges = np.unique(
            np.concatenate([self.edges[self.edges < step], back[back > 0], [0, step]])
        )
        drop = np.diff(self.drop[edges])
        some = np.abs(drop) > self.floor  # flat stretches drop nothing
        drop = drop[some]
        rate = np.diff(self.drop_rate[edges])[some] / drop
        summed = self.summed[step] - np.diff(self.drop_before[edges])[some] / drop
        return np.stack([drop, np.maximum(rate, self.floor), summed])


def curve_rates(rows: pd.DataFrame, name: str) -> np.ndarray:
    """The learning rates of one curve from its column `schedule`, or interpolated from `lr`."""
    last = int(rows["step"].max())
    if "schedule" in rows:
        texts = rows["schedule"].unique()
        if len(texts) != 1:
            raise UserError(f"curve {name!r} has {len(texts)} schedules; it must have one")
        rates = learning_rates(texts[0])
    elif "lr" in rows:
        rates = interpolated_rates(rows["step"].to_numpy(), rows["lr"].to_numpy())
    else:
        raise UserError("multi_power needs a column `schedule` (exact) or `lr` (interpolated)")
    if last >= len(rates):
        raise UserError(
            f"curve {name!r}: step {last} lies beyond its schedule of {len(rates)} steps"
        )
    return rates


class MultiPower(Law):
    """L(t) = L0 + A S_1^-alpha - sum_k B (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k)^-beta]

    with eta_k the learning rate of step k, S_k = eta_k + ... + eta_t and S_1 counted from step 0,
    warm-up included (its rises enter the sum as negative drops). L in nats/token. A schedule that
    was never run can be predicted, so schedules can be compared on paper.

    The schedule comes from a column `schedule` (see `lr_schedule`), constant within a curve, or is
    interpolated from a column `lr`. Losses along one curve are dependent: resample by curve.
    """

    name = "multi_power"
    formula = (
        "L(t) = L0 + A S1^-alpha - sum_k B (eta_{k-1} - eta_k)(1 - (1 + C eta_k^-gamma S_k)^-beta)"
    )
    paper = "Luo et al. 2025 (arXiv:2503.12811), the Multi-Power Law"
    columns = (CURVE, STEP)
    cluster = "curve"
    params = (
        Param("L0", 1e-6, 1e3, "log", doc="irreducible loss"),
        Param("A", 1e-9, 1e9, "log", doc="scale of the power of the summed learning rate"),
        Param("alpha", 0.0, 5.0, grid=(0.3, 0.5, 0.8), doc="exponent of the summed rate"),
        Param("B", 1e-6, 1e9, "log", doc="loss per unit of learning-rate drop"),
        Param("C", 1e-6, 1e6, "log", (0.5, 2.0, 8.0), "speed of the drop"),
        Param("beta", 0.01, 10.0, "log", (0.3, 0.6, 1.0), "exponent of the drop in S_k"),
        Param("gamma", 0.0, 5.0, grid=(0.3, 0.6, 0.9), doc="exponent of the drop in eta_k"),
    )
    published = MappingProxyType(
        {
            "Luo et al. 2025 (100M)": dict(
                L0=2.6514477,
                A=0.60115152,
                alpha=0.45295811,
                B=437.9464276,
                C=2.13245612,
                beta=0.59785199,
                gamma=0.65523644,
            )
        }
    )

    def prepare(self, table):
        summed, blocks = np.empty(len(table)), [None] * len(table)
        steps = table["step"].to_numpy()
        for name, places in table.groupby("curve", sort=False).indices.items():
            curve = Curve(curve_rates(table.iloc[places], name))
            for i in places:
                summed[i] = curve.summed[int(steps[i])]
                blocks[i] = curve.blocks(int(steps[i]))
        packed = np.zeros((3, len(table), max(b.shape[1] for b in blocks)))
        packed[1:] = 1.0  # where there is no drop the other two only have to be finite
        for i, block in enumerate(blocks):
            packed[:, i, : block.shape[1]] = block
        drop, rate, ahead = packed
        return {"log_S1": np.log(summed), "drop": drop, "log_rate": np.log(rate), "S": ahead}

    def predict(self, theta, x):
        power = jnp.exp(-theta["alpha"] * x["log_S1"])
        return theta["L0"] + theta["A"] * power - theta["B"] * annealing(theta, x, jnp)

    def starts(self, table):
        """The grids of the four shapes, the best scales for each, and of these the best few."""
        x, target = self.prepare(table), table[self.target.name].to_numpy(np.float64)
        shapes = [self.params[i] for i in (2, 4, 5, 6)]
        rows = []
        for values in itertools.product(*(p.grid for p in shapes)):
            theta = dict(zip((p.name for p in shapes), values, strict=True))
            power = np.exp(-theta["alpha"] * x["log_S1"])
            basis = np.stack([np.ones_like(target), power, -annealing(theta, x, np)], axis=1)
            scales = nonnegative_scales(target, basis)
            theta |= dict(zip(("L0", "A", "B"), np.maximum(scales, 1e-3), strict=True))
            rows.append((np.sum((basis @ scales / target - 1) ** 2), theta))
        rows.sort(key=lambda row: row[0])
        best = [theta for _, theta in rows[:KEEP_STARTS]]
        return {p.name: np.array([theta[p.name] for theta in best]) for p in self.params}

    def example(self):
        texts = {
            "constant": "0:0 linear 500:3e-4 hold 6000:3e-4",
            "cosine": "0:0 linear 500:3e-4 cosine 6000:3e-5",
            "two-stage": "0:0 linear 500:3e-4 hold 3000:9e-5 hold 6000:9e-5",
        }
        steps = np.arange(600, 6000, 150)
        frames = [
            pd.DataFrame({"curve": k, "step": steps, "schedule": v}) for k, v in texts.items()
        ]
        return next(iter(self.published.values())), pd.concat(frames, ignore_index=True)


def annealing(theta, x, xp):
    """sum_k (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k)^-beta] over blocks, [rows]."""
    progress = theta["C"] * xp.exp(-theta["gamma"] * x["log_rate"]) * x["S"]
    return xp.sum(-x["drop"] * xp.expm1(-theta["beta"] * xp.log1p(progress)), axis=1)


MULTI_POWER = MultiPower()
