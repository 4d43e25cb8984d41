"""Bytes that are no text, compressed files that lie, and bombs."""

import bz2
import gzip
import io
import lzma

import pandas as pd
import pytest

from scaling.analysis.tables import text
from scaling.analysis.tables.read import read
from scaling.cli import main

TABLE = b"n_params,n_tokens,loss\n" + b"20000000,1000000000,4.28\n" * 500
zstandard = pytest.importorskip("zstandard")
COMPRESS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def refused(path, data, capsys):
    """The one line with which `scaling fit` refuses a file."""
    path.write_bytes(data)
    assert main(["fit", str(path), "--no-profile"]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    return said


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_compressed_file_is_known_by_its_content_and_read_to_its_end(tmp_path, capsys, kind):
    data = COMPRESS[kind](TABLE)
    for name in (f"t.csv.{kind}", "t.csv"):
        (tmp_path / name).write_bytes(data)
        assert len(read(tmp_path / name)[0]) == 500
    (tmp_path / "t.csv").write_bytes(data + COMPRESS[kind](b"1,2,3\n"))
    assert len(read(tmp_path / "t.csv")[0]) == 501  # two streams, as `cat` makes them
    for cut in (len(data) - 1, len(data) - 9, len(data) // 2):
        said = refused(tmp_path / f"cut.csv.{kind}", data[:cut], capsys)
        assert "to its end" in said
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    if kind != "zst":  # whose frames have no checksum unless asked
        assert "cut.csv" in refused(tmp_path / f"cut.csv.{kind}", bytes(damaged), capsys)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, capsys, kind, monkeypatch):
    monkeypatch.setattr(text, "LIMIT", 100_000)
    sizes, decompressed = [], text._decompressed

    def watched(raw):
        for piece in decompressed(raw):
            sizes.append(len(piece))
            yield piece

    monkeypatch.setattr(text, "_decompressed", watched)
    length = 2**28 if kind == "zst" else 2**22
    bomb = COMPRESS[kind](b"0" * length)
    said = refused(tmp_path / f"t.csv.{kind}", bomb, capsys)
    assert "more than 100,000 bytes" in said
    assert f"{text.LIMIT_VARIABLE}=400000" in said
    assert sum(sizes) < length / 4
    monkeypatch.setenv(text.LIMIT_VARIABLE, str(2**20))
    (tmp_path / "t.csv").write_bytes(COMPRESS[kind](b"a\n" + b"word " * 40_000 + b"\nb\n"))
    assert len(read(tmp_path / "t.csv")[0]) == 2


def test_a_parquet_bomb_and_a_plain_file_have_the_same_limit(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    out = io.BytesIO()
    pd.DataFrame({"loss": [1.0] * 1_000_000}).to_parquet(out)
    assert len(out.getvalue()) < 100_000
    monkeypatch.setenv(text.LIMIT_VARIABLE, "1000000")
    assert "more than 1,000,000 bytes" in refused(tmp_path / "t.parquet", out.getvalue(), capsys)
    assert "more than 1,000,000" in refused(tmp_path / "t.csv", b"1,2\n" * 300_000, capsys)
    monkeypatch.setenv(text.LIMIT_VARIABLE, "much")
    assert "is not a number of bytes" in refused(tmp_path / "t.csv", TABLE, capsys)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"%PDF-1.7", "PDF"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x80\x04\x95rest", "pickle"),
        (b"<!DOCTYPE html><table>", "web page"),
        (b"\n<?xml version='1.0'?>", "XML"),
        (b"a,b\n1,\x002\n", "NUL bytes (first in line 2)"),
        (bytes(range(128, 256)) + b"\x01\x02,", "no text"),
        (b"\xff\xfea\x00,\x00b", "breaks off"),
        (b"", "empty"),
        (gzip.compress(b""), "empty once decompressed"),
        (gzip.compress(gzip.compress(TABLE)), "no text"),
        (b"PAR1 and no more", "Parquet|cannot read"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, capsys, data, words):
    for name in ("t.csv", "t.jsonl"):
        said = refused(tmp_path / name, data, capsys)
        assert any(word in said for word in words.split("|")), said


def test_latin_1_is_said_and_unknown_endings_are_refused(tmp_path, capsys):
    (tmp_path / "t.csv").write_bytes("größe,loss\n1,2\n".encode("latin-1"))
    table, notices = read(tmp_path / "t.csv")
    assert list(table.columns) == ["größe", "loss"]
    assert "not UTF-8" in notices[0]
    assert "not .csv" in refused(tmp_path / "t.doc", TABLE, capsys)
