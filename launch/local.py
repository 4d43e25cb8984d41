"""The devices of this machine: worker processes that take one run after another.

A worker is `scaling run OUT --run-id=-`: run ids go in, "RUN_ID STATUS" comes back. It sees one
accelerator (CUDA_VISIBLE_DEVICES), or its share of the CPU cores. Workers are sessions of their
own, so Ctrl-C reaches the launcher alone, which asks them to save; when the launcher is killed,
they see their input close and do the same.
"""

import argparse
import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from launch.base import Launcher, Poll, Site
from scaling.doors.files import write_json
from scaling.doors.reading import read_json
from scaling.errors import UserError
from scaling.sweep.protocol import AGAIN, END

_LEAVE_SECONDS = 30.0  # an idle worker needs well under one


@dataclasses.dataclass(frozen=True)
class Slot:
    """What one worker gets. cores: CPU numbers, or none for all; devices: GPUs, or none."""

    cores: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()


class Local(Launcher):
    """Runs on this machine, ending with the launcher."""

    detached = False

    def __init__(self, site: Site, options: argparse.Namespace):
        super().__init__(site, options)
        self._slots: list[Slot] = []
        self._workers: dict[int, _Worker] = {}  # by number of the slot
        self._selector = selectors.DefaultSelector()
        self._ended: dict[str, int | None] = {}
        self._stopping = False

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--workers",
            type=int,
            help="runs at a time on this machine (default: one a GPU; without GPUs, one a core)",
        )

    def check(self, runs: Sequence[Any]) -> list[str]:
        workers = self.options.workers
        cores = None if workers else self._cores_before()
        self._slots = slots(len(runs), workers, self.options.mesh, cores)
        lines = []
        for slot, same in itertools.groupby(self._slots, key=lambda s: (len(s.cores), s.devices)):
            n, (n_cores, devices) = len(list(same)), slot
            cores = "a core" if n_cores == 1 else f"{n_cores or 'all'} cores"
            what = f"GPU {', '.join(devices)}" if devices else f"{cores} each"
            lines.append(f"local: {n} worker{'s' * (n > 1)}, {what}")
        return lines

    def start(self) -> None:
        write_json(self._state, {"cores_per_run": len(self._slots[0].cores)})

    def room(self) -> int:
        if self._stopping:
            return 0
        return len(self._slots) - sum(w.run_id is not None for w in self._workers.values())

    def submit(self, run_ids: Sequence[str]) -> None:
        assert len(run_ids) <= self.room(), (len(run_ids), self.room())
        for run_id in run_ids:
            numbers = range(len(self._slots))
            idle = [n for n in numbers if n in self._workers and not self._workers[n].run_id]
            number = idle[0] if idle else next(n for n in numbers if n not in self._workers)
            if number not in self._workers:
                self._start_worker(number)
            self._workers[number].give(run_id)

    def poll(self, seconds: float) -> Poll:
        deadline = time.monotonic() + seconds
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._hear(key.data)
        ended, self._ended = self._ended, {}
        busy = [w.run_id for w in self._workers.values() if w.run_id]
        return Poll(active=dict.fromkeys(busy, "running"), ended=ended)

    def stop(self) -> None:
        self._stopping = True
        for worker in list(self._workers.values()):
            worker.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        for worker in list(self._workers.values()):
            worker.process.kill()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.leave()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.process.stdout.close()
        self._workers.clear()
        self._selector.close()

    @property
    def _state(self) -> pathlib.Path:
        return self.site.state / "local.json"

    def _cores_before(self) -> int | None:
        """What a run of this sweep had so far: with other cores the last runs would differ in their
        last bits from the first ones."""
        try:
            return read_json(self._state, {"cores_per_run": int})["cores_per_run"]
        except UserError:
            return None

    def _start_worker(self, number: int) -> None:
        slot, environment = self._slots[number], {**os.environ, **self.site.environment}
        command = self.site.command("-")
        if slot.cores:
            command.append(f"--cores={','.join(map(str, slot.cores))}")
        if slot.devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.devices)
        # What it says outside runs: imports that fail, crashes of the interpreter.
        with open(self.site.state / f"worker-{number}.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=self.site.cwd,
                start_new_session=True,
                bufsize=0,  # a buffer would be flushed into the closed pipe of a dead worker
            )
        os.set_blocking(process.stdout.fileno(), False)
        self._workers[number] = _Worker(process)
        self._selector.register(process.stdout, selectors.EVENT_READ, number)

    def _hear(self, number: int) -> None:
        worker = self._workers[number]
        for run_id, status in worker.answers():
            self._ended[run_id] = status
            worker.run_id = None
        if not worker.open:
            self._selector.unregister(worker.process.stdout)
            worker.process.stdout.close()
            worker.process.stdin.close()
            status = worker.process.wait()
            if worker.run_id is not None:
                # Stopped before the run had begun to save anything, if by our own signal.
                asked = self._stopping and status in (AGAIN, -signal.SIGTERM)
                self._ended[worker.run_id] = AGAIN if asked else status
            del self._workers[number]


