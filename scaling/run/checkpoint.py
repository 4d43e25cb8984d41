"""Checkpoints: train state (Orbax) and host state (JSON) as one directory that exists or does not.

`DIRECTORY/step_0000000100/` holds `arrays/` (an Orbax checkpoint of {leaf path: array}),
`host.json` and `manifest.json`. The last one has the size and CRC-32 of every file, the shape and
dtype of every leaf, and the fingerprint of the run. All of it is written under
`step_0000000100.scaling-tmp` and renamed at the end, so a directory named `step_*` is whole. The
manifest tells damage from misuse: if it agrees with the files, whatever fails later is not
damage, and is raised instead of walked past.

What happens when a run starts in a directory (the caller holds its lease, see `scaling.run.lease`):

1. Temporary directories of dead processes are removed.
2. No checkpoint: `restore` returns None, the run starts at step 0.
3. The newest checkpoint agrees with its manifest and was made by this config on this data: resume.
4. It is damaged (truncated, bits flipped, emptied, an empty directory): say so, set it aside as
   `step_*.damaged`, look at the one before. The next checkpoint saved removes what was set aside.
5. All are damaged: say so, start at step 0.
6. It is whole but of another config, data set or batch size: UserError naming every key that
   differs. Nothing is changed on disk.
7. It is whole and of this config, but its leaves have other names, shapes or dtypes (the code
   changed): UserError naming the leaf. Orbax alone would cast float32 to bfloat16 silently.
8. Another mesh, another number of devices or hosts: not a difference; arrays are resharded.
"""

import concurrent.futures
import dataclasses
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from scaling.doors.files import differences, dump, stored, sync_directory, write_atomic
from scaling.doors.reading import read_json
from scaling.errors import UserError
from scaling.run.lease import Lease, LeaseLost
from scaling.run.manifest import damage, read_manifest, write_manifest

