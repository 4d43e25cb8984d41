"""One table in many dialects: separators, decimal marks, encodings, compressions, blank rows."""

import bz2
import csv
import gzip
import io
import lzma

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.analysis.laws import LAWS
from scaling.analysis.tables.check import validate
from scaling.analysis.tables.mixed import mixed
from scaling.analysis.tables.read import as_table, read
from scaling.errors import UserError
from tests.analysis.synthetic import sweep

NAMES = ["n_params", "Verlust (é)", "run, name", 'say "x"', "step"]
zstandard = pytest.importorskip("zstandard")
COMPRESSIONS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def plain(rows: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "n_params": np.geomspace(1e7, 1e9, rows).astype(int),
            "Verlust (é)": np.round(rng.uniform(2, 4, rows), 5),
            "run, name": [f"r{i}, d={i}b" for i in range(rows)],
            'say "x"': [f'he said "{i}"' for i in range(rows)],
            "step": np.r_[np.nan, rng.integers(1, 9, rows - 1)],
        }
    )


def cell(value: object, decimal: str) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(float(value)).replace(".", decimal)
    return str(value)


@st.composite
def dialects(draw):
    separator = draw(st.sampled_from(",;\t|"))
    return {
        "separator": separator,
        "decimal": draw(st.sampled_from(".," if separator != "," else ".")),
        "encoding": draw(
            st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
        ),
        "newline": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "compression": draw(st.sampled_from(sorted(COMPRESSIONS))),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "trailing": draw(st.integers(0, 2)),  # separators: 1 below the header, 2 above too
        "blank": draw(st.sets(st.integers(0, 5), max_size=2)),
        "blanks": draw(st.booleans()),
        "comments": draw(st.integers(0, 2)),
        "last_end": draw(st.booleans()),
    }


def written(table: pd.DataFrame, d: dict) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=d["separator"], quoting=d["quoting"], lineterminator="\n")
    end = [""] * bool(d["trailing"])
    around = " " if d["blanks"] and d["quoting"] == csv.QUOTE_MINIMAL else ""
    writer.writerow([*(f"{name}{around}" for name in table.columns), *end[: d["trailing"] - 1]])
    for i, row in enumerate(table.itertuples(index=False)):
        if i in d["blank"]:
            writer.writerow([""] * len(table.columns))
        writer.writerow([*(around + cell(v, d["decimal"]) for v in row), *end])
    text = "# from a lab\n" * d["comments"] + out.getvalue()
    text = text if d["last_end"] else text.rstrip("\n")
    return COMPRESSIONS[d["compression"]](text.replace("\n", d["newline"]).encode(d["encoding"]))


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(d=dialects())
def test_every_dialect_reads_to_the_same_frame(tmp_path, d):
    path = tmp_path / f"t.csv{d['compression']}"
    path.write_bytes(written(plain(), d))
    table, notices = read(path)
    said = " ".join(notices)
    assert (f"{len(d['blank'])} blank row" in said) == bool(d["blank"])
    assert ("comment line" in said) == bool(d["comments"])
    assert ("separated by" in said) == (d["separator"] != ",")
    kept = [i + sum(b <= i for b in d["blank"]) for i in range(6)]
    assert list(table.index) == kept  # rows keep the number that they have in the file
    table = table.reset_index(drop=True)
    pd.testing.assert_frame_equal(table, plain(), check_dtype=False)
    assert table["n_params"].dtype == np.int64


