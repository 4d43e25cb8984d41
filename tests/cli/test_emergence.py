"""`scaling emergence`, as a user types it."""

import json

import pytest

from scaling.analysis.emergence.shapes import SMOOTH
from scaling.cli import main
from tests.analysis.test_probe_table import write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    for k, right in enumerate((12, 13, 11, 40, 80, 95)):
        for seed in (0, 1):
            write_run(out, f"{k}-{seed}", size=1000 * 4**k, seed=seed, right=right + seed)
    return out


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_sweep_becomes_a_chart_and_numbers(sweep, tmp_path, capsys, ending):
    plot, numbers = tmp_path / f"out.{ending}", tmp_path / "out.json"
    command = ["emergence", str(sweep), "--where", "shots=15", "--draws", "50"]
    assert main([*command, "--plot", str(plot), "--json", str(numbers)]) == 0
    assert plot.stat().st_size > 1000
    (found,) = json.loads(numbers.read_text())["conditions"].values()
    assert found["onset"]["x"] == pytest.approx(64000)
    assert found["onset"]["low"] == pytest.approx(16000)
    assert found["chance"] == 0.125
    assert found["breaks"]["accuracy"]["suffices"] in SMOOTH
    said = capsys.readouterr().out
    assert "onset 6.4e+04" in said
    assert [name for name in SMOOTH if f"  {name} " not in said] == []
    assert "best sigmoid: 10 to 90 % over" in said


def test_conditions_are_split_and_drawn_together(sweep, tmp_path):
    plot, numbers = tmp_path / "out.svg", tmp_path / "out.json"
    command = ["emergence", str(sweep), "--draws", "20", "--heat", "shots,n_params"]
    assert main([*command, "--plot", str(plot), "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())["conditions"]
    assert set(found) == {"shots=0", "shots=15"}
    assert found["shots=0"]["verdict"] == "none"
    assert "all conditions" in plot.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--x", "params"], "unknown column 'params'"),
        (["--where", "shots=7"], "no row of"),
        (["--by", "colour"], "unknown column 'colour'"),
        (["--heat", "shots"], "write ROWS,COLUMNS"),
        (["--heat", "colour,n_params"], "mix shots"),
        (["--frontier", "half"], "--frontier 'half'"),
        (["--bins", "1,x"], "--bins '1,x'"),
        (["--plot", "out.gif"], "must end in"),
        (["--alpha", "2"], "alpha=2"),
        (["--smooth-width", "0"], "smooth_width=0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    sweep, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["emergence", str(sweep), "--draws", "20", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
