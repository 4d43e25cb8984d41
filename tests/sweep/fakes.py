"""A sweep on disk and an engine that does what it is told, without training anything."""

import json
import time

from launch.base import Poll
from scaling.sweep.definition import Group, Parent, PlannedRun, Sweep


def planned(number, *, parent=None, step=2, flops=1.0, keep_steps=()):
    """A run whose id ends in `number`; parent: the number of another."""
    return PlannedRun(
        run_id=f"{number:016x}",
        name=f"run{number}",
        group="g",
        axes={"seed": number},
        settings={},
        cost={"n_params": 10, "n_tokens": 100, "n_steps": 4, "flops": flops, "flops_own": flops},
        parent=None if parent is None else Parent(f"{parent:016x}", step),
        keep_steps=tuple(keep_steps),
    )


def sweep_of(*planned_runs):
    return Sweep(name="fake", groups={"g": Group()}, runs=planned_runs)


def write_record(out, run_id, status="complete", **facts):
    directory = out / "runs" / run_id
    directory.mkdir(parents=True, exist_ok=True)
    loss = 1.0 if status == "complete" else None
    record = {"run_id": run_id, "status": status, "loss": loss, "n_steps": 4, **facts}
    (directory / "record.json").write_text(json.dumps(record))


def write_status(out, run_id, state, **facts):
    directory = out / "runs" / run_id
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "status.json").write_text(json.dumps({"state": state, **facts}))


def write_checkpoint(out, run_id, step):
    (out / "runs" / run_id / "checkpoints" / f"step_{step:010d}").mkdir(parents=True)


class FakeLauncher:
    """Runs jobs one poll later, as `script[run_id]` says: a list of functions(out, run_id) ->
    exit status, one an attempt; the default completes the run."""

    detached = False

    def __init__(self, out, script=None, room=2):
        self.out, self.script, self.slots = out, script or {}, room
        self.active, self.submitted, self.said = {}, [], []
        self.silent = 0

    def start(self):
        (self.out / "launch").mkdir(exist_ok=True)
        self.said.append("start")

    def close(self):
        self.said.append("close")

    def stop(self):
        self.said.append("stop")

    def room(self):
        return self.slots - len(self.active)

    def submit(self, run_ids):
        assert len(run_ids) <= self.room()
        self.submitted += run_ids
        self.active |= dict.fromkeys(run_ids, "running")

    def poll(self, seconds):
        if self.silent:
            self.silent -= 1
            time.sleep(0.02)  # longer than a look at a run takes on a busy machine
            return None
        ended = {}
        for run_id in list(self.active):
            attempts = self.script.get(run_id)
            act = attempts.pop(0) if attempts else complete
            ended[run_id] = act(self.out, run_id)
            del self.active[run_id]
        return Poll(dict(self.active), ended)


def complete(out, run_id):
    write_record(out, run_id)
    return 0
