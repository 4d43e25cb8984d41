"""metrics.jsonl: whole rows, each once, and a word about every one that is gone."""

import dataclasses
import io
import json
import shutil

import pytest

from scaling.cli import main
from scaling.config import ProbeConfig
from scaling.durations import Duration
from scaling.probes.schedule import PlannedProbe, Prober, result_path
from scaling.run.metrics import copy_rows, in_words, losses, rows, saved_steps, spans
from scaling.run.record import read_metrics, read_record
from scaling.training import train as loop
from scaling.training.prepare import RunArgs
from tests.helpers import probe_result, small_config

STEPS = 12


def train_row(step, **facts):
    return {
        "step": step,
        "kind": "train",
        "loss": 2.0,
        "n_tokens": 8 * step,
        "skipped": 0.0,
    } | facts


def write(path, *lines):
    path.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines))
    return path


def test_every_row_counts_once_and_torn_ones_not_at_all(tmp_path, caplog):
    evaluated = {"step": 2, "kind": "eval", "set": "val", "loss": 1.0}
    path = write(
        tmp_path / "m.jsonl",
        train_row(1),
        train_row(2),
        evaluated,
        {**evaluated, "set": "other"},
        train_row(2, loss=9.0),
        evaluated,
        '{"step": 3, "kind": "tra\n',
        {"step": 3, "kind": "train"},
        train_row(3, loss="2.0"),
        train_row(True),
        train_row(-1),
        "[1]\n",
        train_row(4, loss=None),
    )
    found = list(rows(path))
    assert [(r["step"], r["kind"], r.get("set")) for r in found] == [
        *((1, "train", None), (2, "train", None), (2, "eval", "val"), (2, "eval", "other")),
        (4, "train", None),
    ]
    assert found[1]["loss"] == 2.0
    assert "2 rows stand there again" in caplog.text
    assert caplog.text.count("torn line left out") == 6
    copied = io.StringIO()
    copy_rows(path, 2, copied)
    assert copied.getvalue().count("\n") == 4


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (range(1, 11), None),
        (range(5, 11), "training rows: steps 1-4 are gone (4 of 10)"),
        ([1, 3, 4, 5, 6, 9, 10], "training rows: steps 2, 7-8 are gone (3 of 10)"),
        ([], "training rows: steps 1-10 are gone (10 of 10)"),
    ],
)
def test_the_steps_that_are_gone_are_named(tmp_path, kept, said):
    path = write(tmp_path / "m.jsonl", *(train_row(step) for step in kept))
    found = losses(path, 10)
    assert found == ([f"metrics.jsonl has lost {said}"] if said else [])
    with_evals = losses(path, 10, evals=[5, 10])
    assert with_evals[-1].endswith("evaluation rows: steps 5, 10 are gone (2 of 2)")


def test_no_file_is_every_row_lost_and_no_step_none(tmp_path):
    assert losses(tmp_path / "m.jsonl", 3) == [
        "metrics.jsonl has lost training rows: steps 1-3 are gone (3 of 3)"
    ]
    assert losses(tmp_path / "m.jsonl", 0) == []


def test_ranges_in_words():
    assert spans([1, 2, 3, 7]) == [(1, 3), (7, 7)]
    assert in_words([(1, 3), (7, 7)]) == "1-3, 7"
    assert in_words(spans(range(0, 60, 2))).endswith("38 and 10 more ranges")


