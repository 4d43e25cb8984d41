"""When probes run: while training, at the end, afterwards; what is there is not asked again."""

import json
import shutil

import pytest

from scaling.cli import main
from scaling.durations import Duration
from scaling.errors import UserError
from scaling.probes import schedule
from scaling.resolve import probe_section, resolve, run_id, to_dict
from scaling.run.record import read_metrics, read_record
from scaling.training import reprobe
from scaling.training import train as loop
from scaling.training.prepare import RunArgs
from tests.helpers import small_config

STEPS = 6
PROBES = {
    "often": probe_section("cipher", every="2 steps", n_items=20, shots=[0, 2], queries=2),
    "end": probe_section("cipher", n_items=30, shots=[0], queries=1),
}


def config_of(probes=PROBES, **data):
    return small_config(
        model={"depth": 1, "width": 16, "n_heads": 2},
        data={"name": "cipher", "seq_len": 14, "cipher": {"n_symbols": 4, "n_known": 9}} | data,
        train={"duration": f"{STEPS} steps", "batch_size": 8, "steps_per_dispatch": 4},
        probes=probes,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("probed") / "run"
    args = RunArgs(
        workdir=workdir,
        mesh="data:2",
        checkpoint_every=Duration(3, "steps"),
        cache_dir=workdir.parent / "cache",
        quiet=True,
    )
    assert loop.train(config_of(), args) == "complete"
    return workdir


@pytest.fixture
def run(trained, tmp_path):
    """A copy of its own of the trained run."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def results(workdir):
    return sorted(str(p.relative_to(workdir)) for p in workdir.glob("probes/*/*.json"))


def test_probes_run_at_their_steps_and_at_the_end(trained):
    steps = {"often": (2, 4, 6), "end": (6,)}
    expected = [f"probes/{k}/step_{s:010d}.json" for k in ("end", "often") for s in steps[k]]
    assert results(trained) == expected
    record = read_record(trained)
    assert set(record["probes"]) == {"often", "end"}
    for label, found in record["probes"].items():
        on_disk = json.loads((trained / expected[-1 if label == "often" else 0]).read_text())
        assert found == on_disk
        assert found["n_tokens"] == record["n_tokens"]
    assert record["time_s"]["probes"] > 0
    rows = [r for r in read_metrics(trained) if r["kind"] == "probe"]
    assert [(r["step"], r["label"]) for r in rows] == [
        (2, "often"),
        (4, "often"),
        (6, "often"),
        (6, "end"),
    ]
    assert "accuracy/condition=novel,shots=2,queries=1" in rows[0]


def test_probes_are_not_part_of_the_run():
    assert run_id(config_of()) == run_id(config_of(probes={}))
    assert resolve(to_dict(config_of())) == config_of()


def test_killed_before_the_record_asks_only_what_is_missing(run, monkeypatch):
    asked = []
    real = schedule.run_probe
    monkeypatch.setattr(schedule, "run_probe", lambda *a: asked.append(a[0]) or real(*a))
    before = read_record(run)["probes"]
    (run / "record.json").unlink()
    (run / "probes/end/step_0000000006.json").write_text('{"half": ')
    args = RunArgs(workdir=run, mesh="data:2", cache_dir=run.parent / "cache", quiet=True)
    assert loop.train(config_of(), args) == "complete"
    assert asked == ["end"]
    assert read_record(run)["probes"] == before


def test_afterwards_equals_during_training(run, capsys):
    path = run / "probes/often/step_0000000006.json"
    before = json.loads(path.read_text())
    path.unlink()
    assert main(["probe", str(run), "--mesh=data:2"]) == 0
    assert "1 probe results" in capsys.readouterr().out
    assert json.loads(path.read_text()) == before
    assert main(["probe", str(run), "--mesh=data:2"]) == 0
    assert "0 probe results" in capsys.readouterr().out


def test_emergence_finds_what_was_just_asked(run, tmp_path, monkeypatch, capsys):
    """Of one run, and of a directory of runs; of an earlier checkpoint with --steps."""
    monkeypatch.chdir(tmp_path)
    probe = "--probe=late=cipher:n_items=10,shots=1+2,queries=2"
    ask = ["emergence", str(tmp_path), "--metric", "accuracy", "--where", "label=late"]
    assert main(["probe", str(tmp_path), probe, "--mesh=data:2", "--step=3"]) == 0
    assert main([*ask, "--draws", "20"]) == 2
    assert "late was asked before the end only: add --steps" in capsys.readouterr().err
    assert main([*ask, "--steps", "--draws", "20"]) == 0
    assert main(["probe", str(run), probe, "--mesh=data:2"]) == 0
    assert main([*ask, "--draws", "20"]) == 0
    found = json.loads((tmp_path / "emergence.json").read_text())["conditions"]
    result = json.loads((run / "probes/late/step_0000000006.json").read_text())
    right = [g["metrics"].get("accuracy", {"n": 0}) for g in result["groups"]]
    want = sorted(one["sum"] / one["n"] for one in right if one["n"])
    assert sorted(one["levels"][0]["mean"] for one in found.values()) == want


def test_any_checkpoint_of_any_run_of_a_sweep(run, tmp_path):
    shutil.copytree(run, tmp_path / "out/runs/a")
    shutil.copytree(run, tmp_path / "out/runs/b")
    probe = "--probe=late=cipher:n_items=10,shots=1+2,queries=2"
    assert main(["probe", str(tmp_path / "out"), probe, "--step=all", "--mesh=data:2"]) == 0
    for name in "ab":
        found = sorted((tmp_path / "out/runs" / name / "probes/late").iterdir())
        assert [json.loads(p.read_text())["step"] for p in found] == [3, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probe=ciper"], "did you mean 'cipher'"),
        (["--probe=cipher:n_item=3"], "did you mean 'n_items'"),
        (["--probe=cipher:n_items=3,n_items=4"], "given twice"),
        (["--probe=cipher", "--probe=cipher:n_items=4"], "given twice"),
        (["--probe=cipher:n_items"], "not option=value"),
        (["--probe=x=cipher:shots=0+6"], "do not fit"),
        (["--probe=x=cipher:shots=1+1"], "different numbers"),
        (["--probe=x=cipher:shots=0", "--mesh=foo"], "foo"),
        (["--probe=x=task:file=none.jsonl"], "cannot be read"),
        (["--probe=x=cipher:queries=7,shots=3"], "queries=7"),
        (["--probe=often=cipher:n_items=4,shots=0"], "label of their own"),
        (["--step=5"], "there are: 3, 6"),
        (["--step=newest"], "neither"),
        (["--probe=../x=cipher"], "label"),
    ],
)
def test_bad_input_changes_nothing(trained, arguments, message, capsys):
    before = results(trained)
    assert main(["probe", str(trained), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert results(trained) == before


def test_a_checkpoint_of_another_vocabulary_is_refused(run, capsys):
    stored = json.loads((run / "config.json").read_text())
    stored["config"]["data"]["cipher"]["n_known"] = 16
    (run / "config.json").write_text(json.dumps(stored))
    assert main(["probe", str(run), "--probe=y=cipher:shots=0+1", "--mesh=data:2"]) == 2
    assert "this program needs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ({"ciper": {}}, "did you mean 'cipher'"),
        ({"a": {"name": "cipher", "cipher": {"shot": [1]}}}, "did you mean 'shots'"),
        ({"a b": {"name": "cipher"}}, "label 'a b'"),
        ({"a": 3}, "must be a section"),
        (["cipher"], "sections by label"),
    ],
)
def test_configs_are_checked_at_the_boundary(probes, message):
    with pytest.raises(UserError, match=message):
        config_of(probes=probes)


def test_a_probe_that_does_not_fit_stops_before_training(tmp_path):
    config = config_of({"cipher": {"cipher": {"shots": [9]}}})
    with pytest.raises(UserError, match="shots=9"):
        loop.train(config, RunArgs(workdir=tmp_path / "run", mesh="data:2", quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_directory_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        reprobe.find_runs(tmp_path)
