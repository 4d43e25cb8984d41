"""Real training on the real Slurm, through `scaling sweep`. Minutes, so most of it is slow."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from scaling.run.record import read_metrics, read_record

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = """\
from scaling.resolve import default_config
from scaling.sweep import designs


def get_config(variant=""):
    n_runs, _, n_steps = variant.partition("x")
    base = default_config()
    base.model.depth, base.model.width, base.model.transformer.n_heads = 1, 8, 2
    base.data.name, base.data.seq_len = "markov", 16
    base.train.batch_size, base.train.duration = 8, f"{n_steps} steps"
    base.eval.n_rows = base.eval.batch_size = 8
    return designs.sweep("slurm", all=designs.group(base, axes={"seed": list(range(int(n_runs)))}))
"""


@pytest.fixture
def scaling_sweep(cluster, tmp_path):
    """scaling_sweep("12x40", *options): a sweep of 12 runs of 40 steps, into tmp_path/out."""
    config = tmp_path / "ladder.py"
    config.write_text(CONFIG)

    def call(variant, *options, wait=True):
        argv = [sys.executable, "-m", "scaling", "sweep", f"--config={config}:{variant}"]
        argv += [f"--out={tmp_path / 'out'}", f"--cache-dir={tmp_path / 'cache'}"]
        # Somebody may be editing the tree between two calls.
        argv += ["--launcher=slurm", "--slurm-poll=1", "--keep-code", *options]
        # One device a process, and no tuning of the test suite's own.
        env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
        process = subprocess.Popen(
            argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return _finish(process) if wait else process

    return call


@pytest.mark.slow
def test_a_sweep_of_twelve_runs(scaling_sweep, tmp_path):
    status, said = scaling_sweep("12x40")
    assert status == 0, said
    assert "2 arrays of 6 runs" in said
    assert len(_records(tmp_path)) == 12
    assert {r["status"] for r in _records(tmp_path).values()} == {"complete"}
    before = _submissions(tmp_path)
    status, said = scaling_sweep("12x40")
    assert status == 0, said
    assert _submissions(tmp_path) == before


@pytest.mark.slow
def test_one_run_on_two_nodes(scaling_sweep, tmp_path):
    status, said = scaling_sweep("1x40", "--slurm-nodes=2")
    assert status == 0, said
    (record,) = _records(tmp_path).values()
    # On CPUs a process has one device a core, and here a node has all cores of the machine.
    assert record["hardware"]["n_devices"] == 2 * len(os.sched_getaffinity(0))
    assert record["status"] == "complete"


@pytest.mark.slow
def test_preemption_changes_nothing(scaling_sweep, cluster, tmp_path):
    """A preempted run, its launcher gone, leaves the record of an undisturbed one."""
    launcher = scaling_sweep("1x15000", "--checkpoint-every=100%", wait=False)
    status = _status_file(cluster, tmp_path)
    launcher.send_signal(signal.SIGINT)
    assert _finish(launcher)[0] == 75  # the job goes on without it
    cluster.run(
        "sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null",
        "--wrap=sleep 2",
    )  # fmt: skip
    cluster.wait(lambda: _read(status).get("state") == "interrupted", "the run to be saved")
    saved = _read(status)["step"]
    assert 0 < saved < 15000
    assert scaling_sweep("1x15000", "--checkpoint-every=100%")[0] == 0
    (disturbed,) = _records(tmp_path).values()
    assert disturbed["attempts"] == 2
    undisturbed = _alone(tmp_path)
    for fact in ("run_id", "loss", "loss_smoothed", "n_tokens", "flops", "evals", "n_steps"):
        assert disturbed[fact] == undisturbed[fact], fact


@pytest.mark.slow
def test_two_writers_after_a_node_is_lost(scaling_sweep, cluster, tmp_path):
    """The old process lives on when Slurm starts another; it stops, and nothing is corrupted."""
    launcher = scaling_sweep("1x20000", wait=False)
    status = _status_file(cluster, tmp_path)
    (job,) = cluster.jobs("RUNNING")
    zombie = _read(status)["pid"]
    cluster.kill_node(job["nodes"], job["job_id"])
    try:
        cluster.wait(lambda: _read(status).get("attempt") == 2, "the second start")
        cluster.wait(lambda: not cluster.alive(zombie), "the first start to stop")
        assert _finish(launcher)[0] == 0
    finally:
        cluster.revive_node(job["nodes"])
    (record,) = _records(tmp_path).values()
    assert record["status"] == "complete"
    rows = read_metrics(next((tmp_path / "out" / "runs").iterdir()))
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    assert steps == list(range(1, 20001))


def _finish(process):
    try:
        said, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said


def _records(tmp_path):
    return {p.name: read_record(p) for p in (tmp_path / "out" / "runs").iterdir()}


def _submissions(tmp_path):
    return sorted(p.name for p in (tmp_path / "out" / "launch" / "slurm").iterdir())


def _status_file(cluster, tmp_path):
    """The status.json of the only run, once it has made some steps."""

    def found():
        paths = list((tmp_path / "out" / "runs").glob("*/status.json"))
        return [p for p in paths if _read(p).get("step")]

    return cluster.wait(found, "the first steps")[0]


def _read(path):
    try:
        return json.loads(path.read_text())
    except OSError:
        return {}


def _alone(tmp_path):
    """The record of the same run on this machine, without Slurm or interruption."""
    argv = [sys.executable, "-m", "scaling", "sweep", f"--config={tmp_path / 'ladder.py'}:1x15000"]
    argv += [f"--out={tmp_path / 'alone'}", f"--cache-dir={tmp_path / 'cache'}"]
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    subprocess.run(argv, cwd=ROOT, env=env, check=True, capture_output=True, timeout=240)
    (path,) = (tmp_path / "alone" / "runs").iterdir()
    return read_record(path)
