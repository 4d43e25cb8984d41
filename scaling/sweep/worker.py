"""`scaling run`: one run of a sweep directory, or one after the other in one process.

A process that takes several runs imports jax once, and finds the data and the compiled programs of
runs of equal shape in memory. A run that raises costs the others nothing; a process that dies
costs the one it was working on an attempt.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import TextIO

from scaling.errors import UserError, unknown
from scaling.run.interrupt import leaving_when_asked
from scaling.run.lease import Lease, LeaseHeld, LeaseLost
from scaling.run.record import RunDir
from scaling.sweep import PlannedRun
from scaling.sweep.protocol import AGAIN, BAD_INPUT, DONE, ELSEWHERE, END, FAILED, NO_PARENT
from scaling.sweep.survey import branch_point, look, waits_for_parent
from scaling.training.prepare import RunArgs


def execute(out: pathlib.Path, planned: PlannedRun, args: RunArgs) -> int:
    """Runs, resumes or finds complete; returns the exit status of `scaling.sweep.protocol`.

    args: as for an ordinary run; workdir, parent and keep_steps are filled in here.
    """
    from scaling.run.branch import ParentNotReadyError
    from scaling.training.train import train

    workdir = out / "runs" / planned.run_id
    before = look(out, planned.run_id).attempt
    if waits_for_parent(out, planned):
        return NO_PARENT
    parent = branch_point(out, planned)
    args = dataclasses.replace(args, workdir=workdir, parent=parent, keep_steps=planned.keep_steps)
    try:
        status = train(planned.config, args)
    except (LeaseHeld, LeaseLost) as error:
        print(f"scaling run: {error}", file=sys.stderr)
        return ELSEWHERE
    except ParentNotReadyError as error:
        print(f"scaling run: {error}", file=sys.stderr)
        return NO_PARENT
    except UserError as error:
        print(f"scaling run: {error}", file=sys.stderr)
        _keep_error(workdir, before, error)
        return BAD_INPUT
    except Exception as error:
        traceback.print_exc()
        _keep_error(workdir, before, error)
        return FAILED
    print(f"{planned.run_id}: {status}")
    return AGAIN if status == "interrupted" else DONE


@leaving_when_asked()  # between runs; inside one the loop has its own handler
def serve(
    runs: Mapping[str, PlannedRun],
    run: Callable[[PlannedRun], int],
    source: TextIO,
    answer: Callable[[str], None],
) -> int:
    """Takes run ids from `source`, one a line, until END; answers "RUN_ID STATUS" to each.

    Returns DONE, or AGAIN when asked to leave: by a signal, or because `source` closes and nobody
    is there to answer.
    """
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, orders), daemon=True).start()
    while (run_id := orders.get()) != END:
        if run_id not in runs:
            raise unknown("run", run_id, runs)
        status = run(runs[run_id])
        answer(f"{run_id} {status}\n")
        if status == AGAIN:
            return AGAIN
    return DONE


def claim_devices(mesh: str | None) -> None:
    """Starts jax with a CPU device a core, or as many as `mesh` wants.

    A process that takes several runs must not leave it to the first of them how many there are:
    the mesh of a run, and so its last bits, would depend on what ran before.
    """
    import jax

    from scaling.sharding import parse_mesh, start_cpu_devices

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = math.prod(parse_mesh(mesh).values()) if mesh else cores
    start_cpu_devices(wanted, cores or 1)
    jax.devices()


def _keep_error(workdir: pathlib.Path, before: int, error: Exception) -> None:
    """Says in status.json why the run failed, unless the loop got far enough to do so itself.

    before: the number of the attempt that status.json spoke of when this one began.
    """
    said = look(workdir.parent.parent, workdir.name)
    if said.state == "failed" and said.attempt > before:
        return
    # The cause (a full disk) may make this fail too; the log has it in any case.
    with contextlib.suppress(Exception), Lease(workdir) as lease:
        RunDir(workdir, lease).write_status("failed", error=f"{type(error).__name__}: {error}")


def _listen(source: TextIO, orders: queue.SimpleQueue) -> None:
    for line in source:
        orders.put(line.strip())
        if line.strip() == END:
            return
    os.kill(os.getpid(), signal.SIGTERM)
