"""When a checkpoint cannot be written: one clear error, and nothing older is lost."""

import os
import pathlib
import resource
import shutil
import subprocess

import pytest

from scaling.run.checkpoint import CheckpointError
from scaling.run.lease import Lease, LeaseLost
from tests.run.checkpoint_cases import (
    abstract,
    assert_same,
    make_state,
    open_checkpointer,
    restore,
    save_two,
)


@pytest.fixture
def saved(tmp_path):
    return save_two(tmp_path)


def test_failed_write_is_one_clear_line_and_costs_nothing_older(saved):
    checkpointer = open_checkpointer(saved)
    checkpointer.restore(abstract(make_state()))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writes beyond 100 kB into one file fail, as they do over a quota.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        checkpointer.save(30, make_state(30, size=512), {})
        with pytest.raises(
            CheckpointError, match=r"step 30 .*the one of step 20 is intact"
        ) as info:
            checkpointer.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(info.value)
    assert sorted(p.name for p in saved.iterdir()) == ["step_0000000010", "step_0000000020"]
    # Space is back: the run can go on saving.
    checkpointer.save(40, make_state(40), {})
    checkpointer.close()
    assert_same(restore(saved).state, make_state(40))


@pytest.mark.parametrize("call", ["write_atomic", "write_manifest", "os.rename"])
def test_failed_save_is_invisible_and_raised_by_the_next_one(saved, monkeypatch, call):
    checkpointer = open_checkpointer(saved)
    rename = os.rename

    def fail(*arguments):
        # Orbax renames too; only the last rename is ours.
        if call == "os.rename" and pathlib.Path(arguments[1]).parent != saved:
            return rename(*arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"scaling.run.checkpoint.{call}", fail)
    checkpointer.save(30, make_state(30), {})
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpointer.save(40, make_state(40), {})
    checkpointer.close()
    assert checkpointer.steps() == [10, 20]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_full_disk(small_disk):
    checkpointer = open_checkpointer(small_disk)
    checkpointer.save(1, make_state(1), {})
    checkpointer.save(2, make_state(2, size=1024), {})
    with pytest.raises(CheckpointError, match=r"the disk is full: .*step 1 is intact"):
        checkpointer.close()
    # What the failed save had written does not keep the disk full.
    assert shutil.disk_usage(small_disk).free > 500_000
    assert_same(restore(small_disk).state, make_state(1))


def test_lost_lease_saves_nothing(tmp_path):
    with Lease(tmp_path) as lease:
        checkpointer = open_checkpointer(tmp_path / "c", lease=lease)
        checkpointer.save(1, make_state(1), {})
        checkpointer.wait()
        (tmp_path / "lease" / "00000099").write_text("{}")
        with pytest.raises(LeaseLost):
            checkpointer.save(2, make_state(2), {})
        assert checkpointer.steps() == [1]
        checkpointer.close()


def test_lease_lost_during_the_save_keeps_it_invisible(tmp_path, monkeypatch):
    with Lease(tmp_path) as lease:
        checkpointer = open_checkpointer(tmp_path / "c", lease=lease)
        answers = iter([None, LeaseLost("taken")])

        def check():
            answer = next(answers)
            if answer is not None:
                raise answer

        monkeypatch.setattr(lease, "check", check)
        checkpointer.save(2, make_state(2), {})
        with pytest.raises(LeaseLost):
            checkpointer.close()
        assert checkpointer.steps() == []
