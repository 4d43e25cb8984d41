"""`scaling show`: readable, scriptable, harmless."""

import json
import subprocess
import sys

import pytest

from scaling.cli import main
from scaling.doors.terminal import printable
from scaling.run.lease import Lease
from scaling.run.record import RunDir, now
from tests.helpers import probe_result

HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202egnol \r\n$(reboot)"


@pytest.fixture
def record():
    groups = ("embedding", "position", "attention", "mlp", "head", "norm", "total", "non_embedding")
    return {
        "run_id": "0123456789abcdef",
        "name": HOSTILE,
        "config": {"seed": 0, "model": {"width": 64, "note": HOSTILE}},
        "status": "complete",
        "params": dict.fromkeys(groups, 1234567),
        "n_params": 1234567,
        "n_tokens": 4096,
        "n_steps": 2,
        "flops": 3.25e9,
        "flops_by_convention": {"kaplan": 1e9, "compiler": None},
        "loss": 2.512345,
        "loss_smoothed": None,
        "evals": {HOSTILE: {"loss": 2.512345, "n_tokens": 10, "loss_per_position": [3.0, 2.0]}},
        "probes": {"copy": probe_result("copy")},
        "seeds": {"params": 0},
        "data": {"fingerprint": HOSTILE},
        "versions": {"python": "3.11", "jax": "0.10.2", "scaling": "0.1.0", "grain": None},
        "code": {"source_hash": "ab", "commit": None, "dirty": None},
        "hardware": {
            "platform": "cpu",
            "device_kind": "cpu",
            "n_devices": 8,
            "host_cpu": HOSTILE,
        },
        "wall_time_s": 3.0,
        "compile_time_s": 1.0,
        "time_s": dict.fromkeys(("steps", "compile", "eval", "data", "checkpoint"), 0.5),
        "n_skipped_updates": 0,
        "divergence": None,
        "warnings": [HOSTILE],
        "parent": None,
        "created": now(),
        "finished": now(),
    }


def _write(workdir, record):
    with Lease(workdir) as lease:
        return RunDir(workdir, lease).write_record(record)


def test_prints_what_matters_and_nothing_dangerous(tmp_path, record, capsys):
    _write(tmp_path, record)
    assert main(["show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for text in ("0123456789abcdef", "complete", "2.5123", "1,234,567", "3.25e+09", "novel"):
        assert text in out
    assert "[bold]x[/bold]" in out
    assert not any(c in out for c in "\x1b\x07\r\u202e")


def test_json_is_the_record_and_ascii(tmp_path, record, capsys):
    written = _write(tmp_path, record)
    assert main(["show", "--json", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == written
    assert out.isascii()
    assert "\x1b" not in out


def test_run_without_a_record_shows_how_far_it_is(tmp_path, capsys):
    with Lease(tmp_path) as lease:
        run = RunDir(tmp_path, lease)
        run.write_config({"name": "tiny", "seed": 3}, "0123456789abcdef")
        run.rewind(-1)
        run.metrics({"step": 17, "loss": 2.25})
        run.write_status("running", step=17, eta_s=12.0)
        run.close()
    assert main(["show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for text in ("no record yet", "seed=3", "17", "2.25", "running"):
        assert text in out


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_is_not_a_run_is_bad_input(tmp_path, capsys, arguments):
    assert main(["show", str(tmp_path / "nowhere"), *arguments]) == 2
    captured = capsys.readouterr()
    assert "does not exist" in captured.err
    assert captured.err.count("\n") == 1


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["show", "--help"])
    assert stop.value.code == 0
    assert "scaling show runs/tiny" in capsys.readouterr().out


def test_printable_spells_out_control_characters():
    assert printable("a\x1b\n\u202eé\ud800") == "a\\x1b\\n\\u202eé\\ud800"


def test_show_does_not_load_jax(tmp_path, record):
    _write(tmp_path, record)
    code = (
        "import sys; from scaling.cli import main; "
        f"status = main(['show', {str(tmp_path)!r}]); "
        "sys.exit(status or int(bool({'jax', 'flax', 'orbax'} & sys.modules.keys())))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
