"""Which rows belong together: the rows of one run, or of runs that share a trunk, share its noise.

Errors that take such rows for independent ones are too small (in sweeps with run effects 95 %
intervals held the truth in 49 to 67 of 100). So where a table says which rows are of one run, that
is what `fit` goes by unless it is told otherwise; where it cannot say, the result tells what
difference it would make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scaling.analysis.bootstrap import Bootstrap
from scaling.analysis.intervals import Spread, spread, t_quantile
from scaling.analysis.law import Law
from scaling.analysis.solver import Problem
from scaling.analysis.tables.choose import require
from scaling.analysis.tables.kinds import kind_of, run_column
from scaling.errors import UserError

FEW = 4  # clusters: with fewer nothing is known of how they differ
FEW_TO_RESAMPLE = 10  # clusters: with fewer there are hardly any different resamples
NONE = "none"
_RUNS = ("run_id", "run", "run_name", "curve", "name")  # columns that may name the run
_ALONG = ("n_tokens", "step", "tokens_per_param", "flops")  # what grows along a run
_BLANK = ("", "nan", "none", "null", "<na>")


@dataclass(frozen=True)
class Clusters:
    """`labels` [rows] numbers the clusters (None: rows are independent), `by` says what they are,
    `notices` what must be told. `chosen`: somebody asked for it."""

    labels: np.ndarray | None = None
    by: str = ""
    notices: tuple[str, ...] = ()
    chosen: bool = False

    @property
    def count(self) -> int:
        return 0 if self.labels is None else int(self.labels.max()) + 1


def resolve(table: pd.DataFrame, law: Law, asked: str | bool | None = None) -> Clusters:
    """The clusters of a validated `table`: by the column that was `asked` for, by none (False or
    "none"), or, with None, by what the table names: the law's own column, trunks (the runs whose
    checkpoints other runs began from), runs, or one (n_params, seed) at several lengths.

    A row without a name is a cluster of its own; under a parent's name it belongs to the trunk that
    it is. Raises UserError for a column that is not there, and for `True`."""
    if asked is True:
        raise UserError("cluster=True: name the column of the runs")
    if asked is False or asked == NONE:
        return Clusters(chosen=True)
    if asked is not None:
        require(table, [asked])
        return _told(*_by_column(table, asked), asked, chosen=True)
    for column in (law.cluster, *_named(table)):
        if column not in table:
            continue
        labels, notices = _by_column(table, column)
        if column != law.cluster and not _is_run(table, labels):
            continue
        if labels.max() + 1 == len(table):  # one row a run
            if column.startswith("parent"):
                continue
            return Clusters()
        return _told(labels, notices, column)
    return _by_seed(table)


def of_one_size(table: pd.DataFrame) -> np.ndarray | None:
    """Labels [rows] of the rows that may be of one run though nothing says so: those of one
    n_params at several lengths. None when there are none, or when the table names its runs."""
    if "n_params" not in table or _seed(table) is not None:
        return None
    if any(_is_run(table, _by_column(table, c)[0]) for c in _named(table) if c in table):
        return None
    labels = pd.factorize(table["n_params"])[0]
    return labels if _has_lengths(table, labels) else None


def resampled(bootstrap: Bootstrap | None, found: Clusters, law: Law) -> Bootstrap | None:
    """`bootstrap` with its method filled in: whole clusters where there are some. Raises UserError
    for a cluster bootstrap of rows that no column puts together, and for noise drawn anew where a
    law reduces its rows first."""
    if bootstrap is None:
        return None
    method = bootstrap.method or ("case" if found.labels is None else "cluster")
    if method == "cluster" and found.labels is None:
        raise UserError("a cluster bootstrap needs the column of the runs: --cluster COLUMN")
    if method not in ("case", "cluster") and type(law).reduce is not Law.reduce:
        raise UserError(
            f"a {method} bootstrap of {law.name}: it reduces runs to other rows, so only runs can "
            "be drawn anew (--bootstrap-method case or cluster)"
        )
    return replace(bootstrap, method=method, cluster=found.by if method == "cluster" else None)


def tell(
    found: Clusters, problem: Problem, z, free, at: Spread, table: pd.DataFrame,
    bootstrap: Bootstrap | None,
) -> list[str]:  # fmt: skip
    """What must be said about dependence beside a fit whose spread is `at`."""
    if found.labels is None:
        told = list(found.notices)
        return told if found.by or found.chosen else _warn_of_sizes(problem, z, free, at, table)
    out = list(found.notices)
    if at.dof is not None:
        ratio = _wider(at, spread(problem, z, free), problem, free)
        out.insert(0, _describe(found, ratio, problem.n))
    elif bootstrap and bootstrap.method == "cluster":
        out.insert(0, f"resamples are of {found.count} clusters by {found.by}, not of single rows")
    if at.vital:
        out.append(
            f"without {at.vital} of {found.count} clusters the law is not determined, so what they "
            "add to the errors cannot be told: intervals are too narrow"
        )
    if bootstrap and bootstrap.method == "cluster" and found.count < FEW_TO_RESAMPLE:
        out.append(
            f"{found.count} clusters give few different resamples, and the intervals from them "
            "tend to be too narrow; without --bootstrap they are those of the jackknife over "
            "clusters, which holds from 4 on"
        )
    if bootstrap and bootstrap.method != "cluster":
        out.append(
            f"the {bootstrap.method} resamples take rows for independent, which those of one "
            f"{found.by} are not: their intervals are too narrow (--bootstrap-method cluster)"
        )
    return out


def _wider(at: Spread, plain: Spread, problem: Problem, free) -> float:
    """How many times as wide the intervals of `at` are as those of `plain`: the median."""
    usable = free & (plain.se > 0) & ~plain.flat
    if not usable.any():
        return float("nan")
    rows = t_quantile(0.975, max(problem.n - int(free.sum()), 1))
    return float(np.median(at.se[usable] / plain.se[usable]) * t_quantile(0.975, at.dof) / rows)


def _describe(found: Clusters, ratio: float, rows: int) -> str:
    text = (
        f"{rows} rows count as {found.count} independent clusters by {found.by}, which makes "
        f"intervals {ratio:.2g} times as wide as for independent rows"
    )
    return text if found.chosen else f"{text} (--cluster {NONE} for those)"


def _warn_of_sizes(problem: Problem, z, free, at: Spread, table: pd.DataFrame) -> list[str]:
    """What rows that may be of one run would do to the width, where it cannot be known."""
    labels = of_one_size(table)
    if labels is None or len(labels) != problem.n:
        return []
    sizes = int(labels.max()) + 1
    text = (
        "nothing says whether rows of one n_params are of one run and share its noise (--cluster "
        f"COLUMN names the run, --cluster {NONE} says that they do not)"
    )
    if sizes < FEW:
        return [f"{text}; with {sizes} sizes such errors cannot be told at all"]
    ratio = _wider(spread(problem, z, free, labels), at, problem, free)
    return [f"{text}; if so, intervals are {ratio:.2g} times as wide"] if ratio > 1.1 else []


def _told(labels, notices, by: str, chosen: bool = False) -> Clusters:
    count = int(labels.max()) + 1
    if count == 1:
        text = f"all rows are one cluster by {by}: nothing is known of how runs differ, so errors "
        return Clusters(None, by, (*notices, f"{text}are those of independent rows: too small"))
    if count < FEW:
        text = f"only {count} clusters by {by}: how runs differ is hardly known; intervals are wide"
        notices = (*notices, text)
    return Clusters(labels, by, tuple(notices), chosen)


def _trunk_columns(table: pd.DataFrame) -> list[str]:
    parents = [c for c in table if c in ("parent", "parent_run_id", "parent.run_id")]
    return ["trunk", *parents] if "run_id" in table else ["trunk"]


def _named(table: pd.DataFrame) -> list[str]:
    """Columns that may name runs, trunks first."""
    return [*_trunk_columns(table), *_RUNS, *filter(None, [run_column(table)])]


def _seed(table: pd.DataFrame) -> str | None:
    return next((c for c in table if kind_of(c) == "seed"), None)


def _blank(column: pd.Series) -> np.ndarray:
    words = column.astype(str).str.strip().str.lower()
    return (column.isna() | words.isin(_BLANK)).to_numpy(bool)


def _by_column(table: pd.DataFrame, column: str) -> tuple[np.ndarray, list[str]]:
    """Labels [rows] by `column`, and what was noticed: rows without a name."""
    values, blank = table[column], _blank(table[column])
    if column in _trunk_columns(table) and column != "trunk":
        known = values[~blank]
        parents = dict(zip(table["run_id"][~blank], known, strict=True))
        return pd.factorize(table["run_id"].map(lambda run: root(run, parents)))[0], []
    labels = pd.factorize(values.mask(blank))[0]
    missing = np.flatnonzero(labels < 0)
    labels[missing] = labels.max() + 1 + np.arange(len(missing))
    notices = []
    if len(missing):
        notices.append(
            f"{len(missing)} of {len(table)} rows have no {column}: each is a cluster of its own"
        )
    return labels, notices


def root(run_id: str, parents: Mapping[str, str | None]) -> str:
    """The run at the beginning of the chain of parents."""
    seen = set()
    while parents.get(run_id) and run_id not in seen:
        seen.add(run_id)
        run_id = parents[run_id]
    return run_id


def _is_run(table: pd.DataFrame, labels: np.ndarray) -> bool:
    """Whether the labels can be those of runs: a run has one size."""
    if "n_params" not in table:
        return True
    return bool((table["n_params"].groupby(labels).nunique() <= 1).all())


def _has_lengths(table: pd.DataFrame, labels: np.ndarray) -> bool:
    """Whether one label has several lengths of training."""
    along = [c for c in _ALONG if c in table]
    return any((table[c].groupby(labels).nunique() > 1).any() for c in along)


def _by_seed(table: pd.DataFrame) -> Clusters:
    seed = _seed(table)
    if seed is None or "n_params" not in table:
        return Clusters()
    labels = table.groupby(["n_params", seed], dropna=False).ngroup().to_numpy()
    if not _has_lengths(table, labels):
        return Clusters()
    return _told(labels, [], f"n_params and {seed}")
