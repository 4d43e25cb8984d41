"""Batches of consecutive steps, read ahead by grain.

Shapes: B rows of the global batch, T predictions a row.
"""

import dataclasses
import functools
import sys
import weakref
from typing import Any

import numpy as np

from scaling.data.hashing import bits, shuffled
from scaling.data.source import Rows
from scaling.doors.files import stored
from scaling.errors import UserError

Batch = dict[str, np.ndarray]
_CHUNK_TOKENS = 1 << 16
_MAX_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Order:
    """Which row of the source stands at each place of the endless sequence of batches."""

    n_rows: int | None
    key: int

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Row numbers (int64); an endless source is read in order, a finite one shuffled anew in
        every epoch."""
        if self.n_rows is None:
            return positions
        return shuffled(positions, self.n_rows, self.key)


@dataclasses.dataclass(frozen=True)
class Made:
    """Rows of a source as an objective makes them. vocab_size: of the source."""

    source: Rows
    objective: Any
    vocab_size: int
    key: int

    def rows(self, ids_R: np.ndarray, places_R: np.ndarray) -> Batch:
        """Rows `ids`, each with the randomness of its place in the sequence of all rows."""
        draws = functools.partial(bits, self.key, places_R)
        return self.objective.make(self.source.gather(ids_R), draws, self.vocab_size)


@dataclasses.dataclass(frozen=True)
class Chunks:
    """Element c: the batches of `n_steps` steps, arrays (n_steps, rows, T); a grain data source.

    One element for several steps: grain's cost for each element, and numpy's for each call, would
    otherwise be of the order of a small model's training step.
    """

    made: Made
    order: Order
    batch_size: int
    rows: slice
    n_steps: int
    start_step: int = 0

    def __len__(self) -> int:
        return sys.maxsize // (self.n_steps * self.batch_size) - self.start_step

    def __getitem__(self, chunk: int) -> Batch:
        first = (self.start_step + chunk * self.n_steps) * self.batch_size
        positions = np.arange(first, first + self.n_steps * self.batch_size)
        mine = positions.reshape(self.n_steps, self.batch_size)[:, self.rows]
        batch = self.made.rows(self.order.rows_at(mine.ravel()), mine.ravel())
        return {k: v.reshape(*mine.shape, *v.shape[1:]) for k, v in batch.items()}


def chunks_of(made: Made, order: Order, batch_size: int, seq_len: int, rows: slice) -> Chunks:
    """Chunks of about 65,000 predictions of the rows `rows` of each batch."""
    n_rows = len(range(*rows.indices(batch_size)))
    n_steps = _CHUNK_TOKENS // max(1, n_rows * seq_len)
    return Chunks(made, order, batch_size, rows, min(max(n_steps, 1), _MAX_CHUNK))


class BatchIterator:
    """Batches of consecutive steps. Close it, or use it in a `with` block, to end its workers."""

    def __init__(
        self, source: Chunks, fingerprint: dict[str, Any], *, start_step: int, workers: int
    ):
        self._source, self._fingerprint, self._workers = source, fingerprint, workers
        self._finalizer = None
        self._start(start_step)

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> Batch:
        if self._at == self._source.n_steps:
            self._chunk, self._at = next(self._chunks), 0
        batch = {k: v[self._at] for k, v in self._chunk.items()}
        self._at += 1
        self._step += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """JSON-ready; the same on every host and for every number of workers."""
        return {"step": self._step, "fingerprint": self._fingerprint}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues after the step of a `get_state`. Raises UserError naming what differs when the
        state is of other data, another batch size or another seed."""
        check_fingerprint(state["fingerprint"], self._fingerprint)
        self._start(state["step"])

    def close(self) -> None:
        """Ends threads and worker processes."""
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> "BatchIterator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, step: int) -> None:
        self.close()
        self._step = step
        self._at = self._source.n_steps
        self._chunk: Batch = {}
        source = dataclasses.replace(self._source, start_step=step)
        self._chunks = _grain_iterator(source, self._workers)
        # Also runs at exit, before the modules that grain's own clean-up needs are gone.
        self._finalizer = weakref.finalize(self, self._chunks.close)


def check_fingerprint(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Raises UserError naming the first few differences of two fingerprints."""
    old, new = _flatten(saved), _flatten(stored(current))
    differ = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if differ:
        raise UserError(
            f"the data is not that of the saved run: {'; '.join(differ[:5])}; "
            "restore the old settings, or start in a new workdir"
        )


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            out |= _flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _grain_iterator(source: Chunks, workers: int) -> Any:
    # Imported here: grain takes a second, and opening or describing a source does not need it.
    import grain

    if workers:
        _parse_absl_flags()
    read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    chunks = grain.MapDataset.source(source).to_iter_dataset(read)
    if workers:
        chunks = chunks.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
        )
    return iter(chunks)


def _parse_absl_flags() -> None:
    """Grain hands absl's flags to its workers, and refuses to while they are not parsed."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
