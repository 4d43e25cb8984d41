"""What runs inside a Slurm job: `python -m launch.slurm_job OUT/launch/slurm/00001.json`.

It starts one run of the array through srun, leaves the exit status in a file beside the JSON, and
requeues the job when the run was interrupted and saved. No launcher need be there any more.

A job that `scancel` ends is saved just the same but not requeued: whoever cancels means it. Nor
does a job requeue itself that Slurm has already started anew elsewhere, having lost sight of this
node; its run has then lost the lease and stopped.

Preemption may end a run again and again before it has saved anything, and Slurm itself puts it
back each time. After _IN_VAIN such starts in a row the job fails, so that the launcher's count of
retries holds for it too.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

from launch.slurm_client import number_of, queue, states_of
from scaling.doors.files import write_json
from scaling.doors.reading import read_json
from scaling.run.interrupt import REQUESTS, listening
from scaling.sweep.logs import new_log
from scaling.sweep.protocol import AGAIN, FAILED
from scaling.sweep.survey import newest_checkpoint

ARRAY = {"runs": [str], "commands": [[str]], "cwd": str, "out": str}
WORD = {"from": int, "exit": (int, None)}
# A first process to end must not take the others with it while they save; but when one of many
# hosts is lost, the rest would wait for it for ever.
_SRUN = ("srun", "--kill-on-bad-exit=0", "--wait=300")
_IN_VAIN = 5  # starts in a row that saved nothing
_PATIENCE_S = 600  # for a controller that is down when the run wants to be requeued


def main(argv: list[str]) -> int:
    """Runs the array's member; returns the exit status of `scaling run`."""
    # Slurm may signal the whole job, or this process alone (`--signal=B:USR1@120`). It stays, to
    # requeue, and has the run asked to save: srun hands SIGUSR1 to every process of the run, while
    # at SIGTERM or SIGHUP it would kill them. Two signals ask for no more than one.
    started: list[subprocess.Popen] = []
    with listening(lambda *_: [srun.send_signal(signal.SIGUSR1) for srun in started], REQUESTS):
        return _run(pathlib.Path(argv[0]), started)


def _run(file: pathlib.Path, started: list[subprocess.Popen]) -> int:
    index = int(os.environ["SLURM_ARRAY_TASK_ID"])
    restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    facts = read_json(file, ARRAY)
    out, run_id = pathlib.Path(facts["out"]), facts["runs"][index]
    words = [file.with_suffix(f".{index}.{n}") for n in range(restart + 1)]
    begun = {"from": newest_checkpoint(out, run_id), "exit": None}
    # Killed from here on, it says nothing, whatever an earlier start said.
    write_json(words[-1], begun)
    log = new_log(out, run_id)
    if _in_vain(words, begun["from"]):
        os.write(log, f"{_IN_VAIN} starts in a row ended before they had saved anything\n".encode())
        status = FAILED
    else:
        argv = [*_SRUN, *_cores(), *facts["commands"][index]]
        started.append(subprocess.Popen(argv, cwd=facts["cwd"], stdout=log, stderr=log))
        status = started[0].wait()
    write_json(words[-1], {**begun, "exit": status})
    if status == AGAIN:
        _requeue(os.environ["SLURM_JOB_ID"], restart)
    return status if status >= 0 else 128 - status


def _in_vain(words: list[pathlib.Path], step: int) -> bool:
    """Whether the last starts before this one all began from the checkpoint of `step`, as it does.

    A start that could not even write its word counts as one of them.
    """
    before = words[:-1][-_IN_VAIN:]
    steps = [read_json(word, WORD)["from"] for word in before if word.exists()]
    return len(before) == _IN_VAIN and all(one == step for one in steps)


def _cores() -> list[str]:
    """From 22.05 on, srun no longer inherits this from sbatch; a process would get one core."""
    n = os.environ.get("SLURM_CPUS_PER_TASK")
    return [f"--cpus-per-task={n}"] if n else []


def _requeue(job_id: str, restart: int) -> None:
    """Puts this job back into the queue if it still runs, and is this start of it."""
    deadline = time.monotonic() + _PATIENCE_S
    while (jobs := queue()) is None and time.monotonic() < deadline:
        time.sleep(5)
    mine = next((job for job in jobs or () if str(job["job_id"]) == job_id), None)
    if (
        mine is None
        or "RUNNING" not in states_of(mine)
        or number_of(mine["restart_cnt"]) != restart
    ):
        print(f"job {job_id} is not requeued: it was cancelled or started anew", flush=True)
        return
    subprocess.run(["scontrol", "requeue", job_id], check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
