"""Reading tables, choosing rows, refusing bad ones."""

import gzip
import json
import shlex

import jax
import numpy as np
import pandas as pd
import pytest

from scaling.analysis.law import Law
from scaling.analysis.laws import LAWS
from scaling.analysis.tables.check import data_hash, validate
from scaling.analysis.tables.choose import matches, parse_conditions, rename, select
from scaling.analysis.tables.read import as_table
from scaling.errors import UserError
from tests.analysis.synthetic import sweep

CHINCHILLA = LAWS.load("chinchilla")


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.jsonl", "t.csv.gz", "t.jsonl.gz", "t.parquet"]
)
def test_every_format_reads_the_same(tmp_path, name):
    table, path = sweep(), tmp_path / name
    if "jsonl" in name:
        table.to_json(path, orient="records", lines=True, double_precision=15)
    elif "parquet" in name:
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    read, notices = as_table(path)
    assert notices == []
    np.testing.assert_allclose(read["loss"], table["loss"], rtol=1e-14)
    assert list(read["run"]) == list(table["run"])


def test_torn_jsonl_line_is_skipped_aloud(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"n_params": 1, "loss": 2}\n[1]\n{"n_params": 2, "lo')
    table, notices = as_table(path)
    assert len(table) == 1
    assert "2 line(s)" in notices[0]


def test_sweep_directory_leaves_out_unfinished_runs_aloud(tmp_path):
    statuses = ["complete", "diverged", "complete", "interrupted", "diverged"]
    for i, status in enumerate(statuses):
        (tmp_path / "a" / f"run{i}").mkdir(parents=True)
        record = {"run_id": str(i), "status": status, "loss": 2.0, "params": {"total": 10 + i}}
        (tmp_path / "a" / f"run{i}" / "record.json").write_text(json.dumps(record))
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.json").write_text("{}")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "record.json").write_text('{"status": "comp')
    runs = [{"run_id": "2", "group": "text", "also_in": ["luck"], "axes": {"width": 16}}]
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": runs}))
    table, notices = as_table(tmp_path)
    assert list(table["params.total"]) == [10, 12]
    assert table.iloc[1][["group", "axis.width"]].tolist() == ["text+luck", 16]
    # A run of two groups is a row of each.
    found = {text: matches(table, f"group{text}")[1] for text in ("=text", "=luck", "!=luck", "=t")}
    assert found == {"=text": True, "=luck": True, "!=luck": False, "=t": False}
    assert "5 of 7 runs left out" in notices[0]
    for part in ("2 diverged", "1 interrupted", "1 without a record", "1 unreadable record"):
        assert part in notices[0]


def test_a_broken_description_of_a_sweep_is_refused(tmp_path):
    (tmp_path / "record.json").write_text('{"status": "complete"}')
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(UserError, match="must be an object"):
        as_table(tmp_path)


def test_unfinished_rows_of_a_csv_are_left_out_too():
    table, notices = as_table(sweep().assign(status=["diverged"] * 3 + ["complete"] * 33))
    assert len(table) == 33
    assert "3 of 36 runs left out: 3 diverged" in notices[0]
    with pytest.raises(UserError, match="no run is complete: 36 running"):
        as_table(sweep().assign(status="running"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "no such file"),
        ("t.xlsx", b"x", "not .csv"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"\xff\xfea\x00,\x00b", "breaks off"),
        ("t.csv", b"a,b\n1,\x00", "NUL"),
        ("t.parquet", b"not parquet", "cannot read"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        as_table(tmp_path / name)


def test_empty_directory_is_not_a_sweep(tmp_path):
    with pytest.raises(UserError, match=r"no record\.json"):
        as_table(tmp_path)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("flops<=1e21", ("flops", "<=", 1e21)),
        (" params.total >= 5 ", ("params.total", ">=", 5.0)),
        ("task==mmlu", ("task", "==", "mmlu")),
        ("task != 'a b'", ("task", "!=", "a b")),
        ("x=-3", ("x", "=", -3.0)),
    ],
)
def test_conditions(text, parsed):
    assert parse_conditions(text) == [parsed]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        *[("x<2", [1]), ("x<=2", [1, 2]), ("x>=2", [2, 3]), ("x>2", [3])],
        *[("x=2", [2]), ("x==2", [2]), ("x!=2", [1, 3])],
    ],
)
def test_a_condition_keeps_what_it_says(condition, kept):
    table = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    assert table["x"][matches(table, [condition])].tolist() == kept


@pytest.mark.parametrize("text", ["flops", "<=1", "flops<=big", "__import__('os')", "a<b<c", ""])
def test_bad_conditions_are_refused_and_never_run(text):
    with pytest.raises(UserError, match="condition"):
        parse_conditions(text)


def test_conditions_combine_and_compare_words():
    table = sweep()
    mask = matches(table, ["n_params<1e9,n_tokens>=1e9", "run!=run-2"])
    expected = (table["n_params"] < 1e9) & (table["n_tokens"] >= 1e9) & (table["run"] != "run-2")
    np.testing.assert_array_equal(mask, expected)


