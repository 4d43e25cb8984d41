"""The run directory: the only thing that leaves a run.

    config.json     the resolved config and its run_id, secrets redacted
    metrics.jsonl   one JSON object per line, each with "step" (scaling.run.metrics)
    record.json     the facts of a finished run, checked against record.schema.json
    status.json     where a running one stands (for people and `scaling status`)
    probes/         LABEL/step_*.json, see scaling.probes.schedule
    checkpoints/    see scaling.run.checkpoint
    lease/          see scaling.run.lease

Numbers that are not finite are written as null, and their dotted keys listed under "nonfinite":
JSON has no NaN, and a table reader should meet a missing value, not a parse error.
"""

import functools
import importlib.resources
import logging
import math
import os
import pathlib
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from scaling.doors.files import differences, dump, stored, sync_directory, write_atomic, write_json
from scaling.doors.reading import Missing, loads, read_json
from scaling.doors.schemas import CONFIG, FACTS, STATUS
from scaling.errors import UserError
from scaling.resolve import without_observers
from scaling.run.lease import Lease
from scaling.run.metrics import FILE as METRICS
from scaling.run.metrics import copy_rows, losses, rows

SCHEMA_VERSION = 1
STATUSES = ("running", "complete", "diverged", "interrupted", "failed")
FINAL_STATUSES = ("complete", "diverged")  # running the command again does nothing
_log = logging.getLogger(__name__)


