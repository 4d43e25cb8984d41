"""`Fit`: a result that predicts, allocates, and is written and read back.

A Fit read back from JSON predicts and allocates exactly as the one that was written: the file
holds the optimum, the parameters that are as plausible, and the quantiles of the residuals.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scaling.analysis import predict, serialise
from scaling.analysis.describe import describe
from scaling.analysis.result import Result
from scaling.doors.outputs import write_output
from scaling.doors.reading import read_bytes


@dataclass(frozen=True)
class Fit(Result):
    """The result of `scaling.analysis.fit.fit`."""

    def predict(self, table: Any) -> pd.DataFrame:
        """Columns predicted, ci_low, ci_high (95 % confidence, of the law's curve), pi_low, pi_high
        (95 % prediction, of a new measurement) and determined for each row. Where `determined` is
        False, parameters that fit as well predict otherwise: the interval spans them.
        `.attrs["warnings"]` says so, and names columns more than a decade outside of the fit."""
        self.require_success()
        return predict.predict(self, table)

    def disagreement(self, table: Any) -> float:
        """Greatest relative difference, over the rows, between what parameters that fit equally
        well predict: 0 for a unique optimum. Several sets may well predict the same loss."""
        self.require_success()
        return predict.disagreement(self, table)

    def optimal(self, flops: float | Sequence[float]) -> pd.DataFrame:
        """Compute-optimal allocation for each budget: flops, n_params, n_tokens,
        tokens_per_param, each with _low and _high (95 %), and determined (as in `predict`). Raises
        UserError when the law does not say how to allocate compute, or has no optimum here."""
        self.require_success()
        return predict.optimal(self, flops)

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The fit as JSON text; also written to `path` (atomically) when one is given."""
        text = serialise.dumps(self)
        if path is not None:
            write_output(path, text + "\n", "--json")
        return text

    @staticmethod
    def from_json(source: str | os.PathLike) -> "Fit":
        """Reads `to_json` back, from a path or from the text itself. The data, profiles and
        residuals by point are not in it. Raises UserError."""
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return Fit(**serialise.loads(source, "the fit"))
        return Fit(**serialise.loads(read_bytes(source), str(source)))

    def __str__(self) -> str:
        return describe(self)
