"""What is held out: about what was asked for whatever the sizes, and nothing that is trained on."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.corpus import Corpus, TokenFile
from scaling.data.hashing import key_of, mix
from scaling.data.split import most_held_out, split
from scaling.data.text import Text
from scaling.data.tokens import Tokens
from scaling.errors import UserError

SIZES = st.lists(st.integers(1, 10**6) | st.integers(0, 50), min_size=1, max_size=30)
FRACTIONS = st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9])


def corpus_of(sizes, *, raw: bool) -> Corpus:
    """Documents of one file each; nothing is read."""
    return Corpus(
        files=tuple(TokenFile("unread", "uint16", size) for size in sizes),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        keys=mix(np.arange(len(sizes), dtype=np.uint64)),
        names=str,
        has_boundaries=not raw,
        shards=np.full(len(sizes), raw),
    )


def covered(stream) -> set[tuple[int, int]]:
    ends = stream.begins + np.diff(stream.ends_in_stream, prepend=0)
    return list(zip(stream.begins.tolist(), ends.tolist(), strict=True))


@given(SIZES, FRACTIONS, st.booleans(), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_the_share_held_out_is_about_what_was_asked_for(sizes, fraction, raw, seed):
    corpus = corpus_of(sizes, raw=raw)
    if corpus.n_tokens < 2:
        return
    parts = split(corpus, fraction, seed)
    held_out, total = parts.validation.n_tokens, corpus.n_tokens
    assert parts.train.n_tokens + held_out == total
    pieces = sorted(covered(parts.train) + covered(parts.validation))
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(pieces))
    assert parts.train.n_tokens > 0
    low, high = (fraction, fraction) if raw else (fraction / 2, most_held_out(fraction))
    assert low * total - 1 <= held_out <= high * total + 1


@given(SIZES, st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_ordinary_documents_are_split_by_their_hashes_alone(sizes, seed):
    """Where the hashes give a share in the range, nothing else has a say."""
    corpus = corpus_of(sizes, raw=False)
    hashes = mix(corpus.keys ^ np.uint64(key_of("split", seed)))
    chosen = hashes < np.uint64(int(0.2 * 2**63)) * np.uint64(2)
    share = np.array(sizes)[chosen].sum() / max(corpus.n_tokens, 1)
    if not 0.1 < share <= 0.4 or chosen.all():
        return
    parts = split(corpus, 0.2, seed)
    assert parts.validation.n_tokens == np.array(sizes)[chosen].sum()
    assert parts.validation.n_documents == chosen.sum()
    assert parts.warnings == ()


@pytest.mark.parametrize("sizes", [(1000, 1000, 100_000), (50_000, 50_000)])
def test_few_files_hold_out_what_was_asked_for(sizes, tmp_path, open_small):
    rng = np.random.default_rng(0)
    for i, size in enumerate(sizes):
        rng.integers(0, 500, size).astype("<u2").tofile(tmp_path / f"{i}.bin")
        text = "".join(chr(97 + j) for j in rng.integers(0, 26, size))
        (tmp_path / f"{i}.txt").write_text(text)
    for seed in range(6):
        raw = open_small(Tokens(paths=(f"{tmp_path}/*.bin",)), val_fraction=0.05, data_seed=seed)
        assert raw.stats()["held_out_share"] == pytest.approx(0.05, abs=1e-4)
        text = open_small(Text(paths=(f"{tmp_path}/*.txt",)), val_fraction=0.05, data_seed=seed)
        assert 0.025 <= text.stats()["held_out_share"] <= 0.1
        n_held_out = sum(text.stats()["documents"].values()) - len(sizes)
        assert ["is cut, its last" in w for w in text.warnings] == [True] * n_held_out


def test_documents_of_a_validation_file_are_not_trained_on(tmp_path, open_small):
    """Whatever the file is called, and however it is stored."""
    texts = [f"text {i} " * (20 + i) for i in range(12)]
    records = [json.dumps({"text": text}) for text in texts]
    (tmp_path / "train.jsonl").write_text("\n".join(records[:10]))
    (tmp_path / "held.json").write_text(f"[{','.join(records[7:])}]")
    source = Text(paths=(f"{tmp_path}/train.jsonl",), validation=(f"{tmp_path}/held.json",))
    pipeline = open_small(source)
    stats = pipeline.stats()
    assert stats["documents"] == {"train": 7, "validation": 5}
    shared = sum(len(text) + 1 for text in texts[7:10])
    share = shared / sum(len(text) + 1 for text in texts[7:])
    assert stats["also_in_validation"] == {
        "documents": 3,
        "tokens": shared,
        "share_of_validation": pytest.approx(share),
    }
    assert [w.startswith("3 of 10 training documents are also") for w in pipeline.warnings] == [
        True
    ]
    trained = {p.document for s in range(40) for e in pipeline.examples(s) for p in e.places}
    assert trained == {f"train.jsonl:{i}" for i in range(1, 8)}


@pytest.mark.parametrize("separator", [None, 7])
def test_token_documents_of_a_validation_file_are_not_trained_on(separator, tmp_path, open_small):
    rng = np.random.default_rng(0)
    documents = [rng.integers(8, 500, 60 + i % 3) for i in range(12)]
    nearly = documents[3].copy()
    nearly[20] += 1
    held_out = [*documents[7:], nearly]
    if separator is None:  # A file is a document; the held-out ones are stored in another way.
        for i, ids in enumerate(documents[:10]):
            ids.astype("<u2").tofile(tmp_path / f"train{i}.bin")
        for i, ids in enumerate(held_out):
            np.save(tmp_path / f"held{i}.npy", ids)
    else:
        joined = [
            np.concatenate([np.r_[7, ids] for ids in part]) for part in (documents[:10], held_out)
        ]
        joined[0].astype("<u2").tofile(tmp_path / "train.bin")
        np.save(tmp_path / "held.npy", joined[1][1:])  # No separator before the first.
    source = Tokens(
        paths=(f"{tmp_path}/train*.bin",),
        validation=(f"{tmp_path}/held*.npy",),
        separator=separator,
    )
    stats = open_small(source).stats()
    shared = sum(map(len, held_out[:3])) / sum(map(len, held_out))
    assert stats["also_in_validation"]["documents"] == 3
    assert stats["also_in_validation"]["share_of_validation"] == pytest.approx(shared, abs=0.01)
    assert stats["documents"] == {"train": 7, "validation": 6}


def test_nothing_left_to_train_on_is_refused(tmp_path, corpus_dir, open_small):
    (tmp_path / "again.bin").write_bytes((corpus_dir / "raw.bin").read_bytes())
    source = Tokens(paths=(f"{corpus_dir}/raw.bin",), validation=(f"{tmp_path}/again.bin",))
    with pytest.raises(UserError, match=r"every document of data\.tokens\.paths is also in"):
        open_small(source)
    text = Text(paths=(f"{corpus_dir}/*.txt",), validation=(f"{corpus_dir}/docs.jsonl",))
    with pytest.raises(UserError, match=r"every document of data\.text\.paths is also in"):
        open_small(text)


def test_a_copy_of_a_token_file_is_not_on_both_sides(tmp_path, corpus_dir, open_small):
    content = (corpus_dir / "docs.bin").read_bytes()
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(content)
    pipeline = open_small(Tokens(paths=(f"{tmp_path}/*.bin",), separator=7))
    assert pipeline.warnings == ("b.bin is a copy of a.bin and left out",)
    assert sum(pipeline.stats()["tokens"].values()) == len(content) // 2
