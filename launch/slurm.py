"""Slurm: job arrays, submitted with sbatch, watched with one `squeue --json` an interval.

What a submission is:

    OUT/launch/slurm/token        marks the jobs of this sweep directory in the queue
    OUT/launch/slurm/00001.json   array 1: the run_ids by array index, and how to start them
    OUT/launch/slurm/00001.out    what its jobs say besides (the output of a run is in OUT/logs)
    OUT/launch/slurm/00001.3.0    index 3 of that array, restart 0: where from, and its exit status
    OUT/launch/slurm/job.sh       the job script, always the same text

The job name is "scaling-TOKEN-NUMBER", so the queue itself says which runs are in it: nothing is
lost when the launcher dies between sbatch and a note of the job's number, and a second launcher
takes up where the first left.

No text of the user reaches a shell. Options are single argv words of sbatch after a check, the job
script is constant, and it hands a file name to `launch.slurm_job`, which reads JSON. That is why
submitit is not used: it writes the folder into the text of the script, and its jobs start by
unpickling a file.

Slurm sends SIGTERM `--slurm-grace` seconds ahead of the time limit, and when it preempts. The run
saves and exits with 75, and its job requeues itself (see `launch.slurm_job`), whether or not a
launcher is there. sacct is not needed, so a cluster without accounting will do.
"""

import argparse
import re
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from launch import slurm_client as client
from launch.base import Launcher, Poll, Site
from launch.slurm_job import ARRAY, WORD
from scaling.doors.files import write_atomic, write_orders
from scaling.doors.reading import read_json
from scaling.errors import UserError

SCRIPT = """\
#!/bin/sh
exec "$1" -P -m launch.slurm_job "$2"
"""
_OURS = frozenset(
    [
        "array",
        "chdir",
        "dependency",
        "error",
        "export",
        "input",
        "job-name",
        "kill-on-invalid-dep",
        "nodes",
        "no-requeue",
        "open-mode",
        "output",
        "parsable",
        "requeue",
        "signal",
        "test-only",
        "wrap",
        "wait",
    ]
)
_VALUE = re.compile(r"[\w.,:@%+=/*&|\[\]()-]{1,500}", re.ASCII)
_OPTION = re.compile(r"([a-z][a-z-]*)=(.*)", re.DOTALL)


