"""Two fitted laws side by side: differences of their constants, and what compute is worth.

Both sweeps are independent, so draws of one are paired with draws of the other at random.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.envelope import lower_hull
from scaling.analysis.fit import fit
from scaling.analysis.fitted import Fit
from scaling.analysis.objective import theta_of
from scaling.analysis.result import Interval
from scaling.errors import UserError
from scaling.report.estimate import DRAWS, Estimate

_GRID = 160  # budgets at which a frontier is computed before it is inverted
_REACH = 1e4  # how far outside both sweeps an equivalent budget is looked for
_SAME_POINT = np.log(1.02)


def differences(base: Fit, new: Fit) -> pd.DataFrame:
    """new - base for every constant that both laws have: columns constant, base, new, difference,
    low, high (95 %). In ratios (new / base) for constants searched in their logarithm."""
    a, b = _pairs(base, new)
    rows = []
    for k, param in enumerate(base.law.params):
        rows.append((param.name, param.transform == "log", *_values(base, new, param.name),
                     a[:, k], b[:, k]))  # fmt: skip
    derived = _derived(base, a), _derived(new, b)
    for name in derived[0]:
        rows.append((name, False, *_values(base, new, name), derived[0][name], derived[1][name]))
    out = []
    for name, log, first, second, drawn_a, drawn_b in rows:
        low, high = np.percentile(drawn_b - drawn_a, [2.5, 97.5], method="closest_observation")
        value = second.value / first.value if log else second.value - first.value
        low, high = (np.exp([low, high])) if log else (low, high)
        out.append((name, "ratio" if log else "difference", first, second, value, low, high))
    names = ["constant", "kind", "base", "new", "change", "low", "high"]
    return pd.DataFrame(out, columns=names)


def multipliers(base: Estimate, new: Estimate, flops: np.ndarray) -> pd.DataFrame:
    """How many times more compute the base needs for the loss that `new` reaches with `flops`, both
    spent optimally: columns flops, loss, multiplier, low, high (95 %). Infinite where the new loss
    lies below everything the base could reach. Raises UserError for laws without an optimum."""
    for estimate in (base, new):
        if not (estimate.has_optimum and estimate.of_n_and_d):
            why = estimate.no_optimum or f"{estimate.fit.law.name} reads more than size and tokens"
            raise UserError(why)
    ends = np.concatenate([base.table["flops"], new.table["flops"]])
    grid = np.geomspace(ends.min() / _REACH, ends.max() * _REACH, _GRID)
    a, b = _pairs(base.fit, new.fit)
    a, b = np.vstack([base.fit.z, a]), np.vstack([new.fit.z, b])
    of_base, of_new = frontier(base.fit, a, grid), frontier(new.fit, b, flops)
    both = zip(of_base, of_new, strict=True)
    needed = np.array([_invert(grid, curve, loss) for curve, loss in both])
    ratio = needed / flops
    low, high = np.percentile(ratio[1:], [2.5, 97.5], axis=0, method="closest_observation")
    return pd.DataFrame(
        {"flops": flops, "loss": of_new[0], "multiplier": ratio[0], "low": low, "high": high}
    )


def frontier(result: Fit, z: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """The loss of compute-optimal models, float64 [draws, budgets], for parameters z [draws, P]."""

    def at(z_P, c):
        theta = theta_of(result.law, z_P)
        best = result.law.optimal(theta, c)
        return result.law.predict(theta, {k: best[k][None] for k in ("n_params", "n_tokens")})[0]

    with jax.enable_x64(True):
        over = jax.jit(jax.vmap(jax.vmap(at, (None, 0)), (0, None)))
        return np.asarray(over(jnp.asarray(z), jnp.asarray(flops)))


def one_number(base: Estimate, new: Estimate) -> Interval:
    """The factor s of the law `speedup` on the lower hulls of both sweeps: one asymptote and one
    exponent for both. Raises UserError when the hulls are too short."""
    parts = []
    for treated, found in ((0.0, base), (1.0, new)):
        rows = found.table.assign(run=found.table["run_id"])
        hull = lower_hull(rows).assign(treated=treated)
        parts.append(hull.rename(columns={"flops": "x"}))
    table = pd.concat(parts, ignore_index=True)
    if len(table) < 6:
        raise UserError(f"{len(table)} runs on the two lower hulls are too few for one number")
    result = fit("speedup", table, bootstrap=DRAWS, profile=False)
    if result.status == "failed":
        raise UserError("the speed-up fit failed")
    return result.params["s"]


def paired(base: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Runs of both tables with the same parameters and tokens (within 2 %): columns n_params,
    n_tokens, base, new (mean losses)."""
    keys = [np.round(np.log(t[["n_params", "n_tokens"]]) / _SAME_POINT) for t in (base, new)]
    means = [
        t.assign(**{"k0": k["n_params"], "k1": k["n_tokens"]})
        .groupby(["k0", "k1"])[["n_params", "n_tokens", "loss"]]
        .mean()
        for t, k in zip((base, new), keys, strict=True)
    ]
    both = means[0].join(means[1]["loss"].rename("new"), how="inner")
    return both.rename(columns={"loss": "base"}).reset_index(drop=True)


def _pairs(base: Fit, new: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Draws of both fits in random pairs, [DRAWS, P] each."""
    rng = np.random.default_rng(0)
    return tuple((d := f.sample(DRAWS))[rng.permutation(len(d))[: _least(base, new)]]
                 for f in (base, new))  # fmt: skip


def _least(base: Fit, new: Fit) -> int:
    return min(len(f.sample(DRAWS)) for f in (base, new))


def _derived(result: Fit, z: np.ndarray) -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        many = jax.vmap(lambda z_P: result.law.derived(theta_of(result.law, z_P)))(jnp.asarray(z))
        return {name: np.asarray(values) for name, values in many.items()}


def _values(base: Fit, new: Fit, name: str) -> tuple[Interval, Interval]:
    return tuple({**f.params, **f.derived}[name] for f in (base, new))


def _invert(flops: np.ndarray, loss: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The budget at which the falling curve reaches each wanted loss; 0 or inf off its ends."""
    log_c = np.interp(-wanted, -loss, np.log(flops), left=-np.inf, right=np.inf)
    return np.exp(log_c)