ROWS = "n_params,n_tokens,loss\n20000000,1000000000,4.28\n20000000,3000000000,3.95\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # R: write.csv with row names, write.table with and without quotes; pandas with its index
        ("t.csv", '"","n_params","n_tokens","loss"\n"1",2e7,1e9,4.28\n"2",2e7,3e9,3.95\n'),
        ("t.txt", '"n_params" "n_tokens" "loss"\n"1" 2e7 1e9 4.28\n"2" 2e7 3e9 3.95\n'),
        ("t.txt", "n_params n_tokens loss\n1 2e7 1e9 4.28\n2 2e7 3e9 3.95\n"),
        ("t.csv", ",n_params,n_tokens,loss\n0,2e7,1e9,4.28\n1,2e7,3e9,3.95\n"),
        # numpy's savetxt, Excel's first line, a Markdown and a LaTeX table, aligned blanks
        ("t.txt", "# n_params n_tokens loss\n2e7 1e9 4.28\n2e7 3e9 3.95\n"),
        ("t.csv", "#n_params,n_tokens,loss\n2e7,1e9,4.28\n2e7,3e9,3.95\n"),
        ("t.csv", "sep=;\nn_params;n_tokens;loss\n2e7;1e9;4,28\n2e7;3e9;3,95\n"),
        (
            "t.md",
            "| n_params | n_tokens | loss |\n|---:|:--|---|\n| 2e7 | 1e9 | 4.28 |\n"
            "| 2e7 | 3e9 | 3.95 |\n",
        ),
        (
            "t.tex",
            "\\toprule\nn\\_params & n\\_tokens & loss \\\\\n\\midrule\n"
            "2e7 & 1e9 & \\textbf{4.28} \\\\\n2e7 & 3e9 & $3.95$ \\\\\n\\bottomrule\n",
        ),
        ("t.dat", "  n_params   n_tokens  loss\n      2e7        1e9  4.28\n  2e7  3e9 3.95 \n"),
        # a tab in a .csv, commas in a .tsv, quotes around everything, blanks before quotes
        ("t.csv", ROWS.replace(",", "\t")),
        ("t.tsv", ROWS),
        ("t.csv", '"n_params", "n_tokens", "loss"\n"2e7", "1e9", "4.28"\n"2e7", "3e9", "3.95"\n'),
        # spreadsheets: empty columns and rows of separators only, at the end too
        ("t.csv", "n_params,n_tokens,loss,,\n2e7,1e9,4.28,,\n,,,,\n2e7,3e9,3.95,,\n,,,,\n"),
        ("t", ROWS),
        ("t.csv", ROWS.replace("\n20", "\n# a remark\n20", 1)),
    ],
)
def test_what_people_paste_and_programs_write(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    table, _ = read(tmp_path / name)
    expected = [[2e7, 1e9, 4.28], [2e7, 3e9, 3.95]]
    values = table[["n_params", "n_tokens", "loss"]].to_numpy(float)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2,3\n4,5\n", "row 1 has more cells"),
        ("a,b\n1,2\n\n4,5,6\n", "row 3 has more cells"),
        ("a,b\n1,2\n3\n", "row 2 has fewer cells"),
        ("loss,a\n3,21,5\n3,2,5\n", "decimals have a comma"),
        # a run column that counts, and a last column that nobody named: not R's row names
        ("run,n,loss\n1,20,3.1,3.2\n2,30,3.0,3.1\n", "row 1, 2 have more cells"),
        ("Table 3: losses\nn,d,loss\n1,2,3\n", "title"),
        ("Table 3,,\nn,d,loss\n1,2,3\n", "no name for column 3"),
        ("20,30,3.1\n40,30,3.0\n", "first line holds numbers"),
        ('a,b\n1,"2\n3,4\n5,6\n', "never closed"),
        ("a,b\n", "only a header"),
        ("# nothing\n\n", "only comments"),
        ("\n \n", "is empty"),
        ("loss,loss \n1,2\n", "2 columns are called loss"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)
    assert "t.csv" in str(caught.value)


def test_columns_that_are_the_same_are_one():
    table = pd.DataFrame([[1, 2, 1], [3, 4, 3]], columns=["a", "b", " a"])
    read_, notices = read(table)
    assert list(read_.columns) == ["a", "b"]
    assert "stands there 2 times" in notices[0]


def test_blank_rows_of_a_dataframe_and_its_numbers():
    table = pd.DataFrame({"a": [1, None, 3], "b": ["x", " ", "y"]})
    kept, notices = read(table)
    assert kept.index.tolist() == [0, 2]
    assert notices == ["1 blank row(s) were left out"]


def test_lists_in_cells_do_not_stop_a_fit():
    table = sweep().assign(warnings=[["late"], []] * 18, config=[{"lr": [1]}, None] * 18)
    kept, notices = validate(LAWS.load("chinchilla"), as_table(table)[0])
    assert len(kept) == 36
    assert notices == []
    assert mixed(LAWS.load("chinchilla"), kept, np.zeros(36)) == []


@pytest.mark.parametrize("source", [3, {"a": [1, 2], "b": [1]}, {"a": 1}, None, object()])
def test_what_is_no_table(source):
    with pytest.raises(UserError):
        read(source)


def test_commas_that_nothing_tells_are_no_thousands(tmp_path):
    rows = "20,000;1,000;4,256\n50,000;3,000;3,954\n"
    (tmp_path / "t.csv").write_text(f"Params (M);Tokens (B);loss\n{rows}")
    mapping = {"n_params": "Params (M)", "n_tokens": "Tokens (B)"}
    with pytest.raises(UserError, match=r"'50,000' may be a decimal or thousands"):
        as_table(tmp_path / "t.csv", mapping)
    # One number that can be read in one way tells of the others.
    for last, size in (("4,25", 20e6), ("4.25", 20e9)):
        text = f"Params (M);Tokens (B);loss\n{rows}".replace("4,256", last).replace("3,954", last)
        (tmp_path / "t.csv").write_text(text)
        assert as_table(tmp_path / "t.csv", mapping)[0]["n_params"][0] == size


def test_dates_and_versions_do_not_decide_what_a_comma_means(tmp_path):
    (tmp_path / "t.csv").write_text("date;version;loss\n1.2.2024;1.0.3;4,25\n3.2.2024;1.0.4;3,95\n")
    assert read(tmp_path / "t.csv")[0]["loss"].tolist() == [4.25, 3.95]
