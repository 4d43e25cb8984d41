"""JSON in the shapes that people and libraries write."""

import json

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.tables.read import read
from scaling.cli import main
from scaling.errors import UserError

TABLE = pd.DataFrame({"n_params": [1e7, 2e7], "loss": [3.5, np.nan], "run": ["a", "b"]})
ROWS = [{"n_params": 1e7, "loss": 3.5, "run": "a"}, {"n_params": 2e7, "loss": None, "run": "b"}]
SPLIT = {
    "columns": list(TABLE),
    "data": TABLE.astype(object).where(TABLE.notna(), None).values.tolist(),
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n".join(map(json.dumps, ROWS)),
        "\ufeff" + "\r\n".join(map(json.dumps, ROWS)),
        json.dumps({"data": ROWS}),
        json.dumps({"note": "x", "runs": ROWS}),
        json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
        TABLE.to_json(),
        TABLE.to_json(orient="split"),
        TABLE.to_json(orient="records"),
        TABLE.to_json(orient="table"),
        json.dumps(SPLIT),
        json.dumps([list(TABLE), *SPLIT["data"]]),
        json.dumps(ROWS).replace("null", "NaN"),
        '[{"n_params": 1e7, "loss": 3.5, "run": "a"}, {"n_params": "20M", "run": "b"}]',
    ],
)
@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t"])
def test_every_shape_reads_to_the_same_rows(tmp_path, text, name):
    (tmp_path / name).write_text(text, encoding="utf-8")
    table, notices = read(tmp_path / name)
    assert notices == []
    table = table.replace({"n_params": {"20M": 2e7}})
    pd.testing.assert_frame_equal(
        table[list(TABLE)].astype({"n_params": float, "loss": float}), TABLE, check_dtype=False
    )


def test_objects_by_name_and_single_ones(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"a": ROWS[0], "b": ROWS[1]}))
    assert read(tmp_path / "t.json")[0]["name"].tolist() == ["a", "b"]
    (tmp_path / "t.json").write_text('{"loss": 3.5, "params": {"total": 7}, "layers": [1, 2]}')
    table, _ = read(tmp_path / "t.json")
    assert table.to_dict("records") == [{"loss": 3.5, "params.total": 7}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(ROWS)[:-9], "cut off"),
        (json.dumps(ROWS, indent=2)[:-9], "cut off"),
        (",\n".join(map(json.dumps, ROWS)).join("[ "), "cut off"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("\n".join(['{"a": 1}', '{"b":' * 5000 + "1" + "}" * 5000]), "nested too deeply"),
        ('{"a":' * 400 + "1" + "}" * 400 + "\n", ""),
        ("[1, 2]", "item 1"),
        ("[]", "no rows"),
        ("{}", "no rows"),
        ("3", "single value"),
        ('{"loss": 1, "loss": 2}', "'loss' stands twice"),
        ('{"loss": [1, 2], "n_params": [1]}', "different lengths"),
        ('{"train": [{"a": 1}], "test": [{"a": 1}]}', "several lists"),
        ('[["a", "b"], [1, 2], [3]]', "row 2"),
        ("not json", "not JSON"),
    ],
)
def test_other_json_is_one_line(tmp_path, capsys, text, words):
    (tmp_path / "t.json").write_text(text)
    assert main(["fit", str(tmp_path / "t.json")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert len(said) < 5000


def test_torn_lines_are_numbered(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n\n[1]\n{"a": 2}\n{"a"')
    table, notices = read(tmp_path / "t.jsonl")
    assert len(table) == 2
    assert "2 line(s) are not JSON objects and were skipped: line 3, 5" in notices[0]
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 1, "a": 2}\n')
    with pytest.raises(UserError, match="stands twice"):
        read(tmp_path / "t.jsonl")
