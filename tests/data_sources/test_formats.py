"""Every text format under every compression, encodings, bombs, and files that are none of them."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scaling.data import compression
from scaling.data.formats.detect import FORMATS
from scaling.data.text import Text
from scaling.errors import UserError

CASES = Path(__file__).parent.parent / "data/cases"
TEXTS = [f"document {i} ä☃𝛼 " + " ".join(f"w{i}x{j}" for j in range(20 + i)) for i in range(30)]
RECORDS = [{"n": i, "text": text} for i, text in enumerate(TEXTS)]


def zstd(content: bytes) -> bytes:
    """Two frames with a window beyond the library's default, as `zstd --long=28` writes."""
    zstandard = pytest.importorskip("zstandard")
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28)
    out = io.BytesIO()
    for part in (content[: len(content) // 3], content[len(content) // 3 :]):
        with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(
            out, closefd=False
        ) as writer:
            writer.write(part)
    return out.getvalue()


def members(content: bytes) -> bytes:
    return gzip.compress(content[:100]) + gzip.compress(content[100:])


def parquet(path, table: dict) -> bytes:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    pq.write_table(pa.table(table), out, row_group_size=7)
    return out.getvalue()


COMPRESSIONS = {
    "": lambda content: content,
    ".gz": members,
    ".zst": zstd,
    ".xz": lambda content: lzma.compress(content[:50]) + lzma.compress(content[50:]),
    ".bz2": lambda content: bz2.compress(content[:50]) + bz2.compress(content[50:]),
}
LAYOUTS = {
    "lines.jsonl": "\n".join(map(json.dumps, RECORDS)) + "\n",
    "lines.json": "\r\n".join(map(json.dumps, RECORDS)),
    "blank.ndjson": "\n\n" + "\n\n".join(map(json.dumps, RECORDS)),
    "array.json": json.dumps(RECORDS),
    "spread.json": json.dumps(RECORDS, indent=2),
    "array.jsonl": json.dumps(RECORDS, ensure_ascii=False),
    "strings.json": json.dumps(TEXTS),
    "string_lines.jsonl": "\n".join(map(json.dumps, TEXTS)),
    "objects.json": "\n".join(json.dumps(record, indent=1) for record in RECORDS),
    "plain.txt": "<|end|>".join(TEXTS),
}


def documents(pipeline) -> list[str]:
    """The texts of the corpus in order, read back from its tokens."""
    corpus = pipeline._source.train.stream.corpus
    content = np.fromfile(corpus.files[0].path, np.uint8).tobytes().decode()
    return content[1:].split("\0")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_and_compression_gives_the_same_documents(name, suffix, tmp_path, open_small):
    path = tmp_path / (name + suffix)
    path.write_bytes(COMPRESSIONS[suffix](LAYOUTS[name].encode()))
    pipeline = open_small(Text(paths=(str(path),), delimiter="<|end|>"), cache_dir=tmp_path)
    assert documents(pipeline) == TEXTS
    [file] = pipeline.stats()["files"]
    assert file["documents"] == 30
    assert file["format"].split()[0] == ("plain" if name == "plain.txt" else "json")
    assert len(file["format"].split()) == 1 + bool(suffix)


@pytest.mark.parametrize(
    "column",
    [{"text": TEXTS}, {"text": [text.encode() for text in TEXTS]}, {"a.b": TEXTS}, {"a": RECORDS}],
)
def test_parquet_columns_and_their_fields(column, tmp_path, open_small):
    [name] = column
    field = "a.text" if name == "a" else name
    (tmp_path / "x.parquet").write_bytes(parquet(tmp_path, {"other": list(range(30)), **column}))
    source = Text(paths=(str(tmp_path / "x.parquet"),), field=field)
    assert documents(open_small(source)) == TEXTS


def test_every_format_is_in_the_sweep():
    assert set(FORMATS) == {"plain", "json", "parquet"}
    names = {name for name, _, _ in compression._CODECS}
    assert names == {"gzip", "zstd", "xz", "bzip2"}


def test_large_arrays_are_read_in_chunks(tmp_path, open_small, monkeypatch):
    monkeypatch.setattr("scaling.data.formats.jsontext._CHUNK", 7)
    for name in ("array.json", "spread.json", "strings.json", "array.jsonl"):
        (tmp_path / name).write_text(LAYOUTS[name])
        pipeline = open_small(Text(paths=(str(tmp_path / name),)), cache_dir=tmp_path / name[:-5])
        assert documents(pipeline) == TEXTS, name


@pytest.mark.parametrize(
    ("encoding", "option"),
    [
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-8"),
        ("utf-32", "utf-8"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "UTF-16BE"),
        ("gb18030", "gb18030"),
    ],
)
@pytest.mark.parametrize("name", ["lines.jsonl", "spread.json", "plain.txt"])
def test_encodings(name, encoding, option, tmp_path, open_small):
    (tmp_path / name).write_bytes(LAYOUTS[name].encode(encoding))
    source = Text(paths=(str(tmp_path / name),), delimiter="<|end|>", encoding=option)
    assert documents(open_small(source, cache_dir=tmp_path)) == TEXTS


def test_a_key_with_dots_comes_before_a_path(tmp_path, open_small):
    lines = [json.dumps({"a.b": text, "a": {"b": "wrong"}}) for text in TEXTS]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    assert documents(open_small(Text(paths=(str(tmp_path / "x.jsonl"),), field="a.b"))) == TEXTS


@pytest.mark.parametrize(
    ("folder", "name", "options", "n_documents", "n_bytes"),
    [
        ("16-json-gz", "part-0000.json.gz", {}, 400, 124_324),
        ("17-zst-frames", "long28_stream.jsonl.zst", {}, 400, 124_324),
        ("17-zst-frames", "two_frames.jsonl.zst", {}, 400, 124_324),
        ("18-jsonl-null", "null.jsonl", {"on_bad": "skip"}, 40, None),
        ("18-jsonl-null", "only_null.jsonl", {"on_bad": "skip"}, 40, None),
        ("18-jsonl-null", "only_missing.jsonl", {"on_bad": "skip"}, 40, None),
        ("19-nested-field", "nested.jsonl", {"field": "meta.content"}, 40, None),
        ("19-nested-field", "array.json", {}, 40, None),
        ("19-nested-field", "array.jsonl", {}, 40, None),
        ("20-parquet", "shard.parquet", {}, 400, 124_324),
    ],
)
def test_cases_are_read_right(folder, name, options, n_documents, n_bytes, open_small):
    pytest.importorskip("zstandard")
    stats = open_small(Text(paths=(str(CASES / folder / name),), **options)).stats()
    assert stats["files"][0]["documents"] == n_documents
    assert n_bytes is None or stats["bytes"] == n_bytes
    n_bad = {"null.jsonl": 3, "only_null.jsonl": 1, "only_missing.jsonl": 1}.get(name, 0)
    assert stats["skipped"]["documents"] == n_bad


NPY = io.BytesIO()
np.save(NPY, np.arange(100))
ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as archive:
    archive.writestr("a.txt", "text")
LINES = LAYOUTS["lines.jsonl"].encode()
BROKEN = {
    "jsonl in .txt": ("x.txt", LINES, r"holds JSON lines with a field 'text'.*format='json'"),
    "jsonl in .gz": ("x.gz", gzip.compress(LINES), r"x\.gz' holds JSON lines"),
    "null": ("x.jsonl", b'{"text": null}', r"x\.jsonl:1: field 'text' must be text, not null"),
    "list": ("x.json", b'{"text": ["a"]}', r"x\.json:1: field 'text' must be text, not a list"),
    "nested": ("x.json", b'{"meta": {"body": "a"}}', r"known: meta\.body; mend it"),
    "cut array": ("x.json", b'[{"text": "a"}, {"te', r"x\.json': element 1 is not JSON"),
    "after array": ("x.json", b'[{"text": "a"}\n] b', "goes on after the end of its JSON array"),
    "no comma": ("x.json", b'["a" "b"]', r"element 1 is not JSON \(Expecting ',' or '\]'"),
    "cut object": ("x.json", b'{\n"text": "a"', r"x\.json': element 0 is not JSON"),
    "deep line": ("x.jsonl", b"[" * 200_000, "element 0 is nested too deeply"),
    "deep": ("x.jsonl", b'{"text": "a"}\n' + b"[" * 200_000, r"x\.jsonl:2: nested too deeply"),
    "bad byte in array": ("x.json", b'["ab\xff"]', r"x\.json#0: not UTF-8"),
    "utf-16 unmarked": ("x.txt", "plain words".encode("utf-16-le"), r"encoding='utf-16-le'"),
    "utf-16 lines": ("x.jsonl", LINES.decode().encode("utf-16-be"), r"encoding='utf-16-be'"),
    "half utf-16": ("x.txt", "words".encode("utf-16") + b"a", "is not utf-16 all through"),
    "pdf": ("x.txt", b"%PDF-1.7\n%\xe2\xe3", r"x\.txt: is a PDF, not text; export its text"),
    "zip": ("x.txt", ZIP.getvalue(), "is a zip archive"),
    "npy": ("x.bin", NPY.getvalue(), "is a NumPy array"),
    "pickle": ("x.pt", pickle.dumps(list(range(50))), "is a Python pickle"),
    "gz in gz": ("x.gz", gzip.compress(gzip.compress(b"a")), "compressed twice"),
    "cut gz": ("x.jsonl.gz", gzip.compress(LINES)[:-9], r"cannot read .*x\.jsonl\.gz' to its end"),
    "cut xz": ("x.xz", lzma.compress(LINES)[:-9], "cannot read .* to its end"),
    "cut bz2": ("x.bz2", bz2.compress(LINES)[:-9], "cannot read .* to its end"),
    "cut zst": ("x.zst", None, "truncated"),
    "cut parquet": ("x.parquet", b"PAR1\0\0\0\0cut", "cannot read .* as Parquet"),
    "parquet in gz": (
        "x.parquet.gz",
        gzip.compress(b"PAR1" + bytes(9)),
        "a Parquet file inside gzip",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_or_no_text_is_one_line(kind, tmp_path, open_small):
    name, content, message = BROKEN[kind]
    content = zstd(LINES)[:-9] if content is None else content
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_small(Text(paths=(str(tmp_path / name),)), cache_dir=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_parquet_without_the_column(open_small):
    pytest.importorskip("pyarrow")
    source = Text(paths=(str(CASES / "20-parquet/shard.parquet"),), field="txt")
    with pytest.raises(UserError, match=r"unknown data\.text\.field .* did you mean 'text'"):
        open_small(source)


def test_a_library_that_is_missing_is_named(open_small, monkeypatch):
    for module, case in (("pyarrow", "20-parquet/shard.parquet"), ("zstandard", "17-*/two*")):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(UserError, match=r"pip install 'scaling\[data\]'"):
            open_small(Text(paths=(str(CASES / case),), field="text", on_bad="skip", delimiter="q"))


def test_json_of_another_field_in_a_text_file_is_said(tmp_path, open_small):
    (tmp_path / "x.txt").write_text("\n".join(json.dumps({"body": text}) for text in TEXTS))
    pipeline = open_small(Text(paths=(str(tmp_path / "x.txt"),)))
    assert ["x.txt: looks like JSON lines" in w for w in pipeline.warnings] == [True]
    plain = Text(paths=(str(tmp_path / "x.txt"),), format="plain", field="body")
    assert open_small(plain, cache_dir=tmp_path).stats()["documents"]["train"] == 1


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress, zstd])
@pytest.mark.parametrize("name", ["x.txt", "x.jsonl"])
def test_a_bomb_is_stopped_and_the_limit_named(name, compress, tmp_path, open_small, monkeypatch):
    monkeypatch.setattr(compression, "_FREE_BYTES", 1 << 16)
    monkeypatch.setattr(compression, "_ZSTD_CHUNK", 16)
    content = b"words " * 500_000
    (tmp_path / name).write_bytes(compress(content))
    read = []
    real = compression.check_expansion
    monkeypatch.setattr(compression, "check_expansion", lambda p, n: [read.append(n), real(p, n)])
    source = Text(paths=(str(tmp_path / name),))
    with pytest.raises(UserError, match=r"expands beyond .* set SCALING_MAX_EXPANSION"):
        open_small(source, cache_dir=tmp_path / "cache")
    size = (tmp_path / name).stat().st_size
    assert max(read) <= max(1 << 16, 100 * size) + (1 << 20)  # A chunk more.
    monkeypatch.setenv("SCALING_MAX_EXPANSION", "1e6")
    if name == "x.txt":
        tokens = open_small(source, cache_dir=tmp_path / "cache").stats()["tokens"]
        assert sum(tokens.values()) == 1 + len(content)
    monkeypatch.setenv("SCALING_MAX_EXPANSION", "much")
    (tmp_path / name).write_bytes(compress(content + b"more"))
    with pytest.raises(UserError, match="SCALING_MAX_EXPANSION='much' must be a number"):
        open_small(source, cache_dir=tmp_path / "cache")