def test_saved_steps(tmp_path):
    for name in ("step_0000000010", "step_0000000004", "step_0000000012.damaged", "other"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert saved_steps(tmp_path) == [4, 10]
    assert saved_steps(tmp_path / "nowhere") == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def half(tmp_path_factory, cache):
    """(config, arguments) of a run that was stopped after step 6 of 12, evaluated every 3."""
    config = small_config(
        model={"depth": 1, "width": 16, "n_heads": 2},
        train={"duration": f"{STEPS} steps", "batch_size": 8, "steps_per_dispatch": 3},
        eval={"every": "3 steps", "n_rows": 8, "batch_size": 8},
    )
    workdir = tmp_path_factory.mktemp("half") / "run"
    args = RunArgs(workdir, mesh="data:2", checkpoint_every=Duration(100, "%"), cache_dir=cache,
                   quiet=True)  # fmt: skip
    asked = iter([False, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.StopRequest, "requested", lambda self: next(asked))
        assert loop.train(config, args) == "interrupted"
    return config, args


@pytest.fixture
def stopped(half, tmp_path):
    config, args = half
    shutil.copytree(args.workdir, tmp_path / "run")
    return config, dataclasses.replace(args, workdir=tmp_path / "run")


DAMAGE = {
    "cut": (lambda lines: [*lines[:2], lines[2][:20]], ["3-6 are gone (4 of 12)"], True),
    "deleted": (lambda lines: None, ["1-6 are gone (6 of 12)"], True),
    "torn": (lambda lines: [*lines[:1], "{\n", *lines[2:], *lines], [], False),
    "no evaluation": (lambda lines: [x for x in lines if '"eval"' not in x], [], True),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_rows_lost_below_a_checkpoint_are_said_in_the_record_and_by_show(what, stopped, capsys):
    config, args = stopped
    path = args.workdir / "metrics.jsonl"
    change, train, evals = DAMAGE[what]
    lines = change(path.read_text().splitlines(keepends=True))
    path.unlink() if lines is None else path.write_text("".join(lines))
    assert main(["show", str(args.workdir)]) == 0
    early = capsys.readouterr().out.replace("\n", " ")
    assert bool(train) == ("training rows" in early)
    assert loop.train(config, args) == "complete"
    warnings = read_record(args.workdir)["warnings"]
    lost = [f"metrics.jsonl has lost training rows: steps {gone}" for gone in train]
    if evals:
        lost.append("metrics.jsonl has lost evaluation rows: steps 3, 6 are gone (2 of 4)")
    assert [text for text in warnings if "has lost" in text] == lost
    kept = [row["step"] for row in read_metrics(args.workdir) if row["kind"] == "train"]
    assert len(kept) == len(set(kept))
    assert main(["show", str(args.workdir)]) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert shown.count("are gone") == len(lost)


def test_results_of_probes_that_are_gone_are_named(tmp_path):
    probe = PlannedProbe("copy", ProbeConfig("repeats"), 3)
    prober = Prober((probe,), tmp_path, None, None, log=None, write=None)
    assert prober.lost(0, 9) == ["probe copy: no result of steps 3, 6, 9 is there"]
    for step in (3, 9):
        path = result_path(tmp_path, "copy", step)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(probe_result("copy")))
    assert prober.lost(0, 9) == ["probe copy: no result of steps 6 is there"]
    # What the trunk was asked lies with the trunk.
    assert prober.lost(6, 9) == []


def test_rows_lost_after_the_end_are_said_by_show(stopped, capsys):
    config, args = stopped
    assert loop.train(config, args) == "complete"
    (args.workdir / "metrics.jsonl").write_text("")
    assert main(["show", str(args.workdir)]) == 0
    assert "steps 1-12 are gone" in capsys.readouterr().out.replace("\n", " ")


def test_a_branch_whose_trunk_has_lost_rows_is_trained_alone(stopped, tmp_path, caplog):
    """Its running mean would otherwise be made of what is left; alone it is what it should be."""
    from tests.sweep.test_branch import LEAVES, LONG, SHORT, config_of

    _, args = stopped
    args = dataclasses.replace(args, workdir=tmp_path / "trunk", keep_steps=(LEAVES,))
    assert loop.train(config_of(LONG), args) == "complete"
    path = args.workdir / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[3:]))
    branch = dataclasses.replace(
        args, workdir=tmp_path / "branch", keep_steps=(), parent=(args.workdir, LEAVES)
    )
    assert loop.train(config_of(SHORT), branch) == "complete"
    assert "steps 1-3 are gone (3 of 7); training from step 0" in caplog.text
    record = read_record(branch.workdir)
    assert record["parent"] is None
    assert not any("lost" in text for text in record["warnings"])
    steps = [row["step"] for row in read_metrics(branch.workdir) if row["kind"] == "train"]
    assert steps == list(range(1, SHORT + 1))
