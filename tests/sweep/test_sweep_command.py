"""`scaling sweep` as a user calls it: real runs, the same command again, and what it refuses."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from scaling.cli import main
from scaling.errors import UserError
from scaling.run.record import read_record
from scaling.sweep import read_sweep, snapshot

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
from scaling.resolve import default_config
from scaling.sweep import designs

def get_config(variant=""):
    base = default_config()
    base.model.depth, base.model.width, base.model.transformer.n_heads = 1, 8, 1
    base.data.name, base.data.seq_len = "markov", 8
    base.train.batch_size, base.train.steps_per_dispatch = 2, 4
    base.train.duration = "40 steps"
    base.eval.n_rows = base.eval.batch_size = 2
    if variant:
        return designs.sweep("other", plain=designs.seeds(base, int(variant)))
    wild = base.copy_and_resolve_references()
    wild.train.max_loss = 0.1
    tree = base.copy_and_resolve_references()
    tree.optim.schedule.name, tree.optim.schedule.warmup = "wsd", "2 steps"
    lengths = ("40 steps", "20 steps")
    return designs.sweep(
        "small",
        wild=designs.seeds(wild, 1),
        tree=designs.group(tree, axes={"budget": lengths}, trunk=True),
    )
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(CONFIG)
    return path


def command(config, out, *options, variant=""):
    # --keep-code: somebody may edit the tree while the tests run.
    return [f"--config={config}{variant and ':'}{variant}", f"--out={out}", *options]


def launch(config, out, *options, variant=""):
    words = [sys.executable, "-m", "scaling", "sweep", "--keep-code"]
    return subprocess.Popen(
        [*words, *command(config, out, *options, variant=variant)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A sweep with a diverged run, a trunk and its branch, done by the command."""
    out = tmp_path_factory.mktemp("sweeps") / "small"
    process = launch(config, out, "--workers=1")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert "2 complete, 1 diverged" in said
    return out


def test_every_run_has_a_record_of_the_snapshot(finished):
    sweep = read_sweep(finished)
    code = snapshot.facts(finished)
    assert sweep.code["source_hash"] == code["source_hash"]
    for planned in sweep.runs:
        record = read_record(finished / "runs" / planned.run_id)
        assert record["status"] in ("complete", "diverged")
        ours = {key: code[key] for key in ("source_hash", "commit", "dirty", "diff_hash")}
        assert record["code"] == ours
        assert list((finished / "logs").glob(f"{planned.run_id}.1.log"))
    branch = next(planned for planned in sweep.runs if planned.parent)
    assert read_record(finished / "runs" / branch.run_id)["parent"]["step"] == branch.parent.step


def test_the_same_command_again_does_nothing(finished, config, capsys):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("record.json")}
    assert main(["sweep", "--keep-code", *command(config, finished)]) == 0
    assert "3 of them done" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("record.json")} == before


def test_status_and_runs_have_each_run_once(finished, tmp_path, capsys):
    assert main(["status", str(finished)]) == 0
    assert "2 complete, 1 diverged" in capsys.readouterr().out
    table = tmp_path / "runs.csv"
    assert main(["runs", str(finished), f"--csv={table}"]) == 0
    assert "2 complete, 1 diverged" in capsys.readouterr().out
    rows = list(csv.DictReader(table.open(newline="")))
    assert sorted(row["run_id"] for row in rows) == sorted(
        planned.run_id for planned in read_sweep(finished).runs
    )
    assert {row["status"]: bool(row["loss"]) for row in rows} == {
        "complete": True,
        "diverged": False,
    }


def test_a_run_that_is_done_is_not_done_again_by_the_job(finished):
    run_id = read_sweep(finished).runs[0].run_id
    words = [sys.executable, "-m", "scaling", "run", str(finished), f"--run-id={run_id}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_record(finished / "runs" / run_id)["attempts"] == 1


def test_a_directory_of_another_sweep_is_refused(finished, config):
    with pytest.raises(UserError, match="belongs to another sweep"):
        _sweep("--keep-code", *command(config, finished, variant="2"))


def test_other_code_under_one_run_id_is_refused(finished, config, monkeypatch):
    monkeypatch.setattr(snapshot, "source_hash", lambda *_: "0" * 16)
    with pytest.raises(UserError, match=r"other code .*--keep-code"):
        _sweep(*command(config, finished))
    assert _sweep("--keep-code", "--dry-run", *command(config, finished)) == 0
    run_id = read_sweep(finished).runs[0].run_id
    path = finished / "runs" / run_id / "record.json"
    text = path.read_text()
    record = json.loads(text)
    record["code"]["source_hash"] = "f" * 16
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=f"run {run_id}.* made by other code"):
        _sweep("--keep-code", *command(config, finished))
    path.write_text(text)


def test_a_directory_of_something_else_is_refused(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        _sweep(*command(config, tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--launcher=slrum"], "slurm"),
        (["--retries=-1"], "--retries=-1"),
        (["--workers=0"], "--workers=0"),
        (["--checkpoint-every=often"], "--checkpoint-every"),
        (["--mesh=data:x"], "data:x"),
        (["--mesh=data:7"], "make it a multiple of 7"),
    ],
)
def test_bad_options_launch_and_write_nothing(config, tmp_path, options, message):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=message):
        _sweep(*command(config, out, *options))
    assert not out.exists()


def test_too_many_runs_need_yes(config, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="--yes"):
        _sweep(*command(config, out, variant="10001"))
    assert not out.exists()


def test_a_dry_run_writes_nothing(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert _sweep("--dry-run", *command(config, out)) == 0
    assert "3 runs" in capsys.readouterr().out
    assert not out.exists()


def test_a_prepared_directory_is_all_that_another_engine_needs(config, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "code").mkdir(parents=True)  # of a launcher that was killed at once
    assert _sweep("--prepare", *command(config, out)) == 0
    assert f"scaling run {out}" in capsys.readouterr().out
    assert len(read_sweep(out).runs) == 3
    assert (out / "code" / "scaling" / "training" / "train.py").exists()
    assert not (out / "runs").exists()


def test_stopped_sweeps_go_on_with_the_code_they_began_with(config, tmp_path):
    out = tmp_path / "out"
    long = "--config.groups.plain.base.train.duration=4000 steps"
    first = launch(config, out, long, "--workers=1", variant="1")
    wait_for(lambda: any(out.glob("runs/*/metrics.jsonl")) or first.poll() is not None)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=60)[0]
    assert first.returncode == 75, said
    assert "run the same command again" in said
    (run_id,) = (planned.run_id for planned in read_sweep(out).runs)
    assert not (out / "runs" / run_id / "record.json").exists()
    # What the job runs is the snapshot: a change there is seen, one of the tree is not.
    marker = out / "code" / "scaling" / "core" / "evaluate.py"
    marker.write_text(marker.read_text() + '\nprint("this is the snapshot")\n')
    again = launch(config, out, long, "--workers=1", variant="1")
    said = again.communicate(timeout=120)[0]
    assert again.returncode == 0, said
    logs = [path.read_text() for path in sorted((out / "logs").glob(f"{run_id}.*.log"))]
    assert "this is the snapshot" in "".join(logs)
    assert read_record(out / "runs" / run_id)["attempts"] == 2


def _sweep(*words):
    """The verb itself, so that a UserError can be looked at."""
    from scaling.cli.sweep import sweep

    return sweep(list(words))
