"""SkyPilot: cloud GPUs and TPU slices, spot or not, one managed job a run.

A run becomes a task file, OUT/launch/skypilot/RUN_ID.yaml, and `sky jobs launch` of it. SkyPilot
finds the machines, and starts the job anew when a spot machine is taken away or when the run exits
with 75, "saved, run me again" (`recover_on_exit_codes`). OUT lies on a bucket that is mounted at
the same path here and on the machines (--sky-bucket, --sky-mount).

The shell text of a task is constant; which run it is comes through environment variables, and the
file is JSON, which YAML contains. What of this has been run, and what not, says docs/cloud.md.
"""

import argparse
import contextlib
import copy
import pathlib
import re
import secrets
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from launch.base import Launcher, Poll, Site
from scaling.doors.files import check_orders, dump, write_atomic, write_orders
from scaling.doors.reading import loads
from scaling.errors import UserError
from scaling.sweep.protocol import AGAIN, DONE

# The snapshot is copied first, because building a package writes into its source.
SETUP = """\
cp -r "$SCALING_OUT/code" ~/scaling-code
pip install --quiet ~/scaling-code "jax[$SCALING_JAX]"
"""
# On a TPU slice and on several GPU machines alike, SkyPilot runs this once a host.
RUN = """\
n=$(echo "$SKYPILOT_NODE_IPS" | wc -l)
if [ "$n" -gt 1 ]; then
  set -- "--distributed=$(echo "$SKYPILOT_NODE_IPS" | head -n 1):8476,$n,$SKYPILOT_NODE_RANK"
fi
export PYTHONPATH="$SCALING_OUT/code"
exec python -P -m scaling run "$SCALING_OUT" --run-id="$SCALING_RUN_ID" "$@"
"""
_FAILED = ("FAILED", "FAILED_SETUP", "FAILED_PRECHECKS", "FAILED_NO_RESOURCE", "FAILED_CONTROLLER")
_ENDED = frozenset({"SUCCEEDED", "CANCELLED", *_FAILED})
_VALUE = re.compile(r"[\w.,:@+=/*-]{1,300}", re.ASCII)
_SUBMIT_SECONDS = 1800  # the first job starts the machine that manages jobs
_ASK_SECONDS = 120
_JOB = {"job_id": int, "job_name": (str, None), "status": str}


