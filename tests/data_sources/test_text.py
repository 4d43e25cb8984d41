"""Reading text: formats, the split, bytes per token, and everything that can be wrong."""

import gzip
import json
import math
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from scaling.data.stdlib import Stdlib, library_files
from scaling.data.text import Text
from scaling.errors import UserError

SNOWMAN = "ä☃𝛼 "


def decoded(pipeline) -> bytes:
    """All held-out targets, in order: a large n_rows_eval makes them the whole held-out part."""
    rows = [b["targets"][b["weights"] > 0].reshape(-1, 16) for b in pipeline.eval_batches(64)]
    order = np.argsort(pipeline._eval_ids)
    return np.concatenate(rows)[order].astype(np.uint8).tobytes()


def documents_in(pipeline, n_steps=200) -> set[str]:
    return {p.document for s in range(n_steps) for e in pipeline.examples(s) for p in e.places}


def test_documents_are_on_one_side_each(options, open_small):
    pipeline = open_small(options["text"], n_rows_eval=10_000)
    trained, held_out = documents_in(pipeline, 60), decoded(pipeline)
    counts = pipeline.stats()["documents"]
    assert len(trained) == counts["train"] == 40 - counts["validation"]
    for i in range(40):
        assert (f"{i:02d}.txt" in trained) != (f"d{i}w9 ".encode() in held_out), i


def test_split_of_a_document_does_not_depend_on_the_others(options, open_small, corpus_dir):
    some = Text(paths=tuple(str(corpus_dir / f"{i:02d}.txt") for i in range(0, 40, 2)))
    few, all_ = documents_in(open_small(some)), documents_in(open_small(options["text"]))
    assert few == {name for name in all_ if int(name[:2]) % 2 == 0}


def test_formats_hold_the_same_text(tmp_path, corpus_dir, open_small):
    zstandard = pytest.importorskip("zstandard")
    content = (corpus_dir / "docs.jsonl").read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(content))
    texts = [json.loads(line)["text"] for line in content.splitlines()]
    (tmp_path / "c.dat").write_text("<|end|>".join(texts))
    sources = [
        Text(paths=(str(corpus_dir / "[0-9]*.txt"),)),
        Text(paths=(str(corpus_dir / "docs.jsonl"),)),
        Text(paths=(str(tmp_path / "a.jsonl.gz"),)),
        Text(paths=(str(tmp_path / "*.zst"),)),
        Text(paths=(str(tmp_path / "c.dat"),), delimiter="<|end|>"),
    ]
    first, *others = [open_small(source).batch(4)["tokens"] for source in sources]
    assert all((first == other).all() for other in others)


def test_bytes_and_tokens_are_counted(options, open_small, corpus_dir):
    stats = open_small(options["text"]).stats()
    n_bytes = sum(path.stat().st_size for path in corpus_dir.glob("*.txt"))
    assert stats["bytes"] == n_bytes
    assert sum(stats["tokens"].values()) == n_bytes + 40


def test_bytes_per_token_leaves_separators_out(options, open_small):
    pipeline = open_small(options["text"], n_rows_eval=10_000)
    text = decoded(pipeline)
    assert pipeline.bytes_per_token == pytest.approx(1 - text.count(0) / len(text), abs=1e-12)
    assert text.count(0) > 0


def test_duplicates_are_dropped(tmp_path, open_small):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("the same words in every file, to be kept once")
    (tmp_path / "d.txt").write_text("other words, long enough for a row or two of bytes")
    stats = open_small(Text(paths=(str(tmp_path / "*"),))).stats()
    assert [file["documents"] for file in stats["files"]] == [1, 0, 0, 1]
    assert [file["duplicates"] for file in stats["files"]] == [0, 1, 1, 0]
    assert stats["duplicates"] == 2


