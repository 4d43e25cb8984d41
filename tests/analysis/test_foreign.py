"""Other people's exports: recognised by what they hold, read to the values in them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.emergence import analyse_groups
from scaling.analysis.fit import fit
from scaling.analysis.probe_table import load_probes, metrics_of
from scaling.analysis.tables.choose import rename
from scaling.analysis.tables.foreign import FILES, TABLES, format_of, translate
from scaling.analysis.tables.foreign.proposal import proposal
from scaling.analysis.tables.join import joined
from scaling.analysis.tables.read import as_table, read
from scaling.cli import main
from scaling.errors import UserError

DATA = Path(__file__).parent.parent / "data"
CASES = DATA / "cases"
CHART = CASES / "09-wandb-chart-csv" / "chart.csv"
RESULTS = CASES / "11-lm-eval-json" / "results"
QUICK = {"profile": False, "starts": 60}


def test_a_chart_export_is_one_row_a_run_and_step():
    table, said = read(CHART)
    raw = pd.read_csv(CHART)
    assert list(table.columns) == ["run", "step", "val/loss"]
    assert len(table) == 14
    for run in ("tiny-20m", "small-120m", "base-800m"):
        got = table[table["run"] == run].set_index("step")["val/loss"]
        want = raw.set_index("Step")[f"{run} - val/loss"].dropna()
        assert got.to_dict() == want.to_dict()
    assert "W&B chart export" in said[0]
    assert "--join" in said[0]


def test_a_chart_with_two_metrics_and_runs_with_dashes():
    names = ["a - b - loss", "a - b - loss__MIN", "a - b - loss__MAX", "a - b - acc", "c - loss"]
    wide = pd.DataFrame([[1, *range(5)], [2, *range(5, 10)]], columns=["train/tokens", *names])
    table, _ = translate(wide)
    assert list(table.columns) == ["run", "train/tokens", "loss", "acc"]
    assert table["run"].tolist() == ["a - b", "a - b", "c", "c"]
    assert table["loss"].tolist() == [0, 5, 4, 9]
    assert table["acc"].isna().tolist() == [False, False, True, True]


def test_what_a_chart_cannot_say_is_asked_for_by_name(tmp_path, capsys):
    out = tmp_path / "x.csv"
    argv = ["import", "csv", str(CHART), "--out", str(out)]
    assert main([*argv, "--map", "loss=tiny-20m - val/loss,n_tokens=step"]) == 2
    assert "W&B chart export" in capsys.readouterr().err
    assert main([*argv, "--map", "n_tokens=step,loss=val/loss"]) == 2
    said = capsys.readouterr().err
    assert "n_params=COLUMN" in said
    assert "--join" in said
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("run,n_params\ntiny-20m,2e7\nsmall-120m,1.2e8\nbase-800m,8e8\n")
    argv += ["--map", "n_tokens=step,loss=val/loss", "--unit", "n_tokens=1048576"]
    assert main([*argv, "--join", str(sizes)]) == 0
    assert sorted(as_table(out)[0]["n_params"].unique()) == [2e7, 1.2e8, 8e8]


def test_dicts_in_cells_become_columns():
    """The guide's project.csv fits what the plain table of the same runs fits."""
    table, said = read(CASES / "10-wandb-guide-csv" / "project.csv")
    assert {"summary.val_loss", "summary.tokens", "config.n_params", "config.lr"} <= set(table)
    assert "summary" in said[0]
    plain = rename(
        table,
        {"loss": "summary.val_loss", "n_tokens": "summary.tokens", "n_params": "config.n_params"},
    )
    # Of renames pandas makes a pair where units are told too.
    plain = plain[0] if isinstance(plain, tuple) else plain
    got = fit("chinchilla", plain, **QUICK)
    want = fit("chinchilla", CASES / "07-lr-sweep" / "best_by_hand.csv", **QUICK)
    assert got.status == "ok"
    assert got.params["alpha"].value == pytest.approx(want.params["alpha"].value, abs=0.03)


