"""Token files: raw and Megatron, document boundaries, masking, damage."""

import struct

import numpy as np
import pytest

from scaling.data.tokens import Tokens
from scaling.errors import UserError

LENGTHS = [5, 40, 1, 33, 17, 60, 22, 9, 50, 31, 12, 45]


def write_megatron(path, lengths=LENGTHS, dtype="int32", code=4, per_document=1):
    """Token ids are 100 * document + place: any row tells where it comes from."""
    ids = np.concatenate([100 * d + np.arange(n) for d, n in enumerate(lengths)]).astype(dtype)
    ids.tofile(path.with_suffix(".bin"))
    sizes = np.array(lengths, np.int32)
    pointers = np.concatenate([[0], np.cumsum(sizes)[:-1]]) * np.dtype(dtype).itemsize
    documents = np.append(np.arange(0, len(lengths), per_document), len(lengths))
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(lengths), len(documents))
    body = sizes.tobytes() + pointers.astype("<i8").tobytes() + documents.astype("<i8").tobytes()
    path.with_suffix(".idx").write_bytes(header + body)
    return Tokens(paths=(str(path.with_suffix(".bin")),))


def write_raw(path, ids, dtype="uint16", **options):
    np.array(ids, dtype).tofile(path)
    return Tokens(paths=(str(path),), dtype=dtype, **options)