def test_one_document_is_cut(tmp_path, open_small):
    text = "".join(chr(33 + i % 90) for i in range(1000))
    (tmp_path / "one.txt").write_text(text)
    pipeline = open_small(Text(paths=(str(tmp_path / "one.txt"),)), n_rows_eval=100)
    assert pipeline.stats()["tokens"] == {"train": 801, "validation": 200}
    held_out = sorted(int(b["tokens"][0, 0]) for b in pipeline.eval_batches(1))
    assert held_out == sorted(text[800 + 16 * i].encode()[0] for i in range(12))


def test_separate_validation_files(tmp_path, corpus_dir, open_small):
    (tmp_path / "held.txt").write_text("held out words " * 20)
    source = Text(paths=(str(corpus_dir / "*.txt"),), validation=(str(tmp_path / "held.txt"),))
    pipeline = open_small(source, val_fraction=0.0)
    assert pipeline.stats()["documents"] == {"train": 40, "validation": 1}
    assert set(decoded(pipeline).decode().split()) >= {"held", "out", "words"}


@pytest.fixture
def tokenizer(tmp_path):
    """A byte-level BPE file trained on the spot."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator([f"word{i} d{i}w{i} {SNOWMAN}" for i in range(50)], vocab_size=270)
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_tokenizer_counts_bytes_exactly(tmp_path, tokenizer, open_small):
    held_out = (f"word1 {SNOWMAN}word2\n") * 40
    (tmp_path / "train.txt").write_text(SNOWMAN * 200)
    (tmp_path / "held.txt").write_text(held_out)
    source = Text(
        paths=(str(tmp_path / "train.txt"),),
        validation=(str(tmp_path / "held.txt"),),
        tokenizer=str(tokenizer),
    )
    pipeline = open_small(source, seq_len=1, n_rows_eval=10**6)
    n_tokens = pipeline.stats()["tokens"]["validation"] - 1
    assert pipeline.bytes_per_token * n_tokens == pytest.approx(len(held_out.encode()), abs=1e-6)
    assert n_tokens < len(held_out.encode())
    assert pipeline.vocab_size == 271
    long = open_small(source, seq_len=n_tokens)
    text = long._source.decode(long._source.validation.row_tokens(0))
    assert text == "\0" + held_out


@pytest.mark.parametrize("separator", ["none", "<|end|>", "new"])
def test_the_extra_id_of_a_tokenizer_is_optional(separator, tmp_path, open_small, corpus_dir):
    """With none or a token of its own, ids, vocabulary and bytes are the tokenizer's alone."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.ByteLevelBPETokenizer()
    words = [f"word{i} {SNOWMAN}" for i in range(50)]
    model.train_from_iterator(words, vocab_size=270, special_tokens=["<|end|>"])
    model.save(str(tmp_path / "t.json"))
    texts = [f"word{i} <|end|> {SNOWMAN}" * (i + 3) for i in range(20)]
    (tmp_path / "x.json").write_text(json.dumps(texts))
    source = Text(
        paths=(str(tmp_path / "x.json"),), tokenizer=str(tmp_path / "t.json"), separator=separator
    )
    pipeline = open_small(source, documents="masked", n_rows_eval=1000)
    assert pipeline.vocab_size == model.get_vocab_size() + (separator == "new")
    corpus = pipeline._source.train.stream.corpus
    content = corpus.files[0].data
    own = model.token_to_id("<|end|>")
    ids = {"none": None, "<|end|>": own, "new": model.get_vocab_size()}[separator]
    assert corpus.separator == ids
    n_opened = 0 if ids is None else corpus.n_documents
    assert len(content) == sum(int(n) for n in np.diff(corpus.starts))
    assert (content[corpus.starts[:-1]] == (-1 if ids is None else ids)).sum() == n_opened
    if separator != "new":  # Text that spells a special token is text.
        assert (content == own).sum() == n_opened
    assert corpus.widths.data.sum() == sum(len(text.encode()) for text in texts)
    positions = [pipeline.batch(step)["positions"] for step in range(40)]
    assert any((batch[:, 1:] == 0).any() for batch in positions)
    decoded_text = pipeline._source.decode(np.array(content[: corpus.starts[1]]))
    assert decoded_text == ("" if ids is None else "\0") + texts[0]


