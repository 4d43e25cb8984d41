"""Tables whose design is not the law's: many rows at one point, checkpoints among final losses.

A law of final losses has one value at each point of its inputs. Where a table has more, their
average is of no recipe that anyone would use; it is said, and `best_of` takes the best of each.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scaling.analysis.law import Law
from scaling.analysis.tables.kinds import MIXED, is_setting, kind_of, run_column
from scaling.errors import UserError, unknown

_SHOWN = 5  # columns named in one sentence
_LOG = 8  # rows from which rising steps are the log of one run
_SAME = 0.01  # relative: tokens and compute this close are one point
_CLOCKS = ("n_tokens", "steps", "step", "n_steps", "flops", "tokens_per_param")


def settle(
    law: Law, table: pd.DataFrame, best_of: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """A validated table, of each point its best over `best_of`; and what is odd in its design."""
    notices: list[str] = []
    if best_of:
        table, notices = take_best([law], table, best_of)
    return table, notices + (_checkpoints(law, table) or _crowded(law, table))


def take_best(
    laws: Sequence[Law], table: pd.DataFrame, best_of: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The row with the lowest target of every cell: the rows that agree in all inputs of the laws
    and in every setting that does not hang on `best_of` (column names, or "lr", "batch", ... where
    one column is of that kind). An accuracy counts as better when it is higher.

    Returns the rows in their order and what was kept, chosen at an edge, or had no choice. Raises
    UserError for unknown columns and for a column that a law reads."""
    columns, notices = _resolve(table, best_of)
    target = _target(laws[0])
    read = list(dict.fromkeys(c.name for law in laws for c in law.input_columns))
    for name in columns:
        if name in read:
            raise UserError(f"--best-of {name}: the law reads this column")
    inputs = [name for name in read if name != target]
    values = pd.to_numeric(table[target], errors="coerce")
    table = table[np.isfinite(values)]
    point = _points(table, inputs)
    others = _independent(table, point, columns, [*inputs, target])
    cell = table.groupby([point, *others], sort=False, dropna=False).ngroup()
    values = values[np.isfinite(values)] * (-1 if target == "accuracy" else 1)
    kept = values.groupby(cell).idxmin().sort_values()
    apart = f", each {', '.join(others)} by itself" if others else ""
    notices.insert(
        0,
        f"--best-of {','.join(columns)}: {len(kept)} of {len(table)} rows kept, the best "
        f"{target} at each of {len(kept)} points{apart}",
    )
    notices += _edges(table, cell, kept, columns)
    if any(kind_of(name) == "seed" for name in columns):
        notices.append(
            "the best of several seeds is better than what one run gives: every loss is too low by "
            "its luck, and more where there are more seeds; leave the seed out of --best-of"
        )
    return table.loc[kept].reset_index(drop=True), notices


def _target(law: Law) -> str:
    """What is best when it is low: laws that look for optima read losses."""
    return next((c.name for c in law.input_columns if c.name == law.target.name), "loss")


