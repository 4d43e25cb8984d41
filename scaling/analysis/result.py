"""`Fit`: what was found, how sure it is, what it predicts, and all that is needed to repeat it.

A Fit read back from JSON predicts and allocates exactly as the one that was written: the file
holds the optimum, its covariance or the bootstrap draws, and the quantiles of the residuals.
"""

import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.intervals import Profile, t_quantile
from scaling.analysis.law import Law
from scaling.analysis.objective import get_loss, make_fitted, theta_of
from scaling.analysis.tables.check import inputs
from scaling.errors import UserError
from scaling.outputs import write_output
from scaling.reading import read_bytes

_DRAWS = 1000  # draws behind the intervals of predictions, and kept in the JSON
_CELLS = 2e7  # draws times rows evaluated at a time
_DECADE = 10.0
_FIRST, _REST = slice(0, 1), slice(1, None)


@dataclass(frozen=True)
class Interval:
    """An estimate. `ci95` is None where no interval could be computed; an infinite end means that
    the data do not bound the parameter on that side, and `identified` is then False."""

    value: float
    se: float
    ci95: tuple[float, float] | None
    identified: bool = True
    at_bound: bool = False


@dataclass(frozen=True)
class Basin:
    """A local optimum: its objective, its place z [P], and how many starts ended in it."""

    objective: float
    z: np.ndarray
    starts: int


