"""Two scales at once: heat maps (shots x size) and iso-accuracy frontiers (size x tokens)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scaling.analysis.emergence.threshold import monotone
from scaling.analysis.tables.choose import require
from scaling.errors import UserError


def heat_table(table: pd.DataFrame, metric: str, rows: str, columns: str) -> pd.DataFrame:
    """Mean of `metric` over all runs with one value of `rows` and of `columns`, both sorted:
    heat_table(t, "accuracy", "shots", "n_params"). Raises UserError for unknown columns."""
    require(table, [metric, rows, columns])
    return table.pivot_table(index=rows, columns=columns, values=metric, aggfunc="mean")


def frontier(
    table: pd.DataFrame,
    metric: str,
    targets: Sequence[float],
    *,
    size: str = "n_params",
    tokens: str = "n_tokens",
) -> pd.DataFrame:
    """The tokens after which each size first reaches each target: columns target, `size`, `tokens`
    (NaN where it never does), `flops` = 6 N D. Runs of one size and token count are averaged, the
    curve over ln tokens made monotone, and interpolated. A size that is there from its first
    checkpoint on gets the tokens of that checkpoint. Raises UserError for unknown columns."""
    require(table, [metric, size, tokens])
    means = table.groupby([size, tokens])[metric].mean().dropna().reset_index()
    out = []
    for n, rows in means.groupby(size):
        log_d = np.log(rows[tokens].to_numpy(np.float64))
        curve = monotone(rows[metric].to_numpy(np.float64))
        for target in targets:
            out.append({"target": target, size: n, tokens: _crossing(log_d, curve, target)})
    if not out:
        raise UserError(f"no row has {size}, {tokens} and {metric}")
    found = pd.DataFrame(out).sort_values(["target", size], ignore_index=True)
    return found.assign(flops=6.0 * found[size] * found[tokens])


def _crossing(log_d: np.ndarray, curve: np.ndarray, target: float) -> float:
    if curve[-1] < target:
        return float("nan")
    k = int(np.argmax(curve >= target))
    if k == 0:
        return float(np.exp(log_d[0]))
    share = (target - curve[k - 1]) / (curve[k] - curve[k - 1])
    return float(np.exp(log_d[k - 1] + share * (log_d[k] - log_d[k - 1])))
