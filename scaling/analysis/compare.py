"""Choosing between laws, and finding out how much a fit depends on how it was made.

Every criterion asks for many refits of one law to parts of one table. A part is a vector of
weights with zeros in it, so all refits of a law run as one batch on one compiled kernel.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from scaling.analysis.bootstrap import huber_normaliser, huber_scale
from scaling.analysis.bounds import box
from scaling.analysis.clusters import resolve
from scaling.analysis.fit import fit, pose
from scaling.analysis.fitted import Fit
from scaling.analysis.law import Law
from scaling.analysis.laws import LAWS
from scaling.analysis.objective import make_fitted
from scaling.analysis.search import start_points
from scaling.analysis.solver import Problem, solve
from scaling.analysis.tables.choose import rename, require
from scaling.analysis.tables.design import take_best
from scaling.analysis.tables.read import as_table
from scaling.errors import UserError

_STARTS = 15  # of the law's own starts, besides the optimum of all data, for every refit
_LARGEST = 0.2  # share of rows, the largest by compute, left out
_ROLLOUT = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # fit below this quantile of compute, predict the next


@dataclass(frozen=True)
class Comparison:
    """`table`: one row a law (best AICc first). `rollout`: one row per law and step, with the
    compute up to which it was fitted and its error on the next band. Errors are fractions."""

    table: pd.DataFrame
    rollout: pd.DataFrame
    fits: dict[str, Fit]
    warnings: list[str]

    def __str__(self) -> str:
        text = self.table.to_string(index=False, float_format=lambda v: f"{v:.5g}", na_rep="-")
        notes = [f"warning: {w}" for w in self.warnings]
        legend = (
            "mape: mean absolute relative error; largest: the 20 % of rows with most compute left "
            "out; rollout: the next band of compute, averaged; kfold: whole runs left out"
        )
        return "\n".join([text, "", legend, *notes])


def log_likelihood(problem: Problem, residual: np.ndarray) -> float:
    """Of the noise model behind the loss (a Huber density, or a normal one) at the scale that
    maximises it. Comparable between laws under one loss and delta only."""
    w, n = problem.w, np.sum(problem.w)
    if not problem.loss.huber:
        return -n / 2 * (math.log(2 * math.pi * np.sum(w * residual**2) / n) + 1)
    tau, delta, a = huber_scale(residual, w, problem.delta), problem.delta, np.abs(residual)
    cost = np.sum(w * np.where(a <= delta, residual**2 / 2, delta * (a - delta / 2)))
    return -cost / tau - n * math.log(huber_normaliser(tau, delta))


def aicc(problem: Problem, residual: np.ndarray, n_params: int) -> float:
    """Akaike's criterion with Hurvich & Tsai's (1989) correction; the noise scale counts as a
    parameter. Infinite when there are too few points for the correction."""
    k, n = n_params + 1, problem.n
    if n - k - 1 <= 0:
        return math.inf
    return 2 * k - 2 * log_likelihood(problem, residual) + 2 * k * (k + 1) / (n - k - 1)


def compute_axis(law: Law, table: pd.DataFrame) -> tuple[str, np.ndarray]:
    """What "larger" means for this table: flops, 6 N D, or the law's first numeric column."""
    if "flops" in table and pd.to_numeric(table["flops"], errors="coerce").notna().all():
        return "flops", table["flops"].to_numpy(np.float64)
    if {"n_params", "n_tokens"} <= set(table.columns):
        n, d = (table[c].to_numpy(np.float64) for c in ("n_params", "n_tokens"))
        return "6 n_params n_tokens", 6 * n * d
    name = next(c.name for c in law.columns if c.numeric)
    return name, table[name].to_numpy(np.float64)


