"""`analyse`: from a probe table to an `Emergence`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scaling.analysis.emergence.breaks import break_test
from scaling.analysis.emergence.levels import Points, level_means, make_levels, points
from scaling.analysis.emergence.mirage import explain
from scaling.analysis.emergence.onset import chunks, mark, onset
from scaling.analysis.emergence.result import Emergence, Score
from scaling.analysis.emergence.scores import SCORES
from scaling.analysis.emergence.series import make_series
from scaling.analysis.emergence.threshold import loss_threshold
from scaling.analysis.emergence.wording import explain_verdict
from scaling.analysis.probe_table import (
    keys_of,
    load_probes,
    metrics_of,
    require_one_condition,
    short,
)
from scaling.analysis.tables.choose import require, select
from scaling.doors.limits import refuse_too_many
from scaling.errors import UserError, unknown

_CONTINUOUS = ("logprob_per_token", "p_right", "brier", "edit_distance")  # in order of preference
_FEW = 5  # levels below which a break cannot be told from a curve


def analyse(
    table: Any,
    metric: str | None = None,
    x: str = "n_params",
    *,
    where: str | Sequence[str] = (),
    continuous: str | None = None,
    answer_tokens: float | None = None,
    chance: float | None = None,
    ceiling: float | None = None,
    above: float | None = None,
    n_items: float | None = None,
    bins: int | Sequence[float] | None = None,
    smooth_width: float | None = None,
    alpha: float = 0.05,
    draws: int = 1000,
    seed: int = 42,
    title: str | None = None,
) -> Emergence:
    """What is known about one ability: `metric` (default: exact_match or accuracy) against `x`.

    table: a probe table, or anything `load_probes` reads. where: conditions such as
    "condition=novel"; what is left must be one label and one value of every key. continuous: the
    metric to look for an artefact with (default: logprob_per_token, p_right, brier or
    edit_distance, whichever is there). answer_tokens: the length of the exact match (fitted when
    None). chance, ceiling, n_items: for tables without these columns. above: what the onset is
    tested against (default: chance, or one item in n where that is more). bins: scales are binned
    to this many, or at these edges, in ln x (default: distinct scales, 12 bins beyond 24).
    smooth_width: decades of x over which a rise (its 10 to 90 %) is smooth (.4, against a loss
    .03); a steeper one is a break. draws: resamples behind every interval and test. Raises
    UserError for bad input."""
    refuse_too_many("--draws", draws, "draws")
    if not 0 < alpha < 0.5 or draws < 20:
        raise UserError(f"{alpha=:g}, {draws=}: alpha lies in (0, 0.5), draws are 20 or more")
    if smooth_width is not None and not 0 < smooth_width < math.inf:
        raise UserError(f"{smooth_width=:g}: give decades of {x}, more than 0")
    table = load_probes(table) if isinstance(table, str) or hasattr(table, "is_dir") else table
    where = (where,) if isinstance(where, str) else tuple(where)
    chosen = select(table, where) if where else table
    metric = metric or _default_metric(chosen)
    require_metric(chosen, metric)
    require_one_condition(chosen)
    warnings = list(table.attrs.get("warnings", ()))
    if _hides_steps(chosen, x):
        chosen = chosen[chosen["step"] == chosen.groupby("run_id")["step"].transform("max")]
        warnings.append(f"{x} is the same at every step of a run: only its last step is used")
    p = points(chosen, metric, x, n_items=n_items, bins=bins)
    warnings += p.said
    kept = chosen.iloc[p.rows]
    chance = _chance(kept, metric, chance)
    ceiling = _ceiling(kept, metric, ceiling)
    levels, found, resolution = make_levels(p), None, None
    if np.isfinite(p.n).all():
        resolution = float(1 / np.median(p.n))
    if chance is None and above is None:
        warnings.append("no chance level is known, so no onset: give one with --chance")
    else:
        least = chance if above is None else above
        reference = max(least, resolution or 0.0) if p.proportion else least
        levels = mark(levels, p, reference, alpha)
        if all(level.p_above is None for level in levels):
            warnings.append(
                "one run a scale and no item counts: nothing can be tested; say how many items are "
                f"behind a value (--n-items 1000), or give a column n_items or {metric}_stderr"
            )
        found = onset(p, levels, reference, alpha, draws, seed)
    partner, partner_levels = _partner(chosen, metric, x, continuous, bins)
    breaks = {}
    for q, ends in ((p, {"chance": chance, "top": ceiling}), (partner, {})):
        if q is not None and q.n_levels >= _FEW:
            series = make_series(q, make_levels(q), smooth_width)
            breaks[q.metric] = break_test(series, **ends, draws=min(draws, 200), seed=seed)
    mirage = explain(kept, p, levels, answer_tokens) if p.proportion else None
    tested = any(level.p_above is not None for level in levels)
    verdict = _verdict(metric, found, tested, breaks, partner, mirage)
    return Emergence(
        metric=metric,
        x=x,
        title=title or _title(kept),
        where=where,
        n_runs=len(p.y),
        chance=chance,
        ceiling=ceiling,
        resolution=resolution,
        alpha=alpha,
        levels=levels,
        onset=found,
        scores=_scores(p, chance, draws, seed),
        breaks=breaks,
        continuous=partner.metric if partner else None,
        continuous_levels=partner_levels,
        mirage=mirage,
        loss_threshold=loss_threshold(kept, p, chance, draws, seed),
        verdict=verdict,
        explanation=explain_verdict(verdict, breaks.get(metric)),
        warnings=tuple(warnings),
        seed=seed,
    )


def analyse_groups(
    table: pd.DataFrame,
    metric: str | None = None,
    x: str = "n_params",
    *,
    by: Sequence[str] | None = None,
    **options,
) -> dict[str, Emergence]:
    """`analyse` for every condition by itself: {"label=cipher, shots=15": Emergence}.

    by: the columns that tell conditions apart (default: the label and keys that vary). Conditions
    where the metric was not measured are left out. Options as for `analyse`."""
    where = options.pop("where", ())
    table = select(table, where) if where else table
    by = list(by) if by is not None else [k for k in keys_of(table) if table[k].nunique() > 1]
    require(table, by)
    if not by:
        found = analyse(table, metric, x, **options)
        return {found.title: found}
    out = {}
    for values, rows in table.groupby(by, sort=True, dropna=False):
        name = ", ".join(f"{k}={short(v)}" for k, v in zip(by, values, strict=True))
        wanted = metric or _default_metric(rows)
        require_metric(table, wanted)
        if rows[wanted].notna().any():
            rows.attrs |= table.attrs
            out[name] = analyse(rows, wanted, x, **{"title": name, **options})
    return out


def require_metric(table: pd.DataFrame, metric: str) -> None:
    """Raises UserError, listing the metrics there are, when `metric` is not a number column."""
    if metric not in table or not pd.api.types.is_numeric_dtype(table[metric]):
        raise unknown("metric", metric, metrics_of(table))


def _default_metric(table: pd.DataFrame) -> str:
    known = [m for m in metrics_of(table) if table[m].notna().any()]
    for metric in ("exact_match", "accuracy"):
        if metric in known:
            return metric
    raise UserError(f"which metric? --metric with one of: {', '.join(sorted(known))}")


def _hides_steps(table: pd.DataFrame, x: str) -> bool:
    """Whether runs were probed at several steps that `x` does not tell apart: their mean would be
    of nothing in particular, and checkpoints of one run are not runs."""
    if not {"step", "run_id", x} <= set(table):
        return False
    steps, places = (table.groupby("run_id")[c].nunique() for c in ("step", x))
    return bool(((steps > 1) & (places <= 1)).any())


def _constant(table: pd.DataFrame, column: str, given: float | None) -> float | None:
    """The given value, or the one value of the column. Raises UserError when it varies."""
    if given is not None:
        if not math.isfinite(given):
            raise UserError(f"{column} is {given}: it must be a finite number")
        return float(given)
    values = table[column].dropna().unique() if column in table else ()
    if len(values) == 0:
        return None
    if np.ptp(values) > 1e-9:
        raise UserError(f"{column} varies from {min(values):g} to {max(values):g}: choose rows")
    return float(values[0])


def _chance(table: pd.DataFrame, metric: str, given: float | None) -> float | None:
    """The given one, or that of the table when it is of this metric. Nobody writes an exact match
    by chance, unless the table says so."""
    if given is None and not _is_of(table, metric):
        return 0.0 if "exact_match" in metric else None
    found = _constant(table, "chance", given)
    return 0.0 if found is None and "exact_match" in metric else found


def _is_of(table: pd.DataFrame, metric: str) -> bool:
    """Whether chance and ceiling of the table are those of this metric."""
    return "ceiling_of" not in table or bool((table["ceiling_of"] == metric).any())


def _ceiling(table: pd.DataFrame, metric: str, given: float | None) -> float | None:
    """The ceiling is of one metric; runs may have slightly different ones (their own items)."""
    if given is not None:
        return _constant(table, "ceiling", given)
    if "ceiling" not in table or not table["ceiling"].notna().any():
        return None
    if not _is_of(table, metric):
        return None
    return float(table["ceiling"].mean())


def _title(table: pd.DataFrame) -> str:
    parts = [f"{k}={short(table[k].iloc[0])}" for k in keys_of(table)]
    return ", ".join(parts) or "all rows"


def _partner(table, metric: str, x: str, continuous: str | None, bins):
    """The continuous metric as (Points, levels), or (None, ())."""
    if continuous is not None:
        require_metric(table, continuous)
    names = (continuous,) if continuous else _CONTINUOUS
    for name in names:
        if name != metric and name in table and table[name].notna().any():
            found = points(table, name, x, bins=bins)
            return found, make_levels(found)
    return None, ()


def _scores(p: Points, chance: float | None, draws: int, seed: int) -> dict[str, Score]:
    if p.n_levels < 2:
        return {}
    means = np.concatenate([level_means(p, y) for y in chunks(p, chance, draws, seed)])
    values, out = level_means(p), {}
    for name, score in SCORES.items():
        low, high = np.quantile(score(means), [0.025, 0.975], method="inverted_cdf")
        out[name] = Score(float(score(values)), (float(low), float(high)))
    return out


def _verdict(metric, found, tested: bool, breaks, partner, mirage) -> str:
    if tested and found is None:
        return "none"
    if metric not in breaks or not tested:
        return "untested"
    one, other = breaks[metric], breaks.get(partner.metric) if partner else None
    explained = other is not None and mirage is not None and mirage.explained
    if explained and one.picks_up and not other.picks_up:
        return "mirage"
    if not one.bends:
        return "steep" if one.picks_up and one.may_jump else "smooth"
    if other is None:
        return "bends"
    if other.bends:
        return "break"
    return "mirage" if explained else "undecided"