def test_select_drops_the_highest_and_refuses_emptiness():
    table = sweep()
    kept = select(table, drop_highest=5)
    assert kept["loss"].max() == table["loss"].sort_values().iloc[-6]
    with pytest.raises(UserError, match="no row of 36 satisfies flops>1e30"):
        select(table, "flops>1e30")
    with pytest.raises(UserError, match="36 highest of 36"):
        select(table, drop_highest=36)


def test_rename_and_misnamed_columns_suggest():
    table = sweep().rename(columns={"n_params": "size"})
    assert "n_params" in rename(table, {"n_params": "size"})[0]
    with pytest.raises(UserError, match="did you mean 'size'"):
        rename(table, {"n_params": "sizes"})
    with pytest.raises(UserError, match="column 'n_tokens'; did you mean 'tokens'"):
        validate(CHINCHILLA, sweep().rename(columns={"n_tokens": "tokens"}))


@pytest.mark.parametrize(
    ("value", "message"),
    [("abc", "not a number in row 3"), (-1, "not positive in row 3"), (0, "not positive in row 3")],
)
def test_bad_values_are_refused_with_row_numbers(value, message):
    table = sweep().astype({"n_params": object, "loss": object})
    for column in ("n_params", "loss"):
        bad = table.copy()
        bad.loc[2, column] = value
        with pytest.raises(UserError, match=f"'{column}': {message}"):
            validate(CHINCHILLA, bad)


def test_missing_inputs_are_refused_but_missing_losses_are_counted():
    table = sweep()
    table.loc[[1, 4], "loss"] = [np.nan, np.inf]
    kept, notices = validate(CHINCHILLA, table)
    assert len(kept) == 34
    assert "2 of 36 rows have no finite loss" in notices[0]
    assert "row 2, 5" in notices[0]
    table.loc[7, "n_tokens"] = np.nan
    with pytest.raises(UserError, match="missing or infinite value in row 8"):
        validate(CHINCHILLA, table)
    with pytest.raises(UserError, match="no row has a finite loss"):
        validate(CHINCHILLA, sweep().assign(loss=np.nan))


def test_duplicates_and_constant_columns_are_said():
    twice = pd.concat([sweep(), sweep().iloc[:4]])
    assert "4 row(s) repeat" in " ".join(validate(CHINCHILLA, twice)[1])
    constant = sweep().assign(n_params=1e8)
    assert "all n_params equal 1e+08" in " ".join(validate(CHINCHILLA, constant)[1])


def test_data_hash_sees_values_and_order_only_of_what_is_read():
    table = sweep()
    base = data_hash(CHINCHILLA, table)
    assert base == data_hash(CHINCHILLA, table.assign(note="x"))
    assert base != data_hash(CHINCHILLA, table.iloc[::-1])
    assert base != data_hash(CHINCHILLA, table.assign(loss=table["loss"] * (1 + 1e-15) + 1e-15))


def test_gzip_text_is_really_compressed(tmp_path):
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wt") as handle:
        handle.write("n_params,loss\n1,2\n")
    assert as_table(path)[0]["loss"].tolist() == [2]


def test_rows_are_counted_in_the_table_that_was_read():
    table = sweep().astype({"n_tokens": object})
    table.loc[30, "n_tokens"] = "many"
    chosen = select(table, "n_params>1")[5:]
    with pytest.raises(UserError, match=r"not a number in row 31 \(first: many\)"):
        validate(LAWS.load("chinchilla"), chosen)


@pytest.mark.parametrize("name", LAWS)
def test_a_row_without_a_loss_or_target_goes_before_its_inputs_are_looked_at(name):
    law = LAWS.load(name)
    theta, table = law.example()
    if law.target.name not in table and type(law).reduce is Law.reduce:
        with jax.enable_x64(True):
            x = law.prepare(table)
            table = table.assign(**{law.target.name: np.asarray(law.predict(theta, x))})
    whole, _ = validate(law, table)
    measured = [c.name for c in law.input_columns if c.name in ("loss", law.target.name)]
    assert measured
    for missing in measured:
        broken = table.astype(object)
        for column in law.input_columns:
            if column.numeric:
                broken.loc[broken.index[2], column.name] = -1e9
        broken.loc[broken.index[2], measured] = None
        broken.loc[broken.index[3], missing] = "Infinity"
        kept, notices = validate(law, broken)
        assert len(kept) == len(whole) - 2
        assert "have no finite" in " ".join(notices)
        assert "row 3" in " ".join(notices)


@pytest.mark.parametrize("word", ["Total", "mean", "AVERAGE:", "sum"])
def test_a_summary_below_the_rows_is_no_run(word):
    table = pd.concat([sweep(), sweep().mean(numeric_only=True).to_frame().T], ignore_index=True)
    table.loc[36, "run"] = word
    with pytest.raises(UserError, match="row 37 looks like a summary") as caught:
        validate(CHINCHILLA, table)
    way_out = shlex.split(str(caught.value))[-1]
    assert len(validate(CHINCHILLA, select(table, way_out))[0]) == 36
    validate(CHINCHILLA, sweep().assign(kind="mean"))