def test_a_separator_that_cannot_be_is_refused(tokenizer, corpus_dir, open_small):
    paths = (str(corpus_dir / "*.txt"),)
    with pytest.raises(UserError, match=r"data\.text\.separator 'nwe'; did you mean 'new'"):
        open_small(Text(paths=paths, tokenizer=str(tokenizer), separator="nwe"))
    with pytest.raises(UserError, match=r"separator='none' needs data\.text\.tokenizer"):
        open_small(Text(paths=paths, separator="none"))


def test_an_encoding_that_is_none_is_refused(corpus_dir, open_small):
    for name in ("utf-99", "rot13", "hex"):
        with pytest.raises(UserError, match=f"data.text.encoding='{name}' is not an encoding"):
            open_small(Text(paths=(str(corpus_dir / "*.txt"),), encoding=name))


def test_a_delimiter_that_is_nowhere_is_said(tmp_path, open_small):
    (tmp_path / "x.txt").write_text("".join(f"line {i}\n" for i in range(100_000)))
    pipeline = open_small(Text(paths=(str(tmp_path / "x.txt"),), delimiter="<|end|>"))
    assert pipeline.warnings == ("x.txt: data.text.delimiter='<|end|>' is nowhere in it",)


def test_rows_of_another_tokenizer_are_other_rows(tmp_path, tokenizer, open_small, corpus_dir):
    as_bytes = Text(paths=(str(corpus_dir / "*.txt"),))
    as_tokens = Text(paths=as_bytes.paths, tokenizer=str(tokenizer))
    counts = [open_small(s).stats()["tokens"]["train"] for s in (as_bytes, as_tokens)]
    assert counts[1] < counts[0]


def write(tmp_path, name, content) -> Text:
    (tmp_path / name).write_bytes(content)
    return Text(paths=(str(tmp_path / name),))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine words\xff\xfe", r"a\.txt: not UTF-8 at byte 10 \(0xff\)"),
        ("a.txt", b"fine\0words", r"a\.txt: NUL at byte 4"),
        ("a.txt", b"", "corpus is empty"),
        ("a.txt", b"short", "training part .* has 5 tokens, too few for one row .*seq_len=16"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "\\ud800x"}\n', r"a\.jsonl:2: not UTF-8 at byte 0"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "cut', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'{"txet": "ok"}\n', r"a\.jsonl:1:.*'text'; did you mean 'txet'"),
        ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl:1: field 'text' must be text, not int"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl#0: an element must be an object or text, not int"),
        ("a.jsonl", b"[1]\n[2]\n", r"a\.jsonl:1: an element must be an object or text, not a list"),
        ("a.jsonl", b"\n\n", "corpus is empty"),
        ("a.gz", gzip.compress(b"words " * 500, mtime=0)[:-10], r"cannot read .*a\.gz' to its end"),
        ("a.zst", b"\x28\xb5\x2f\xfdbroken", r"cannot read .*a\.zst' to its end"),
    ],
)
def test_bad_content_is_named(name, content, message, tmp_path, open_small):
    with pytest.raises(UserError, match=message) as caught:
        open_small(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("boks.txt", "no file .*boks.txt'; did you mean .*books.txt'"),
        ("none/books.txt", "directory .*none' does not exist"),
        ("*.csv", r"the glob '.*\*\.csv' matches no file"),
        (".", "is a directory"),
        ("/dev/zero", "is a device or a pipe"),
    ],
)
def test_missing_files_are_named(pattern, message, tmp_path, open_small):
    (tmp_path / "books.txt").write_text("text")
    with pytest.raises(UserError, match=message):
        open_small(Text(paths=(f"{tmp_path}/{pattern}" if "/dev" not in pattern else "/dev/zero",)))


def test_no_paths_and_nothing_held_out(options, open_small):
    with pytest.raises(UserError, match=r"data\.text\.paths is empty"):
        open_small(Text())
    with pytest.raises(UserError, match="val_fraction=0 leaves no document"):
        open_small(options["text"], val_fraction=0.0)


