"""Token files: every container, the type of raw ids by evidence, and files that are none."""

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from scaling.data.containers.detect import CONTAINERS
from scaling.data.containers.raw import DTYPES
from scaling.data.tokens import Tokens
from scaling.errors import UserError

CASES = Path(__file__).parent.parent / "data/cases"
# Like text: few ids are frequent. 20,000 of them, below 1,000.
IDS = np.minimum(np.random.default_rng(0).zipf(1.3, 20_000) - 1, 999)


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def llmc(ids, dtype="<u2", magic=20240520, version=1, count=None) -> bytes:
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(ids) if count is None else count
    return header.tobytes() + ids.astype(dtype).tobytes()


def litgpt(ids, code=8, version=1, count=None) -> bytes:
    count = len(ids) if count is None else count
    return b"LITPKDS" + struct.pack("<QBQ", version, code, count) + ids.astype("<u2").tobytes()


def megatron_index(sizes, code=8) -> bytes:
    places = np.concatenate([[0], np.cumsum(sizes)[:-1]]) * 2
    documents = np.arange(len(sizes) + 1)
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sizes), len(documents))
    parts = np.array(sizes, "<i4"), places.astype("<i8"), documents.astype("<i8")
    return header + b"".join(part.tobytes() for part in parts)


FILES = {
    "npy": [npy(IDS.astype(t)) for t in ("u2", "<u4", ">u2", "i8")] + [npy(IDS.reshape(200, 100))],
    "llm.c": [llmc(IDS), llmc(IDS, "<u4", 20240801, 7)],
    "lit-gpt": [litgpt(IDS)],
    "megatron": [IDS.astype("<u2").tobytes()],
    "raw": [IDS.astype("<u2").tobytes()],
}


def ids_of(pipeline) -> np.ndarray:
    """All tokens of the corpus in order."""
    corpus = pipeline._source.train.stream.corpus
    return np.concatenate([file.data for file in corpus.files])


@pytest.mark.parametrize("container", FILES)
def test_every_container_gives_the_same_ids(container, tmp_path, open_small):
    for i, content in enumerate(FILES[container]):
        (tmp_path / f"{i}.bin").write_bytes(content)
        if container == "megatron":
            (tmp_path / f"{i}.idx").write_bytes(megatron_index([12_000, 8_000]))
        pipeline = open_small(Tokens(paths=(str(tmp_path / f"{i}.bin"),)))
        assert (ids_of(pipeline) == IDS).all()
        stats = pipeline.stats()
        assert sum(stats["tokens"].values()) == len(IDS)
        assert pipeline.vocab_size == 1000
        assert stats["files"][0]["format"].split()[0] == container
        assert pipeline.batch(1)["tokens"].shape == (8, 16)


def test_every_container_is_in_the_sweep():
    assert set(FILES) == {*CONTAINERS, "raw"}


@pytest.mark.parametrize(
    ("name", "n_tokens"),
    [
        ("13-llmc-bin/train.bin", 20_000),
        ("13-llmc-bin/train_llama3.bin", 10_000),
        ("14-npy-header/shard_000000.npy", 20_000),
    ],
)
def test_cases_are_read_right(name, n_tokens, open_small):
    pipeline = open_small(Tokens(paths=(str(CASES / name),)))
    assert pipeline.vocab_size == 512
    assert sum(pipeline.stats()["tokens"].values()) == n_tokens


@pytest.mark.parametrize("name", ["train.bin", "train_128k.bin"])
def test_uint32_is_not_read_as_uint16(name, open_small):
    path = str(CASES / "15-uint32-as-uint16" / name)
    with pytest.raises(UserError, match=r"looks like uint32, not uint16: .*dtype='uint32'"):
        open_small(Tokens(paths=(path,)))
    pipeline = open_small(Tokens(paths=(path,), dtype="uint32"))
    assert sum(pipeline.stats()["tokens"].values()) == 20_000
    assert pipeline.warnings == ()
    # What the user says is believed, and the doubt goes into the record.
    as_said = open_small(Tokens(paths=(path,), dtype="uint16"))
    assert ["looks like uint32" in w for w in as_said.warnings] == [True]


def with_padding(ids):
    return np.where(np.arange(len(ids)) % 200 < 150, 0, ids)


def shifted(ids):
    """A vocabulary of 130,000, of which the upper half needs a third byte."""
    return ids * 130


@pytest.mark.parametrize("change", [lambda ids: ids, lambda ids: ids % 60, with_padding, shifted])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_type_of_raw_ids_is_told_or_named(dtype, change, tmp_path, open_small):
    """Right ids or the name of the type, never other ids."""
    if dtype == "uint8":
        ids = np.frombuffer(Path(__file__).read_bytes()[:20_000] * 4, np.uint8) ^ 0x80
    else:
        ids = change(IDS)
    if ids.max() > np.iinfo(dtype).max:
        return
    path = tmp_path / "x.bin"
    ids.astype(dtype).tofile(path)
    source = Tokens(paths=(str(path),))
    if dtype == "uint16":
        assert (ids_of(open_small(source)) == ids).all()
        return
    named = "uint32" if dtype == "int32" else dtype
    with pytest.raises(UserError, match=f"looks like {named}, not uint16.*dtype='{named}'"):
        open_small(source)
    assert (ids_of(open_small(Tokens(paths=(str(path),), dtype=dtype))) == ids).all()


