"""CSV exports: nothing in them is a formula, and our reader gives back what was written."""

import argparse
import ast
import csv
import io
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.tables.read import read
from scaling.cli.importing import _write as write_import
from scaling.doors.outputs import write_output
from scaling.doors.spreadsheet import as_it_was, csv_text, frame_text, harmless
from scaling.report import write as report

ROOT = pathlib.Path(__file__).parents[2]
HOSTILE = [
    "=cmd|'/C calc'!A0", '=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1",
    "\n=1", "'=1", "''=1", "'tis", "'", "''", "plain", " =1", "-nan", "-", "=", "＝1", "a,b", 'a"b',
]  # fmt: skip


@pytest.mark.parametrize("cell", [*HOSTILE, "-1.5", "+3", "-1e-5", -1.5, 2, None, True])
def test_every_cell_comes_back(cell):
    safe = harmless(cell)
    assert as_it_was(safe) == cell
    if isinstance(safe, str):
        risky = safe[:1] in "=+-@\t\r\n＝" if safe else False
        assert not risky or float(safe) == float(cell)  # a number in words


def test_numbers_are_not_touched():
    assert [harmless(v) for v in (-1.5, "-1.5", "+2e3", "-.5")] == [-1.5, "-1.5", "+2e3", "-.5"]
    assert csv_text([{"a": np.float64(-1.5), "b": -2, "c": None}]) == "a,b,c\n-1.5,-2,\n"


def hostile_table():
    """A table of records with every hostile text as name, value and column name."""
    table = pd.DataFrame({"name": HOSTILE, "loss": np.linspace(-3, 3, len(HOSTILE))})
    return table.assign(**{"=evil": HOSTILE, "+x": 1.5, "n_tokens": 10**12})


def by_import(table, path):
    write_import(table, path)


def by_runs(table, path):
    write_output(path, csv_text(table.to_dict("records")), "--csv")


def by_frame(table, path):
    path.write_text(frame_text(table), encoding="utf-8", newline="")


@pytest.mark.parametrize("write", [by_import, by_runs, by_frame])
def test_exports_are_harmless_and_read_back(write, tmp_path):
    path, table = tmp_path / "t.csv", hostile_table()
    write(table, path)
    cells = [c for row in csv.reader(io.StringIO(path.read_bytes().decode())) for c in row]
    assert not [c for c in cells if c[:1] in tuple("=+-@\t\r\n") and harmless(c) != c]
    back, _ = read(path)
    pd.testing.assert_frame_equal(back.astype(table.dtypes), table)


def test_the_reports_table_is_harmless(tmp_path):
    class Found:
        """What `_points` reads of an estimate."""

        table = hostile_table().assign(
            run_id=HOSTILE, n_params=1.0, flops=1.0, predicted=1.0, error=-0.5
        )
        group = argparse.Namespace(key="=group")

    report._points([Found], tmp_path)
    back, _ = read(tmp_path / "runs.csv")
    assert back["run_id"].tolist() == HOSTILE
    assert set(back["group"]) == {"=group"}
    assert "\n'=cmd" in (tmp_path / "runs.csv").read_text()


def test_no_other_file_writes_csv():
    """Whoever exports a table goes through scaling.doors.spreadsheet."""
    writers = {"to_csv", "DictWriter", "writer", "writerow", "writerows"}
    found = []
    for folder in ("scaling", "launch", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in writers:
                    found.append(path.relative_to(ROOT).as_posix())
    assert set(found) == {"scaling/doors/spreadsheet.py"}
