"""Every way in which a machine, a scheduler or a terminal says "leave": saved, and exit 75."""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

from scaling.cli import main
from scaling.run.interrupt import ANNOUNCED, EXIT_AGAIN, REQUESTS, SIGNALS, StopRequest
from scaling.run.record import read_record, read_status
from scaling.training.progress import ProgressLine

ROOT = pathlib.Path(__file__).parents[2]
SMALL = [
    f"--config={ROOT}/configs/tiny.py:small",
    "--config.data.name=markov",
    "--config.data.seq_len=16",
    "--config.model.width=16",
    "--config.model.transformer.n_heads=2",
    "--config.model.depth=1",
    "--config.train.batch_size=8",
    "--config.train.steps_per_dispatch=3",
    "--config.eval.n_rows=8",
    "--config.eval.batch_size=8",
    "--mesh=data:1",
]


@pytest.fixture(autouse=True)
def defaults():
    """The test may run under nohup; what it changes it gives back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_saves_and_the_second_kills(number):
    with StopRequest() as stop:
        assert not stop.requested()
        os.kill(os.getpid(), number)
        assert stop.requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert all(signal.getsignal(number) is signal.SIG_DFL for number in SIGNALS)


@pytest.mark.parametrize("number", ANNOUNCED)
def test_what_nohup_ignores_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        assert not stop.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested()
    assert signal.getsignal(number) is signal.SIG_IGN


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def elsewhere():
        with StopRequest() as stop:
            seen.extend(signal.getsignal(number) for number in SIGNALS)
            seen.append(stop.requested())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL] * len(SIGNALS) + [False]


# Its first argument is the terminal's other end, its output the terminal.
HANG_UP = """\
import os, signal, sys
from scaling.run.interrupt import listening

heard = []
with listening(lambda number, _: heard.append(number)):
    os.close(int(sys.argv[1]))
    os.kill(os.getpid(), signal.SIGHUP)
    os.write(1, b"saved")
sys.exit(0 if heard == [signal.SIGHUP] else 1)
"""


def test_a_terminal_that_has_gone_takes_no_message():
    """Writing to it is an error, and the run must not fail for that."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-c", HANG_UP, str(master)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=slave, pass_fds=[master])
    os.close(slave)
    os.close(master)
    assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_train_saves_and_exits_75(number, tmp_path, monkeypatch):
    """Case 33: at SIGUSR1 the run ended with 138 and no checkpoint."""
    argv = ["train", *SMALL, "--config.train.duration=12 steps", f"--workdir={tmp_path / 'run'}"]
    with monkeypatch.context() as patch:
        patch.setattr(ProgressLine, "update", lambda *_: os.kill(os.getpid(), number))
        assert main(argv) == EXIT_AGAIN
    assert read_status(tmp_path / "run")["state"] == "interrupted"
    assert any((tmp_path / "run" / "checkpoints").glob("step_*"))
    assert main(argv) == 0
    assert read_record(tmp_path / "run")["attempts"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("early", [True, False], ids=["at the start", "in the loop"])
@pytest.mark.parametrize("number", REQUESTS)
def test_the_command_exits_75_whenever_it_is_asked(number, early, tmp_path):
    process = _train(tmp_path / "run", stdout=subprocess.DEVNULL)
    _wait(lambda: early or (tmp_path / "run" / "metrics.jsonl").exists())
    # Python itself takes a moment before any handler can be there.
    time.sleep(2.0)
    process.send_signal(number)
    assert process.wait(120) == EXIT_AGAIN
    assert early or read_status(tmp_path / "run")["state"] == "interrupted"


@pytest.mark.slow
def test_closing_the_terminal_saves_the_run(tmp_path):
    master, slave = pty.openpty()
    process = _train(tmp_path / "run", stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    _wait(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == EXIT_AGAIN
    assert read_status(tmp_path / "run")["state"] == "interrupted"


def _train(workdir, **streams):
    argv = [*SMALL, "--config.train.duration=2000000 steps", f"--workdir={workdir}"]
    return subprocess.Popen([sys.executable, "-m", "scaling", "train", *argv], cwd=ROOT, **streams)


def _wait(there):
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)