class _Worker:
    """A worker process and what it is working on."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.run_id, self.open = process, None, True
        self._buffer = b""

    def give(self, run_id: str) -> None:
        """Hands over a run; a worker that is dead already is noticed by its closed output."""
        self.run_id = run_id
        self._write(run_id)

    def leave(self) -> None:
        self._write(END)

    def answers(self) -> list[tuple[str, int]]:
        """What has come in since the last call; `open` is False once the process is gone."""
        try:
            while chunk := self.process.stdout.read(65536):
                self._buffer += chunk
            self.open = chunk is None  # b"": closed; None: nothing more for now
        except OSError:
            self.open = False
        *lines, self._buffer = self._buffer.split(b"\n")
        pairs = [line.decode().split() for line in lines]
        return [(run_id, int(status)) for run_id, status in pairs]

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n".encode())


def slots(n_runs: int, workers: int | None, mesh: str | None, cores: int | None) -> list[Slot]:
    """How this machine is shared out among at most `n_runs` workers. Raises UserError.

    cores: CPU cores a run, where that is decided. Otherwise a core a worker, which is the faster
    way for small models (experiments/bench/cpu_workers.py); fewer runs than cores share them all.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers={workers} must be 1 or more")
    per_run = 1
    if mesh:
        from scaling.sharding import parse_mesh

        per_run = math.prod(parse_mesh(mesh).values())
    n_runs = max(1, n_runs)
    if devices := gpus():
        return _gpu_slots(devices, per_run, n_runs, workers)
    if any(pathlib.Path("/dev").glob("accel*")):
        # TPU chips: one process has them all.
        if workers not in (None, 1):
            raise UserError(f"--workers={workers}: one process takes all TPU chips of a host")
        return [Slot()]
    if not hasattr(os, "sched_getaffinity"):
        return [Slot()] * min(workers or os.cpu_count() or 1, n_runs)
    mine = sorted(os.sched_getaffinity(0))
    n = min(workers or max(1, len(mine) // (cores or per_run)), n_runs)
    each = min(cores or max(1, len(mine) // n), len(mine))
    # More workers than cores take turns on them.
    return [Slot(tuple(mine[(i * each + k) % len(mine)] for k in range(each))) for i in range(n)]


def _gpu_slots(devices: list[str], per_run: int, n_runs: int, workers: int | None) -> list[Slot]:
    most = len(devices) // per_run
    if most == 0:
        raise UserError(f"--mesh needs {per_run} GPUs a run; this machine has {len(devices)}")
    if workers is not None and workers > most:
        raise UserError(f"--workers={workers}: the GPUs here are enough for {most} at a time")
    n = min(workers or most, n_runs)
    return [Slot(devices=tuple(devices[i * per_run : (i + 1) * per_run])) for i in range(n)]


def gpus() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES of the GPUs that jobs may use; none where jax is kept off."""
    if "cuda" not in os.environ.get("JAX_PLATFORMS", "cuda"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()
