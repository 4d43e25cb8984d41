"""Everything that is read back goes through one door, and what comes through it is as it says."""

import ast
import pathlib

import pytest

from scaling.doors.reading import MOST_DEPTH, NUMBER, Missing, loads, read_json, read_rows
from scaling.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
# JSON of other people: what is wrong with it is for the reader of documents or tables to say, and
# half a character of a document must stay one, so that it is refused and not trained on.
_THEIRS = ("scaling/data/formats/", "scaling/analysis/tables/")
SHAPE = {
    "a": int,
    "b?": (str, None),
    "c": [NUMBER],
    "d": {str: {"e": bool}},
    "f": (None, {"g": str}),
}
GOOD = {"a": 1, "c": [1, 2.5], "d": {"x": {"e": True}}, "f": None, "more": {}}


def test_json_is_parsed_at_the_door_only():
    outside = []
    for path in sorted([*ROOT.glob("scaling/**/*.py"), *ROOT.glob("launch/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name == "scaling/doors/reading.py" or name.startswith(_THEIRS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            parses = isinstance(node, ast.Attribute) and node.attr in ("load", "loads")
            if parses and isinstance(node.value, ast.Name) and node.value.id == "json":
                outside.append(f"{name}:{node.lineno}")
    assert not outside, f"use scaling.doors.reading: {outside}"


def test_a_good_value_comes_through(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('\ufeff{"a": 1, "c": [1, 2.5], "d": {"x": {"e": true}}, "f": null, "more": {}}')
    assert read_json(path, SHAPE) == GOOD


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a": True}, "a must be a whole number, not True"),
        ({"a": 1.0}, "a must be a whole number"),
        ({"a": None}, "a must be a whole number, not None"),
        ({"b": 3}, "b must be text or null, not 3"),
        ({"c": [1, "2"]}, r"c\[1\] must be a number, not '2'"),
        ({"c": {}}, "c must be a list"),
        ({"d": {"x": {}}}, r"d\.x\.e is missing"),
        ({"d": [1]}, r"d must be an object, not \[1\]"),
        ({"f": {"g": 1}}, r"f\.g must be text, not 1"),
        ({"f": "x"}, "f must be null or an object, not 'x'"),
        ({"a": "y" * 1000}, "a must be a whole number, not text"),
    ],
)
def test_the_field_is_named(changed, said):
    import json

    with pytest.raises(UserError, match=f"^x: {said}") as error:
        loads(json.dumps(GOOD | changed), "x", SHAPE)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1", b"null", b"3", b"\xff\xfe{}", b"{'a': 1}", b'{"a": NaN}',
     b'{"a": -Infinity}',
     b'{"a": 1e999}', b'{"a": ' + b"9" * 400 + b"}", b'{"a": ' + b"9" * 5000 + b"}",
     b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
     b'{"a": ' + b"[" * MOST_DEPTH + b"]" * MOST_DEPTH + b"}", b"\x00", b'{"a": 1} {"a": 2}'],
    ids=lambda t: repr(t[:12]),
)  # fmt: skip
def test_what_is_no_object_of_ours_is_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"x\.json") as error:
        read_json(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_one_line(tmp_path):
    with pytest.raises(Missing, match="nowhere does not exist: no run"):
        read_json(tmp_path / "nowhere", missing="no run")
    with pytest.raises(UserError, match="is a directory"):
        read_json(tmp_path)
    with pytest.raises(UserError, match="larger than"):
        read_json("/dev/zero")
    with pytest.raises(UserError, match="cannot be read"):
        read_json("a\0b")


def test_half_a_character_cannot_be_printed_and_does_not_come_through():
    assert loads(r'{"a": "x\ud800", "b": "\ud83d\ude00"}', "x") == {
        "a": "x\ufffd",
        "b": "\U0001f600",
    }


def test_rows_are_told_from_torn_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n[1]\n' + b"[" * 10**5 + b'\n\xff\n{"a": 2}')
    found = list(read_rows(path))
    assert found == [(1, {"a": 1}), (3, None), (4, None), (5, None), (6, None), (7, {"a": 2})]
