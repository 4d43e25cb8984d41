"""From a source to batches: what step k sees is a pure function of (config, seed, k).

It does not depend on the number of hosts, loader workers or devices, nor on the steps before: any
step can be asked for. Shapes: B rows of the global batch, T = data.seq_len predictions a row.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import DataConfig, ObjectiveConfig
from scaling.data.cache import cache_root
from scaling.data.hashing import key_of, mix
from scaling.data.iterator import Batch, BatchIterator, Made, Order, chunks_of
from scaling.data.source import OpenSource, Place
from scaling.errors import UserError
from scaling.resolve import to_dict

_ORDER_VERSION = 1  # Raised when the same config would give other batches.
_SORTABLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Example:
    """One row of a batch: number in the source, pass over the data, documents, decoded text."""

    row: int
    epoch: int
    places: list[Place]
    text: str


def open_pipeline(
    data: DataConfig,
    *,
    batch_size: int,
    seed: int,
    n_rows_eval: int,
    cache_dir: Path | None = None,
    objective: ObjectiveConfig | None = None,
) -> "Pipeline":
    """Opens the source of `data`, building its token cache if need be.

    objective: what makes batches of the rows (None: the next-token rows themselves). batch_size:
    rows of the global batch. seed: of the run; orders the data. n_rows_eval: held-out rows. Raises
    UserError for anything wrong with the source.
    """
    assert batch_size >= 1, batch_size
    assert n_rows_eval >= 1, n_rows_eval
    source = data.options.open(data, seed=seed, cache=cache_root(cache_dir))
    sizes = {"batch_size": batch_size, "seed": seed, "n_rows_eval": n_rows_eval}
    return Pipeline(data, objective or ObjectiveConfig(), source, **sizes)


class Pipeline:
    """Batches of one run and the held-out rows of its source.

    vocab_size: of the model, the objective's own tokens included; entropy_rate, row_entropy (nats
    per token, None unless synthetic; see `scaling.data.source.OpenSource`).
    unique_tokens: predictions in one epoch, None when endless. bytes_per_token: UTF-8 bytes over
    predictions of the evaluation rows, None when the tokens stand for no text or are not told one
    after the other. warnings: sentences about the data for the record. fingerprint: JSON-ready;
    equal fingerprints mean equal batches.

    A batch is as the objective lays it out: tokens (inputs) and targets (B, T) int32, and weights
    (B, T) float32, 1 where the target counts. With data.documents="masked" also segments (number of
    the document in the row; attention must stay inside) and positions (from the document's start),
    (B, T) int32.
    """

    def __init__(
        self,
        data: DataConfig,
        objective: ObjectiveConfig,
        source: OpenSource,
        *,
        batch_size: int,
        seed: int,
        n_rows_eval: int,
    ):
        self._source, self._batch_size, self._seq_len = source, batch_size, data.seq_len
        own = objective.options
        self._made = Made(source.train, own, source.vocab_size, key_of("objective", seed))
        self._held_out = Made(source.validation, own, source.vocab_size, key_of("held out"))
        self._order = Order(source.train.n_rows, key_of("order", seed))
        self.vocab_size = source.vocab_size + own.extra_ids(data)
        self.entropy_rate, self.row_entropy = source.entropy_rate, source.row_entropy
        self.warnings = source.warnings
        n_rows = source.train.n_rows
        self.unique_tokens = None if n_rows is None else n_rows * own.predictions(data)
        self._eval_ids = _held_out_rows(source.validation.n_rows, n_rows_eval)
        n_bytes = source.validation.n_bytes(self._eval_ids)
        n_predictions = len(self._eval_ids) * data.seq_len
        known = n_bytes is not None and own.next_token
        self.bytes_per_token = n_bytes / n_predictions if known else None
        self.fingerprint: dict[str, Any] = {
            "order_version": _ORDER_VERSION,
            "data": to_dict(data),
            "objective": to_dict(objective),
            "content_hash": source.content_hash,
            "vocab_size": source.vocab_size,
            "documents": source.facts.get("documents"),
            "batch_size": batch_size,
            "seed": seed,
            "n_rows_eval": len(self._eval_ids),
        }

    def batch(self, step: int) -> Batch:
        """The global batch of step `step` (from 0)."""
        _check_step(step)
        return self._made.rows(self._row_ids(step), self._places(step))

    def iterator(
        self, start_step: int = 0, *, rows: slice | None = None, workers: int = 0
    ) -> BatchIterator:
        """Batches from `start_step` on, read ahead by a thread or by `workers` processes.

        rows: the rows of the global batch that this host needs (None: all).
        """
        _check_step(start_step)
        chunks = chunks_of(
            self._made, self._order, self._batch_size, self._seq_len, rows or slice(None)
        )
        return BatchIterator(chunks, self.fingerprint, start_step=start_step, workers=workers)

    def eval_batches(self, batch_size: int) -> list[Batch]:
        """The held-out rows, the same for every run on the source whatever its seed, and a prefix
        of those of a larger `n_rows_eval`. The last batch is filled up with rows of weight 0.

        A source with fewer held-out rows than asked for gives all it has.
        """
        out = []
        for at in range(0, len(self._eval_ids), batch_size):
            ids = self._eval_ids[at : at + batch_size]
            rows = self._held_out.rows(ids, ids)
            missing = batch_size - len(rows["tokens"])
            out.append({k: np.pad(v, ((0, missing), (0, 0))) for k, v in rows.items()})
        return out

    def examples(self, step: int) -> list[Example]:
        """Where the rows of a step come from and what they say."""
        _check_step(step)
        train, per_epoch = self._source.train, self._source.train.n_rows
        return [
            Example(
                row=row,
                epoch=0 if per_epoch is None else (step * self._batch_size + i) // per_epoch,
                places=train.places(row),
                text=self._source.decode(train.row_tokens(row)),
            )
            for i, row in enumerate(self._row_ids(step).tolist())
        ]

    def stats(self) -> dict[str, Any]:
        """JSON-ready description of the source: counts, hash, entropies (nats per token)."""
        out = {
            "vocab_size": self.vocab_size,
            **self._source.facts,
            "unique_tokens": self.unique_tokens,
            "n_rows_eval": len(self._eval_ids),
            "bytes_per_token": self.bytes_per_token,
            "entropy_rate": self.entropy_rate,
            "entropy_bounds": self._source.entropy_bounds,
            "row_entropy": self.row_entropy,
            "content_hash": self._source.content_hash,
        }
        return {key: value for key, value in out.items() if value is not None}

    def _row_ids(self, step: int) -> np.ndarray:
        return self._order.rows_at(self._places(step))

    def _places(self, step: int) -> np.ndarray:
        first = step * self._batch_size
        return np.arange(first, first + self._batch_size)


def _held_out_rows(n_rows: int | None, n: int) -> np.ndarray:
    """`n` distinct rows scattered over the held-out part, or all; a prefix of those for more."""
    if n_rows is None:
        return np.arange(n)
    if n_rows <= _SORTABLE:
        return np.argsort(mix(np.arange(1, n_rows + 1, dtype=np.uint64)))[:n]
    n = min(n, n_rows)
    n_draws = n
    while True:
        n_draws *= 2
        draws = mix(np.arange(1, n_draws + 1, dtype=np.uint64)) % np.uint64(n_rows)
        _, first = np.unique(draws, return_index=True)
        if len(first) >= n:
            return draws[np.sort(first)[:n]].astype(np.int64)


def _check_step(step: int) -> None:
    if step < 0:
        raise UserError(f"step={step} is before the first; steps count from 0")
