"""What an engine is: a few functions that have `scaling run OUT --run-id=ID` executed somewhere.

That command is all there is to a job. It reads everything from OUT, and its exit status says what
to do next:

    0    complete or diverged; the record says which
    75   saved; run the same command again
    76   the parent's checkpoint is not there yet; run the same command again later
    77   another live process works on this run; leave it to that one
    1    failed; the error is in OUT/runs/ID/status.json and in OUT/logs
    2    bad input; trying again is useless

An engine may start the command twice for one run, late, or on another host: leases, checkpoints
and records are safe against all of that. What it must not do is lose a run silently, so `poll`
names every run that was submitted and has not been reported as ended.

`scaling.sweep.orchestrate` decides what runs when; engines know nothing of retries, parents or
records.
"""

# ruff: noqa: B027 - the optional functions do nothing unless an engine wants them to

import abc
import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from scaling.registry import Registry

LAUNCHERS = Registry(
    "launcher",
    {
        "local": "launch.local:Local",
        "slurm": "launch.slurm:Slurm",
        "skypilot": "launch.skypilot:SkyPilot",
    },
)


@dataclasses.dataclass(frozen=True)
class Site:
    """Where the jobs of a sweep find things. Same paths on every machine that runs a job.

    out: absolute path of the sweep directory. cwd: where `scaling sweep` was first called;
    relative paths in configs start there.
    """

    out: pathlib.Path
    cwd: pathlib.Path

    def command(self, run_id: str) -> list[str]:
        """The job as argv, never to be joined into shell text."""
        # -P: the working directory must not shadow the snapshot of the code.
        return [sys.executable, "-P", "-m", "scaling", "run", str(self.out), f"--run-id={run_id}"]

    @property
    def environment(self) -> dict[str, str]:
        """What to add to the environment of a job: the code is the snapshot, not the tree."""
        before = os.environ.get("PYTHONPATH")
        snapshot = str(self.out / "code")
        return {"PYTHONPATH": f"{snapshot}{os.pathsep}{before}" if before else snapshot}

    @property
    def state(self) -> pathlib.Path:
        """OUT/launch, for JSON files of the engine (`<engine>.json`); exists when a job starts."""
        return self.out / "launch"


@dataclasses.dataclass(frozen=True)
class Poll:
    """What an engine knows at one moment.

    active: run_id -> "queued" or "running", for everything submitted that has not ended. ended:
    run_id -> exit status of what ended since the last poll; None when the engine cannot tell (a
    killed process has the negative signal number, as in subprocess).
    """

    active: Mapping[str, str]
    ended: Mapping[str, int | None] = dataclasses.field(default_factory=dict)


class Launcher(abc.ABC):
    """One engine, opened for one sweep directory. Construction has no side effect.

    The caller holds the lease of OUT/launch, so there is one launcher a directory.
    """

    # Whether jobs go on when the launcher leaves (a cluster) or end with it (this machine).
    detached: ClassVar[bool] = False
    # Whether jobs see the environment of the launcher (secrets go that way, and no other).
    hands_over: ClassVar[bool] = True

    def __init__(self, site: Site, options: argparse.Namespace):
        self.site, self.options = site, options

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the options of this engine, such as --slurm-partition."""

    @abc.abstractmethod
    def check(self, runs: Sequence[Any]) -> list[str]:
        """Asks the engine whether it would take `runs` (RunSpecs); launches and writes nothing.

        Returns lines for --dry-run: where and how each group of runs would go. Raises UserError
        (unknown partition, no such device). Also called before the first submission.
        """

    def start(self) -> None:
        """Called once before the first submit; takes up jobs of an earlier launcher, if any."""

    @abc.abstractmethod
    def room(self) -> int:
        """How many more runs may be submitted now; 0 when full."""

    @abc.abstractmethod
    def submit(self, run_ids: Sequence[str]) -> None:
        """Has the job of each run executed; at most `room()` of them, most urgent first."""

    @abc.abstractmethod
    def poll(self, seconds: float) -> Poll | None:
        """Waits up to `seconds` for news, then says what it knows; None: the engine is silent.

        Must return early when something ends, if the engine can notice. A controller that is down
        is None, not an error and not an empty answer.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """The launcher is told to leave (Ctrl-C, SIGTERM). Jobs that end with it are asked to save.

        A detached engine does nothing here. Afterwards `poll` is called until nothing is active.
        """

    def kill(self) -> None:
        """A second Ctrl-C: jobs that end with the launcher end at once."""

    def close(self) -> None:
        """Gives back processes, threads and files. Always called after `start`."""
