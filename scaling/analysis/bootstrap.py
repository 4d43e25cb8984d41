"""Resampling: case, cluster (whole runs), residual and parametric bootstrap.

Every resample is solved on its own (`draws.search`), all of them together in one batch. Case and
cluster draws are integer weights on the rows, so nothing is copied; a law with a `reduce` step
(approaches 1 and 2) is reduced anew on every resample of its runs.

Rows are drawn with numpy's RandomState, whose stream is frozen: a published bootstrap that names
its seed can be repeated draw for draw (Besiroglu et al. 2024 used 42, the default of `fit`).
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from scaling.analysis.draws import Draws, search
from scaling.analysis.intervals import residuals
from scaling.analysis.solver import Problem, Solution
from scaling.doors.limits import refuse_too_many
from scaling.errors import UserError, unknown

METHODS = ("case", "cluster", "residual", "parametric")
_CHUNK_BYTES = 2e8  # resampled weights or targets held at a time
_FEW_CLUSTERS = 7  # 1,716 resamples
_POOR = 0.025  # share of resamples: from here on the 95 % ends are theirs


@dataclass(frozen=True)
class Bootstrap:
    """What to draw. `method` None: clusters where rows are known to belong together, else rows.
    `cluster` names the column of the clusters (default: what `clusters.resolve` finds)."""

    n: int
    method: str | None = None
    cluster: str | None = None

    def __post_init__(self):
        if self.method is not None and self.method not in METHODS:
            raise unknown("bootstrap method", self.method, METHODS)
        if self.n < 2:
            raise UserError(f"bootstrap of {self.n} draws: ask for 2 or more (4000 is usual)")
        refuse_too_many("--bootstrap", self.n, "draws")


def huber_scale(r: np.ndarray, w: np.ndarray, delta: float) -> float:
    """tau of the density exp(-huber(r)/tau)/Z that maximises the likelihood of r (golden section
    in ln tau). The density behind the Huber loss: a normal centre with exponential tails."""
    a = np.abs(r)
    mean = np.sum(w * np.where(a <= delta, r * r / 2, delta * (a - delta / 2))) / np.sum(w)

    def minus_log_likelihood(log_tau: float) -> float:
        tau = math.exp(log_tau)
        return mean / tau + math.log(huber_normaliser(tau, delta))

    centre = math.log(max(mean, 1e-300))
    low, high, golden = centre - 6, centre + 6, (math.sqrt(5) - 1) / 2
    for _ in range(80):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if minus_log_likelihood(left) < minus_log_likelihood(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def huber_normaliser(tau: float, delta: float) -> float:
    """Z = integral of exp(-huber_delta(r)/tau) dr."""
    centre = math.sqrt(2 * math.pi * tau) * math.erf(delta / math.sqrt(2 * tau))
    return centre + 2 * tau / delta * math.exp(-min(delta * delta / (2 * tau), 700))


def student_noise(r: np.ndarray) -> tuple[float, float]:
    """(scale, degrees of freedom) of the Student's t that makes the residuals r likeliest, from
    tails like t2's to normal ones: EM for the scale (Lange, Little & Taylor 1989) at each of a row
    of degrees of freedom."""
    dof = 1 / np.linspace(1e-6, 0.5, 26)[:, None]
    square = r * r + 1e-300
    variance = np.full((len(dof), 1), square.mean())
    for _ in range(60):
        share = (dof + 1) / (dof + square / variance)
        variance = (share * square).mean(1, keepdims=True)
    height = [math.lgamma((v + 1) / 2) - math.lgamma(v / 2) - math.log(v) / 2 for v in dof[:, 0]]
    tails = (dof + 1) / 2 * np.log1p(square / (dof * variance)) + np.log(variance) / 2
    best = int(np.argmax(height - tails.mean(1)))
    return math.sqrt(variance[best, 0]), float(dof[best, 0])


def _sampler(how: Bootstrap, problem: Problem, z, n_free: int, groups) -> Callable:
    """sample(rng, count) -> a Problem with [count, n] weights or targets."""
    n = problem.n
    if how.method in ("case", "cluster"):
        labels = np.arange(n) if how.method == "case" else groups
        count_labels = int(labels.max()) + 1

        def sample(rng, count):
            picked = rng.randint(count_labels, size=(count, count_labels))
            picked += count_labels * np.arange(count)[:, None]
            draws = np.bincount(picked.ravel(), minlength=count * count_labels)
            return replace(problem, w=problem.w * draws.reshape(count, count_labels)[:, labels])

        return sample
    r, _ = residuals(problem, z)
    inflate = math.sqrt(n / max(n - n_free, 1))
    centred = (r - np.average(r, weights=problem.w)) * inflate
    fitted = problem.t - r
    # Not from the density behind a Huber loss: its peak is sharper than that of any residuals seen,
    # and intervals drawn from it covered 85 to 90 % instead of 95. Normal noise as wide as heavy
    # tails covered 99 % (experiments/coverage.py), so the tails are fitted.
    weight = problem.w / problem.w.mean()
    scale, dof = student_noise(centred * np.sqrt(weight))

    def sample(rng, count):
        if how.method == "residual":
            noise = rng.choice(centred, (count, n))
        else:
            noise = scale * rng.standard_t(dof, (count, n)) / np.sqrt(weight)
        return replace(problem, t=fitted + noise)

    return sample


def draw(
    how: Bootstrap, problem: Problem, starts: np.ndarray, lo, hi, seed: int, groups=None
) -> Draws:
    """The optima of the resamples, each searched from all of `starts` [K, P], the optimum of the
    data first. `groups` [n] numbers the clusters."""
    rng = np.random.RandomState(seed)
    n_free = int((lo < hi).sum())
    sample = _sampler(how, problem, starts[0], n_free, groups)
    chunk = int(max(1, min(how.n, _CHUNK_BYTES // (8 * problem.n))))
    found, converged, poor = [], 0, 0
    for begin in range(0, how.n, chunk):
        sampled = sample(rng, min(chunk, how.n - begin))
        solution = _search_once(sampled, starts, lo, hi, groups)
        finite = np.isfinite(solution.f)
        found.append(solution.z[finite])
        converged += int((solution.converged & finite).sum())
        if sampled.w.ndim == 2:
            poor += int(((sampled.w > 0).sum(1) < n_free).sum())
    return _drawn(how, np.concatenate(found), converged, poor)


def _search_once(sampled: Problem, starts: np.ndarray, lo, hi, groups) -> Solution:
    """`search`, but a resample that is drawn again is not searched again: of three runs there are
    ten. (With many clusters, or none, no two are alike.)"""
    few = groups is not None and sampled.w.ndim == 2 and groups.max() < _FEW_CLUSTERS
    if not few:
        return search(sampled, starts, lo, hi)
    distinct, place = np.unique(sampled.w, axis=0, return_inverse=True)
    solution = search(replace(sampled, w=distinct), starts, lo, hi)
    return Solution(
        *(getattr(solution, f.name)[place.reshape(-1)] for f in dataclasses.fields(Solution))
    )


def _drawn(how: Bootstrap, z: np.ndarray, converged: int, poor: int = 0) -> Draws:
    remarks = []
    if len(z) < how.n:
        remarks.append(
            f"{how.n - len(z)} of {how.n} bootstrap draws have no fit and are left out of the "
            "intervals"
        )
    if poor > _POOR * how.n:
        remarks.append(
            f"{poor} of {how.n} resamples hold fewer distinct points than there are free "
            "parameters, so their optima are arbitrary and with them the ends of the intervals; "
            "resample residuals instead (--bootstrap-method residual)"
        )
    if len(z) < 2:
        raise UserError("no bootstrap resample could be fitted: there are too few points")
    return Draws(z, converged, tuple(remarks))


def resamples(how: Bootstrap, problem: Problem, z, n_free: int, seed: int, groups=None) -> Problem:
    """All that `draw` draws, as one problem with weights or targets [draws, n]."""
    return _sampler(how, problem, z, n_free, groups)(np.random.RandomState(seed), how.n)


def draw_reduced(
    how: Bootstrap,
    pose: Callable[[pd.DataFrame], Problem],
    table: pd.DataFrame,
    starts: np.ndarray,
    lo,
    hi,
    seed: int,
    groups=None,
) -> Draws:
    """As `draw`, for laws with a `reduce` step: `pose(resampled table)` reduces it and states the
    problem. Resamples that cannot be reduced (too few budgets left) are left out, and counted."""
    rng = np.random.RandomState(seed)
    labels = np.arange(len(table)) if groups is None or how.method == "case" else groups
    members = [np.flatnonzero(labels == k) for k in range(int(labels.max()) + 1)]
    problems = []
    for _ in range(how.n):
        picked = rng.randint(len(members), size=len(members))
        rows = np.concatenate([members[k] for k in picked])
        try:
            problems.append(pose(table.iloc[rows].reset_index(drop=True)))
        except UserError:
            continue
    if not problems:
        raise UserError("no bootstrap resample could be reduced: too few runs per budget")
    solution = search(_stack(problems), starts, lo, hi)
    good = np.isfinite(solution.f)
    return _drawn(how, solution.z[good], int((solution.converged & good).sum()))


def _stack(problems: list[Problem]) -> Problem:
    """Problems of different lengths as one batch: short ones repeat a row at weight zero."""
    longest = max(p.n for p in problems)

    def pad(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[:1], longest - len(values), axis=0)])

    def weights(p: Problem) -> np.ndarray:
        return np.concatenate([p.w, np.zeros(longest - p.n)])

    x: Any = jax.tree.map(
        lambda *leaves: np.stack([pad(v) for v in leaves]), *(p.x for p in problems)
    )
    t, w = np.stack([pad(p.t) for p in problems]), np.stack([weights(p) for p in problems])
    return replace(problems[0], x=x, t=t, w=w, batched=True)