LEGITIMATE = {
    "uniform": np.random.default_rng(1).integers(0, 65_536, 50_000),
    "GPT-2": np.random.default_rng(1).integers(0, 50_257, 50_000),
    "two ids": np.random.default_rng(1).integers(0, 2, 50_000),
    "zeros": np.zeros(50_000, int),
    "mostly padding": np.where(
        np.random.default_rng(2).random(50_000) < 0.99, 0, IDS[:1].max() + 9
    ),
    "counting": np.arange(50_000),
    "short": np.arange(40),
    "padded rows": np.tile(np.r_[np.arange(1, 90), np.zeros(111, int)], 200),
    "one id at the start": np.r_[50_256, IDS],
}


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_legitimate_ids_are_not_doubted(kind, tmp_path, open_small):
    LEGITIMATE[kind].astype("<u2").tofile(tmp_path / "x.bin")
    source = Tokens(paths=(str(tmp_path / "x.bin"),), vocab_size=65_536)
    pipeline = open_small(source, seq_len=4)
    assert pipeline.warnings == ()
    assert (ids_of(pipeline) == LEGITIMATE[kind]).all()


U2 = IDS.astype("<u2")
NEGATIVE = np.where(np.arange(len(IDS)) % 10 == 0, -100, IDS).astype("<i4")
BROKEN = {
    "llm.c too many": (
        llmc(IDS, count=19_999),
        r"20,000 tokens of uint16, its llm.c header says 19",
    ),
    "llm.c too few": (llmc(IDS)[:-2], r"19,999 tokens of uint16, its llm.c header says 20,000"),
    "llm.c version": (llmc(IDS, version=2), "magic 20240520 and version 2"),
    "llm.c evaluation": (llmc(IDS, magic=20240522), "is an evaluation file"),
    "llm.c cut": (llmc(IDS)[:500], "the llm.c header is broken"),
    "npy cut": (npy(U2)[:-100], "no readable .npy file"),
    "npy longer": (npy(U2) + b"more", "20,002 tokens of uint16, its .npy header says 20,000"),
    "npy floats": (npy(IDS.astype("f4")), "holds float32, not integers"),
    "npy objects": (npy(np.array([1, "a"], object)), "no readable .npy file"),
    "npy columns": (npy(np.asfortranarray(U2.reshape(200, 100))), "in Fortran order"),
    "npy cube": (npy(U2.reshape(20, 10, 100)), r"has the shape \(20, 10, 100\)"),
    "lit-gpt count": (litgpt(IDS, count=3), "its lit-gpt header says 3"),
    "lit-gpt floats": (litgpt(IDS, code=6), "version 1, type 6"),
    "unknown header": (np.r_[np.full(40, 60_001), IDS].astype("<u2").tobytes(), "with a header of"),
    "gzip": (gzip.compress(U2.tobytes()), "is gzip-compressed, not a file of token ids"),
    "zip": (b"PK\x03\x04" + bytes(1000), "is a zip archive"),
    "pickle": (pickle.dumps(U2), "is a Python pickle"),
    "Parquet": (b"PAR1" + bytes(1000), "is a Parquet file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(1000), "is an HDF5 file"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"a":' + bytes(1000), "is a safetensors file"),
    "text": (Path(__file__).read_bytes()[:2000], r"is text, not token ids; .*data\.name='text'"),
    "an index": (megatron_index([5]), r"is a Megatron index, .*name the \.bin"),
    "negative": (NEGATIVE.tobytes(), "looks like int32"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_or_no_tokens_is_one_line(kind, tmp_path, open_small):
    content, message = BROKEN[kind]
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_small(Tokens(paths=(str(tmp_path / "x.bin"),)))
    assert "\n" not in str(caught.value)
    assert "x.bin" in str(caught.value)


@pytest.mark.parametrize("container", ["npy", "llm.c", "lit-gpt", "megatron"])
def test_a_dtype_that_contradicts_a_header_is_refused(container, tmp_path, open_small):
    (tmp_path / "x.bin").write_bytes(FILES[container][0])
    if container == "megatron":
        (tmp_path / "x.idx").write_bytes(megatron_index([20_000]))
    path = (str(tmp_path / "x.bin"),)
    with pytest.raises(UserError, match=r"data\.tokens\.dtype='uint32', but .* file of uint16"):
        open_small(Tokens(paths=path, dtype="uint32"))
    assert open_small(Tokens(paths=path, dtype="uint16")).vocab_size == 1000


def test_a_vocabulary_far_above_what_is_used_is_said(tmp_path, open_small):
    np.where(np.arange(2_000_000) % 1001, 3, 60_000).astype("<u2").tofile(tmp_path / "x.bin")
    pipeline = open_small(Tokens(paths=(str(tmp_path / "x.bin"),)))
    assert ["x.bin has ids up to 60,000, but only 2 are used" in w for w in pipeline.warnings] == [
        True
    ]


def test_uint16_read_as_uint32_is_beyond_any_vocabulary(tmp_path, open_small):
    U2.tofile(tmp_path / "x.bin")
    with pytest.raises(UserError, match=r"is not in \[0, 2097152\).* check data\.tokens\.dtype"):
        open_small(Tokens(paths=(str(tmp_path / "x.bin"),), dtype="uint32"))
