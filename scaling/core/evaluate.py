"""Evaluation on fixed held-out batches, placed on the devices once."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from scaling.sharding import place, process_rows

MAX_POSITION_BINS = 64


class Evaluator:
    """evaluate(params) -> metrics of one set of held-out batches, the same at every call.

    `step` is a `make_eval_step`. `bytes_per_token` turns nats per token into bits per
    byte; None where the source has no bytes.
    """

    def __init__(
        self,
        step: Callable,
        batches: Sequence[Mapping[str, np.ndarray]],
        mesh: Mesh,
        bytes_per_token: float | None,
    ):
        self._step, self._bytes_per_token = step, bytes_per_token
        rows = process_rows(mesh, next(iter(batches[0].values())).shape)
        self._batches = [
            place(mesh, {name: array[rows] for name, array in batch.items()}, "batch")
            for batch in batches
        ]

    def compile(self, abstract_params: Any) -> None:
        """Compiles the step now rather than at the first evaluation."""
        self._step = self._step.lower(abstract_params, self._batches[0]).compile()

    def __call__(self, params: Any) -> dict[str, Any]:
        """See `summarize`. Blocks until the numbers are there."""
        # One batch at a time: on CPU, independent programs with collectives can wait for each
        # other's threads for ever.
        sums = [jax.device_get(self._step(params, batch)) for batch in self._batches]
        return summarize(sums, self._bytes_per_token)


def summarize(sums: Sequence[Mapping[str, Any]], bytes_per_token: float | None) -> dict[str, Any]:
    """Adds the sums of `make_eval_step` over batches, in float64, and makes means of them.

    loss: nats per token. bits_per_byte. entropy: of the predictions, nats per token. ece: expected
    calibration error of the most likely token. loss_per_position: nats, means over at most 64
    equal stretches of positions. icl_score: loss in the last tenth of positions minus loss in the
    second tenth (after Olsson et al. 2022, section "in-context learning score"; negative is good).
    """
    total = {name: sum(np.asarray(s[name], np.float64) for s in sums) for name in sums[0]}
    n = total["weight"].sum()
    loss = float(total["nll"].sum() / n)
    out = {
        "loss": loss,
        "n_tokens": int(n),
        "bits_per_byte": loss / math.log(2) / bytes_per_token if bytes_per_token else None,
        "entropy": float(total["entropy"] / n),
        "ece": float(np.abs(total["confidence"] - total["correct"]).sum() / n),
    }
    T = len(total["nll"])
    edges = np.linspace(0, T, min(T, MAX_POSITION_BINS) + 1).astype(int)
    out["loss_per_position"] = [
        _mean(total, slice(low, high)) for low, high in itertools.pairwise(edges)
    ]
    tenth = max(1, T // 10)
    late, early = slice(T - tenth, T), slice(min(tenth, T - 1), min(2 * tenth, T))
    out["icl_score"] = _mean(total, late) - _mean(total, early) if T > 1 else None
    return out


def _mean(total: Mapping[str, np.ndarray], part: slice) -> float:
    weight = total["weight"][part].sum()
    # Padded corpora may leave a stretch of positions without a single counted token.
    return float(total["nll"][part].sum() / weight) if weight else math.nan
