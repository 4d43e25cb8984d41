"""Small files that are never half written, and the list of what differs."""

import os

import pytest

from scaling.doors.files import differences, dump, write_atomic


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomic(path, "old")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_differences_names_dotted_keys():
    old = {"a": {"x": 1, "y": 2.0, "gone": None}, "same": [1, 2]}
    new = {"a": {"x": 1, "y": 3.0}, "same": [1, 2], "new": "v"}
    assert differences(old, new) == [
        "a.gone: None -> (absent)",
        "a.y: 2.0 -> 3.0",
        "new: (absent) -> 'v'",
    ]
    assert differences(old, old) == []


def test_an_int_that_became_a_float_is_a_difference():
    assert differences({"x": 1}, {"x": 1.0}) == ["x: 1 -> 1.0"]
    assert differences({"x": True}, {"x": 1}) == ["x: True -> 1"]


def test_dump_is_ascii_and_refuses_nan():
    assert dump({"a": "\x1b[31m\u202e"}, indent=None) == '{"a": "\\u001b[31m\\u202e"}'
    with pytest.raises(ValueError, match="JSON"):
        dump(float("inf"))
