"""Options that contradict each other or themselves are refused, naming both."""

import shlex

import pytest

from scaling.cli import main
from tests.analysis.synthetic import sweep


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "t.csv"
    sweep().assign(**{"n, all": 1e8}).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fit T --pin E=1 --pin E=2", ["'E'", "'1'", "'2'"]),
        ("fit T --pin E=1,E=2", ["'E'", "'1'", "'2'"]),
        ("fit T --bound E=0:1 --bound E=0:2", ["'E'", "'0:1'", "'0:2'"]),
        ("fit T --pin E=1 --bound E=0:2", ["--pin E=1", "--bound E=0:2"]),
        ("fit T --pin E=one", ["--pin", "'one'"]),
        ("fit T --map loss=loss,loss=flops", ["--map", "'loss'", "'flops'"]),
        ("fit T --map loss=loss --map loss=flops", ["--map", "'loss'", "'flops'"]),
        ("fit T --unit loss=nats --unit loss=bits", ["--unit", "'nats'", "'bits'"]),
        ("fit T --unit los=nats", ["'los'", "did you mean 'loss'"]),
        ("fit T --unit run=M", ["not a number", "run"]),
        ("fit T --unit loss=furlongs", ["furlongs", "nats"]),
        ("fit T --law kaplan --law chinchilla", ["--law", "kaplan", "chinchilla"]),
        ("fit T --seed 1 --seed 2", ["--seed", "1", "2"]),
        ("fit T --delta 1e-3 --loss mse", ["--delta", "mse"]),
        ("fit T --bootstrap-method case", ["--bootstrap-method case", "--bootstrap N"]),
        ("fit T --map n_params=size,n_tokens=size", ["unknown column 'size'"]),
        ("fit T --map n_params=flops,n_tokens=flops", ["n_params and n_tokens", "'flops'"]),
        ("fit T --wher loss<3", ["--wher", "--where"]),
        ("fit T --where loss", ["condition 'loss'"]),
        ("fit T --where 'los<3'", ["unknown column 'los'", "did you mean 'loss'"]),
        ("compare T --laws chinchilla,chinchilla", ["'chinchilla' is listed twice"]),
        ("compare T --laws chinchilla kaplan chinchilla", ["'chinchilla' is listed twice"]),
        ("compare T --laws ,", ["names no law"]),
        ("compare T --laws kaplan --n-columns n_params", ["--n-columns", "--sensitivity"]),
    ],
)
def test_contradictions_are_one_line(table, capsys, line, words):
    assert main([table if word == "T" else word for word in shlex.split(line)]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert [word for word in words if word not in said] == []


def test_prediction_takes_a_table_or_values(table, tmp_path, capsys):
    fit = str(tmp_path / "f.json")
    common = ["--no-profile", "--starts", "5"]
    assert main(["fit", table, *common, "--json", fit]) == 0
    assert main(["predict", fit, "--data", table, "--n-params", "1e8"]) == 2
    assert "--data and --n-params" in capsys.readouterr().err
    assert (
        main(["predict", fit, "--n-params", "1e8", "--n-tokens", "1e9", "--unit", "n_params=M"])
        == 2
    )
    assert "--data" in capsys.readouterr().err
    assert main(["predict", fit, "--data", table, "--unit", "n_params=M"]) == 2
    assert "n_params" in capsys.readouterr().err
    asked = tmp_path / "asked.csv"
    asked.write_text("Params (M);Tokens\n70;1,5B\n7000;1,4T\n")
    pairs = "n_params=Params (M),n_tokens=Tokens"
    assert main(["predict", fit, "--data", str(asked), "--map", pairs]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [float(rows[-1].split()[i]) for i in (0, 1)] == [7e9, 1.4e12]


def test_laws_may_be_parted_by_blanks(table, capsys):
    assert main(["compare", table, "--laws", "kaplan_n", "kaplan_d", "--folds", "2"]) == 0
    out = capsys.readouterr().out
    assert all(law in out for law in ("kaplan_n", "kaplan_d"))
