"""Which runs a table lacks for a law to be determined by it."""

import numpy as np
import pandas as pd

from scaling.analysis.law import Law

_SAME = np.log(1.02)  # values closer than 2 % are one value: budgets are rounded to whole steps
_COLLINEAR = 1e-3  # least spread of the log inputs over the greatest: below it they are a line
_TIED = 0.05  # standard deviation of ln(D/N) below which the ratio counts as fixed


def levels(values: pd.Series) -> int:
    """How many values a column has, those within 2 % of each other counted once."""
    v = np.sort(values.to_numpy(np.float64))
    v = np.log(v) if (v > 0).all() else v / max(np.abs(v).max(), 1e-300)
    return 1 + int((np.diff(v) > _SAME).sum())


def is_line(law: Law, table: pd.DataFrame) -> bool:
    """Whether the positive inputs of the law move together: ln of one is a fixed combination of the
    others (every run at 20 tokens per parameter), so that terms can change places."""
    names = [c.name for c in law.columns if c.numeric and c.positive and c.name in table]
    if len(names) < 2:
        return False
    logs = np.log(table[names].to_numpy(np.float64))
    size = np.linalg.svd(logs - logs.mean(0), compute_uv=False)
    return bool(size[0] > 0 and size[-1] < _COLLINEAR * size[0])


def missing_runs(law: Law, table: pd.DataFrame) -> str:
    """The runs that would determine the law, in words: a third size, another ratio of tokens to
    parameters, or a wider range."""
    wanted = []
    names = [c.name for c in law.columns if c.numeric and c.name in table]
    for name in names:
        n = levels(table[name])
        if n < 3:
            more = "a second and a third value" if n == 1 else "a third value"
            wanted.append(f"runs at {more} of {name} (it has {n})")
    if {"n_params", "n_tokens"} <= set(names) and levels(table["n_params"]) > 1:
        ratio = np.log(table["n_tokens"].to_numpy(float) / table["n_params"].to_numpy(float))
        if np.ptp(ratio) > 0 or len(ratio) > 1:
            centre = float(np.exp(np.median(ratio)))
            if np.std(ratio) < _TIED:
                wanted.append(
                    "runs at another number of tokens per parameter (all have about "
                    f"{centre:.3g}: add some at {centre / 4:.3g} and at {4 * centre:.3g})"
                )
    if not wanted:
        wanted = [f"runs over a wider range of {' and '.join(names) or 'the columns'}"]
    return "add " + ", and ".join(wanted) + ", or pin what is known (--pin NAME=VALUE)"