_STEP = re.compile(r"step_(\d{10,})")
_TEMPORARY = re.compile(r"step_\d{10,}\.scaling-tmp")
_KEPT = "kept"  # a file in a checkpoint that no rule may remove
_DAMAGED = re.compile(r"step_\d{10,}\.damaged")
_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written (disk full, quota, I/O error). Older ones are intact."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """step: optimiser steps done. state: like `abstract_state`, on its shardings. host: JSON."""

    step: int
    state: Any
    host: dict


class Checkpointer:
    """Saves and restores (state, host) pairs in `directory`, one save in flight at a time.

    keep_last: newest checkpoints kept. keep_every: steps that are multiples of it are kept as
    well. keep_steps: kept for good, also by whoever continues the run without them. fingerprint:
    nested JSON-ready dict of what must not change between save and restore. lease: checked before
    anything is made visible; None when nothing else can write here.

    On several hosts every process makes the same calls; `directory` is shared, `host` is equal.
    Use as a context manager or call close(): an interpreter that exits with a save in flight
    loses that save, and Orbax delays the exit by minutes.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        keep_last: int = 2,
        keep_every: int | None = None,
        keep_steps: Collection[int] = (),
        fingerprint: dict,
        lease: Lease | None = None,
    ):
        check_retention(keep_last, keep_every)
        # Orbax needs an absolute path.
        self.directory = pathlib.Path(directory).absolute()
        self._keep_last, self._keep_every = keep_last, keep_every
        self._keep_steps = frozenset(keep_steps)
        self._fingerprint = stored(fingerprint)
        self._lease = lease
        self._primary = jax.process_index() == 0
        self._executor = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future | None = None
        self._last: int | None = None  # step of the newest save or restore
        if self._primary:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._clear(_TEMPORARY)

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, ascending; whole, but not verified."""
        if not self.directory.is_dir():
            return []
        matches = (_STEP.fullmatch(p.name) for p in self.directory.iterdir() if p.is_dir())
        return sorted(int(m[1]) for m in matches if m)

    def save(self, step: int, state: Any, host: dict) -> None:
        """Copies `state` off the devices and returns; files are written in the background.

        `state` (a tree of jax.Arrays) may be donated as soon as this returns. Does nothing when
        `step` was the last one saved or restored. Raises CheckpointError for this or the last save.
        """
        self._join()
        if step == self._last:
            return
        self._check_lease()
        ocp, context = _orbax()
        leaves, host_text = _leaves(state), dump(host)
        temporary = self._path(step, ".scaling-tmp")
        try:
            if self._primary:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
            with context:
                response = ocp.save_async(temporary / "arrays", leaves)
        except OSError as error:
            raise self._failure(step, error) from error
        shapes = {name: _describe(leaf) for name, leaf in leaves.items()}
        self._pending = self._executor.submit(self._commit, step, response, host_text, shapes)
        self._last = step

    def restore(self, abstract_state: Any) -> Restored | None:
        """The newest good checkpoint, or None. Cases 2 to 8 of the module's docstring.

        abstract_state: tree of jax.ShapeDtypeStruct with shardings, of any mesh. Raises UserError.
        """
        self._join()
        steps = self.steps()
        for step in reversed(steps):
            path = self._path(step)
            problem = damage(path)
            if _anywhere(problem is not None):
                _log.warning("checkpoint %s is damaged (%s)", path, problem or "seen elsewhere")
                if self._primary:
                    self._set_aside(step)
                continue
            self._refuse_changes(step, read_manifest(path))
            restored = _read(path, step, abstract_state)
            if step != steps[-1]:
                _log.warning("resuming from the last good checkpoint, step %d", step)
            self._last = step
            return restored
        if steps:
            _log.warning("no good checkpoint in %s; starting at step 0", self.directory)
        return None

    def wait(self) -> None:
        """Returns when the save in flight is on disk. Raises CheckpointError if it failed."""
        self._join()

    def close(self) -> None:
        """wait(), then gives the background thread back."""
        try:
            self._join()
        finally:
            self._executor.shutdown()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _path(self, step: int, suffix: str = "") -> pathlib.Path:
        return checkpoint_path(self.directory, step, suffix)

    def _check_lease(self) -> None:
        if self._lease is not None and self._primary:
            self._lease.check()

    def _join(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        error = pending.exception()
        if _anywhere(error is not None):
            raise error or CheckpointError("another process failed to save a checkpoint")

    def _commit(self, step: int, response: Any, host_text: str, shapes: dict) -> None:
        """Background thread: waits for Orbax on all hosts, then makes the checkpoint visible."""
        temporary = self._path(step, ".scaling-tmp")
        try:
            response.result()
            if not self._primary:
                return
            write_atomic(temporary / "host.json", host_text)
            if step in self._keep_steps:
                (temporary / _KEPT).touch()
            write_manifest(temporary, step, self._fingerprint, shapes)
            self._check_lease()
            os.rename(temporary, self._path(step))
            sync_directory(self.directory)
            self._collect()
        except LeaseLost:
            raise
        except Exception as error:
            # Left in place, the half-written files would keep a full disk full.
            shutil.rmtree(temporary, ignore_errors=True)
            raise self._failure(step, error) from error

    def _failure(self, step: int, error: Exception) -> CheckpointError:
        steps = [s for s in self.steps() if s != step]
        before = f"the one of step {steps[-1]} is intact" if steps else "there is no earlier one"
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if "No space left" in reason or "RESOURCE_EXHAUSTED" in reason:
            reason = f"the disk is full: {reason}"
        return CheckpointError(f"checkpoint of step {step} in {self.directory}: {reason}; {before}")

    def _collect(self) -> None:
        """Removes what nothing protects, and what was set aside."""
        for step in self.steps()[: -self._keep_last]:
            regular = self._keep_every and step % self._keep_every == 0
            if not (regular or (self._path(step) / _KEPT).exists()):
                # Renamed first: a half-removed directory must not look like a checkpoint.
                os.rename(self._path(step), self._path(step, ".scaling-tmp"))
        self._clear(_TEMPORARY)
        self._clear(_DAMAGED)

    def _clear(self, pattern: re.Pattern) -> None:
        for path in list(self.directory.iterdir()):
            if pattern.fullmatch(path.name):
                # Refuses links and plain files: not made by us.
                shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, step: int) -> None:
        aside = self._path(step, ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        self._check_lease()
        os.rename(self._path(step), aside)

    def _refuse_changes(self, step: int, manifest: dict) -> None:
        changes = differences(manifest["fingerprint"], self._fingerprint)
        if changes:
            raise UserError(
                f"{self.directory} has a checkpoint of step {step} made with other settings "
                f"({'; '.join(changes)}); restore them or choose another workdir"
            )


def check_retention(keep_last: int, keep_every: int | None) -> None:
    """Raises UserError for rules that keep no checkpoint, or have no meaning."""
    if keep_last < 1:
        raise UserError(f"{keep_last=} must be at least 1, or a crash loses everything")
    if keep_every is not None and keep_every < 1:
        raise UserError(f"{keep_every=} must be at least 1, or None")


def checkpoint_path(directory: pathlib.Path, step: int, suffix: str = "") -> pathlib.Path:
    """Where the checkpoint of a step is, or would be."""
    return directory / f"step_{step:010d}{suffix}"


def read_checkpoint(
    path: pathlib.Path,
    step: int,
    abstract_state: Any,
    changes: Callable[[dict], list[str]],
) -> Restored | None:
    """A checkpoint of another run, which may be at work there: nothing is changed on disk.

    None when it is damaged. Raises UserError when `changes` finds any in its fingerprint.
    """
    path = path.absolute()
    problem = damage(path)
    if _anywhere(problem is not None):
        _log.warning("checkpoint %s is damaged (%s)", path, problem or "seen elsewhere")
        return None
    found = changes(read_manifest(path)["fingerprint"])
    if found:
        raise UserError(f"checkpoint {path} was made with other settings ({'; '.join(found)})")
    return _read(path, step, abstract_state)


def _read(path: pathlib.Path, step: int, abstract_state: Any) -> Restored:
    state = _load(path, abstract_state, read_manifest(path)["leaves"])
    return Restored(step, state, read_json(path / "host.json"))


def _orbax() -> tuple[Any, Any]:
    """(the Orbax v1 module, a context with our options); imported on first use: 0.3 s."""
    from orbax.checkpoint import v1 as ocp

    absl_log = logging.getLogger("absl")
    if not any(isinstance(f, _QuietOrbax) for f in absl_log.filters):
        absl_log.addFilter(_QuietOrbax())
    context = ocp.Context()
    # Trained weights hardly compress (8 %), and the CPU time would come out of training.
    context.array.saving.use_compression = False
    # restore() always says where every array goes.
    context.array.saving.enable_write_sharding_file = False
    return ocp, context


class _QuietOrbax(logging.Filter):
    """Drops tracebacks that Orbax threads print of exceptions which we raise in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "_SignalingThread" not in str(record.msg)


def _leaves(tree: Any) -> dict[str, Any]:
    """{"params.embed": array}: independent of container types, readable without our classes."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    out = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}
    assert len(out) == len(pairs), "two leaves with one name"
    return out


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _load(path: pathlib.Path, abstract_state: Any, saved: dict[str, str]) -> Any:
    wanted = _leaves(abstract_state)
    for name in sorted(saved.keys() | wanted.keys()):
        was = saved.get(name, "absent")
        now = _describe(wanted[name]) if name in wanted else "absent"
        if was != now:
            raise UserError(
                f"checkpoint {path}: {name} is {was}, but this program needs {now}; "
                "use the program that made it or choose another workdir"
            )
    ocp, context = _orbax()
    with context:
        leaves = ocp.load(path / "arrays", wanted)
    assert {name: _describe(leaf) for name, leaf in leaves.items()} == saved
    treedef = jax.tree.structure(abstract_state)
    return jax.tree.unflatten(treedef, [leaves[name] for name in wanted])


def _anywhere(flag: bool) -> bool:
    """Whether `flag` is true on any host; the same answer on all of them."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))
