"""Stands in for `scaling run` where Slurm is what is looked at: the same lease, directory, signals
and exit statuses, no jax, tenths of seconds.

    python stand_in.py OUT RUN_ID STEPS

Leaves metrics.jsonl with one row a step and status.json; its "checkpoint" is the file `step`.
"""

import pathlib
import sys
import time

from scaling.doors.files import write_atomic
from scaling.run.interrupt import install
from scaling.run.lease import Lease, LeaseHeld, LeaseLost
from scaling.run.record import RunDir
from scaling.sweep.protocol import AGAIN, DONE, ELSEWHERE


def main(out: str, run_id: str, total: int, *_: str) -> int:
    workdir = pathlib.Path(out, "runs", run_id)
    asked = []
    install(lambda *_: asked.append(True))
    try:
        with Lease(workdir) as lease:
            run_dir, saved = RunDir(workdir, lease), workdir / "step"
            step = int(saved.read_text()) if saved.exists() else 0
            run_dir.rewind(step if step else -1)
            while step < total:
                time.sleep(0.05)
                step += 1
                run_dir.metrics({"step": step, "attempt": lease.token})
                if asked:
                    lease.check()
                    write_atomic(saved, f"{step}")
                    run_dir.write_status("interrupted", step=step)
                    return AGAIN
                run_dir.write_status("running", step=step)
            run_dir.write_status("complete", step=step)
            return DONE
    except (LeaseHeld, LeaseLost) as error:
        # Slurm may have left, and with it the other end of stderr.
        pathlib.Path(out, f"lost-{time.time_ns()}").write_text(str(error))
        return ELSEWHERE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