def test_cells_are_read_as_literals_and_never_run(tmp_path):
    marker = tmp_path / "ran"
    cells = [
        "{'a': 1, 'b': {'c': nan}, 'd': [1, 2]}",
        '{"a": 2, "b": {"c": Infinity}}',
        f"{{'a': __import__('pathlib').Path({str(marker)!r}).touch()}}",
        "{" * 5000 + "}" * 5000,
        "{'a': 3, 'b': {'c': -inf}}",
        None,
    ]
    table, said = translate(pd.DataFrame({"summary": cells, "name": list("uvwxyz")}))
    assert not marker.exists()
    assert list(table.columns) == ["name", "summary.a", "summary.b.c"]
    np.testing.assert_array_equal(table["summary.a"], [1, 2, np.nan, np.nan, 3, np.nan])
    np.testing.assert_array_equal(table["summary.b.c"][[1, 4]], [np.inf, -np.inf])
    assert "2 cell(s) of 'summary' cannot be read" in said[1]
    with pytest.raises(UserError, match="a cell has"):
        translate(pd.DataFrame({"s": ["{'a': '" + "x" * 1_000_001 + "'}"]}))


def test_nanochats_tables():
    """Both headers are those of the scripts that write them; the values are made up."""
    laws = pd.DataFrame(
        {
            "flops_budget": [1e18, 1e18], "depth": [10, 12], "model_dim": [640, 768],
            "params_wte": [21e6, 25e6], "params_value_embeds": [1e6, 1e6],
            "params_lm_head": [21e6, 25e6], "params_transformer": [49e6, 85e6],
            "params_scalars": [20, 24], "params_total": [92e6, 136e6],
            "num_iterations": [3000, 2000], "tokens_trained": [1.6e9, 1.05e9],
            "val_bpb": [0.95, 0.93], "core_score": [0.12, 0.0], "train_time_sec": [100, 90],
        }
    )  # fmt: skip
    table, said = translate(laws)
    assert table["n_params"].tolist() == [92e6, 136e6]
    assert table["n_tokens"].tolist() == [1.6e9, 1.05e9]
    assert table["flops"].tolist() == [1e18, 1e18]
    assert "loss" not in table  # bits a byte are no nats a token
    assert "--map loss=val_bpb" in said[0]
    assert "core_score is 0.0 in 1 row(s)" in said[1]
    series = laws.rename(columns={"params_total": "num_params"}).drop(columns="flops_budget")
    assert translate(series)[0]["n_params"].tolist() == [92e6, 136e6]
    with pytest.raises(UserError, match="loss=val_bpb"):
        fit("chinchilla", table)


def test_olmos_histories():
    """Columns as in OLMo-ladder's ladder-runs/190M-1xC.csv; the values are made up."""
    history = pd.DataFrame(
        {
            "_step": [200, 400],
            "eval/c4_en-validation/CrossEntropyLoss": [6.03, 5.2],
            "throughput/total_tokens": [1e8, 2e8],
            "throughput/total_training_Gflops": [1.1e8, 2.2e8],
            "learning_rate_peak": [1e-3, 1e-3],
        }
    )
    table, said = translate(history)
    assert table["n_tokens"].tolist() == [1e8, 2e8]
    assert table["flops"].tolist() == [1.1e17, 2.2e17]
    assert "--map loss=eval/c4_en-validation/CrossEntropyLoss" in said[0]


def test_lm_eval_results_of_a_folder_have_the_onset_of_the_table(tmp_path, monkeypatch, capsys):
    """The folder and the CSV with `acc,none` hold the same runs."""
    monkeypatch.chdir(tmp_path)
    for source, metric, more in (
        (RESULTS, "acc", []),
        (CASES / "11-lm-eval-json" / "acc_none.csv", "acc,none", ["--n-items", "1000"]),
        (CASES / "11-lm-eval-json" / "acc_none.csv", "acc,none", []),
    ):
        argv = ["emergence", str(source), "--metric", metric, "--chance", "0.25", *more]
        assert main([*argv, "--draws", "50"]) == 0
        (found,) = json.loads(Path("emergence.json").read_text())["conditions"].values()
        assert found["onset"]["x"] == pytest.approx(4.1e8)
        items = {level["n_items"] for level in found["levels"]}
        assert all(abs(n - 1000) < 10 for n in items)
    assert "items are counted from acc_stderr,none" in capsys.readouterr().out


