"""Slurm's own commands: asked with argv lists, answers of old and new versions read alike."""

import os
import pathlib
import re
import subprocess
from collections.abc import Mapping

from scaling.doors.reading import loads
from scaling.errors import UserError

# Words of Slurm that mean "ask again later"; anything else that sbatch says is final.
TRANSIENT = (
    "unable to contact slurm controller",
    "socket timed out",
    "connection refused",
    "connection timed out",
    "transport endpoint",
    "temporarily unable to accept",
    "zero bytes were transmitted",
    "submitjob",  # QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit
    "job violates accounting/qos policy",
)
# A job in one of these has left the queue for good. squeue shows some of them for a while.
ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
_SECONDS = 60
_COUNT = (int, {"number": int})
_JOB = {"job_id": int, "job_state": (str, [str]), "restart_cnt?": _COUNT}
_JOB |= {"array_task_id?": (None, *_COUNT), "array_task_string?": (str, None)}


def queue() -> list[dict] | None:
    """All jobs of this user that squeue shows; None when the controller does not answer."""
    # Otherwise a long list of array indices is cut off after 64 characters.
    whole = {"SLURM_BITSTR_LEN": "0"}
    done = command("squeue", "--json", "--me", "--states=all", environment=whole)
    if done.returncode:
        said = words(done.stderr)
        if "json" in said.lower():
            raise UserError(f"squeue --json is needed (Slurm 21.08 or later): {said}")
        return None
    try:
        answer = loads(done.stdout, "squeue --json", {"errors?": object, "jobs": [_JOB]})
    except UserError:
        return None
    # With its controller down, squeue lists an error, no job, and exits with 0.
    return None if answer.get("errors") else answer["jobs"]


def states_of(job: dict) -> set[str]:
    """One word up to Slurm 23.02, a list of words later."""
    state = job["job_state"]
    return {state} if isinstance(state, str) else set(state)


def number_of(value: int | dict) -> int:
    """Plain up to Slurm 23.02, {"set": bool, "number": int} later."""
    return value["number"] if isinstance(value, dict) else value


def indices_of(job: dict) -> list[int]:
    """The array indices that one entry of squeue stands for: one, or all that are pending."""
    task = job.get("array_task_id")
    if isinstance(task, dict):  # newer: {"set": bool, "number": int}
        task = task["number"] if task.get("set") else None
    if task is not None:
        return [task]
    found: list[int] = []
    for part in (job.get("array_task_string") or "").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        last, _, stride = last.partition(":")
        if first:
            found += range(int(first), int(last or first) + 1, int(stride or 1))
    return found


def max_array_size(default: int | None = None) -> int:
    """One more than the largest array index that the cluster takes."""
    done = command("scontrol", "show", "config")
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    if match is None:
        if default is not None:
            return default
        raise UserError(f"Slurm does not answer `scontrol show config`: {words(done.stderr)}")
    if int(match[1]) < 1:
        raise UserError("this Slurm allows no job arrays (MaxArraySize is 0)")
    return int(match[1])


def command(
    *argv: str,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    cwd: pathlib.Path | None = None,
) -> subprocess.CompletedProcess:
    """One client command. A controller that hangs reads like one that refuses."""
    try:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            cwd=cwd,
            env={**_clean_environment(), **(environment or {})},
        )
    except FileNotFoundError:
        raise UserError(f"{argv[0]} is not on this machine: run this where Slurm is") from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"{argv[0]}: connection timed out")


def _clean_environment() -> dict[str, str]:
    """Without what a job leaves to a launcher inside it, which the next job's srun would obey."""
    kept = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS")
    return {k: v for k, v in os.environ.items() if k in kept or not k.startswith("SLURM_")}


def words(text: str) -> str:
    """What a client said, on one line and without its name."""
    return " ".join(re.sub(r"^\w+: (error: )?", "", line) for line in text.split("\n")).strip()
