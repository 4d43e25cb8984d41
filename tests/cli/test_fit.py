"""The verbs of the laws, as a user types them."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from scaling.cli import main
from tests.analysis.synthetic import sweep

HEAVY = ("flax", "optax", "orbax", "grain", "wandb", "scaling.models", "scaling.training.train")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "results.csv"
    sweep().rename(columns={"n_params": "size", "loss": "val"}).to_csv(path, index=False)
    return path


MAP = ["--map", "n_params=size,loss=val"]


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "fit.json"
    command = ["fit", str(data), "--law", "chinchilla", *MAP, "--starts", "40"]
    assert main([*command, "--drop-highest", "2", "--json", str(out)]) == 0
    return out


def test_fit_prints_and_saves(saved, data, capsys, tmp_path):
    written = json.loads(saved.read_text())
    assert written["n_points"] == 34
    assert written["status"] == "ok"
    out = tmp_path / "held.json"
    command = ["fit", str(data), *MAP, "--starts", "40", "--no-profile", "--pin", "E=1.8"]
    options = ["--where", "n_tokens>=1e8", "--holdout", "flops>1e21", "--bootstrap", "20"]
    assert main([*command, *options, "--json", str(out), "--bound", "beta=0.2:0.6"]) == 0
    written = json.loads(out.read_text())
    assert written["holdout"]["n"] > 0
    assert written["bootstrap"]["n"] == 20
    assert written["params"]["E"]["value"] == pytest.approx(1.8)
    assert "held out" in capsys.readouterr().out


def test_where_and_holdout_may_divide_the_table_between_them(data, tmp_path):
    """A condition that no held-out row satisfies chooses the rows to fit; the others hold for
    both: here the hold-out is what lies above 1e21 and has more than 1e8 tokens."""
    out, table = tmp_path / "held.json", sweep()
    command = ["fit", str(data), *MAP, "--starts", "40", "--no-profile", "--json", str(out)]
    conditions = ["--where", "flops<=1e21", "--where", "n_tokens>=1e8", "--holdout", "flops>1e21"]
    assert main([*command, *conditions]) == 0
    written = json.loads(out.read_text())
    big, long = table["flops"] > 1e21, table["n_tokens"] >= 1e8
    assert (big & long).any()
    assert written["holdout"]["n"] == (big & long).sum()
    assert written["n_points"] == (~big & long).sum()


def test_fit_reads_a_sweep_directory_and_counts_what_it_left_out(tmp_path, capsys):
    for i, row in sweep().iterrows():
        (tmp_path / f"r{i}").mkdir()
        record = {**row.to_dict(), "status": "diverged" if i == 3 else "complete"}
        (tmp_path / f"r{i}" / "record.json").write_text(json.dumps(record))
    assert main(["fit", str(tmp_path), "--starts", "40", "--no-profile"]) == 0
    out = capsys.readouterr().out
    assert "35 points" in out
    assert "1 of 36 runs left out: 1 diverged" in out


def test_predict_and_optimal_from_the_saved_fit(saved, data, capsys, tmp_path):
    assert main(["predict", str(saved), "--n-params", "1e9", "3e9", "--n-tokens", "2e10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "pi_high" in lines[0]
    table = tmp_path / "t.csv"
    sweep().to_csv(table, index=False)
    assert main(["predict", str(saved), "--data", str(table)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 37
    assert main(["optimal", str(saved), "--flops", "1e20", "1e26"]) == 0
    captured = capsys.readouterr()
    assert "tokens_per_param" in captured.out
    assert "extrapolation" in captured.err


def test_laws_lists_every_law_and_details_one(capsys):
    assert main(["laws"]) == 0
    out = capsys.readouterr().out
    for part in ("chinchilla\n", "E + A N^-alpha + B D^-beta", "n_params [parameters]", "kaplan\n"):
        assert part in out
    assert main(["laws", "chinchilla"]) == 0
    assert "irreducible loss" in capsys.readouterr().out


def test_compare_ranks_the_true_law_first(tmp_path, capsys):
    path = tmp_path / "t.csv"
    sweep(noise=0.001).to_csv(path, index=False)
    command = ["compare", str(path), "--laws", "kaplan_n,chinchilla", "--starts", "40"]
    assert main([*command, "--cluster", "run", "--folds", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "chinchilla"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fit", "DATA", "--law", "chinchila"], "did you mean 'chinchilla'"),
        (["fit", "DATA"], "unknown column 'n_params'"),
        (["fit", "DATA", "--map", "n_params=sise"], "did you mean 'size'"),
        (["fit", "DATA", "--map", "n_params"], "write NAME=VALUE"),
        (["fit", "DATA", *MAP, "--where", "flops is big"], "not of the form"),
        (["fit", "DATA", *MAP, "--where", "flops>1e99"], "no row of 36"),
        (["fit", "DATA", *MAP, "--where", "flop>1e9"], "did you mean 'flops'"),
        (["fit", "DATA", *MAP, "--pin", "E=high"], "'high' is not a number"),
        (["fit", "DATA", *MAP, "--bound", "E=1"], "NAME=LOW:HIGH"),
        (["fit", "DATA", *MAP, "--drop-highest", "99"], "cannot drop the 99"),
        (
            ["fit", "DATA", *MAP, "--bootstrap-method", "jack", "--bootstrap", "9"],
            "bootstrap method",
        ),
        (["fit", "no.csv"], "no such file"),
        (["fit", "DATA", *MAP, "--pin", "alpha=-1"], "alpha=-1 lies outside of 0 to 4"),
        (["fit", "no.csv", "--plot", "fit.doc"], "must end in"),
        (["fit", "no.csv", "--plot", "no/fit.svg"], "no such directory"),
        (["fit", "no.csv", "--json", "no/fit.json"], "no such directory"),
        (["predict", "SAVED", "--n-params", "-1", "--n-tokens", "1"], "not positive in row 1"),
        (["predict", "no.json", "--n-params", "1"], "no.json does not exist"),
        (["laws", "kaplam"], "did you mean 'kaplan'"),
        (["predict", "SAVED", "--n-params", "1e9"], "also needs --n-tokens"),
        (
            ["predict", "SAVED", "--n-params", "1", "2", "--n-tokens", "1", "2", "3"],
            "2 values where",
        ),
        (["optimal", "SAVED", "--flops", "-1"], "must be positive"),
        (["compare", "DATA", *MAP, "--laws", "chinchilla,sigmoid"], "different things"),
        (["compare", "DATA", *MAP, "--laws", "chinchilla", "--folds", "1"], "folds"),
        (["compare", "DATA", *MAP, "--laws", "chinchilla", "--pin", "Z=1"], "no law here"),
    ],
)
def test_bad_input_exits_2_with_one_line(argv, message, data, saved, capsys):
    argv = [{"DATA": str(data), "SAVED": str(saved)}.get(a, a) for a in argv]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("verb", ["fit", "laws", "predict", "optimal", "compare"])
def test_help_has_examples(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "scaling " + verb in capsys.readouterr().out


def test_fit_does_not_import_the_training_half(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": [1e3, 1e4, 1e5, 1e6], "loss": [4, 3.5, 3, 2.6]}).to_csv(path, index=False)
    code = (
        "import sys; from scaling.cli import main; "
        f"status = main(['fit', {str(path)!r}, '--law', 'power', '--no-profile']); "
        f"print([m for m in sys.modules if m.startswith({HEAVY!r})]); sys.exit(status)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
