"""Which rows of a probe table belong into one chart, and what they say about an ability.

A probe asks under several conditions: words (novel, known) and numbers (shots). The numbers with
most values are the dose, such as shots; every word gets a curve at the largest dose, and a heat
map of dose by scale. Other numbers, such as queries, stay at the value most rows have.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.analysis.emergence.analyse import analyse
from scaling.analysis.emergence.result import Emergence
from scaling.analysis.probe_table import keys_of, load_probes, metrics_of, short
from scaling.errors import UserError
from scaling.report.collect import Chapter, Study

DRAWS = 100  # resamples behind an onset and a break test
MAX_SERIES = 6
_PRIMARY = ("accuracy", "exact_match")
_SAME_BUDGET = 1.02


@dataclass(frozen=True)
class Ability:
    """One probe of one group. x: the column of scale. table: its rows at one value of every key
    but `series` and `dose` (None where no such key varies). curves: {series value: Emergence}, all
    at `dose_value`."""

    group: Chapter
    label: str
    metric: str
    x: str
    table: pd.DataFrame
    series: str | None
    dose: str | None
    dose_value: str
    curves: Mapping[str, Emergence]
    notices: tuple[str, ...] = ()

    def rows(self, name: str, all_doses: bool = False) -> pd.DataFrame:
        """The rows of one curve, or of its heat map."""
        rows = self.table
        if self.series:
            rows = rows[rows[self.series].map(short) == name]
        if self.dose and not all_doses:
            rows = rows[rows[self.dose].map(short) == self.dose_value]
        return rows

    @property
    def metrics(self) -> list[str]:
        """All that was measured on these rows."""
        return [m for m in metrics_of(self.table) if self.table[m].notna().any()]

    @property
    def steepest(self) -> str:
        """The curve that rises most: the one to compare metrics on."""
        rise = {k: e.levels[-1].mean - e.levels[0].mean for k, e in self.curves.items()}
        return max(rise, key=rise.get)


def abilities(study: Study) -> tuple[list[Ability], list[str]]:
    """Every probe of every group that was asked at two scales or more, and a sentence for each
    that cannot be shown. ([], []) for a sweep without probes."""
    if not any(record["probes"] for record in study.records):
        return [], []
    try:
        table = load_probes(study.path)
    except UserError as error:
        return [], [str(error)]
    found, notices = [], []
    for group in study.groups:
        mine = table[table["run_id"].isin([run.run_id for run in study.of(group)])]
        for label in mine["label"].unique():
            try:
                found.append(_ability(group, str(label), mine[mine["label"] == label]))
            except UserError as error:
                notices.append(f"{group.title}, {label}: {error}")
    return found, notices


def _ability(group: Chapter, label: str, table: pd.DataFrame) -> Ability:
    table = table.dropna(axis="columns", how="all")
    x = "n_params" if table["n_params"].nunique() > 1 else "n_tokens"
    if table[x].nunique() < 2:
        raise UserError("probed at one scale only: no curve")
    if x == "n_params":
        table = _longest(table)
    keys = [k for k in keys_of(table) if k != "label" and table[k].nunique() > 1]
    words = [k for k in keys if not pd.api.types.is_numeric_dtype(table[k])]
    numbers = sorted((k for k in keys if k not in words), key=lambda k: -table[k].nunique())
    series, dose = (words or [None])[0], (numbers or [None])[0]
    for key in [*numbers[1:], *words[1:]]:
        table = table[table[key] == table[key].mode().iloc[0]]
    metric = next((m for m in _PRIMARY if m in table and table[m].notna().any()), None)
    if metric is None:
        raise UserError(f"neither {' nor '.join(_PRIMARY)} was measured")
    value = short(table[dose].max()) if dose else ""
    made = Ability(group, label, metric, x, table, series, dose, value, {})
    names = [short(v) for v in table[series].unique()][:MAX_SERIES] if series else [label]
    curves, notices = {}, []
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                curves[name] = analyse(made.rows(name), metric, x, draws=DRAWS, title=name)
        except UserError as error:
            notices.append(f"{name}: {error}")
    if not curves:
        raise UserError("; ".join(notices))
    return Ability(group, label, metric, x, table, series, dose, value, curves, tuple(notices))


def _longest(table: pd.DataFrame) -> pd.DataFrame:
    """Of every size only the runs with most tokens: a curve over size is at one budget each."""
    most = table.groupby("n_params")["n_tokens"].transform("max")
    return table[table["n_tokens"] * _SAME_BUDGET >= most]


def rescaled(values: np.ndarray, rising: bool) -> np.ndarray:
    """From 0 at the worst to 1 at the best value, so that metrics share an axis."""
    low, high = np.nanmin(values), np.nanmax(values)
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return share if rising else 1 - share