class Slurm(Launcher):
    """`--launcher=slurm`: one array index a run, one or many nodes an index."""

    detached = True

    def __init__(self, site: Site, options: argparse.Namespace):
        super().__init__(site, options)
        self._dir = site.state / "slurm"
        self._active: dict[str, str] = {}
        self._arrays: dict[int, dict[str, int]] = {}
        self._unsent: dict[int, list[str]] = {}  # arrays that sbatch has not accepted yet
        self._silent = False
        self._next_poll = 0.0

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        def add(name: str, metavar: str, text: str, **more: Any) -> None:
            parser.add_argument(f"--slurm-{name}", metavar=metavar, help=text, **more)

        add("partition", "NAME", "partition (default: the cluster's)")
        add("account", "NAME", "account to charge")
        add("time", "LIMIT", "time limit of one start of a run, such as 4:00:00; it is requeued")
        add("nodes", "N", "nodes of one run (default 1)", type=_positive, default=1)
        add("gpus-per-node", "N", "GPUs of one run on each of its nodes", type=_positive)
        add("cpus-per-task", "N", "CPU cores of one process", type=_positive)
        add("mem", "SIZE", "memory a node, such as 32G")
        add("option", "NAME=VALUE", "any other option of sbatch, repeatable: qos=debug",
            action="append", default=[])  # fmt: skip
        add("parallel", "N", "runs of one array that may run at once", type=_positive)
        add("queue-limit", "N", "runs in the queue at once (default 1000)", type=_positive,
            default=1000)  # fmt: skip
        add("grace", "SECONDS", "SIGTERM this long before the time limit (default 120)",
            type=_positive, default=120)  # fmt: skip
        add("poll", "SECONDS", "between two looks at the queue (default 15)", type=_positive,
            default=15)  # fmt: skip

    def check(self, runs: Sequence[Any]) -> list[str]:
        if re.search(r"[%\\\x00-\x1f]", str(self._dir)):
            raise UserError(
                f"--out={str(self.site.out)!r}: Slurm reads % and \\ in file names as patterns, "
                "and control characters do not belong there; choose another directory"
            )
        limit = client.max_array_size()
        sizes = [len(part) for part in _chunks(range(len(runs)), limit)]
        lines = []
        for size in sorted(set(sizes), reverse=True):
            argv = ["sbatch", "--test-only", f"--array=0-{size - 1}", *self._arguments()]
            done = client.command(*argv, stdin="#!/bin/sh\n", environment=self.site.environment)
            if done.returncode:
                raise UserError(f"Slurm refuses these runs: {client.words(done.stderr)}")
            many = f"{sizes.count(size)} arrays" if sizes.count(size) > 1 else "1 array"
            lines.append(f"slurm: {many} of {size} runs; {client.words(done.stderr)}")
        return lines

    def start(self) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self._dir / "job.sh", SCRIPT)
        if not (self._dir / "token").exists():
            write_atomic(self._dir / "token", secrets.token_hex(8))
        self._look()

    def room(self) -> int:
        if self._silent or self._unsent:
            return 0
        return max(0, self.options.slurm_queue_limit - len(self._active))

    def submit(self, run_ids: Sequence[str]) -> None:
        # A job of an earlier launcher may be waiting, which the directory of its run cannot show.
        new = [run_id for run_id in run_ids if run_id not in self._active]
        for part in _chunks(new, client.max_array_size(default=1001)):
            number = 1 + max(self._numbers(), default=0)
            facts = {
                "runs": part,
                "commands": [self._command(run_id) for run_id in part],
                "cwd": str(self.site.cwd),
                "out": str(self.site.out),
            }
            write_orders(self._dir / f"{number:05d}.json", facts)
            self._active |= dict.fromkeys(part, "queued")
            self._send(number, part)

    def poll(self, seconds: float) -> Poll | None:
        wait = self._next_poll - time.monotonic()
        time.sleep(max(0.0, min(seconds, wait)))
        if wait > seconds:
            return None if self._silent else Poll(dict(self._active))
        before = dict(self._active)
        if not self._look():
            return None
        for number, part in sorted(self._unsent.items()):
            self._send(number, part)
        ended = {run: self._exit_status(run) for run in before.keys() - self._active.keys()}
        return Poll(dict(self._active), ended)

    def stop(self) -> None:
        """The jobs are Slurm's; they go on."""

    def _arguments(self) -> list[str]:
        """What sbatch is asked for besides the script. Raises UserError for a strange value."""
        o = self.options
        named = {"partition": o.slurm_partition, "account": o.slurm_account, "time": o.slurm_time}
        named |= {"nodes": o.slurm_nodes, "gpus-per-node": o.slurm_gpus_per_node}
        named |= {"cpus-per-task": o.slurm_cpus_per_task, "mem": o.slurm_mem}
        named |= {"ntasks-per-node": self._tasks_per_node}
        for text in o.slurm_option:
            match = _OPTION.fullmatch(text)
            if match is None or match[1] in _OURS or match[1] in named:
                raise UserError(
                    f"--slurm-option={text!r} is not NAME=VALUE with a long option of sbatch that "
                    "has no flag here and is not set by the launcher itself"
                )
            named[match[1]] = match[2]
        for name, value in named.items():
            if value is not None and not _VALUE.fullmatch(str(value)):
                raise UserError(
                    f"Slurm option {name}={str(value)!r} holds a character that no value of sbatch "
                    "needs; use letters, digits and ._-:,@%+=/*&|[]()"
                )
        words = [f"--{name}={value}" for name, value in named.items() if value is not None]
        return [*words, "--requeue", f"--signal=TERM@{o.slurm_grace}", "--export=ALL"]

    @property
    def _tasks_per_node(self) -> int:
        # On several nodes jax.distributed gives each process one device of its node.
        return (self.options.slurm_gpus_per_node or 1) if self.options.slurm_nodes > 1 else 1

    def _command(self, run_id: str) -> list[str]:
        several = self.options.slurm_nodes * self._tasks_per_node > 1
        return self.site.command(run_id) + ["--distributed=auto"] * several

    def _send(self, number: int, part: Sequence[str]) -> None:
        """One sbatch; an array that it cannot take now stays in `_unsent` for the next poll."""
        at_once = f"%{self.options.slurm_parallel}" if self.options.slurm_parallel else ""
        argv = ["sbatch", *self._arguments(), f"--array=0-{len(part) - 1}{at_once}"]
        argv += [f"--chdir={self._dir}", f"--output={number:05d}.out", "--open-mode=append"]
        argv += [f"--job-name={self._name(number)}", "job.sh"]
        argv += [sys.executable, f"{self._dir / f'{number:05d}.json'}"]
        done = client.command(*argv, cwd=self._dir, environment=self.site.environment)
        self._unsent.pop(number, None)
        if done.returncode == 0:
            return
        said = client.words(done.stderr)
        if not any(words in said.lower() for words in client.TRANSIENT):
            for run_id in part:
                self._active.pop(run_id, None)
            raise UserError(f"Slurm refuses these runs: {said}")
        # It may have been taken all the same; the next look at the queue will tell.
        self._unsent[number] = list(part)

    def _name(self, number: int) -> str:
        return f"scaling-{(self._dir / 'token').read_text()}-{number:05d}"

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._dir.glob("[0-9]*.json"))

    def _members(self, number: int) -> dict[str, int]:
        """run_id -> array index of one submission, which never changes."""
        if number not in self._arrays:
            runs = read_json(self._dir / f"{number:05d}.json", ARRAY)["runs"]
            self._arrays[number] = {run_id: index for index, run_id in enumerate(runs)}
        return self._arrays[number]

    def _look(self) -> bool:
        """Sets `_active` to what the queue holds; False when the controller does not answer."""
        self._next_poll = time.monotonic() + self.options.slurm_poll
        jobs = client.queue()
        self._silent = jobs is None
        if jobs is None:
            return False
        prefix, active, seen = self._name(0)[:-5], {}, set()
        for job in jobs:
            number = str(job.get("name")).removeprefix(prefix)
            if not number.isdecimal():
                continue
            seen.add(int(number))
            states = client.states_of(job)
            if states <= client.ENDED:
                continue
            runs = list(self._members(int(number)))
            state = "queued" if "PENDING" in states else "running"
            active |= {runs[i]: state for i in client.indices_of(job)}
        for number in self._unsent.keys() & seen:
            del self._unsent[number]
        active |= {run: "queued" for part in self._unsent.values() for run in part}
        self._active = active
        return True

    def _exit_status(self, run_id: str) -> int | None:
        """Of the last start of a run that has left the queue; None when its job left no word."""
        for number in reversed(self._numbers()):
            if run_id in self._members(number):
                index = self._members(number)[run_id]
                left = self._dir.glob(f"{number:05d}.{index}.*")
                last = max(left, key=lambda p: int(p.suffix[1:]), default=None)
                return read_json(last, WORD)["exit"] if last else None
        return None


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)