def compare(
    laws: Sequence[str | Law],
    table: Any,
    *,
    cluster: str | bool | None = None,
    folds: int = 5,
    loss: str | None = None,
    delta: float | None = None,
    seed: int = 42,
    bounds: dict | None = None,
    pinned: dict | None = None,
    best_of: Sequence[str] = (),
    **options,
) -> Comparison:
    """Fits every law to `table` and to parts of it: AICc, the largest fifth by compute left out,
    rollout along compute, k-fold by run (`cluster`, as in `fit`; else single rows).

    All laws are compared under one loss (default log_huber) and delta. `bounds` and `pinned` apply
    to the laws that have a parameter of that name. best_of: as for `fit`, at the points of all
    laws' inputs, so that all see the same rows. Raises UserError when the laws predict
    different targets."""
    chosen = [LAWS.load(law) if isinstance(law, str) else law for law in laws]
    names = [law.name for law in chosen]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"the law {twice!r} is listed twice: name each once")
    targets = sorted({law.target.name for law in chosen})
    if len(targets) > 1:
        raise UserError(
            f"these laws predict different things ({', '.join(targets)}): not comparable"
        )
    if folds < 2:
        raise UserError(f"{folds} folds: ask for 2 or more")
    loss, delta = loss or "log_huber", 1e-3 if delta is None else delta
    known = {p.name for law in chosen for p in law.params}
    for name in (*(bounds or {}), *(pinned or {})):
        if name not in known:
            raise UserError(
                f"no law here has a parameter {name!r}; known: {', '.join(sorted(known))}"
            )
    rows, rollouts, fits, warnings = [], [], {}, []
    if best_of:
        table, notices = as_table(table)
        require(table, [c.name for law in chosen for c in law.input_columns])
        table, kept = take_best(chosen, table, best_of)
        warnings += notices + kept
    for law in chosen:
        names = {p.name for p in law.params}
        own = {
            "bounds": {k: v for k, v in (bounds or {}).items() if k in names},
            "pinned": {k: v for k, v in (pinned or {}).items() if k in names},
        }
        result = fit(
            law, table, loss=loss, delta=delta, seed=seed, cluster=cluster, profile=False,
            **own, **options,
        )  # fmt: skip
        fits[law.name] = result
        warnings += [f"{law.name}: {w}" for w in result.warnings]
        row, rollout = _judge(result, cluster, folds, seed, *box(law, **own))
        rows.append(row)
        rollouts.append(rollout)
    scores = pd.DataFrame(rows).sort_values("aicc", ignore_index=True)
    least = scores["aicc"].min()
    scores.insert(3, "d_aicc", scores["aicc"] - least if np.isfinite(least) else np.nan)
    axes = " and ".join(sorted({r["axis"].iloc[0] for r in rollouts}))
    warnings += _no_numbers(scores, axes)
    return Comparison(scores, pd.concat(rollouts, ignore_index=True), fits, warnings)


def _judge(result: Fit, cluster, folds: int, seed: int, lo, hi) -> tuple[dict, pd.DataFrame]:
    law, table = result.law, result.table
    problem = pose(law, table, result.loss, result.delta)
    axis, compute = compute_axis(law, table)
    labels = resolve(table, law, cluster).labels
    labels = np.arange(len(table)) if labels is None else labels
    fold = np.random.default_rng(seed).permutation(labels.max() + 1)[labels] % folds
    edges = np.quantile(compute, [*_ROLLOUT, 1.0])
    largest = _largest(compute)
    # (rows to fit, rows to predict) of every refit
    parts = [(~largest, largest)]
    parts += [
        (compute <= low, (compute > low) & (compute <= high))
        for low, high in itertools.pairwise(edges)
    ]
    parts += [(fold != k, fold == k) for k in range(folds)]
    errors = _refit_errors(problem, result, parts, lo, hi, seed)
    steps = slice(1, 1 + len(_ROLLOUT))
    rollout = pd.DataFrame(
        {
            "law": law.name,
            "axis": axis,
            "fitted_up_to": edges[:-1],
            "mape": [np.mean(np.abs(e)) if len(e) else np.nan for e in errors[steps]],
            "bias": [np.mean(e) if len(e) else np.nan for e in errors[steps]],
        }
    )
    kfold = np.concatenate(errors[1 + len(_ROLLOUT) :])
    n_free = int((lo < hi).sum())
    return {
        "law": law.name,
        "parameters": n_free,
        "aicc": aicc(problem, result.residuals, n_free),
        "objective": result.objective,
        "r2": result.r2,
        "status": result.status,
        "largest_mape": np.mean(np.abs(errors[0])) if len(errors[0]) else np.nan,
        "largest_bias": np.mean(errors[0]) if len(errors[0]) else np.nan,
        "rollout_mape": rollout["mape"].mean(),
        "kfold_mape": np.mean(np.abs(kfold)) if len(kfold) else np.nan,
    }, rollout


