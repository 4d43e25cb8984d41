"""What is known of the runs of a sweep, from the directory alone; half-written ones too.

final         complete or diverged: a record says so
running       a live process holds the run's directory
interrupted   saved and stopped, or ended without a word; to be resumed
failed        ended with an error
pending       never started
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from scaling.doors.reading import NUMBER, Missing, read_json
from scaling.errors import UserError
from scaling.run.lease import seems_held
from scaling.run.metrics import saved_steps
from scaling.run.record import FINAL_STATUSES
from scaling.sweep.definition import PlannedRun

STATES = ("complete", "diverged", "running", "interrupted", "failed", "pending")


@dataclasses.dataclass(frozen=True)
class View:
    """One run as it lies on disk.

    state: one of STATES. attempt: how often it was started. loss in nats per token; eta_s in
    seconds. age_s: since its last sign in status.json. error: of the last attempt, if it failed.
    """

    run_id: str
    state: str = "pending"
    attempt: int = 0
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    tokens_per_s: float | None = None
    eta_s: float | None = None
    host: str | None = None
    error: str | None = None
    age_s: float | None = None

    @property
    def final(self) -> bool:
        """Whether running it again would do nothing."""
        return self.state in FINAL_STATUSES

    @property
    def fraction(self) -> float:
        """Share of the steps that are done."""
        if self.final:
            return 1.0
        return self.step / self.total_steps if self.step and self.total_steps else 0.0


def look(out: pathlib.Path, run_id: str) -> View:
    """The run `run_id` of the sweep in `out`. Never raises for what it finds."""
    workdir = os.path.join(out, "runs", run_id)
    status = _json(os.path.join(workdir, "status.json")) or {}
    state, path = status.get("state"), os.path.join(workdir, "record.json")
    # The record decides, whatever status.json says: it is what the table and the laws read.
    if (recorded := _json(path)) is not None:
        state = recorded.get("status") if recorded.get("run_id") == run_id else None
        if state in FINAL_STATUSES:
            status = {**status, "step": recorded.get("n_steps"), "loss": recorded.get("loss")}
        else:
            state, status = "failed", {**status, "error": f"{path} is damaged; move it away"}
    elif not status and not os.path.exists(workdir):
        return View(run_id)
    elif seems_held(workdir):
        state = "running"
    elif state in ("running", *FINAL_STATUSES) or (state is None and _started(workdir)):
        state = "interrupted"
    elif state not in STATES:
        state = "pending"
    return View(
        run_id,
        state,
        attempt=_number(status.get("attempt")) or 0,
        step=_number(status.get("step")),
        total_steps=_number(status.get("total_steps")),
        loss=_number(status.get("loss")),
        tokens_per_s=_number(status.get("tokens_per_s")) if state == "running" else None,
        eta_s=_number(status.get("eta_s")) if state == "running" else None,
        host=status["host"] if isinstance(status.get("host"), str) else None,
        error=str(status["error"]) if state == "failed" and status.get("error") else None,
        age_s=_age(os.path.join(workdir, "status.json")),
    )


def survey(out: pathlib.Path, run_ids: Iterable[str]) -> dict[str, View]:
    """{run_id: View}, in the order given."""
    return {run_id: look(out, run_id) for run_id in run_ids}


def counts(views: Iterable[View]) -> dict[str, int]:
    """How many runs are in each state, by STATES; states without runs are left out."""
    found = dict.fromkeys(STATES, 0)
    for view in views:
        found[view.state] += 1
    return {state: n for state, n in found.items() if n}


def checkpoint_path(out: pathlib.Path, run_id: str, step: int) -> pathlib.Path:
    """Where the checkpoint of `step` lies once whole (`scaling.run.checkpoint` renames it)."""
    return pathlib.Path(out) / "runs" / run_id / "checkpoints" / f"step_{step:010d}"


def newest_checkpoint(out: pathlib.Path, run_id: str) -> int:
    """Step of the newest whole checkpoint; -1 when there is none: what a run will not lose."""
    return max(saved_steps(os.path.join(out, "runs", run_id)), default=-1)


def branch_point(out: pathlib.Path, planned: PlannedRun) -> tuple[pathlib.Path, int] | None:
    """(parent's run directory, step) to start from; None for a run that needs no parent (any more).

    A branch is bit for bit the run trained alone, so where the trunk ended without the checkpoint
    (it diverged before), the branch goes its own way from step 0.
    """
    if planned.parent is None or newest_checkpoint(out, planned.run_id) >= 0:
        return None
    # In this order: a trunk writes its record after its last checkpoint.
    ended = look(out, planned.parent.run_id).final
    if ended and not checkpoint_path(out, planned.parent.run_id, planned.parent.step).is_dir():
        return None
    return pathlib.Path(out) / "runs" / planned.parent.run_id, planned.parent.step


def waits_for_parent(out: pathlib.Path, planned: PlannedRun) -> bool:
    """Whether the run is a branch whose parent may still leave the checkpoint it starts from."""
    start = branch_point(out, planned)
    return start is not None and not checkpoint_path(out, start[0].name, start[1]).is_dir()


def _started(workdir: str) -> bool:
    return os.path.exists(os.path.join(workdir, "config.json"))


def _json(path: str) -> Mapping[str, Any] | None:
    """What the file holds, {} when that is no JSON object, None when there is no file."""
    try:
        return read_json(path)
    except Missing:
        return None
    except UserError:
        return {}


def _number(value: Any) -> Any:
    return value if isinstance(value, NUMBER) and not isinstance(value, bool) else None


def _age(path: str) -> float | None:
    try:
        return max(0.0, time.time() - os.stat(path).st_mtime)
    except OSError:
        return None
