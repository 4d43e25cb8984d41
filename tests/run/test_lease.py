"""Exactly one writer per run directory, and a loser that knows it."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from scaling.errors import UserError
from scaling.run.lease import Lease, LeaseLost

_HOLD = """
import sys, time
from scaling.run.lease import Lease
Lease(sys.argv[1]).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease of tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _remote(workdir: pathlib.Path, token: int = 7, **changes) -> pathlib.Path:
    """A lease file as a process on another machine would have left it."""
    holder = {
        "host": "elsewhere",
        "pid": 1,
        "since": "2026-01-01T00:00:00+0000",
        "machine": "elsewhere 0000 pid:[1]",
        "process_start": "1",
        "slurm_job": None,
        "slurm_restart": 0,
    }
    path = workdir / "lease" / f"{token:08d}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(holder | changes))
    os.utime(path, ns=(0, 0))
    return path


def test_second_process_is_refused_by_name(tmp_path, holder):
    with pytest.raises(UserError, match=rf"in use by process {holder.pid} on host .* since 2"):
        Lease(tmp_path).acquire()


def test_killed_holder_is_replaced_at_once_even_before_it_is_reaped(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    # Not waited for: a zombie entry remains in the process table.
    while "State:\tZ" not in pathlib.Path(f"/proc/{holder.pid}/status").read_text():
        time.sleep(0.01)
    start = time.monotonic()
    with Lease(tmp_path) as lease:
        assert lease.token == 2
    assert time.monotonic() - start < 2


def test_reused_process_number_is_not_the_holder(tmp_path):
    with Lease(tmp_path) as lease:
        path = tmp_path / "lease" / f"{lease.token:08d}"
        stored = json.loads(path.read_text())
        assert stored["pid"] == os.getpid()
        # Our own number, but of a process that started at another time.
        path.write_text(json.dumps(stored | {"process_start": "17"}))
        with Lease(tmp_path) as newer:
            assert newer.token == lease.token + 1


def test_token_grows_over_releases_and_deaths(tmp_path):
    tokens = []
    for _ in range(3):
        with Lease(tmp_path) as lease:
            lease.check()
            tokens.append(lease.token)
    assert tokens == [1, 2, 3]
    assert [p.name for p in (tmp_path / "lease").iterdir()] == ["00000003.released"]


def test_loser_notices_and_stays_the_loser(tmp_path):
    _remote(tmp_path, token=4)
    zombie = Lease(tmp_path, interval=0.01, timeout=0.05).acquire()
    zombie.check()
    path = tmp_path / "lease" / f"{zombie.token:08d}"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process_start": "17"}))
    with Lease(tmp_path) as newer:
        with pytest.raises(LeaseLost, match=f"holds token {zombie.token}, the newest is"):
            zombie.check()
        newer.check()
    # Also after the newer one has left.
    with pytest.raises(LeaseLost):
        zombie.check()
    zombie.release()


def test_check_fails_after_release_and_after_the_directory_is_gone(tmp_path):
    lease = Lease(tmp_path / "a").acquire()
    for path in (tmp_path / "a" / "lease").iterdir():
        path.unlink()
    with pytest.raises(LeaseLost):
        lease.check()
    lease.release()
    with pytest.raises(LeaseLost):
        lease.check()


def test_remote_holder_with_heartbeat_is_alive_whatever_its_clock_says(tmp_path):
    path = _remote(tmp_path)

    def tick():
        # A clock that runs backwards: only change counts.
        time.sleep(0.3)
        os.utime(path, ns=(-(10**9), -(10**9)))

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.raises(UserError, match="host 'elsewhere'"):
        Lease(tmp_path, interval=0.05, timeout=30).acquire()
    thread.join()


def test_silent_remote_holder_is_replaced_after_the_timeout(tmp_path):
    _remote(tmp_path)
    start = time.monotonic()
    with Lease(tmp_path, interval=0.05, timeout=0.5) as lease:
        assert lease.token == 8
    assert time.monotonic() - start >= 0.5


def test_heartbeat_moves_the_counter(tmp_path):
    with Lease(tmp_path, interval=0.02, timeout=1) as lease:
        path = tmp_path / "lease" / f"{lease.token:08d}"
        deadline = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 2 <= path.stat().st_mtime < 1000


@pytest.mark.parametrize(("mine", "taken"), [(1, True), (0, False)])
def test_requeued_slurm_job_beats_its_old_process(tmp_path, monkeypatch, mine, taken):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(mine))
    path = _remote(tmp_path, slurm_job="77", slurm_restart=0)
    stop = threading.Event()

    def beat():
        tick = 0
        while not stop.wait(0.02):
            tick += 1
            if path.exists():
                os.utime(path, ns=(tick * 10**9, tick * 10**9))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        if taken:
            with Lease(tmp_path, interval=0.05, timeout=30) as lease:
                assert lease.token == 8
        else:
            with pytest.raises(UserError, match="in use"):
                Lease(tmp_path, interval=0.05, timeout=30).acquire()
    finally:
        stop.set()
        thread.join()


def test_of_many_that_start_at_once_one_wins(tmp_path):
    won, refused = [], []
    barrier = threading.Barrier(8)

    def run():
        lease = Lease(tmp_path)
        barrier.wait()
        try:
            won.append(lease.acquire())
        except UserError:
            refused.append(lease)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    won[0].check()
    won[0].release()


def test_late_winner_of_an_old_number_steps_back(tmp_path, monkeypatch):
    """Paused between looking and creating, while others came, went and cleaned up."""
    _remote(tmp_path, token=5)
    create = Lease._create

    def paused_create(self, path):
        if path.name == "00000006":
            _remote(tmp_path, token=9)
            (tmp_path / "lease" / "00000005").unlink()
        return create(self, path)

    monkeypatch.setattr(Lease, "_create", paused_create)
    with Lease(tmp_path, interval=0.01, timeout=0.05) as lease:
        assert lease.token == 10
    assert not (tmp_path / "lease" / "00000006").exists()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_there_is_still_one_holder(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    first = Lease(tmp_path).acquire()
    with pytest.raises(UserError, match="in use by process"):
        Lease(tmp_path).acquire()
    # Two that see the same number free: one creates it.
    path = tmp_path / "lease" / "00000009"
    assert [first._create(path), first._create(path)] == [True, False]
    path.unlink()
    first.release()
    with Lease(tmp_path) as second:
        assert second.token == 2


def test_torn_lease_file_is_not_a_reason_to_crash(tmp_path):
    _remote(tmp_path).write_text('{"host": "els')
    with Lease(tmp_path, interval=0.01, timeout=0.05) as lease:
        assert lease.token == 8


def test_unwritable_workdir_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Lease(tmp_path / "file" / "run").acquire()