def test_lm_eval_tables_hold_what_the_files_hold():
    table = load_probes(RESULTS)
    assert metrics_of(table) == ["acc", "acc_norm", "exact_match"]
    one = table[(table["model"] == "lab/model-1b") & (table["label"] == "toy_mc")].iloc[0]
    assert one[["n_params", "n_items", "acc", "filter"]].tolist() == [1e9, 1000, 0.396, "none"]
    strict = table[(table["model"] == "lab/model-1b") & (table["label"] == "toy_gen")].iloc[0]
    assert strict[["exact_match", "filter", "shots"]].tolist() == [0.156816, "strict-match", 5]


def results_file(place, name="results_2025-01-01.json", **changes):
    """A small file of lm-eval's schema; `changes` replace its top-level entries."""
    content = {
        "results": {
            "mmlu": {"acc,none": 0.3, "acc_stderr,none": "N/A", "alias": "mmlu"},
            "mmlu_a": {"acc,none": 0.25, "acc_stderr,none": 0.04, "sample_len": 100},
            "mmlu_b": {"acc,none": 0.35, "acc_stderr,none": 0.03, "alias": " - b"},
        },
        "groups": {"mmlu": {"acc,none": 0.3, "acc_stderr,none": "N/A"}},
        "group_subtasks": {"mmlu": ["mmlu_a", "mmlu_b"]},
        "n-shot": {"mmlu_a": 5, "mmlu_b": 5},
        "n-samples": {"mmlu_b": {"original": 900, "effective": 200}},
        "config": {"model_args": "pretrained=lab/m,revision=step10", "model_num_parameters": -1},
        "versions": {},
        "date": 5.0,
    }
    place.mkdir(exist_ok=True)
    (place / name).write_text(json.dumps(content | changes))
    return place


def test_lm_eval_counts_revisions_dates_and_unknown_sizes(tmp_path):
    place = results_file(tmp_path / "m")
    newer = {"mmlu_a": {"acc,none": 0.27}}
    results_file(place, "results_2.json", results=newer, groups={}, date=6.0)
    results_file(place, "results_3.json", config={"model_args": {"pretrained": "lab/m"}}, date=4)
    (place / "results_other.json").write_text("[1]")
    table, said = read(tmp_path)
    said = "\n".join(said)
    assert set(table["run_id"]) == {"lab/m@step10", "lab/m"}
    step = table[table["run_id"] == "lab/m@step10"].set_index("label")
    assert step.loc["mmlu_a", "acc"] == 0.27  # the newer
    assert step.loc["mmlu_b", "n_items"] == 200  # those asked, of 900
    assert step.loc["mmlu", "n_items"] == 300
    assert "1 older results" in said
    assert "no lm-eval results" in said
    assert "do not say how large lab/m" in said
    with pytest.raises(UserError, match=r"no row has both n_params and acc.*--join"):
        analyse_groups(table, "acc", chance=0.25)
    (tmp_path / "s.csv").write_text("model,n_params\nlab/m,7e7\n")
    filled, _ = joined(table, tmp_path / "s.csv")
    assert set(filled["n_params"]) == {7e7}


def test_lm_eval_before_filters(tmp_path):
    old = {"arc": {"acc": 0.5, "acc_stderr": 0.01, "acc_norm": 0.6, "acc_norm_stderr": 0.01}}
    config = {"model": "gpt2", "model_args": "pretrained=gpt2", "num_fewshot": 25}
    results_file(tmp_path / "g", results=old, groups={}, config=config, **{"n-shot": {}})
    table, _ = read(tmp_path / "g")
    row = table.iloc[0]
    assert row[["acc", "acc_norm", "shots", "model"]].tolist() == [0.5, 0.6, 25, "gpt2"]
    n = analyse_groups(table.assign(n_params=1e8), "acc", chance=0.25)
    assert next(iter(n.values())).levels[0].n_items == pytest.approx(2501)


