"""The loop: a run is a pure function of its config, however often it is interrupted."""

import dataclasses
import json

import pytest

from experiments.reliability.kill_resume import compare
from scaling.durations import Duration
from scaling.errors import UserError
from scaling.run.checkpoint import Checkpointer
from scaling.run.record import read_metrics, read_record, read_status, schema_fault
from scaling.training import train as loop
from scaling.training.prepare import RunArgs
from tests.helpers import small_config

STEPS = 12


def config_of(**sections):
    return small_config(
        model={"depth": 1, "width": 16, "n_heads": 2},
        train={"duration": f"{STEPS} steps", "batch_size": 8, "steps_per_dispatch": 3},
        eval={"every": "5 steps", "n_rows": 8, "batch_size": 8},
        **sections,
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def args(tmp_path, cache):
    return RunArgs(
        workdir=tmp_path / "run",
        mesh="data:2",
        checkpoint_every=Duration(4, "steps"),
        keep_last=1,
        cache_dir=cache,
        quiet=True,
    )


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("unbroken") / "run"
    run_args = RunArgs(workdir=workdir, mesh="data:2", keep_last=1, cache_dir=cache, quiet=True)
    assert loop.train(config_of(), run_args) == "complete"
    return workdir


def test_a_run_leaves_a_complete_record(unbroken):
    record = read_record(unbroken)
    assert schema_fault(record) is None
    assert record["status"] == read_status(unbroken)["state"] == "complete"
    assert record["n_steps"] == STEPS
    assert record["n_tokens"] == STEPS * 8 * 16
    assert record["loss"] == record["evals"]["val"]["loss"]
    assert record["flops"] == record["flops_by_convention"]["chinchilla"]
    assert record["attempts"] == 1
    assert record["hardware"]["mesh"] == {"data": 2, "fsdp": 1, "tensor": 1}
    assert record["data"]["row_entropy"] < record["loss"]
    rows = read_metrics(unbroken)
    assert [r["step"] for r in rows if r["kind"] == "train"] == list(range(1, STEPS + 1))
    assert [r["step"] for r in rows if r["kind"] == "eval"] == [5, 10, 12]
    assert rows[-1]["loss"] == record["loss"]
    assert sum(record["time_s"].values()) == pytest.approx(record["wall_time_s"])


def test_the_same_command_again_does_nothing(unbroken, monkeypatch, args):
    before = (unbroken / "record.json").read_bytes()
    monkeypatch.setattr(loop, "prepare", lambda *_: pytest.fail("nothing needs preparing"))
    again = RunArgs(workdir=unbroken, mesh="data:2", quiet=True)
    assert loop.train(config_of(), again) == "complete"
    assert (unbroken / "record.json").read_bytes() == before


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_interrupted_and_resumed_equals_unbroken(stop_after, args, unbroken, monkeypatch):
    """Bit for bit: parameters, optimiser state, counters, metrics; stopped between any groups."""
    asked = iter([*[False] * (stop_after - 1), True])
    with monkeypatch.context() as patch:
        patch.setattr(loop.StopRequest, "requested", lambda self: next(asked))
        assert loop.train(config_of(), args) == "interrupted"
    assert read_status(args.workdir)["state"] == "interrupted"
    assert not (args.workdir / "record.json").exists()
    assert loop.train(config_of(), args) == "complete"
    # Somebody may edit the code while the suite runs; that is not what is tested here.
    assert set(compare(unbroken, args.workdir)) <= {"record: code"}
    record = read_record(args.workdir)
    assert record["attempts"] == 2
    assert record["loss"] == read_record(unbroken)["loss"]
    assert record["loss_smoothed"] == read_record(unbroken)["loss_smoothed"]


def test_resuming_on_another_mesh_goes_on_with_the_same_numbers(args, unbroken, monkeypatch):
    asked = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(loop.StopRequest, "requested", lambda self: next(asked))
        assert loop.train(config_of(), args) == "interrupted"
    other = RunArgs(**{**vars(args), "mesh": "data:2,fsdp:2,tensor:2"})
    assert loop.train(config_of(), other) == "complete"
    assert read_record(args.workdir)["loss"] == pytest.approx(
        read_record(unbroken)["loss"], rel=1e-5
    )


def test_a_changed_config_is_refused_by_name(args, monkeypatch):
    monkeypatch.setattr(loop.StopRequest, "requested", lambda self: True)
    assert loop.train(config_of(), args) == "interrupted"
    with pytest.raises(UserError, match=r"optim\.peak_lr: 0\.003 -> 0\.01"):
        loop.train(config_of(optim={"peak_lr": 0.01}), args)


def test_what_fails_before_the_loop_is_one_failed_attempt(args, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "Checkpointer", full)
    with pytest.raises(OSError, match="No space"):
        loop.train(config_of(), args)
    status = read_status(args.workdir)
    assert (status["state"], status["attempt"]) == ("failed", 1)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"optim": {"peak_lr": 1e4, "weight_decay": 1e3}}, "not finite"),
        ({"rule": {"max_loss": 0.1}}, "max_loss=0.1"),
        ({"rule": {"spike_factor": 0.5}}, "running mean"),
    ],
    ids=["nan", "max_loss", "spike"],
)
def test_divergence_is_recorded_and_no_bad_checkpoint_is_kept(rule, reason, args):
    config = config_of(optim=rule.get("optim", {}))
    if "rule" in rule:
        config = dataclasses.replace(
            config, train=dataclasses.replace(config.train, **rule["rule"])
        )
    assert loop.train(config, args) == "diverged"
    record = read_record(args.workdir)
    assert reason in record["divergence"]["reason"]
    assert record["loss"] is None
    assert loop.train(config, args) == "diverged"  # Nothing is tried again.
    steps = Checkpointer(args.workdir / "checkpoints", fingerprint={}).steps()
    assert all(step < record["divergence"]["step"] for step in steps)
    for row in read_metrics(args.workdir):
        json.dumps(row, allow_nan=False)
