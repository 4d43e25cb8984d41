"""Two fits in a row: what the first predicts is what the second reads, with joint uncertainty."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scaling.analysis.fit import Fit
from scaling.analysis.intervals import percentiles
from scaling.analysis.objective import fitted, get_loss
from scaling.analysis.tables.choose import require
from scaling.errors import UserError

DRAWS = 2000


@dataclass(frozen=True)
class Chain:
    """`first` predicts `via` (its target), `second` reads `via` and nothing else.

    The two fits come from different measurements, so their uncertainties are taken as independent:
    every draw pairs plausible parameters of the first with plausible parameters of the second.
    Raises UserError when the second law does not read exactly what the first predicts.
    """

    first: Fit
    second: Fit

    def __post_init__(self):
        reads = [column.name for column in self.second.law.columns]
        if reads != [self.via]:
            raise UserError(
                f"{self.second.law.name} reads {', '.join(reads)}, and {self.first.law.name} "
                f"predicts {self.via}: they cannot be chained"
            )

    @property
    def via(self) -> str:
        return self.first.law.target.name

    def predict(self, table: Any, seed: int = 0) -> pd.DataFrame:
        """For each row: `via` as the first fit predicts it, then predicted, ci_low, ci_high (95 %,
        of the chained curve) and pi_low, pi_high (95 %, of a new measurement), all inside of what
        the second target can be. `.attrs["warnings"]` counts draws that predict nothing."""
        table = pd.DataFrame(table)
        require(table, [c.name for c in self.first.law.columns])
        rng = np.random.default_rng(seed)
        with jax.enable_x64(True):
            x = self.first.law.prepare(table)
            middle = self._loss(jnp.asarray(self.first.z), x, 0.0)
            centre = self._outcome(jnp.asarray(self.second.z), middle)
            first, second = (self._draws(fit, rng) for fit in (self.first, self.second))
            shape = (DRAWS, len(table))
            noise, last = (
                rng.choice(f.residual_quantiles, shape) for f in (self.first, self.second)
            )
            curves = jax.vmap(lambda z1, z2: self._outcome(z2, self._loss(z1, x, 0.0)))
            noisy = jax.vmap(lambda z1, z2, e: self._outcome(z2, self._loss(z1, x, e)))
            curve = np.asarray(curves(first, second))
            measured = np.asarray(noisy(first, second, jnp.asarray(noise)))
        log = get_loss(self.second.loss).log
        measured = measured * np.exp(last) if log else measured + last
        span = self.second.law.target.span
        columns = [np.asarray(centre), *percentiles(curve), *percentiles(measured)]
        names = ("predicted", "ci_low", "ci_high", "pi_low", "pi_high")
        columns = [np.clip(values, *span) for values in columns]
        out = pd.DataFrame(
            {self.via: middle} | dict(zip(names, columns, strict=True)), table.index, dtype=float
        )
        out.attrs["warnings"] = self._doubts(np.asarray(centre), curve, span)
        return out

    def _doubts(self, centre: np.ndarray, curve: np.ndarray, span) -> list[str]:
        """What is wrong with predictions [rows] and their draws [draws, rows]."""
        target, lost = self.second.law.target.name, ~np.isfinite(curve)
        outside = (centre < span[0]) | (centre > span[1])
        wild = (curve < span[0]) | (curve > span[1]) | lost
        out = []
        if outside.any():
            out.append(
                f"{outside.sum()} predictions of {target} lie outside {span[0]:g} to {span[1]:g} "
                "and are cut off there: the law does not reach that far"
            )
        if lost.any():
            out.append(
                f"{lost.any(1).sum()} of {len(curve)} draws predict no finite {target} at some "
                "row: the fits hardly determine it; each counts as anything it can be"
            )
        elif wild.mean() > 0.025:
            out.append(
                f"{100 * wild.mean():.2g} % of the draws lie outside {span[0]:g} to {span[1]:g}: "
                f"the fits hardly determine {target}"
            )
        return out

    def _draws(self, fit: Fit, rng) -> jax.Array:
        draws = fit.sample(DRAWS)
        return jnp.asarray(draws[rng.integers(len(draws), size=DRAWS)])

    def _loss(self, z, x, noise):
        kind = get_loss(self.first.loss)
        value = fitted(self.first.law, kind, z, x) + noise
        return jnp.exp(value) if kind.log else value

    def _outcome(self, z, middle):
        kind = get_loss(self.second.loss)
        value = fitted(self.second.law, kind, z, {self.via: middle})
        return jnp.exp(value) if kind.log else value
