"""What a fit says about rows and budgets it has not seen, with intervals over its region."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.intervals import percentiles
from scaling.analysis.law import Law
from scaling.analysis.objective import get_loss, make_fitted, padded_rows, theta_of
from scaling.analysis.result import Result
from scaling.analysis.tables.check import inputs
from scaling.errors import UserError

_CELLS = 2e7  # parameters times rows evaluated at a time
_DECADE = 10.0
_RATIOS = 1e-6, 1e9  # tokens per parameter: outside, one of the terms does nothing
_NAMED = 3  # rows or budgets named in a warning


def predict(fit: Result, table) -> pd.DataFrame:
    """`Fit.predict`."""
    table = inputs(fit.law, pd.DataFrame(table))
    kind = get_loss(fit.loss)
    many, n_draws = _everything(fit)
    rng, parts = np.random.default_rng(fit.seed), []
    with jax.enable_x64(True):
        x = fit.law.prepare(table)
        curve = make_fitted(fit.law, kind)
        for part in _blocks(x, len(table), int(_CELLS // len(many))):
            values = np.asarray(curve(many, part))
            parts.append(_bands(fit, values, n_draws, rng))
    columns = [np.concatenate(c)[: len(table)] for c in zip(*parts, strict=True)]
    *columns, determined = columns
    names = ["predicted", "ci_low", "ci_high", "pi_low", "pi_high"]
    span = fit.law.target.span
    values = (np.clip(np.exp(c) if kind.log else c, *span) for c in columns)
    out = pd.DataFrame(dict(zip(names, values, strict=True)), index=table.index)
    out["determined"] = determined
    out.attrs["warnings"] = [
        *_extrapolation(fit, table),
        *_no_intervals(fit),
        *_open_rows(fit, out["determined"].to_numpy(), "row"),
    ]
    return out


def _bands(fit: Result, values: np.ndarray, n_draws: int, rng) -> list[np.ndarray]:
    """(centre, low, high, low and high of a new measurement, determined), each [rows]."""
    centre, region = values[0], fit.region
    if region is None:
        nothing = np.full(len(centre), np.nan)
        return [centre, nothing, nothing, nothing, nothing, np.ones(len(centre), bool)]
    drawn = values[1 : 1 + n_draws]
    ridge = values[1 + n_draws : 1 + n_draws + len(region.ridge)]
    low, high, determined = region.ends(centre, drawn, ridge)
    inner = percentiles(drawn)
    noisy = drawn + rng.choice(fit.residual_quantiles, drawn.shape)
    outer = percentiles(noisy)
    # A measurement is never surer than the curve, whatever the draws of its noise happen to be.
    below, above = np.minimum(outer[0] - inner[0], 0), np.maximum(outer[1] - inner[1], 0)
    return [centre, low, high, low + below, high + above, determined]


def optimal(fit: Result, flops) -> pd.DataFrame:
    """`Fit.optimal`."""
    budgets = np.atleast_1d(np.asarray(flops, np.float64))
    if not (np.isfinite(budgets) & (budgets > 0)).all():
        raise UserError(f"budgets must be positive FLOPs, not {flops}")
    many, n_draws = _everything(fit)
    with jax.enable_x64(True):
        allocate, z, c = _allocator(fit.law), jnp.asarray(many), jnp.asarray(budgets)
        if jax.eval_shape(allocate, z, c) is None:
            raise UserError(f"{fit.law.name} does not say how to allocate compute")
        every = {k: np.asarray(v) for k, v in allocate(z, c).items()}
    if {"n_params", "n_tokens"} <= set(every):
        with np.errstate(divide="ignore", invalid="ignore"):
            every["tokens_per_param"] = every["n_tokens"] / every["n_params"]
    _require_optimum(fit, budgets, every)
    columns, determined = {"flops": budgets}, np.ones(len(budgets), bool)
    for name, values in every.items():
        low, high, known = _log_ends(fit, values, n_draws)
        columns |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
        determined &= known
    out = pd.DataFrame(columns | {"determined": determined})
    beyond = {k: v for k, v in columns.items() if k in fit.ranges}
    out.attrs["warnings"] = [
        *_extrapolation(fit, pd.DataFrame(beyond)),
        *_no_intervals(fit),
        *_open_rows(fit, determined, "the optimum at budget"),
        *_boundless(columns),
    ]
    return out


def _log_ends(fit: Result, values: np.ndarray, n_draws: int):
    """(low, high, determined) of a positive quantity [1 + draws + ridge, budgets], computed on its
    logarithm. A set of parameters without an optimum counts as 0 or infinity, or not at all."""
    if fit.region is None:
        nothing = np.full(values.shape[1], np.nan)
        return nothing, nothing, np.ones(values.shape[1], bool)
    with np.errstate(divide="ignore"):
        log = np.clip(np.log(values), -1e3, 1e3)
    end = 1 + n_draws
    ridge = log[end : end + len(fit.region.ridge)]
    low, high, known = fit.region.ends(log[0], log[1:end], ridge)
    with np.errstate(over="ignore"):
        return np.exp(low), np.exp(high), known


def _require_optimum(fit: Result, budgets: np.ndarray, every) -> None:
    """Raises UserError where the fitted law has no compute-optimal size: when the loss does not
    fall with size or with tokens, the formula gives 0, infinity or nothing."""
    names = [n for n in ("n_params", "n_tokens") if n in every]
    with np.errstate(invalid="ignore"):
        good = np.all([np.isfinite(every[n][0]) & (every[n][0] >= 1) for n in names], axis=0)
        if "tokens_per_param" in every:
            ratio = every["tokens_per_param"][0]
            good &= (ratio > _RATIOS[0]) & (ratio < _RATIOS[1])
    if good.all():
        return
    bad = int(np.argmin(good))
    values = ", ".join(f"{n} {every[n][0, bad]:.3g}" for n in names)
    zero = [n for n, p in fit.params.items() if p.at_bound]
    why = f" ({', '.join(f'{n} = {fit.params[n].value:.3g}' for n in zero)})" if zero else ""
    raise UserError(
        f"the fit of {fit.law.name} has no compute-optimal size at {budgets[bad]:.3g} FLOPs: its "
        f"formula gives {values}, because the fitted loss does not fall with both size and tokens"
        f"{why}; {fit.advice}"
    )


def disagreement(fit: Result, table) -> float:
    """`Fit.disagreement`."""
    if fit.region is None:
        return 0.0
    equal = np.vstack([fit.z, fit.region.equal])
    kind = get_loss(fit.loss)
    with jax.enable_x64(True):
        x = fit.law.prepare(pd.DataFrame(table))
        values = np.asarray(make_fitted(fit.law, kind)(padded_rows(equal), x))
    values = values if kind.log else np.log(values)
    return float(np.expm1(np.ptp(values, axis=0).max()))


def _everything(fit: Result) -> tuple[np.ndarray, int]:
    """The optimum, the draws and the ridge, [1 + draws + ridge + padding, P], and the number of
    draws."""
    if fit.region is None:
        return padded_rows(fit.z[None]), 0
    region = fit.region
    return padded_rows(np.vstack([fit.z, region.draws, region.ridge])), len(region.draws)


def _no_intervals(fit: Result) -> list[str]:
    if fit.region is not None:
        return []
    return ["no intervals: the fit has as many free parameters as points"]


def _open_rows(fit: Result, determined: np.ndarray, what: str) -> list[str]:
    """Names what the design does not determine, and the runs that would."""
    which = np.flatnonzero(~determined) + 1
    if not len(which):
        return []
    plural = "s" if len(which) > 1 else ""
    named = ", ".join(map(str, which[:_NAMED])) + (", ..." if len(which) > _NAMED else "")
    return [
        f"not determined by this design: {what}{plural} {named}; parameters that fit equally well "
        f"differ there, and the interval spans them; {fit.advice}"
    ]


def _boundless(columns) -> list[str]:
    """Says where an interval of the optimum is so wide that it says nothing."""
    if "n_params_low" not in columns:
        return []
    with np.errstate(divide="ignore", over="ignore"):
        low, high = columns["n_params_low"], columns["n_params_high"]
        decades = np.log10(high) - np.log10(low)
    wide = np.flatnonzero(decades > 3)
    if not len(wide):
        return []
    worst = decades[wide].max()
    size = "has no end" if worst > 300 else f"spans {worst:.0f} decades"
    return [f"the interval of n_params {size}: these data say next to nothing of the optimum"]


def _extrapolation(fit: Result, table: pd.DataFrame) -> list[str]:
    warnings = []
    for name, (low, high) in fit.ranges.items():
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
