"""The fits of one group: the law on all its points, and again without what it is to predict."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.clusters import FEW, FEW_TO_RESAMPLE, resolve
from scaling.analysis.fit import fit
from scaling.analysis.fitted import Fit
from scaling.analysis.laws import LAWS
from scaling.analysis.result import Interval
from scaling.analysis.tables.choose import matches, require
from scaling.doors.reading import loads
from scaling.errors import UserError
from scaling.report.collect import Chapter
from scaling.report.text import greek, listing

DRAWS = 1000
# Starts times rows of a fit: enough that dozens of starts meet at the optimum, however long the
# table; with all 4,500 starts of the grid a thousand runs took forty seconds.
START_ROWS, MIN_STARTS = 64_000, 64
CHECK_DRAWS = 200
DRAW_ROWS, MIN_DRAWS = 200_000, 200  # draws times rows, for the same reason
_BUDGETS, _ROWS = 64, 256  # shapes that are compiled once
AGREE = 0.003  # of the loss: optima that predict alike, though their parameters differ
TOP_SHARE = 0.2  # of the runs, by compute, that the last check predicts
_LARGEST = re.compile(r"\s*largest\s+(\S+)\s*")


@dataclass(frozen=True)
class Check:
    """A prediction that was tried. rows: run_id, name, n_params, n_tokens, flops, predicted,
    pi_low, pi_high, actual, error (predicted/actual - 1), one row per run held out. missing: why
    there is none."""

    title: str
    n_fitted: int = 0
    rows: pd.DataFrame | None = None
    missing: str = ""


@dataclass(frozen=True)
class Estimate:
    """A law fitted to one group. table: the points, with predicted and residual; n_left_out:
    complete runs that `fit_where` excluded."""

    group: Chapter
    table: pd.DataFrame
    n_left_out: int
    fit: Fit
    by_trunk: bool  # errors are between trunks, not between runs
    checks: tuple[Check, ...]

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """`Fit.predict` of the law fitted to all points."""
        return predict(self.fit, table)

    def optimal(self, flops) -> pd.DataFrame:
        """`Fit.optimal` for budgets [n], computed at one shape so that it is compiled once."""
        flops = np.atleast_1d(np.asarray(flops, np.float64))
        padded = np.concatenate([flops, np.full(-len(flops) % _BUDGETS, flops[-1])])
        return self.fit.optimal(padded).iloc[: len(flops)]

    @functools.cached_property
    def no_optimum(self) -> str:
        """Why there is no compute-optimal size in the range of the runs; "" when there is."""
        try:
            self.optimal([self.table["flops"].min(), 100 * self.table["flops"].max()])
        except UserError as error:
            return str(error)
        return ""

    @property
    def has_optimum(self) -> bool:
        """Whether the fit says how to divide compute between parameters and tokens."""
        return not self.no_optimum

    @property
    def of_n_and_d(self) -> bool:
        return {c.name for c in self.fit.law.columns} == {"n_params", "n_tokens"}


def estimate(group: Chapter, table: pd.DataFrame, *, check: bool = True) -> Estimate:
    """Fits the law of `group` to its complete runs; `check` holds some of them out in turn. Raises
    UserError when they are too few."""
    if table.empty:
        raise UserError("no run of this group is complete yet")
    chosen = table[matches(table, group.fit_where)] if group.fit_where else table
    if chosen.empty:
        raise UserError(
            f"none of {len(table)} complete runs satisfies {', '.join(group.fit_where)}"
        )
    draws = max(MIN_DRAWS, min(DRAWS, DRAW_ROWS // len(chosen)))
    result = _fit(group.law, chosen, draws)
    if result.status == "failed":
        raise UserError(
            f"no start of {group.law} reached an optimum on {len(chosen)} runs: {result.remedy}"
        )
    predicted = predict(result, chosen)["predicted"]
    chosen = chosen.assign(predicted=predicted, error=predicted / chosen["loss"] - 1)
    return Estimate(
        group=group,
        table=chosen.reset_index(drop=True),
        n_left_out=len(table) - len(chosen),
        fit=result,
        by_trunk=resolve(chosen, LAWS.load(group.law)).labels is not None,
        checks=tuple(_checks(group, chosen)) if check else (),
    )


def _checks(group: Chapter, table: pd.DataFrame):
    """The largest size, the top of compute, and what the sweep asked for; each set of rows once."""
    wanted = [
        ("the largest size", lambda: _largest(table, "n_params")),
        (f"the {TOP_SHARE:.0%} of runs with most compute", lambda: _top(table)),
    ]
    if group.holdout:
        asked = f"the {group.holdout}" if _LARGEST.fullmatch(group.holdout) else group.holdout
        wanted.append((asked, lambda: _asked(table, group.holdout)))
    seen: list[np.ndarray] = []
    for title, choose in wanted:
        try:
            mask = choose()
            if any((mask == other).all() for other in seen):
                continue
            seen.append(mask)
            yield _check(group, title, table, mask)
        except UserError as error:
            yield Check(title, missing=str(error))


def _check(group: Chapter, title: str, table: pd.DataFrame, mask: np.ndarray) -> Check:
    if mask.all():
        raise UserError("this would leave nothing to fit")
    kept = table[~mask]
    draws = min(CHECK_DRAWS, max(MIN_DRAWS // 2, DRAW_ROWS // 2 // len(kept)))
    result = _fit(group.law, kept, draws)
    held = table[mask].drop(columns=["predicted", "error"])
    if result.disagreement(held) > AGREE:
        # Any of the optima would give a prediction, and each another one.
        raise UserError("the other runs do not determine the law: equal optima lie far apart")
    ahead = predict(result, held)[["predicted", "pi_low", "pi_high"]]
    columns = [c for c in ("run_id", "name", "n_params", "n_tokens", "flops") if c in held]
    rows = pd.concat([held[columns], ahead, held["loss"].rename("actual")], axis=1)
    rows = rows.assign(error=rows["predicted"] / rows["actual"] - 1)
    return Check(title, int((~mask).sum()), rows.reset_index(drop=True))


def _fit(law: str, table: pd.DataFrame, draws: int) -> Fit:
    """The law with intervals from resamples, where `fit` finds trunks of whole trunks. Profiles
    would only add their time. Few trunks are not resampled: the jackknife over them says more."""
    clusters = resolve(table, LAWS.load(law))
    few = clusters.labels is not None and clusters.count < FEW_TO_RESAMPLE
    how = None if few and clusters.count >= FEW else Bootstrap(draws)
    return fit(law, table, bootstrap=how, profile=False, starts=_starts(table))


def _starts(table: pd.DataFrame) -> int:
    return max(MIN_STARTS, min(1000, START_ROWS // len(table)))


def _largest(table: pd.DataFrame, column: str) -> np.ndarray:
    require(table, [column])
    values = table[column].to_numpy(np.float64)
    if np.ptp(values) == 0:
        raise UserError(f"all runs have the same {column}")
    return values == values.max()


def _top(table: pd.DataFrame) -> np.ndarray:
    flops = table["flops"].to_numpy(np.float64)
    n = max(1, round(TOP_SHARE * len(flops)))
    return flops >= np.sort(flops)[-n]


def _asked(table: pd.DataFrame, spec: str) -> np.ndarray:
    found = _LARGEST.fullmatch(spec)
    return _largest(table, found[1]) if found else matches(table, spec)


def predict(result: Fit, table: pd.DataFrame) -> pd.DataFrame:
    """`Fit.predict`, with rows padded to a few lengths: every new length is compiled anew."""
    columns = [c.name for c in result.law.columns]
    rows = table[columns].reset_index(drop=True)
    padding = rows.iloc[[-1] * (-len(rows) % _ROWS)]
    out = result.predict(pd.concat([rows, padding], ignore_index=True)).iloc[: len(rows)]
    return out.set_axis(table.index)


def mark(p: Interval) -> str:
    """What is to be said beside a constant: that it is not determined, lies on its bound, or is
    known only given a bound. "" for the rest."""
    if not p.identified:
        return "not determined by these runs"
    if p.at_bound:
        return "at its bound"
    return (
        f"given {listing([greek(n) for n in p.conditional])} at the bound" if p.conditional else ""
    )


def truth(table: pd.DataFrame) -> float | None:
    """The least loss that any model can reach, nats per token, where the source is of known
    entropy and all runs of the group share it."""
    if "data.row_entropy" not in table:
        return None
    values = pd.to_numeric(table["data.row_entropy"], errors="coerce").dropna().unique()
    return float(values[0]) if len(values) == 1 else None


def facts(result: Fit) -> Mapping:
    """The fit as report.json carries it: everything `Fit.from_json` needs."""
    return loads(result.to_json(), "fit")
