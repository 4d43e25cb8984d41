"""A branch is bit for bit the run trained alone, whatever interrupted it or its trunk."""

import dataclasses
import json
import shutil

import pytest

from experiments.reliability.kill_resume import compare
from scaling.durations import Duration
from scaling.errors import UserError
from scaling.run.branch import ParentNotReadyError
from scaling.run.checkpoint import Checkpointer
from scaling.run.record import read_metrics, read_record
from scaling.training import train as loop
from scaling.training.prepare import RunArgs
from tests.helpers import small_config

LONG, SHORT, LEAVES = 16, 10, 7  # steps; the short run decays over 30 % of its length
# Facts of an attempt, and what names the trunk.
OWN = {"record: code", "record: parent", f"step_{SHORT:010d} host state: parent"}


def config_of(steps, **sections):
    return small_config(
        model={"depth": 1, "width": 16, "n_heads": 2},
        train={"duration": f"{steps} steps", "batch_size": 8, "steps_per_dispatch": 3}
        | sections.pop("train", {}),
        eval={"every": "5 steps", "n_rows": 8, "batch_size": 8},
        optim={"schedule": {"name": "wsd", "warmup": "2 steps", "wsd": {"decay": "30%"}}}
        | sections.pop("optim", {}),
        **sections,
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def args(cache):
    def make(workdir, **changes):
        # keep_last=1: but for keep_steps, the checkpoint that a branch needs would be collected.
        settings = {"mesh": "data:2", "checkpoint_every": Duration(4, "steps"), "keep_last": 1}
        return RunArgs(workdir, **settings, cache_dir=cache, quiet=True, **changes)

    return make


@pytest.fixture(scope="session")
def trunk(tmp_path_factory, args):
    workdir = tmp_path_factory.mktemp("trunk") / "run"
    assert loop.train(config_of(LONG), args(workdir, keep_steps=(LEAVES,))) == "complete"
    return workdir


@pytest.fixture(scope="session")
def alone(tmp_path_factory, args):
    """The short run, trained alone; its checkpoints are those of steps that a branch has too."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    assert loop.train(config_of(SHORT), args(workdir)) == "complete"
    return workdir


def stops_after(monkeypatch, *groups):
    """Asks the run to stop after each of these numbers of dispatches."""
    asked = iter([ask for n in groups for ask in [*[False] * (n - 1), True]])
    monkeypatch.setattr(loop.StopRequest, "requested", lambda self: next(asked, False))


def check_branch(workdir, trunk, alone):
    assert set(compare(alone, workdir)) <= OWN
    record = read_record(workdir)
    assert record["parent"] == {"run_id": read_record(trunk)["run_id"], "step": LEAVES}
    other = read_record(alone)
    for field in ("loss", "loss_smoothed", "n_tokens", "flops", "run_id", "n_steps"):
        assert record[field] == other[field], field


def test_a_branch_equals_the_run_trained_alone(trunk, alone, args, tmp_path):
    branch = args(tmp_path / "run", parent=(trunk, LEAVES))
    assert loop.train(config_of(SHORT), branch) == "complete"
    check_branch(branch.workdir, trunk, alone)
    assert read_record(alone)["parent"] is None


def test_an_interrupted_branch_goes_on_from_its_own_checkpoint(
    trunk, alone, args, tmp_path, monkeypatch
):
    branch = args(tmp_path / "run", parent=(trunk, LEAVES))
    with monkeypatch.context() as patch:
        stops_after(patch, 1)
        assert loop.train(config_of(SHORT), branch) == "interrupted"
    # The trunk is not needed any more.
    again = args(tmp_path / "run", parent=(tmp_path / "gone", LEAVES))
    assert loop.train(config_of(SHORT), again) == "complete"
    check_branch(branch.workdir, trunk, alone)


def test_the_trunk_may_be_interrupted_and_continued_without_its_arguments(
    alone, args, tmp_path, monkeypatch
):
    first = args(tmp_path / "trunk", keep_steps=(LEAVES,))
    with monkeypatch.context() as patch:
        stops_after(patch, 2, 5)
        assert loop.train(config_of(LONG), first) == "interrupted"
        assert loop.train(config_of(LONG), first) == "interrupted"
    assert loop.train(config_of(LONG), args(tmp_path / "trunk")) == "complete"
    with Checkpointer(tmp_path / "trunk" / "checkpoints", fingerprint={}) as checkpointer:
        assert checkpointer.steps() == [LEAVES, LONG]
    branch = args(tmp_path / "run", parent=(tmp_path / "trunk", LEAVES))
    assert loop.train(config_of(SHORT), branch) == "complete"
    check_branch(branch.workdir, tmp_path / "trunk", alone)


def test_a_trunk_that_has_not_come_that_far_is_waited_for(args, tmp_path, monkeypatch):
    branch = args(tmp_path / "run", parent=(tmp_path / "trunk", LEAVES))
    with pytest.raises(ParentNotReadyError, match="has not started"):
        loop.train(config_of(SHORT), branch)
    with monkeypatch.context() as patch:
        stops_after(patch, 1)
        trunk = args(tmp_path / "trunk", keep_steps=(LEAVES,))
        assert loop.train(config_of(LONG), trunk) == "interrupted"
    with pytest.raises(ParentNotReadyError, match="no checkpoint of step 7 yet"):
        loop.train(config_of(SHORT), branch)


@pytest.mark.parametrize("fault", ["absent", "damaged"])
def test_a_trunk_that_lost_the_checkpoint_costs_time_only(
    fault, trunk, alone, args, tmp_path, caplog
):
    step = 5 if fault == "absent" else LEAVES
    parent = trunk
    if fault == "damaged":
        parent = tmp_path / "copy"
        shutil.copytree(trunk, parent)
        (parent / "checkpoints" / f"step_{LEAVES:010d}" / "host.json").write_text("{}")
    branch = args(tmp_path / "run", parent=(parent, step))
    assert loop.train(config_of(SHORT), branch) == "complete"
    assert "training from step 0" in caplog.text
    assert set(compare(alone, branch.workdir)) <= OWN
    assert read_record(branch.workdir)["parent"] is None


def test_rules_of_divergence_see_the_losses_of_the_trunk(trunk, alone, args, tmp_path):
    """The running mean depends on the run's own length, and so may what it stops at."""
    first = next(r["loss"] for r in read_metrics(trunk) if r["kind"] == "train")
    config = config_of(SHORT, train={"max_loss": first - 1e-6})
    long = config_of(LONG, train={"max_loss": first - 1e-6})
    stopped = args(tmp_path / "trunk", keep_steps=(LEAVES,))
    assert loop.train(long, stopped) == "diverged"
    assert loop.train(config, args(tmp_path / "run", parent=(stopped.workdir, LEAVES))) == (
        "diverged"
    )
    assert read_record(tmp_path / "run")["divergence"]["step"] == 1


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optim": {"peak_lr": 0.01}}, r"optim\.peak_lr: 0\.003 -> 0\.01"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"data": {"seq_len": 8}}, r"data\.seq_len: 16 -> 8"),
        (
            {"optim": {"schedule": {"name": "wsd", "warmup": "2 steps", "wsd": {"decay": "80%"}}}},
            "learning rates differ from step 3 on",
        ),
    ],
)
def test_another_run_is_no_trunk(sections, message, trunk, args, tmp_path):
    with pytest.raises(UserError, match=message):
        loop.train(config_of(SHORT, **sections), args(tmp_path / "run", parent=(trunk, LEAVES)))
    assert not (tmp_path / "run").exists()


def test_warm_up_as_a_share_has_no_common_trunk(args, tmp_path):
    share = {"schedule": {"name": "wsd", "warmup": "20%", "wsd": {"decay": "30%"}}}
    long = args(tmp_path / "trunk", keep_steps=(LEAVES,))
    loop.train(config_of(LONG, optim=share), long)
    branch = args(tmp_path / "run", parent=(long.workdir, LEAVES))
    with pytest.raises(UserError, match=r"learning rates differ from step 1 on.*share is not"):
        loop.train(config_of(SHORT, optim=share), branch)


@pytest.mark.parametrize("step", [0, SHORT, SHORT + 1])
def test_a_branch_leaves_before_its_end(step, trunk, args, tmp_path):
    with pytest.raises(UserError, match="cannot branch from step"):
        loop.train(config_of(SHORT), args(tmp_path / "run", parent=(trunk, step)))


def test_the_label_of_the_trunk_does_not_matter(trunk, args, tmp_path):
    config = dataclasses.replace(config_of(SHORT), name="other")
    assert loop.train(config, args(tmp_path / "run", parent=(trunk, LEAVES))) == "complete"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["name"] == "other"
