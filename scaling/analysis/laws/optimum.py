"""Compute-optimal size as a power of compute: Chinchilla approaches 1 and 2.

One straight line, ln N* against ln C. What differs is where N* comes from: given in the table
(`optimum`), the bottoms of IsoFLOP curves (`isoflop`, `isoflop_akima`), or the runs on the lower
envelope of the training curves (`envelope`, `envelope_hull`).
"""

import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.envelope import edge_sizes, lower_envelope, lower_hull
from scaling.analysis.isoflop import budgets, curve_minimum
from scaling.analysis.law import FLOPS, LOSS, N_PARAMS, Column, Law, Param, factorial
from scaling.analysis.laws.chinchilla import CHINCHILLA
from scaling.errors import UserError

N_OPT = Column("n_params_opt", "parameters", "compute-optimal parameter count")
RUN = Column("run", "name", "which training run the row belongs to", numeric=False)
ENVELOPE_BINS = 256
REFERENCE_C = 1e20  # N* is anchored here, so that N_ref and a are nearly uncorrelated
TRUTH = CHINCHILLA.published["Besiroglu et al. 2024"]
TRUE_A = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])
TRUE_G = (TRUTH["alpha"] * TRUTH["A"] / (TRUTH["beta"] * TRUTH["B"])) ** (
    1 / (TRUTH["alpha"] + TRUTH["beta"])
)
TRUE_OPTIMUM = {"N_ref": TRUE_G * (REFERENCE_C / 6) ** TRUE_A, "a": TRUE_A}


class Optimum(Law):
    """N*(C) = N_ref (C / 1e20)^a, N_ref in parameters, C in FLOPs; tokens follow from C = 6 N D.

    Weighted least squares on ln N*: give weights 1/std^2 of ln N* where you have them.
    """

    name = "optimum"
    formula = "N*(C) = N_ref (C / 1e20)^a"
    paper = "Hoffmann et al. 2022 (arXiv:2203.15556), section 3; Porian et al. 2024 (2406.19146)"
    columns = (FLOPS,)
    target = N_OPT
    params = (
        Param("N_ref", 1e-3, 1e20, "log", doc="optimal parameters at 1e20 FLOPs"),
        Param("a", -2.0, 3.0, doc="exponent of the optimal size"),
    )
    loss = "log_mse"

    def log_predict(self, theta, x):
        return jnp.log(theta["N_ref"]) + theta["a"] * (jnp.log(x["flops"]) - np.log(REFERENCE_C))

    def starts(self, table):
        log_c = np.log(table["flops"].to_numpy(np.float64) / REFERENCE_C)
        a, level = np.polyfit(log_c, np.log(table[self.target.name].to_numpy(np.float64)), 1)
        return {"N_ref": np.exp([level, level]), "a": np.clip([a, a + 0.2], -1.9, 2.9)}

    def derived(self, theta):
        return {"b": 1 - theta["a"]}

    def optimal(self, theta, flops):
        n_params = jnp.exp(self.log_predict(theta, {"flops": flops}))
        return {"n_params": n_params, "n_tokens": flops / (6 * n_params)}

    def example(self):
        return {"N_ref": 1.5e9, "a": 0.51}, factorial(flops=np.geomspace(1e17, 1e22, 8))