class SkyPilot(Launcher):
    """`--launcher=skypilot`: every run a managed job on machines of its own."""

    detached = True
    hands_over = False

    def __init__(self, site: Site, options: argparse.Namespace):
        super().__init__(site, options)
        self._dir = site.state / "skypilot"
        self._active: dict[str, str] = {}
        self._silent = False
        self._next_poll = 0.0

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        def add(name: str, metavar: str, text: str, **more: Any) -> None:
            parser.add_argument(f"--sky-{name}", metavar=metavar, help=text, **more)

        add("accelerators", "NAME[:N]", "of one machine, such as tpu-v5e-8 or H100:8")
        add("infra", "CLOUD[/REGION]", "where (default: the cheapest that has it)")
        add("nodes", "N", "GPU machines of one run (default 1)", type=int, default=1)
        parser.add_argument("--sky-spot", action="store_true", help="spot machines")
        add("bucket", "URL", "such as gs://lab-runs; mounted at --sky-mount on the machines")
        add("mount", "PATH", "where the bucket is mounted here too; --out lies below it")
        add("limit", "N", "managed jobs at once (default 16)", type=int, default=16)
        add("poll", "SECONDS", "between two looks at the jobs (default 60)", type=int, default=60)

    def check(self, runs: Sequence[Any]) -> list[str]:
        tasks = [self.task(run.run_id) for run in runs]
        if not tasks:
            return []
        check_orders(self._dir / f"{runs[0].run_id}.yaml", tasks[0])
        parse(tasks[0])
        return [f"skypilot: {len(tasks)} managed jobs, the first of them:", dump(tasks[0])]

    def start(self) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self._dir / "token").exists():
            write_atomic(self._dir / "token", secrets.token_hex(8))
        self._look()

    def room(self) -> int:
        return 0 if self._silent else max(0, self.options.sky_limit - len(self._active))

    def submit(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            if run_id in self._active:
                continue
            file = self._dir / f"{run_id}.yaml"
            write_orders(file, self.task(run_id))
            name = f"--name={self._prefix()}{run_id}"
            done = _sky("jobs", "launch", "--yes", "--detach-run", name, str(file))
            if done.returncode:
                raise UserError(f"SkyPilot refuses run {run_id}: {_words(done)}")
            self._active[run_id] = "queued"

    def poll(self, seconds: float) -> Poll | None:
        wait = self._next_poll - time.monotonic()
        time.sleep(max(0.0, min(seconds, wait)))
        if wait > seconds:
            return None if self._silent else Poll(dict(self._active))
        before = dict(self._active)
        statuses = self._look()
        if statuses is None:
            return None
        # Anything but success: the record and status.json know more than SkyPilot.
        ended = {
            run_id: DONE if statuses.get(run_id) == "SUCCEEDED" else None
            for run_id in before.keys() - self._active.keys()
        }
        return Poll(dict(self._active), ended)

    def stop(self) -> None:
        """The jobs are SkyPilot's; they go on."""

    def task(self, run_id: str) -> dict[str, Any]:
        """The task of one run. Raises UserError for options that cannot work."""
        o = self.options
        if not (o.sky_accelerators and o.sky_bucket and o.sky_mount):
            raise UserError("skypilot needs --sky-accelerators, --sky-bucket and --sky-mount")
        named = {"accelerators": o.sky_accelerators, "infra": o.sky_infra}
        named |= {"bucket": o.sky_bucket, "mount": o.sky_mount}
        for name, value in named.items():
            if value is not None and not _VALUE.fullmatch(value):
                raise UserError(f"--sky-{name}={value!r} holds a character that does not belong")
        if not self.site.out.is_relative_to(pathlib.PurePosixPath(o.sky_mount)):
            raise UserError(f"--out={self.site.out} does not lie below --sky-mount={o.sky_mount}")
        tpu = o.sky_accelerators.lower().startswith("tpu")
        if tpu and o.sky_nodes > 1:
            raise UserError("a TPU slice is one node: choose a larger one instead of --sky-nodes")
        resources = {
            "accelerators": o.sky_accelerators,
            "use_spot": o.sky_spot,
            "job_recovery": {"recover_on_exit_codes": [AGAIN]},
        }
        return {
            "num_nodes": o.sky_nodes,
            "resources": resources | ({"infra": o.sky_infra} if o.sky_infra else {}),
            "envs": {
                "SCALING_OUT": str(self.site.out),
                "SCALING_RUN_ID": run_id,
                "SCALING_JAX": "tpu" if tpu else "cuda12",
            },
            "file_mounts": {o.sky_mount: {"source": o.sky_bucket, "mode": "MOUNT"}},
            "setup": SETUP,
            "run": RUN,
        }

    def _prefix(self) -> str:
        return f"scaling-{(self._dir / 'token').read_text()}-"

    def _look(self) -> dict[str, str] | None:
        """{run_id: status} of the newest job of every run; None when nobody answers."""
        self._next_poll = time.monotonic() + self.options.sky_poll
        done = _sky("jobs", "queue", "--all", "--output=json")
        jobs = None
        with contextlib.suppress(UserError):
            jobs = loads(done.stdout, "sky jobs queue", [_JOB]) if done.returncode == 0 else None
        self._silent = jobs is None
        if jobs is None:
            return None
        prefix, statuses = self._prefix(), {}
        for job in sorted(jobs, key=lambda job: job["job_id"]):
            if str(job["job_name"]).startswith(prefix):
                statuses[job["job_name"].removeprefix(prefix)] = job["status"]
        self._active = {
            run_id: "running" if status in ("RUNNING", "WINDING_DOWN") else "queued"
            for run_id, status in statuses.items()
            if status not in _ENDED
        }
        return statuses


def parse(task: dict[str, Any]) -> Any:
    """The task as SkyPilot reads it. Raises UserError: not installed, or what it objects to."""
    try:
        import sky
    except ImportError:
        raise UserError("--launcher=skypilot needs: pip install 'scaling[cloud]'") from None
    try:
        return sky.Task.from_yaml_config(copy.deepcopy(task))  # it takes its argument apart
    except (ValueError, TypeError, sky.exceptions.InvalidSkyPilotConfigError) as error:
        raise UserError(f"SkyPilot refuses these runs: {' '.join(str(error).split())}") from error


def _sky(*argv: str) -> subprocess.CompletedProcess:
    seconds = _SUBMIT_SECONDS if "launch" in argv else _ASK_SECONDS
    try:
        return subprocess.run(["sky", *argv], capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError:
        raise UserError("--launcher=skypilot needs: pip install 'scaling[cloud]'") from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"no answer within {seconds} s")


def _words(done: subprocess.CompletedProcess) -> str:
    return " ".join((done.stderr or done.stdout).split())[-500:]