def _resolve(table: pd.DataFrame, best_of: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns meant, and a sentence where one was found by its kind."""
    columns, notices = [], []
    for name in best_of:
        if name not in table:
            same = [c for c in map(str, table.columns) if kind_of(c) == name]
            if len(same) != 1:
                known = [c for c in map(str, table.columns) if is_setting(table, c)]
                raise unknown("column", name, same or known)
            notices.append(f"{name} is column {same[0]!r}")
            name = same[0]
        if name in columns:
            raise UserError(f"--best-of: {name!r} is given twice")
        columns.append(name)
    return columns, notices


def _points(table: pd.DataFrame, inputs: Sequence[str]) -> pd.Series:
    """A number for each row: rows with one number lie at one point of the inputs. Tokens and
    compute may differ by 1 %: they are whole steps of batches that differ."""
    keys = []
    for name in inputs:
        key = table[name]
        if name in _CLOCKS and pd.api.types.is_numeric_dtype(key):
            values, edge, label = np.sort(key.unique()), -np.inf, {}
            for value in values:
                edge = value if value > edge * (1 + _SAME) or edge < 0 else edge
                label[value] = edge
            key = key.map(label)
        keys.append(key.rename(None))
    return table.groupby(keys, sort=False, dropna=False).ngroup() if keys else table.index * 0


def _independent(
    table: pd.DataFrame, point: pd.Series, chosen: Sequence[str], known: Sequence[str]
) -> list[str]:
    """Settings that vary while the point and `chosen` stand still: seeds, a second recipe. (The
    number of steps follows from the batch, and is none.)"""
    rest = [c for c in table if c not in (*chosen, *known) and is_setting(table, c)]
    fixed = table.groupby([point, *chosen], sort=False, dropna=False)
    return [c for c in rest if (fixed[c].nunique(dropna=False) > 1).any()]


def _edges(table: pd.DataFrame, cell: pd.Series, kept: pd.Series, columns: list[str]) -> list[str]:
    """Cells whose best is the smallest or largest value tried, and cells with one value."""
    notices = []
    for name in columns:
        values = pd.to_numeric(table[name], errors="coerce")
        if values.isna().any():
            continue
        tried = values.groupby(cell)
        best, several = values[kept.to_numpy()].to_numpy(), (tried.nunique() > 1)[kept.index]
        low, high = tried.min()[kept.index].to_numpy(), tried.max()[kept.index].to_numpy()
        at_edge = several.to_numpy() & ((best == low) | (best == high))
        if at_edge.any():
            notices.append(
                f"at {at_edge.sum()} of {len(kept)} points the best {name} is the smallest or "
                f"largest tried there: the optimum may lie beyond ({_where(table, kept, at_edge)})"
            )
        if not several.all():
            notices.append(
                f"{(~several).sum()} of {len(kept)} points have one {name} only: nothing was chosen"
            )
    return notices


def _where(table: pd.DataFrame, kept: pd.Series, mask: np.ndarray) -> str:
    rows = table.loc[kept.to_numpy()[mask]].iloc[:3]
    names = [c for c in ("n_params", "n_tokens", "flops", "x") if c in rows][:2]
    if not names:
        return f"{len(rows)} shown: row {', '.join(str(i + 1) for i in rows.index)}"
    return "; ".join(", ".join(f"{n} {row[n]:g}" for n in names) for row in rows.to_dict("records"))


def _crowded(law: Law, table: pd.DataFrame) -> list[str]:
    """Whether several rows lie at one point of the law's inputs, and what they differ in."""
    target = _target(law)
    inputs = [c.name for c in law.input_columns if c.name != target]
    if not inputs:
        return []
    point = _points(table, inputs)
    n_points = point.nunique()
    if n_points == len(table):
        return []
    varied = _independent(table, point, (), [*inputs, target])
    named = [c for c in varied if kind_of(c) is not None]
    differ = named + _independent(table, point, named, [*inputs, target])
    said = f"{len(table)} rows lie at {n_points} points of {', '.join(inputs)}"
    tuned = [c for c in differ if kind_of(c) != "seed" and kind_of(c) not in MIXED]
    if tuned:
        more = f" and {len(tuned) - _SHOWN} more" if len(tuned) > _SHOWN else ""
        return [
            f"{said} and differ in {', '.join(tuned[:_SHOWN])}{more}: a fit to all of them is of "
            f"no one recipe; {_way_out(table, tuned, named)}"
        ]
    seeds = [c for c in differ if kind_of(c) == "seed"]
    return [f"{said}: repeats, which differ in {', '.join(seeds)}"] if seeds else []


def _way_out(table: pd.DataFrame, tuned: Sequence[str], named: Sequence[str]) -> str:
    """What to add to the command: the best over hyperparameters and numbers, one kind of words."""
    over = [c for c in tuned if c in named] or [
        c for c in tuned if pd.api.types.is_numeric_dtype(table[c])
    ]
    if over:
        return f"--best-of {','.join(over[:_SHOWN])} takes the best of each point"
    return f"--where '{tuned[0]}={table[tuned[0]].mode()[0]}' fits one of them"


def _checkpoints(law: Law, table: pd.DataFrame) -> list[str]:
    """Whether rows are several moments of one run, for a law that wants the ends of runs."""
    name = run_column(table)
    if law.cluster or any(c.name in ("step", "steps") for c in law.columns):
        return []
    if name is None:
        return _history(table)
    if table[name].isna().any():
        return []
    clock = next((c for c in _CLOCKS if c in table), None)
    if clock is None:
        return []
    same_size = [c for c in ("n_params", "seed") if c in table and c != name]
    moments = table.groupby(name)[clock].nunique()
    sizes = [table.groupby(name)[c].nunique().max() for c in same_size]
    if not (moments > 1).any() or any(size > 1 for size in sizes):
        return []
    several = moments[moments > 1]
    return [
        f"{several.sum()} rows look like checkpoints of {len(several)} runs (one {name} at several "
        f"{clock}): losses before the end of a decaying schedule are not those of runs that were "
        "planned to end there"
    ]


def _history(table: pd.DataFrame) -> list[str]:
    """The log of one run, which needs no column for its name."""
    step = next((c for c in ("step", "_step", "Step") if c in table), None)
    steps = pd.to_numeric(table[step], errors="coerce") if step else pd.Series(dtype=float)
    if len(steps) < _LOG or not (steps.diff().dropna() > 0).all():
        return []
    return [
        f"the rows look like the log of one run ({step!r} rises from row to row): losses before "
        "the end of a decaying schedule are not those of runs that were planned to end there"
    ]
