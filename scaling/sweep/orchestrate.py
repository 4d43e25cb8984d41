"""What runs next: resumes, retries, branches and their parents, whatever the engine.

The state of a sweep is on disk, in its run directories; this loop remembers only what it has
submitted and how often. It may be killed at any moment and started again.

A run is given up when it has ended `retries` + 1 times without a record, counted anew whenever it
got further (a newer checkpoint), or when it says that its input is bad. An attempt that was asked
to save and leave (75) does not count. The next call of the command tries given-up runs again.
"""

import contextlib
import dataclasses
import heapq
import pathlib
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from scaling.doors.files import dump
from scaling.run.interrupt import listening
from scaling.run.record import now
from scaling.sweep.definition import Sweep
from scaling.sweep.protocol import AGAIN, BAD_INPUT, ELSEWHERE, NO_PARENT
from scaling.sweep.survey import View, look, newest_checkpoint, survey, waits_for_parent

_POLL_SECONDS = 1.0
_STILLBORN = 6
_ELSEWHERE_SECONDS = 5.0  # between looks at runs that another process holds


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a sweep stands. views: every run, those that run freshly looked at.

    active: run_id -> "queued" or "running". gave_up: run_id -> error. silent_s: seconds since the
    engine last answered. fraction: of the FLOPs to be spent. eta_s: None until there is a rate.
    """

    views: Mapping[str, View]
    active: Mapping[str, str]
    gave_up: Mapping[str, str]
    silent_s: float
    fraction: float
    eta_s: float | None

    @property
    def left(self) -> list[str]:
        """Runs without a record."""
        return [run_id for run_id, view in self.views.items() if not view.final]


class Orchestrator:
    """Drives one sweep through one engine (`launch.base.Launcher`). Mutable; call `run` once."""

    def __init__(
        self,
        out: pathlib.Path,
        sweep: Sweep,
        launcher: Any,
        *,
        retries: int,
        tell: Callable[[Progress], None],
    ):
        self._out, self._launcher, self._retries, self._tell = out, launcher, retries, tell
        self._specs = {planned.run_id: planned for planned in sweep.runs}
        self._urgency = _urgency(sweep)
        self._views = survey(out, self._specs)
        self._active: dict[str, str] = {}
        self._gave_up: dict[str, str] = {}
        self._tries: dict[str, int] = {}
        self._reached: dict[str, int] = {}  # newest checkpoint at the last failure
        self._ready: list[tuple[float, str]] = []
        self._branches: set[str] = set()  # waiting for their parents
        self._elsewhere: dict[str, float] = {}  # run by another process; when to look again
        self._stopping = False
        self._stillborn = 0  # jobs in a row that ended before their runs began
        self._heard = self._began = time.monotonic()
        self._done_before = self._fraction()

    def run(self) -> Progress:
        """Returns when every run has a record or is given up, or after a stop request."""
        for run_id, view in self._views.items():
            if not view.final:
                self._enqueue(run_id)
        with self._signals():
            self._launcher.start()
            try:
                while self._work_left():
                    self._submit()
                    self._poll()
                    self._tell(self.progress())
            except BaseException:
                # Somebody else has taken over, or this is our bug: what runs here should save.
                self._launcher.stop()
                raise
            finally:
                self._launcher.close()
        # Run elsewhere or ended while nobody looked: the disk has the last word.
        for run_id in self.progress().left:
            self._views[run_id] = look(self._out, run_id)
        return self.progress()

    def progress(self) -> Progress:
        """Where it stands now."""
        fraction = self._fraction()
        spent = time.monotonic() - self._began
        rate = (fraction - self._done_before) / spent if spent else 0.0
        return Progress(
            views=self._views,
            active=self._active,
            gave_up=self._gave_up,
            silent_s=time.monotonic() - self._heard,
            fraction=fraction,
            eta_s=(1.0 - fraction) / rate if rate > 0 else None,
        )

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stopping

    def _work_left(self) -> bool:
        if self._stopping:
            return bool(self._active) and not self._launcher.detached
        self._release_branches()
        return bool(self._active or self._ready or self._elsewhere)

    def _enqueue(self, run_id: str) -> None:
        if self._specs[run_id].parent is not None and waits_for_parent(
            self._out, self._specs[run_id]
        ):
            self._branches.add(run_id)
        else:
            heapq.heappush(self._ready, (-self._urgency[run_id], run_id))

    def _release_branches(self) -> None:
        """Moves branches whose parents have come far enough to the ready ones."""
        for run_id in sorted(self._branches, key=self._urgency.get, reverse=True):
            parent = self._specs[run_id].parent.run_id
            moving = parent in self._active or parent in self._elsewhere
            if parent in self._gave_up:
                self._branches.discard(run_id)
                self._gave_up[run_id] = f"its parent {parent} was given up"
            elif (moving or self._views[parent].final) and not waits_for_parent(
                self._out, self._specs[run_id]
            ):
                self._branches.discard(run_id)
                self._enqueue(run_id)

    def _submit(self) -> None:
        due = [r for r, when in self._elsewhere.items() if when <= time.monotonic()]
        for run_id in due:
            del self._elsewhere[run_id]
            heapq.heappush(self._ready, (-self._urgency[run_id], run_id))
        if self._stopping:
            return
        room, chosen = self._launcher.room(), []
        while self._ready and len(chosen) < room:
            _, run_id = heapq.heappop(self._ready)
            view = self._views[run_id] = look(self._out, run_id)
            if view.state == "running":
                self._elsewhere[run_id] = time.monotonic() + _ELSEWHERE_SECONDS
            elif not view.final:
                chosen.append(run_id)
        if chosen:
            self._active |= dict.fromkeys(chosen, "queued")
            self._launcher.submit(chosen)

    def _poll(self) -> None:
        poll = self._launcher.poll(_POLL_SECONDS)
        if poll is None:
            return
        self._heard = time.monotonic()
        self._active = dict(poll.active)
        for run_id, status in poll.ended.items():
            self._ended(run_id, status)
        for run_id, state in self._active.items():
            if state == "running":
                self._views[run_id] = look(self._out, run_id)

    def _ended(self, run_id: str, status: int | None) -> None:
        view = self._views[run_id] = look(self._out, run_id)
        if view.final:
            return
        if status == ELSEWHERE or view.state == "running":
            self._elsewhere[run_id] = time.monotonic() + _ELSEWHERE_SECONDS
            return
        if status in (AGAIN, NO_PARENT):
            self._enqueue(run_id)
            return
        if self._stopping and status is not None and status < 0:
            return
        error = view.error or f"ended {_how(status)} without a word; see {self._where(run_id)}"
        self._note_failure(run_id, status, error)
        self._stillborn = self._stillborn + 1 if view.state == "pending" else 0
        reached = newest_checkpoint(self._out, run_id)
        further = reached > self._reached.get(run_id, -1)
        self._reached[run_id] = reached
        self._tries[run_id] = 1 if further else self._tries.get(run_id, 0) + 1
        if status == BAD_INPUT or self._tries[run_id] > self._retries:
            self._gave_up[run_id] = error
        elif self._stillborn >= _STILLBORN:
            # A broken environment breaks every job: ten thousand of them need not try.
            others = [run_id, *(r for _, r in self._ready), *self._branches]
            self._ready.clear()
            self._branches.clear()
            self._gave_up |= dict.fromkeys(others, f"nothing starts here: {error}")
        else:
            self._enqueue(run_id)

    def _where(self, run_id: str) -> str:
        """The file to look at: a job that never got as far as its own log is in the engine's."""
        begun = any((self._out / "logs").glob(f"{run_id}.*.log"))
        return f"logs/{run_id}.*.log" if begun else f"launch/*.log of {self._out}"

    def _note_failure(self, run_id: str, status: int | None, error: str) -> None:
        row = {"time": now(), "run_id": run_id, "exit": status, "error": error}
        # A full disk must not end the sweep: the error is on the screen and in status.json too.
        with (
            contextlib.suppress(OSError),
            open(self._out / "launch" / "failures.jsonl", "a", encoding="utf-8") as file,
        ):
            file.write(dump(row, indent=None) + "\n")

    def _fraction(self) -> float:
        whole = sum(planned.cost["flops_own"] for planned in self._specs.values())
        done = sum(
            self._specs[r].cost["flops_own"] * view.fraction for r, view in self._views.items()
        )
        return done / whole if whole else 1.0

    def _signals(self) -> contextlib.AbstractContextManager:
        """The first signal: save and leave (`scaling.run.interrupt`). A second Ctrl-C: at once."""

        def handle(number: int, _frame: Any) -> None:
            if not self._stopping:
                self._stopping = True
                self._launcher.stop()
            elif number == signal.SIGINT:
                self._launcher.kill()

        return listening(handle)


def _urgency(sweep: Sweep) -> dict[str, float]:
    """FLOPs of the longest chain that starts with the run: the longest chain goes first."""
    longest: dict[str, float] = {}
    behind: dict[str, float] = {}
    # A trunk stands before its branches, so backwards every child comes before its parent.
    for planned in reversed(sweep.runs):
        longest[planned.run_id] = planned.cost["flops_own"] + behind.get(planned.run_id, 0.0)
        if planned.parent is not None:
            parent = planned.parent.run_id
            behind[parent] = max(behind.get(parent, 0.0), longest[planned.run_id])
    return longest


def _how(status: int | None) -> str:
    if status is None:
        return "somehow"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-status).name}"
    return f"with status {status}"
