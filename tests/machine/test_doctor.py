"""The doctor says what is there, what is not, and what to do about it."""

import json
import shutil

import pytest

from scaling.cli import main
from scaling.machine import doctor


@pytest.fixture
def findings(tmp_path):
    found = doctor.examine(tmp_path / "cache", tmp_path, measure=False)
    return {f.name: f for f in found}


def test_everything_is_answered(findings):
    assert {"python", "packages", "devices", "load", "compile cache", "disk", "Slurm", "SkyPilot",
            "W&B"} <= set(findings)  # fmt: skip
    assert findings["packages"].state == findings["devices"].state == "ok"


def test_whatever_is_not_fine_comes_with_advice(findings):
    assert all(f.advice for f in findings.values() if f.state != "ok")


def test_nothing_is_written(tmp_path):
    doctor.examine(tmp_path / "cache", tmp_path, measure=False)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_a_problem(tmp_path, monkeypatch):
    real = doctor.versions()
    monkeypatch.setattr(doctor, "versions", lambda: real | {"optax": None})
    found = {f.name: f for f in doctor.examine(tmp_path, tmp_path, measure=False)}
    assert found["packages"].state == "problem"
    assert "optax" in found["packages"].advice
    assert main(["doctor", "--no-measure", f"--out={tmp_path}"]) == 1


def test_a_backend_that_does_not_start_is_a_problem_and_not_a_traceback(tmp_path, monkeypatch):
    def refuse():
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr(doctor, "hardware", refuse)
    found = {f.name: f for f in doctor.examine(tmp_path, tmp_path)}
    assert found["devices"].state == "problem"
    assert "matmul rate" not in found


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    found = {f.name: f for f in doctor.examine(tmp_path, tmp_path, measure=False)}
    assert found["disk"].state == "warn"


def test_slurm_without_submitit_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    found = {f.name: f for f in doctor.examine(tmp_path, tmp_path, measure=False)}
    assert "scaling[launch]" in found["Slurm"].advice
    assert found["W&B"].state == "absent"


def test_the_command_prints_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("scaling.machine.hardware._SIDES", (64,))
    assert main(["doctor", "--json", f"--out={tmp_path}", f"--cache-dir={tmp_path / 'c'}"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert "FLOP/s" in found["matmul rate"]["found"]
    assert main(["doctor", "--no-measure", f"--out={tmp_path}"]) == 0
    assert "Slurm" in capsys.readouterr().out
    assert main(["doctor", f"--out={tmp_path / 'absent'}"]) == 2