class RunDir:
    """The writer of one run directory. Every write checks the lease first (LeaseLost).

    OSError (disk full, read-only) passes through; what was there before is then still whole.
    """

    def __init__(self, workdir: str | os.PathLike, lease: Lease):
        self.path = pathlib.Path(workdir)
        self.checkpoints = self.path / "checkpoints"
        self._lease = lease
        self._metrics: int | None = None  # file descriptor

    def write_config(self, config: Mapping[str, Any], run_id: str) -> None:
        """Writes config.json, or checks that the one there is the same run.

        Raises UserError naming the dotted keys that differ. Label and probes may change.
        """
        new = stored({"run_id": run_id, "config": jsonable(config)})
        path = self.path / "config.json"
        if path.exists():
            old = read_config(self.path)
            changes = differences(*(without_observers(side["config"]) for side in (old, new)))
            if not changes and old["run_id"] != run_id:
                changes = [f"run_id: {old['run_id']} -> {run_id} (a redacted value changed)"]
            if changes:
                raise UserError(
                    f"{self.path} belongs to a run with other settings ({'; '.join(changes)}); "
                    "restore them or choose another workdir"
                )
            if old == new:
                return
        self._lease.check()
        write_json(path, new)

    def rewind(self, step: int, source: pathlib.Path | None = None) -> None:
        """Drops the rows of steps after `step`, torn and repeated lines too, and says which rows
        are gone. Call once, before `metrics`.

        step: of the restored checkpoint, or -1 for a run that starts afresh. source: the trunk's
        directory, whose rows a branch takes over; None keeps those of this directory. All rows of
        a step are to be written before that step is checkpointed. The file is replaced, so that a
        process that lost its lease writes into a file nobody sees.
        """
        self._lease.check()
        self.close()
        path, temporary = self.path / METRICS, self.path / f".{METRICS}.tmp"
        with open(temporary, "w", encoding="utf-8") as out:
            copy_rows((source or self.path) / METRICS, step, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
        for text in losses(path, step):
            _log.warning("%s: %s", self.path, text)
        sync_directory(self.path)
        self._metrics = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def lost(self, n_steps: int, evals: Iterable[int] = ()) -> list[str]:
        """What metrics.jsonl should hold and does not, a sentence each (`scaling.run.metrics`)."""
        return losses(self.path / METRICS, n_steps, evals=evals)

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Appends one row; it must have an integer "step". Arrays become lists."""
        assert self._metrics is not None, "call rewind first"
        if not isinstance(row.get("step"), int):
            raise TypeError(f"a metrics row needs an integer step, not {row.get('step')!r}")
        line = (dump(_flagged(row), indent=None) + "\n").encode()
        self._lease.check()
        start = os.fstat(self._metrics).st_size
        try:
            while line:
                line = line[os.write(self._metrics, line) :]
        except OSError:
            # A full disk takes half a line; the file must end with a whole one.
            os.ftruncate(self._metrics, start)
            raise

    def sync(self) -> None:
        """Makes the rows so far survive a power cut; call it before saving a checkpoint."""
        os.fsync(self._metrics)

    def write_status(self, state: str, **facts: Any) -> None:
        """Replaces status.json: state, time, host, attempt and `facts` (step, loss, ...)."""
        assert state in STATUSES, state
        status = {
            "state": state,
            "time": now(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "attempt": self._lease.token,
            **jsonable(facts),
        }
        text = dump(_flagged(status))
        self._lease.check()
        write_atomic(self.path / "status.json", text, durable=False)

    def write_record(self, record: Mapping[str, Any]) -> dict:
        """Checks `record` against the schema, writes record.json and returns what was written.

        `schema_version` and `attempts` are filled in. A record that breaks the schema is our bug:
        it is kept as record.invalid.json, and ValueError says what is wrong.
        """
        full = {"schema_version": SCHEMA_VERSION, "attempts": self._lease.token, **record}
        full = stored(_flagged(full))
        full.setdefault("nonfinite", [])
        fault = schema_fault(full)
        self._lease.check()
        name = "record.json" if fault is None else "record.invalid.json"
        write_json(self.path / name, full)
        if fault is not None:
            raise ValueError(f"{self.path / name}: {fault}")
        return full

    def write_probe(self, path: pathlib.Path, result: Mapping[str, Any]) -> None:
        """A result of `scaling.probes.schedule`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lease.check()
        write_json(path, result)

    def close(self) -> None:
        """Closes metrics.jsonl."""
        if self._metrics is not None:
            os.close(self._metrics)
            self._metrics = None


class NoRunDir:
    """What processes other than the first of a run have: the same methods, no effect."""

    def __getattr__(self, method: str) -> Any:
        assert callable(getattr(RunDir, method)), method
        return lambda *_, **__: None


def now() -> str:
    """UTC, ISO 8601, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


_NOT_FINISHED = "not a run directory, or not finished"


def read_record(workdir: str | os.PathLike) -> dict:
    """record.json of a run directory. Raises UserError when it is missing or not a record."""
    path = pathlib.Path(workdir) / "record.json"
    record = read_json(path, missing=_NOT_FINISHED)
    fault = schema_fault(record)
    if fault is not None:
        raise UserError(f"{path} is not a run record: {fault}")
    return record


def read_facts(workdir: str | os.PathLike) -> dict:
    """record.json of a run directory, of which only what a table needs is checked: for thousands of
    them, where the whole schema takes ten times as long as reading. Raises UserError."""
    return read_json(pathlib.Path(workdir) / "record.json", FACTS, missing=_NOT_FINISHED)


def read_config(workdir: str | os.PathLike) -> dict:
    """{"run_id": str, "config": dict} of a run directory. Raises UserError."""
    return read_json(pathlib.Path(workdir) / "config.json", CONFIG, missing=_NOT_FINISHED)


def read_status(workdir: str | os.PathLike) -> dict:
    """status.json of a run directory. Raises UserError."""
    return read_json(pathlib.Path(workdir) / "status.json", STATUS, missing=_NOT_FINISHED)


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
    """All rows of metrics.jsonl in order; torn lines are left out. Raises UserError if missing."""
    path = pathlib.Path(workdir) / METRICS
    if not path.is_file():
        raise Missing(f"{path} does not exist: not a run directory, or it never started")
    return list(rows(path))


def schema() -> dict:
    """The JSON schema of record.json."""
    text = importlib.resources.files("scaling.run").joinpath("record.schema.json").read_text()
    return loads(text, "record.schema.json")


def schema_fault(record: Any) -> str | None:
    """What breaks the schema, as one line; None when the record is valid."""
    error = next(iter(sorted(_validator().iter_errors(record), key=lambda e: list(e.path))), None)
    if error is None:
        return None
    where = ".".join(str(part) for part in error.path) or "record"
    return f"{where}: {error.message[:300]}"


def jsonable(value: Any) -> Any:
    """Plain dicts, lists, str, int, float, bool, None from numpy and jax values as well."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    raise TypeError(f"{type(value).__name__} {value!r} does not belong in a record")


def finite(value: Any) -> Any:
    """`jsonable`, with None for NaN and infinities."""
    return _flagged({"value": value})["value"]


def _flagged(values: Mapping[str, Any]) -> dict:
    """JSON-ready copy: NaN and infinities are None, and "nonfinite" lists where they were."""
    found: list[str] = []

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {k: walk(v, f"{path}.{k}" if path else k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, f"{path}.{i}") for i, v in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            found.append(path)
            return None
        return value

    out = walk(jsonable(values), "")
    return out | {"nonfinite": found} if found else out


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(schema())