def test_broken_tokenizer_is_named(tmp_path, corpus_dir, open_small):
    pytest.importorskip("tokenizers")
    (tmp_path / "t.json").write_text("{}")
    source = Text(paths=(str(corpus_dir / "*.txt"),), tokenizer=str(tmp_path / "t.json"))
    with pytest.raises(UserError, match=r"t\.json' is not a tokenizers JSON file"):
        open_small(source)


def test_bad_documents_can_be_skipped_and_are_counted(tmp_path, open_small, caplog):
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    for i in range(8):
        (tmp_path / f"good{i}.txt").write_text(f"good words {i} " * 10)
    pipeline = open_small(Text(paths=(str(tmp_path / "*.txt"),), on_bad="skip"))
    stats = pipeline.stats()
    assert sum(stats["documents"].values()) == 8
    assert stats["skipped"]["documents"] == 1
    assert [file["skipped"] for file in stats["files"]] == [1] + 8 * [0]
    assert any("bad.txt: all of its 1 documents were skipped" in w for w in pipeline.warnings)
    assert "bad.txt: not UTF-8" in caplog.text


def test_cache_is_used_repaired_and_renewed(tmp_path, open_small, monkeypatch):
    source = write(tmp_path, "a.txt", b"some words " * 50)
    home = tmp_path / "cache"
    expected = open_small(source, cache_dir=home).batch(1)["tokens"]
    with monkeypatch.context() as patch:
        patch.setattr("scaling.data.text.documents_of", lambda *_: pytest.fail("read again"))
        assert (open_small(source, cache_dir=home).batch(1)["tokens"] == expected).all()
    [tokens] = home.glob("data/*/tokens.bin")
    tokens.write_bytes(tokens.read_bytes()[:-7])
    assert (open_small(source, cache_dir=home).batch(1)["tokens"] == expected).all()
    shutil.rmtree(tokens.parent)
    assert (open_small(source, cache_dir=home).batch(1)["tokens"] == expected).all()
    write(tmp_path, "a.txt", b"other text " * 60)
    assert (open_small(source, cache_dir=home).batch(1)["tokens"] != expected).any()
    assert not list(home.glob("data/*.tmp"))


def test_killed_build_leaves_nothing_that_is_used(tmp_path, open_small, monkeypatch):
    source, home = write(tmp_path, "a.txt", b"some words " * 50), tmp_path / "cache"
    monkeypatch.setattr("scaling.data.cache.os.rename", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_small(source, cache_dir=home)
    monkeypatch.undo()
    [lock] = home.glob("data/*.lock")
    (lock.with_suffix(".tmp")).mkdir()
    (lock.with_suffix(".tmp") / "tokens.bin").write_bytes(b"half")
    assert math.isfinite(open_small(source, cache_dir=home).bytes_per_token)
    assert not list(home.glob("data/*.tmp"))


def test_cache_that_cannot_be_written_is_named(tmp_path, open_small, corpus_dir):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot use the data cache.*SCALING_CACHE"):
        open_small(Text(paths=(str(corpus_dir / "*.txt"),)), cache_dir=tmp_path / "file")


def test_library_files_are_those_that_came_with_python(corpus_dir):
    names = {path.name for path in library_files(corpus_dir / "lib")}
    assert names == {f"m{i}.py" for i in range(40)}


def test_library_split_follows_the_path_not_the_content(
    tmp_path, corpus_dir, open_small, monkeypatch
):
    library = shutil.copytree(corpus_dir / "lib", tmp_path / "lib")
    monkeypatch.setattr("scaling.data.stdlib.sysconfig.get_path", lambda _: str(library))
    before = documents_in(open_small(Stdlib()))
    for path in library.rglob("m*.py"):
        path.write_text(path.read_text() + "# changed\n")
    assert documents_in(open_small(Stdlib())) == before
    assert 20 < len(before) < 40


def test_this_python_has_its_library():
    names = {path.name for path in library_files(Path(sysconfig.get_path("stdlib")))}
    assert {"os.py", "ast.py", "__init__.py"} <= names
    assert len(names) > 100
