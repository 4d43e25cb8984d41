"""The process that takes one run after another, and the table of what lies on disk."""

import os
import signal
import subprocess
import sys
import time

import pytest

from scaling.run.lease import Lease, seems_held
from scaling.sweep import logs
from scaling.sweep.survey import counts, look, newest_checkpoint
from tests.sweep.fakes import planned, write_checkpoint, write_record, write_status

# `serve` with runs that only wait; "saved" is what a run's own handler would do on SIGTERM.
SERVE = """\
import sys, time
from scaling.sweep.worker import serve

def run(seconds):
    try:
        time.sleep(seconds)
    except SystemExit:
        print("saved", file=sys.stderr)
        raise
    return 0

def answer(text):
    print(text, end="", flush=True)

sys.exit(serve({"short": 0.0, "long": 60.0}, run, sys.stdin, answer))
"""


@pytest.fixture
def worker():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("short\n")
    process.stdin.flush()
    assert process.stdout.readline() == "short 0\n"
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def test_end_ends_it(worker):
    worker.stdin.write("short\n.\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "short 0\n"
    assert worker.wait(20) == 0


def test_when_the_launcher_dies_the_run_is_saved(worker):
    worker.stdin.write("long\n")
    worker.stdin.flush()
    time.sleep(0.2)
    worker.stdin.close()
    assert worker.wait(20) == 75
    assert "saved" in worker.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_between_runs_ends_it(worker, number):
    worker.send_signal(number)
    assert worker.wait(20) == 75


def test_output_of_each_attempt_has_a_file_of_its_own(tmp_path):
    for text in ("one", "two"):
        with logs.logged(tmp_path, "run"):
            os.write(1, text.encode())
            print("and python", file=sys.stderr, flush=True)
    found = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert found == ["run.1.log", "run.2.log"]
    assert (tmp_path / "logs" / "run.2.log").read_bytes().startswith(b"two")


def test_what_lies_on_disk_is_told_apart(tmp_path):
    ids = [planned(n).run_id for n in range(11)]
    write_record(tmp_path, ids[0])
    write_status(tmp_path, ids[0], "running", step=2)  # killed between record and status
    write_record(tmp_path, ids[1], "diverged")
    write_status(tmp_path, ids[2], "failed", error="no\nroom", attempt=2)
    write_status(tmp_path, ids[3], "running", step=1, total_steps=4, tokens_per_s=9.0)
    write_status(tmp_path, ids[4], "complete")  # its record was taken away
    (tmp_path / "runs" / ids[5]).mkdir()
    write_status(tmp_path, ids[6], "running", step=1, total_steps=4, eta_s=3.0)
    (tmp_path / "runs" / ids[7]).mkdir()
    (tmp_path / "runs" / ids[7] / "status.json").write_text('{"state": "runn')
    write_status(tmp_path, ids[8], "complete")
    (tmp_path / "runs" / ids[8] / "record.json").write_text('{"run_id": "00')  # half a record
    write_record(tmp_path, ids[9])
    os.rename(tmp_path / "runs" / ids[9], tmp_path / "runs" / ids[10])  # another run's record
    with Lease(tmp_path / "runs" / ids[6]):
        views = {run_id: look(tmp_path, run_id) for run_id in ids}
        assert seems_held(tmp_path / "runs" / ids[6])
    assert not seems_held(tmp_path / "runs" / ids[6])
    assert [view.state for view in views.values()] == [
        *("complete", "diverged", "failed", "interrupted", "interrupted"),
        *("pending", "running", "pending", "failed", "pending", "failed"),
    ]
    assert all("damaged" in views[ids[n]].error for n in (8, 10))
    assert views[ids[2]].error == "no\nroom"
    # Only what runs has a speed and a time left.
    assert (views[ids[3]].tokens_per_s, views[ids[6]].eta_s) == (None, 3.0)
    assert views[ids[3]].fraction == 0.25
    assert sum(counts(views.values()).values()) == len(ids)


def test_a_dead_process_holds_nothing(tmp_path):
    code = "import sys, os; from scaling.run.lease import Lease; Lease(sys.argv[1]).acquire()"
    subprocess.run([sys.executable, "-c", f"{code}; os._exit(9)", str(tmp_path)], check=False)
    assert not seems_held(tmp_path)


def test_half_a_checkpoint_is_none(tmp_path):
    run_id = planned(0).run_id
    assert newest_checkpoint(tmp_path, run_id) == -1
    write_checkpoint(tmp_path, run_id, 3)
    directory = tmp_path / "runs" / run_id / "checkpoints"
    (directory / "step_0000000009.scaling-tmp").mkdir()
    (directory / "step_0000000007.damaged").mkdir()
    assert newest_checkpoint(tmp_path, run_id) == 3