@pytest.mark.parametrize("registry", [FILES, TABLES])
def test_formats_do_not_take_what_is_not_theirs(registry, tmp_path):
    """Published tables, our own kinds of directories and odd files are nobody's export."""
    (tmp_path / "x.json").write_text('{"results": 3}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path in [*(DATA / "published").rglob("*.csv*"), *tmp_path.iterdir(), tmp_path]:
        if registry is FILES:
            assert format_of(path) is None
        elif ".csv" in path.suffixes:
            raw = pd.read_csv(path)
            assert [n for n in registry if registry.load(n).recognise(raw)] == []


def test_published_tables_come_through_the_door_unchanged():
    for path in (DATA / "published").rglob("*.csv*"):
        table, said = read(path)
        assert said == []
        assert len(table) == len(pd.read_csv(path))


@pytest.mark.parametrize(
    ("columns", "want"),
    [
        (["model.n_params", "train/tokens_seen", "val/loss", "optim.lr"],
         {"n_params": "model.n_params", "n_tokens": "train/tokens_seen", "loss": "val/loss"}),
        (["N", "D", "L"], {"n_params": "N", "n_tokens": "D", "loss": "L"}),
        (["params", "tokens", "train_loss", "val_loss"],
         {"n_params": "params", "n_tokens": "tokens", "loss": "val_loss"}),
        (["a", "b"], {}),
    ],
)  # fmt: skip
def test_a_map_is_proposed(columns, want):
    assert proposal(columns, ["n_params", "n_tokens", "loss"]) == want


def test_a_wandb_runs_table_is_proposed_a_map_and_read_by_its_states(tmp_path, capsys):
    """25 finished, 3 of them without a loss; crashed and running ones are no final losses."""
    runs = str(CASES / "08-wandb-runs-csv" / "runs.csv")
    assert main(["fit", runs]) == 2
    said = capsys.readouterr().err
    flag = "--map n_params=model.n_params,n_tokens=train/tokens_seen,loss=val/loss"
    assert flag in said
    assert main(["fit", runs, *flag.split(), "--no-profile", "--starts", "60"]) == 0
    said = capsys.readouterr().out
    assert "22 points" in said
    assert "4 crashed, 1 running" in said
    out = tmp_path / "w.csv"
    assert main(["import", "csv", runs, *flag.split(), "--out", str(out)]) == 0
    assert "status is column 'State'" in capsys.readouterr().err
    states = pd.read_csv(out)["status"].value_counts()
    assert states.to_dict() == {"complete": 25, "failed": 4, "running": 1}
    want = fit("chinchilla", as_table(out)[0], **QUICK)
    assert want.params["alpha"].value == pytest.approx(0.34344, abs=1e-4)


def test_join_refuses_what_it_cannot_match(tmp_path):
    table = pd.DataFrame({"run": ["a", "b"], "loss": [1, 2]})
    for text, words in (
        ("n_params\n1\n", "no column of names is in both"),
        ("run,n_params\na,1\na,2\n", "run=a stands there more than once"),
        ("run,n_params\nx,1\n", "none of its 1 rows"),
    ):
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(UserError, match=words):
            joined(table, tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("run,n_params\na,1\n")
    out, said = joined(table, tmp_path / "s.csv")
    assert out["n_params"].isna().tolist() == [False, True]
    assert "1 rows are not in" in said[1]


def test_a_folder_of_ours_is_never_a_folder_of_results(tmp_path):
    shutil.copytree(RESULTS, tmp_path / "r")
    assert format_of(tmp_path / "r").name == "results of lm-eval"
    (tmp_path / "r" / "sweep.json").write_text("{}")
    assert format_of(tmp_path / "r") is None
