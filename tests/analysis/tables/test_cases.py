"""Files that were read wrong once (tests/data/cases) are read right, or refused with the fix."""

import json
import pathlib
import shlex

import numpy as np
import pytest

from scaling.analysis.laws import LAWS
from scaling.analysis.tables.check import validate
from scaling.analysis.tables.read import as_table
from scaling.cli import main
from scaling.errors import UserError

CASES = pathlib.Path(__file__).parents[2] / "data" / "cases"
OURS = ["n_params", "n_tokens", "loss"]
CHINCHILLA = LAWS.load("chinchilla")


def truth():
    table, notices = as_table(CASES / "02-excel-european" / "bom_crlf.csv")
    assert notices == []
    return table[OURS]


def read(case, mapping=None, units=None):
    table, notices = as_table(CASES / case, mapping, units)
    table, more = validate(CHINCHILLA, table)
    return table, " ".join(notices + more)


def cli(*argv):
    return main([str(CASES / a) if "/" in a and (CASES / a).is_file() else a for a in argv])


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("01-trailing-comma/shift_ok.csv", "every row ends with empty cells"),
        ("01-trailing-comma/trailing.csv", "every row ends with empty cells"),
        ("01-trailing-comma/trailing_plausible.csv", "every row ends with empty cells"),
        ("01-trailing-comma/first_row_only.csv", "row 1 ends with empty cells"),
        ("02-excel-european/excel.csv", "separated by semicolon"),
        ("02-excel-european/excel_utf16.csv", "UTF-16"),
        ("03-space-after-comma/spaced.csv", ""),
        ("04-units/thousands.csv", "'20,000,000' is read as 2e+07"),
        ("29-jsonl-bom/bom.jsonl", ""),
    ],
)
def test_read_as_the_plain_table(case, said):
    table, notices = read(case)
    np.testing.assert_array_equal(table[OURS], truth())
    assert said in notices


@pytest.mark.parametrize(
    ("case", "mapping", "units", "said"),
    [
        ("04-units/headers.csv", ("Params (M)", "Tokens (B)", "Val Loss"), {}, "in M: converted"),
        ("04-units/cells.csv", ("Model Size", "Tokens", "Val Loss"), {}, "'1B tokens' is read as"),
        (
            "23-comma-in-header/headers.csv",
            ("params, total", "tokens=D", "loss (nats, val)"),
            {},
            "",
        ),
        ("06-perplexity/ppl.csv", OURS, {"loss": "perplexity"}, "in perplexity: converted"),
        ("06-perplexity/bits.csv", OURS, {"loss": "bits"}, "in bits: converted"),
    ],
)
def test_read_as_the_plain_table_once_named(case, mapping, units, said):
    pairs = {ours: theirs for ours, theirs in zip(OURS, mapping, strict=True) if ours != theirs}
    table, notices = read(case, pairs, units)
    np.testing.assert_allclose(table[OURS], truth(), rtol=1e-6)
    assert said in notices


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("05-duplicate-headers/dup.csv", "2 columns are called loss and differ"),
        ("06-perplexity/ppl.csv", "--unit loss=perplexity"),
        ("04-units/headers.csv", r"--map 'n_params=\"Params \(M\)\",n_tokens="),
        ("23-comma-in-header/headers.csv", 'n_params="params, total"'),
    ],
)
def test_refused_with_the_fix(case, words):
    with pytest.raises(UserError, match=words):
        read(case)


def test_states_of_weights_and_biases():
    case = "08-wandb-runs-csv/runs.csv"
    mapping = dict(zip(OURS, ("model.n_params", "train/tokens_seen", "val/loss"), strict=True))
    for named in (mapping, mapping | {"status": "State"}):
        table, notices = read(case, named)
        assert len(table) == 22
        assert "5 of 30 runs left out" in notices
        assert "4 crashed, 1 running" in notices
        assert "3 of 25 rows have no finite loss" in notices


def test_states_of_weights_and_biases_at_import(tmp_path, capsys):
    pairs = "n_params=model.n_params,n_tokens=train/tokens_seen,loss=val/loss"
    out = tmp_path / "w.csv"
    argv = ["import", "csv", "08-wandb-runs-csv/runs.csv", "--map", pairs, "--out", str(out)]
    assert cli(*argv) == 0
    said = capsys.readouterr().err
    assert "status is column 'State'" in said
    assert "30 rows: 25 complete, 4 failed, 1 running" in said
    assert "3 of 25 finished runs have no finite loss (row 6, 8, 15)" in said
    assert len(validate(CHINCHILLA, as_table(out)[0])[0]) == 22


def test_blank_rows_and_missing_losses_for_every_kind_of_law():
    for name in ("chinchilla", "isoflop"):
        table, notices = as_table(CASES / "27-blank-rows" / "spreadsheet.csv")
        kept, more = validate(LAWS.load(name), table)
        assert len(kept) == 24
        assert "1 blank row(s) were left out" in " ".join(notices)
        assert "1 of 25 rows have no finite loss and were excluded (row 21)" in " ".join(more)
    table, _ = as_table(CASES / "27-blank-rows" / "isoflop_one_nan.csv")
    kept, more = validate(LAWS.load("isoflop"), table)
    assert len(kept) == 23
    assert "(row 9)" in " ".join(more)


def test_what_is_proposed_works_when_it_is_pasted(capsys, tmp_path):
    for case in ("04-units/headers.csv", "23-comma-in-header/headers.csv"):
        assert cli("fit", case) == 2
        said = capsys.readouterr().err
        typed = shlex.split(said[said.index("--map") : said.index("; known")])
        argv = ["import", "csv", case, *typed, "--out", str(tmp_path / "t.csv")]
        assert cli(*argv) == 0
        capsys.readouterr()
        np.testing.assert_array_equal(as_table(tmp_path / "t.csv")[0][OURS], truth())


def test_the_command_lines_of_the_cases_give_the_right_numbers(tmp_path, capsys):
    out, few = tmp_path / "h.json", ("--no-profile", "--starts", "20", "--json")
    headers = "n_params=Params (M),n_tokens=Tokens (B),loss=Val Loss"
    assert cli("fit", "04-units/headers.csv", "--map", headers, *few, str(out)) == 0
    fitted = json.loads(out.read_text())["params"]
    assert fitted["alpha"]["value"] == pytest.approx(0.3396, abs=1e-4)
    assert cli("optimal", str(out), "--flops", "1e21") == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert float(row[1]) == pytest.approx(1.74e9, rel=1e-2)
    names = "n_params=parameters,flops=compute_budget,loss=final_loss"
    argv = ("fit", "30-cs336-json/isoflops.json", "--law", "isoflop", "--map", names, *few)
    assert cli(*argv, str(out)) == 0
    fitted = json.loads(out.read_text())["params"]
    assert fitted["a"]["value"] == pytest.approx(0.514, abs=1e-3)