def every_row(pipeline):
    n_rows = pipeline.unique_tokens // 16
    batches = [pipeline.batch(step) for step in range(-(-n_rows // 8))]
    return {k: np.concatenate([b[k] for b in batches])[:n_rows] for k in batches[0]}


@pytest.mark.parametrize(("dtype", "code"), [("int32", 4), ("uint16", 8), ("int64", 5)])
def test_megatron_documents_are_split_whole(dtype, code, tmp_path, open_small):
    source = write_megatron(tmp_path / "corpus", dtype=dtype, code=code)
    pipeline = open_small(source, n_rows_eval=100, val_fraction=0.3)
    counts = pipeline.stats()
    assert sum(counts["documents"].values()) == len(LENGTHS)
    assert sum(counts["tokens"].values()) == sum(LENGTHS)
    trained = set(np.unique(every_row(pipeline)["targets"] // 100))
    held_out = {int(t) // 100 for b in pipeline.eval_batches(1) for t in b["targets"].ravel()}
    assert not trained & held_out
    assert len(held_out) > 1


def test_megatron_documents_may_have_several_sequences(tmp_path, open_small):
    source = write_megatron(tmp_path / "corpus", per_document=3)
    assert sum(open_small(source).stats()["documents"].values()) == 4


def test_rows_run_over_pieces_and_files_in_order(tmp_path, open_small):
    """The training stream is the starts of the files one after the other; their ends are held
    out."""
    for i, name in enumerate("abcdefgh"):
        write_raw(tmp_path / f"{name}.bin", 1000 * i + np.arange(70))
    pipeline = open_small(Tokens(paths=(str(tmp_path / "*.bin"),)), val_fraction=0.4)
    rows = every_row(pipeline)
    order = np.argsort(rows["tokens"][:, 0])
    stream = np.append(rows["tokens"][order].ravel(), rows["targets"][order][-1, -1])
    expected = np.concatenate([1000 * k + np.arange(42) for k in range(8)])
    assert (stream == expected[: len(stream)]).all()
    assert pipeline.stats()["tokens"] == {"train": 8 * 42, "validation": 8 * 28}
    held_out = np.concatenate([b["targets"].ravel() for b in pipeline.eval_batches(1)])
    assert (held_out % 1000 >= 42).all()
    places = [p for s in range(4) for e in pipeline.examples(s) for p in e.places]
    assert {p.document for p in places} == {f"{name}.bin#0" for name in "abcdefgh"}


def test_masked_rows_do_not_cross_documents_without_separators(tmp_path, open_small):
    source = write_megatron(tmp_path / "corpus")
    rows = every_row(open_small(source, documents="masked"))
    document, target = rows["tokens"] // 100, rows["targets"] // 100
    # Same segment <=> same document, the target counts <=> it is of the input's document.
    same_segment = rows["segments"][:, :, None] == rows["segments"][:, None, :]
    assert (same_segment == (document[:, :, None] == document[:, None, :])).all()
    assert (rows["weights"] == (document == target)).all()
    assert (rows["weights"] == 0).any()
    # Positions count from the document's start, or from the row's when it begins inside.
    inside = rows["segments"] > 0
    assert (rows["positions"][inside] == (rows["tokens"] % 100)[inside]).all()
    assert (rows["positions"][~inside] == np.nonzero(~inside)[1]).all()


def test_masked_rows_with_separators(corpus_dir, open_small):
    source = Tokens(paths=(str(corpus_dir / "docs.bin"),), separator=7)
    rows = every_row(open_small(source, documents="masked"))
    is_separator = rows["tokens"] == 7
    assert (rows["weights"] == 1).all()
    assert (rows["positions"][is_separator] == 0).all()
    assert (rows["segments"] == np.cumsum(is_separator, axis=1)).all()
    assert is_separator.sum() > 20
    step = np.diff(rows["positions"], axis=1)
    assert (step[~is_separator[:, 1:]] == 1).all()


def test_masked_needs_boundaries(corpus_dir, open_small):
    with pytest.raises(UserError, match=r"set data\.tokens\.separator"):
        open_small(Tokens(paths=(str(corpus_dir / "raw.bin"),)), documents="masked")


def test_uint32_and_separate_validation(tmp_path, open_small):
    source = write_raw(tmp_path / "train.bin", 70_000 + np.arange(100), "uint32")
    np.arange(50, dtype=np.uint32).tofile(tmp_path / "val.bin")
    source = Tokens(paths=source.paths, validation=(str(tmp_path / "val.bin"),), dtype="uint32")
    pipeline = open_small(source, val_fraction=0.0)
    assert pipeline.vocab_size == 70_100
    assert pipeline.batch(0)["tokens"].min() >= 70_000
    assert pipeline.eval_batches(3)[0]["targets"].max() < 50


@pytest.mark.parametrize("position", [0, 3, 99])
def test_id_beyond_the_vocabulary_is_located(position, tmp_path, open_small):
    ids = np.arange(100)
    ids[[position, 99]] = 500
    source = write_raw(tmp_path / "t.bin", ids, vocab_size=100)
    with pytest.raises(UserError, match=rf"token id 500 at position {position} is not in \[0, 100"):
        open_small(source)


def test_negative_and_huge_ids_are_located(tmp_path, open_small):
    source = write_megatron(tmp_path / "m", lengths=[50, 50], dtype="int16", code=3)
    ids = np.fromfile(tmp_path / "m.bin", np.int16)
    ids[70] = -3
    ids.tofile(tmp_path / "m.bin")
    with pytest.raises(UserError, match="token id -3 at position 70"):
        open_small(source)
    source = write_raw(tmp_path / "t.bin", [1] * 9 + [2**31], "uint32")
    with pytest.raises(UserError, match=r"token id 2147483648 at position 9"):
        open_small(source)


def test_damaged_files_are_named(tmp_path, open_small):
    source = write_raw(tmp_path / "t.bin", np.arange(100))
    with open(tmp_path / "t.bin", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=r"t\.bin' has 201 bytes, not a multiple of the 2"):
        open_small(source)
    source = write_megatron(tmp_path / "m")
    content = (tmp_path / "m.bin").read_bytes()
    (tmp_path / "m.bin").write_bytes(content[:-8])
    with pytest.raises(UserError, match=r"has 323 tokens of int32, its index .* says 325"):
        open_small(source)
    (tmp_path / "m.bin").write_bytes(content)
    index = (tmp_path / "m.idx").read_bytes()
    for bad, message in (
        (index[:-5], "is truncated"),
        (b"not an index" * 9, "is not a Megatron index"),
        (index[:17] + b"\x07" + index[18:], "integer type 7"),
        (index[:34] + b"\x09" + index[35:], "sequences do not follow one another"),
    ):
        (tmp_path / "m.idx").write_bytes(bad)
        with pytest.raises(UserError, match=message):
            open_small(source)


def test_empty_and_impossible(tmp_path, open_small):
    with pytest.raises(UserError, match="corpus is empty"):
        open_small(write_raw(tmp_path / "t.bin", []))
    with pytest.raises(UserError, match="separator=100 is not below vocab_size=100"):
        open_small(write_raw(tmp_path / "s.bin", range(90), vocab_size=100, separator=100))
    with pytest.raises(UserError, match=r"(training|validation) part .* has [28] tokens"):
        open_small(write_raw(tmp_path / "u.bin", range(10)))