def _largest(compute: np.ndarray) -> np.ndarray:
    """The fifth of the rows with most compute, bool [n]; where budgets tie there, the whole budget
    that the fifth begins in, or the next one up when nothing would be left below."""
    edge = np.quantile(compute, 1 - _LARGEST)
    above = compute > edge
    return above if above.any() or compute.min() == compute.max() else compute >= edge


def _no_numbers(scores: pd.DataFrame, axis: str) -> list[str]:
    """A sentence for every column of scores that has no number for some law."""
    reasons = {
        "largest_mape": f"rows with most compute ({axis}) cannot be left out",
        "rollout_mape": f"no step along compute ({axis}) leaves enough rows below it",
        "kfold_mape": "the folds leave too few rows to fit",
        "aicc": "there are too few rows for the correction of AICc",
    }
    out = []
    for column, why in reasons.items():
        missing = scores.loc[~np.isfinite(scores[column]), "law"]
        if len(missing):
            out.append(f"no {column} for {', '.join(missing)}: {why}")
    return out


def _refit_errors(problem: Problem, result: Fit, parts, lo, hi, seed: int) -> list[np.ndarray]:
    """Relative errors of prediction on the left-out rows of every part; empty where the rows to
    fit are fewer than the free parameters."""
    z0 = start_points(problem.law, result.table, None, seed, lo, hi)
    rng = np.random.default_rng(seed)
    z0 = z0[rng.choice(len(z0), min(_STARTS, len(z0)), replace=False)]
    z0 = np.concatenate([result.z[None], z0])
    weights = np.stack([problem.w * keep for keep, _ in parts])
    solution = solve(
        replace(problem, w=np.repeat(weights, len(z0), 0)), np.tile(z0, (len(parts), 1)), lo, hi
    )
    best = solution.f.reshape(len(parts), -1).argmin(1)
    z = solution.z.reshape(len(parts), len(z0), -1)[np.arange(len(parts)), best]
    with jax.enable_x64(True):
        fitted = np.asarray(make_fitted(problem.law, problem.loss)(z, problem.x))
    error = np.expm1(fitted - problem.t) if problem.loss.log else fitted / problem.t - 1
    enough = int((lo < hi).sum())
    return [
        e[out] if keep.sum() >= enough else np.array([])
        for e, (keep, out) in zip(error, parts, strict=True)
    ]


def sensitivity(
    law: str | Law,
    table: Any,
    *,
    deltas: Iterable[float] = (1e-4, 1e-3, 1e-2, 1e-1),
    losses: Iterable[str] = ("log_huber", "log_mse", "mse"),
    n_columns: Sequence[str] = ("n_params",),
    starts: int = 128,
    seed: int = 42,
    best_of: Sequence[str] = (),
) -> pd.DataFrame:
    """The parameters and derived quantities under every loss, every Huber delta and every
    convention of the parameter count (`n_columns`: the columns to fit as n_params in turn).
    best_of: as for `fit`.

    One row a fit: n_params (the column), loss, delta, status, objective, then the values."""
    law = LAWS.load(law) if isinstance(law, str) else law
    frame, _ = as_table(table)
    if list(n_columns) != ["n_params"]:
        require(frame, n_columns)
    rows = []
    for column in n_columns:
        counted = frame if column == "n_params" else rename(frame, {"n_params": column})[0]
        for loss in losses:
            for delta in deltas if "huber" in loss else (law.delta,):
                result = fit(
                    law, counted, loss=loss, delta=delta, seed=seed, starts=starts, profile=False,
                    best_of=best_of,
                )  # fmt: skip
                values = {k: p.value for k, p in (result.params | result.derived).items()}
                row = {
                    "n_params": column,
                    "loss": loss,
                    "delta": delta if "huber" in loss else None,
                }
                rows.append(row | {"status": result.status, "objective": result.objective} | values)
    return pd.DataFrame(rows)
