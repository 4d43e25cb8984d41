"""W&B sees a copy without secrets, and can break at any point without breaking the run."""

import logging
import sys
import threading
import types

import pytest

from scaling.errors import UserError
from scaling.run import mirror as mirror_module
from scaling.run.mirror import WandbMirror

CONFIG = {"seed": 0, "data": {"api_key": "hunter2hunter2", "path": "s3://me:hunter2hunter2@host/x"}}


class FakeRun:
    def __init__(self):
        self.rows, self.summary, self.finished = [], {}, None

    def define_metric(self, *_, **__):
        pass

    def log(self, row):
        self.rows.append(row)

    def finish(self, exit_code=0):
        self.finished = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package: `fail` is raised by init for the modes it names."""
    fake = types.ModuleType("wandb")
    fake.__spec__ = types.SimpleNamespace(name="wandb")
    fake.runs, fake.calls, fake.fail = [], [], {}
    fake.Settings = lambda **kwargs: types.SimpleNamespace(**kwargs)
    fake.teardown = lambda: None

    def init(**kwargs):
        fake.calls.append(kwargs)
        if kwargs["mode"] in fake.fail:
            raise fake.fail[kwargs["mode"]]
        fake.runs.append(FakeRun())
        return fake.runs[-1]

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "k")
    return fake


def open_mirror(workdir):
    return WandbMirror(
        "project", run_id="0123456789abcdef", name="tiny", config=CONFIG, workdir=workdir
    )


def test_rows_and_summary_arrive(tmp_path, wandb):
    mirror = open_mirror(tmp_path)
    mirror.log({"step": 3, "loss": 2.0, "evals": {"val": {"loss": 2.5, "curve": [1.0]}}})
    mirror.finish({"loss": 2.5, "evals": {"val": {"loss": 2.5}}, "warnings": []})
    (run,) = wandb.runs
    assert run.rows == [{"step": 3, "loss": 2.0, "evals/val/loss": 2.5}]
    assert run.summary == {"loss": 2.5, "evals/val/loss": 2.5, "status": "complete"}
    assert run.finished == 0


def test_secrets_and_surroundings_are_not_sent(tmp_path, wandb):
    mirror = open_mirror(tmp_path)
    mirror.log({"step": 1, "note": "hf_" + "a" * 30})
    mirror.finish({"config": CONFIG, "error": "key sk-" + "a" * 30})
    (call,) = wandb.calls
    assert call["mode"] == "online"
    assert "hunter2" not in repr(call)
    assert call["settings"].x_disable_meta
    assert call["settings"].disable_git
    assert call["settings"].console == "off"
    (run,) = wandb.runs
    assert "aaaa" not in repr((run.rows, run.summary))
    assert "hunter2" not in repr(run.summary)


def test_missing_package_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install"):
        open_mirror(tmp_path)


def test_without_a_key_it_stays_offline(tmp_path, wandb, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    open_mirror(tmp_path)
    assert [c["mode"] for c in wandb.calls] == ["offline"]


def test_network_down_at_start_falls_back_to_disk(tmp_path, wandb, caplog):
    wandb.fail = {"online": OSError("connection refused")}
    with caplog.at_level(logging.WARNING):
        mirror = open_mirror(tmp_path)
    mirror.log({"step": 1, "loss": 2.0})
    assert [c["mode"] for c in wandb.calls] == ["online", "offline"]
    assert wandb.runs[0].rows == [{"step": 1, "loss": 2.0}]
    assert caplog.text.count("connection refused") == 1


def test_nothing_works_and_training_does_not_notice(tmp_path, wandb, caplog):
    wandb.fail = {"online": OSError("down"), "offline": RuntimeError("full")}
    with caplog.at_level(logging.WARNING):
        mirror = open_mirror(tmp_path)
        mirror.log({"step": 1})
        mirror.finish({})
    assert len(caplog.records) == 2


def test_failure_while_running_is_said_once(tmp_path, wandb, caplog):
    mirror = open_mirror(tmp_path)

    def fail(_):
        raise ConnectionError("gone with wandb_v1_" + "a" * 20)

    wandb.runs[0].log = fail
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            mirror.log({"step": step})
        mirror.finish({})
    assert len(caplog.records) == 1
    assert "aaaa" not in caplog.text


def test_finish_does_not_wait_for_ever(tmp_path, wandb, monkeypatch, caplog):
    monkeypatch.setattr(mirror_module, "_FINISH_SECONDS", 0.05)
    mirror = open_mirror(tmp_path)
    release = threading.Event()
    wandb.runs[0].finish = lambda exit_code: release.wait(10)
    with caplog.at_level(logging.WARNING):
        mirror.finish({})
    release.set()
    assert "still uploading" in caplog.text


def test_real_package_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    mirror = open_mirror(tmp_path)
    mirror.log({"step": 1, "loss": 2.0})
    mirror.finish({"loss": 2.0})
    files = [p for p in (tmp_path / "wandb").rglob("*") if p.is_file()]
    assert any(p.suffix == ".wandb" for p in files)
    assert not any(b"hunter2" in p.read_bytes() for p in files)