@dataclass(frozen=True)
class Fit:
    """The result of `fit`. Arrays are float64; z are search coordinates in the order of the law's
    parameters; `residuals` are target minus prediction in the space of the loss, row by row."""

    law: Law
    status: str  # ok | not_unique | at_bound | failed
    n_points: int
    objective: float
    params: dict[str, Interval]
    derived: dict[str, Interval]
    starts: dict[str, int]
    basins: list[Basin]
    warnings: list[str]
    loss: str
    delta: float
    seed: int
    r2: float
    condition: float
    z: np.ndarray
    box: np.ndarray  # [2, P] bounds in z
    cov: np.ndarray  # [P, P] sandwich covariance in z
    dof: int
    residual_quantiles: np.ndarray
    ranges: dict[str, tuple[float, float]]
    data_hash: str
    versions: dict[str, str]
    interval: str  # where ci95 comes from: profile, sandwich, or the bootstrap method
    holdout: dict[str, float] | None = None
    bootstrap: dict[str, Any] | None = None
    draws: np.ndarray | None = None  # [draws, P] in z, bootstrap only
    # Only while the data are at hand:
    table: pd.DataFrame | None = field(default=None, repr=False)
    residuals: np.ndarray | None = field(default=None, repr=False)
    profiles: Mapping[str, Profile] = field(default_factory=dict, repr=False)
    held_out: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def theta(self) -> dict[str, float]:
        """The optimum, {name: natural value}."""
        return {name: p.value for name, p in self.params.items()}

    def sample(self, n: int = _DRAWS) -> np.ndarray:
        """Plausible parameters [n, P] in z: bootstrap draws, else the normal approximation."""
        if self.draws is not None:
            take = np.linspace(0, len(self.draws) - 1, min(n, len(self.draws))).astype(int)
            return self.draws[take]
        rng = np.random.default_rng(self.seed)
        try:
            values, vectors = np.linalg.eigh(self.cov)
        except np.linalg.LinAlgError:
            raise UserError(
                f"the covariance of this fit of {self.law.name} is not finite, so nothing says how "
                "sure it is; fit again with --bootstrap"
            ) from None
        noise = rng.standard_normal((n, len(self.z))) * np.sqrt(np.maximum(values, 0))
        scale = t_quantile(0.975, self.dof) / 1.959964 if self.dof < 200 else 1.0
        return np.clip(self.z + scale * noise @ vectors.T, *self.box)

    def predict(self, table: Any) -> pd.DataFrame:
        """Columns predicted, ci_low, ci_high (95 % confidence, of the law's curve) and pi_low,
        pi_high (95 % prediction, of a new measurement) for each row. `.attrs["warnings"]` names
        columns that leave the fitted range by more than a decade."""
        self._require_success()
        table = inputs(self.law, pd.DataFrame(table))
        kind, draws = get_loss(self.loss), self.sample()
        rng, bands = np.random.default_rng(self.seed), []
        with jax.enable_x64(True):
            x = self.law.prepare(table)
            curve = make_fitted(self.law, kind)
            centre = np.asarray(curve(self.z[None], x))[0]
            for part in _blocks(x, len(table), int(_CELLS // len(draws))):
                values = np.asarray(curve(draws, part))
                noisy = values + rng.choice(self.residual_quantiles, values.shape)
                ends = [np.nanpercentile(v, [2.5, 97.5], axis=0) for v in (values, noisy)]
                bands.append(np.concatenate(ends))
        columns = [centre, *np.concatenate(bands, 1)[:, : len(table)]]
        names = ["predicted", "ci_low", "ci_high", "pi_low", "pi_high"]
        values = (np.exp(c) if kind.log else c for c in columns)
        out = pd.DataFrame(dict(zip(names, values, strict=True)), index=table.index)
        out.attrs["warnings"] = self._extrapolation(table)
        return out

    def disagreement(self, table: Any) -> float:
        """Greatest relative difference, over the rows, between what equally good optima predict.

        0 for a unique optimum; infinite when the objective is flat in some direction, so that there
        is nothing to compare. Several sets of parameters may well predict the same loss.
        """
        self._require_success()
        if self.status != "not_unique":
            return 0.0
        equal = twins(self.basins)
        if len(equal) < 2:
            return math.inf
        kind = get_loss(self.loss)
        with jax.enable_x64(True):
            x = self.law.prepare(pd.DataFrame(table))
            values = make_fitted(self.law, kind)(np.stack([basin.z for basin in equal]), x)
        values = np.log(values) if not kind.log else np.asarray(values)
        return float(np.expm1(np.ptp(values, axis=0).max()))

    def optimal(self, flops: float | Sequence[float]) -> pd.DataFrame:
        """Compute-optimal allocation for each budget: flops, n_params, n_tokens,
        tokens_per_param, each with _low and _high (95 %). Raises UserError when the law does not
        say how to allocate compute."""
        self._require_success()
        budgets = np.atleast_1d(np.asarray(flops, np.float64))
        if not (np.isfinite(budgets) & (budgets > 0)).all():
            raise UserError(f"budgets must be positive FLOPs, not {flops}")
        with jax.enable_x64(True):
            allocate = _allocator(self.law)
            z = jnp.asarray(np.vstack([self.z, self.sample()]))
            if jax.eval_shape(allocate, z, jnp.asarray(budgets)) is None:
                raise UserError(f"{self.law.name} does not say how to allocate compute")
            every = allocate(z, jnp.asarray(budgets))
            best, many = ({k: v[part] for k, v in every.items()} for part in (_FIRST, _REST))
            columns: dict[str, np.ndarray] = {"flops": budgets}
            for tree in (best, many):
                if "n_params" in tree and "n_tokens" in tree:
                    tree["tokens_per_param"] = tree["n_tokens"] / tree["n_params"]
            for name, value in best.items():
                low, high = np.nanpercentile(np.asarray(many[name]), [2.5, 97.5], axis=0)
                columns |= {name: np.asarray(value)[0], f"{name}_low": low, f"{name}_high": high}
        out = pd.DataFrame(columns)
        beyond = {k: v for k, v in columns.items() if k in self.ranges}
        out.attrs["warnings"] = self._extrapolation(pd.DataFrame(beyond))
        return out

    def _require_success(self) -> None:
        if self.status == "failed":
            raise UserError(f"the fit of {self.law.name} failed: it predicts nothing")

    def _extrapolation(self, table: pd.DataFrame) -> list[str]:
        warnings = []
        for name, (low, high) in self.ranges.items():
            if name not in table or not low > 0:
                continue
            values = table[name].to_numpy(np.float64)
            top, bottom = np.nanmax(values), np.nanmin(values)
            decades = np.log10([max(top / high, 1e-300), max(low / bottom, 1e-300)])
            far = top if decades[0] >= decades[1] else bottom
            if decades.max() > np.log10(_DECADE) * (1 + 1e-9):
                warnings.append(
                    f"extrapolation: {name} = {far:.3g} is {decades.max():.1f} decades outside the "
                    f"fitted range {low:.3g} to {high:.3g}"
                )
        return warnings

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The fit as JSON text; also written to `path` (atomically) when one is given."""
        from scaling.analysis.serialise import dumps

        text = dumps(self)
        if path is not None:
            write_output(path, text + "\n", "--json")
        return text

    @staticmethod
    def from_json(source: str | os.PathLike) -> "Fit":
        """Reads `to_json` back, from a path or from the text itself. The data, profiles and
        residuals by point are not in it. Raises UserError."""
        from scaling.analysis.serialise import loads

        if isinstance(source, str) and source.lstrip().startswith("{"):
            return loads(source, "the fit")
        return loads(read_bytes(source), str(source))

    def __str__(self) -> str:
        return _describe(self)


def twins(basins: Sequence[Basin]) -> list[Basin]:
    """The best optimum and those that are as good as it, to within rounding."""
    return [b for b in basins if b.objective <= basins[0].objective * (1 + 1e-6) + 1e-18]


@functools.cache
def _allocator(law: Law):
    """allocate(z [S, P], flops [C]) -> {name: [S, C]}, or None; one program for all fits of a law,
    where operations one by one would each be compiled for every number of budgets."""

    def allocate(z, flops):
        return law.optimal(theta_of(law, z), flops)

    return jax.jit(jax.vmap(jax.vmap(allocate, (None, 0)), (0, None)))


def _blocks(x, n: int, size: int):
    """x in pieces of `size` rows, or whole when it is short or some leaf is not row by row. The
    last piece repeats the last row, so that one compiled shape serves all."""
    if n <= size or any(np.ndim(v) == 0 or len(v) != n for v in jax.tree.leaves(x)):
        yield x
        return
    for begin in range(0, n, size):
        index = np.minimum(np.arange(begin, begin + size), n - 1)
        yield jax.tree.map(lambda v: v[index], x)  # noqa: B023


def _describe(fit: Fit) -> str:
    """The fit as a table for people."""
    s = fit.starts
    lines = [
        f"{fit.law.name}: {fit.law.formula}",
        f"status {fit.status}   {fit.n_points} points   objective {fit.objective:.10g} "
        f"({fit.loss}, delta {fit.delta:g}, summed)   R² {fit.r2:.5f}",
        f"starts {s['n']}: {s['converged']} run to the end, {s['at_best']} of them at the best "
        f"optimum, {s['dropped']} dropped as dominated   condition {fit.condition:.2g}",
        "",
        f"{'':<12}{'value':>14}{'se':>12}   95 % interval ({fit.interval})",
    ]
    for name, p in {**fit.params, **fit.derived}.items():
        ends = "" if p.ci95 is None else f"[{p.ci95[0]:.5g}, {p.ci95[1]:.5g}]"
        marks = ("  not identified" if not p.identified else "") + (
            "  at bound" if p.at_bound else ""
        )
        lines.append(f"{name:<12}{p.value:>14.6g}{p.se:>12.3g}   {ends}{marks}")
    if len(fit.basins) > 1:
        lines += ["", f"{len(fit.basins) - 1} other optima within 5 % of the objective"]
    if fit.holdout:
        h = fit.holdout
        lines += [
            "",
            f"held out: {h['n']} points, mean absolute error {100 * h['mape']:.3f} %, "
            f"bias {100 * h['bias']:+.3f} %",
        ]
    lines += [f"warning: {w}" for w in fit.warnings]
    return "\n".join(lines)