class IsoFlop(Optimum):
    """N*(C) from the minima of the loss over ln N at each budget; see `scaling.analysis.isoflop`.

    Budgets whose minimum lies at the edge of the sizes are left out and named in the warnings. The
    parabola's minima are weighted by 1/std^2 (`weightings`): "pooled" takes one relative deviation
    of the loss for all budgets, "own" that of each budget's few residuals, "none" weighs all alike.
    From 4 to 12 sizes the exponent varies least with "pooled"; with "own" a budget whose parabola
    happens to pass near its points decides (experiments/coverage_optima.py).
    """

    cluster = None
    notes = (
        "approach 2 is biased even without noise: a parabola is exact only near the minimum of a "
        "curve with alpha = beta, so a wide or off-centre range of sizes shifts N*, and a drift of "
        "that range with C shifts a (Czech et al. 2026, arXiv:2603.22339); compare with approach 3",
    )

    def __init__(self, name: str, method: str, weighting: str):
        self.name, self.method, self.weighting = name, method, weighting
        if method == "parabola":
            self.weightings = ("pooled", "own", "none")
        self.formula = f"N*(C) = N_ref (C / 1e20)^a through the {method} minima of IsoFLOP curves"

    @property
    def input_columns(self):
        return (FLOPS, N_PARAMS, LOSS)

    def weighted(self, how):
        return _isoflop(self.name, self.method, how)

    def minima(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row a budget: flops, n_params_opt, loss, std of ln N*, n_sizes, edge ("" or why), and
        unit, rss, dof (see `Minimum`)."""
        rows = []
        for _, group in table.groupby(budgets(table["flops"].to_numpy(np.float64))):
            sizes, loss = group["n_params"].to_numpy(np.float64), group["loss"].to_numpy(np.float64)
            found = curve_minimum(self.method, sizes, loss)
            flops = np.exp(np.log(group["flops"]).mean())
            facts = (found.std, len(group), found.edge, found.unit, found.rss, found.dof)
            rows.append((flops, np.exp(found.x), found.y, *facts))
        names = ["flops", "n_params_opt", "loss", "std", "n_sizes", "edge", "unit", "rss", "dof"]
        return pd.DataFrame(rows, columns=names)

    def reduce(self, table):
        if "weight" in table:
            ways = f"--weights {', '.join(self.weightings)}" if self.weightings else "no weights"
            raise UserError(f"{self.name} weighs minima, not runs: {ways}, instead of a column")
        minima = self.minima(table)
        inside = minima[minima["edge"] == ""].reset_index(drop=True)
        if len(inside) < 2:
            raise UserError(
                f"{self.name} needs a minimum inside the sizes at 2 budgets or more, and found "
                f"{len(inside)} in {len(minima)}; add sizes or budgets"
            )
        flagged = minima[minima["edge"] != ""]
        weight, told = self._weights(inside)
        inside["weight"] = weight / weight.mean()
        inside.attrs["warnings"] = [told] * bool(self.weightings) + [
            f"budget {row.flops:.3g} FLOPs left out: {row.edge}" for row in flagged.itertuples()
        ]
        return inside.drop(columns=["edge", "std", "unit", "rss", "dof"])

    def _weights(self, minima: pd.DataFrame) -> tuple[np.ndarray, str]:
        """1/variance of ln N* at each of `minima`, up to a factor, and how it was come by."""
        others = [f"--weights {way}" for way in self.weightings if way != self.weighting]
        or_else = f" ({' or '.join(others)} to change that)"
        if self.weighting == "own" and minima["std"].gt(0).all():
            return 1 / minima["std"].to_numpy() ** 2, (
                "minima weighted by the residuals of each budget alone, which few sizes do not "
                f"tell{or_else}"
            )
        if self.weighting != "pooled" or not minima["unit"].gt(0).all():
            return np.ones(len(minima)), f"minima of all budgets weighted alike{or_else}"
        relative, dof = (minima["rss"] / minima["loss"] ** 2).sum(), int(minima["dof"].sum())
        level = f", {100 * np.sqrt(relative / dof):.2g} %" if dof else ""
        return 1 / (minima["unit"] * minima["loss"]).to_numpy() ** 2, (
            "minima weighted by the shape of their parabolas under one relative deviation of the "
            f"loss{level}{or_else}"
        )

    def remarks(self, table):
        return [noiseless_bias(self, table)]

    def example(self):
        table = factorial(flops=np.geomspace(6e18, 3e21, 7), step=np.linspace(-0.7, 0.7, 9))
        best = TRUE_OPTIMUM["N_ref"] * (table["flops"] / REFERENCE_C) ** TRUE_A
        table = table.assign(n_params=best * np.exp(table["step"]))
        return TRUE_OPTIMUM, with_true_loss(table)


@functools.cache  # programs are compiled once per instance
def _isoflop(name: str, method: str, weighting: str) -> IsoFlop:
    return IsoFlop(name, method, weighting)


class Envelope(Optimum):
    """N*(C) from the runs with the lowest loss at each compute, or those on the convex hull.

    Rows where the smallest or the largest model wins are left out: there the sweep ended.
    """

    cluster = "run"
    notes = (
        "approach 1 reads unfinished runs: before their decay ends they look worse than a run "
        "planned for that budget, which favours small models; and N* moves in the steps of the "
        "sweep, so the rows are dependent and the interval must come from resampling runs",
    )

    def __init__(self, name: str, hull: bool):
        self.name, self.hull = name, hull
        self.formula = (
            f"N*(C) = N_ref (C / 1e20)^a through the lower {'hull' if hull else 'envelope'}"
        )

    @property
    def input_columns(self):
        return (RUN, FLOPS, N_PARAMS, LOSS)

    def reduce(self, table):
        winners = lower_hull(table) if self.hull else lower_envelope(table, ENVELOPE_BINS)
        edge = edge_sizes(winners, table)
        inside = winners[~edge].reset_index(drop=True)
        if inside["n_params"].nunique() < 2:
            raise UserError(
                f"{self.name} needs 2 sizes or more that win between the smallest and the largest, "
                f"and found {inside['n_params'].nunique()}; add runs of middling size"
            )
        inside = inside.rename(columns={"n_params": "n_params_opt"})
        if edge.any():
            inside.attrs["warnings"] = [f"{edge.sum()} rows left out where an end of the sweep won"]
        return inside

    def remarks(self, table):
        return [noiseless_bias(self, table)]

    def example(self):
        table = factorial(n_params=np.geomspace(3e7, 2e10, 40), ratio=np.geomspace(1, 300, 60))
        tokens = table["n_params"] * table["ratio"]
        run = "run-" + table["n_params"].astype("int64").astype(str)
        table = table.assign(n_tokens=tokens, flops=6 * table["n_params"] * tokens, run=run)
        return TRUE_OPTIMUM, with_true_loss(table)


def with_true_loss(table: pd.DataFrame) -> pd.DataFrame:
    """`table` with the noiseless loss of Besiroglu's Chinchilla at (n_params, flops = 6 N D)."""
    n_params = table["n_params"].to_numpy(np.float64)
    tokens = table["flops"].to_numpy(np.float64) / (6 * n_params)
    terms = TRUTH["A"] * n_params ** -TRUTH["alpha"], TRUTH["B"] * tokens ** -TRUTH["beta"]
    return table.assign(loss=TRUTH["E"] + sum(terms))


def noiseless_bias(law: Optimum, table: pd.DataFrame) -> str:
    """What the method finds on noiseless Chinchilla losses at the points of `table`: its bias on
    this design, in a sentence."""
    try:
        reduced = law.reduce(with_true_loss(table))
    except UserError:
        return "the bias of this design cannot be shown: with Chinchilla's losses it has no minima"
    log_c, log_n = np.log(reduced["flops"]), np.log(reduced["n_params_opt"])
    weight = reduced["weight"] if "weight" in reduced else np.ones(len(reduced))
    a = np.polyfit(log_c, log_n, 1, w=np.sqrt(weight))[0]
    return (
        f"bias on this design: noiseless Chinchilla losses (true a = {TRUE_A:.4f}) at these sizes "
        f"and budgets give a = {a:.4f}"
    )


OPTIMUM = Optimum()
ISOFLOP = _isoflop("isoflop", "parabola", "pooled")
ISOFLOP_AKIMA = _isoflop("isoflop_akima", "akima", "none")
ENVELOPE = Envelope("envelope", hull=False)
ENVELOPE_HULL = Envelope("envelope_hull", hull=True)
