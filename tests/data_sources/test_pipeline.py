"""Contracts that every registered source keeps, and the order of batches."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from scaling.config import SOURCES, DataConfig
from scaling.data.text import Text
from scaling.data.tokens import Tokens
from scaling.errors import UserError

EVERY = pytest.mark.parametrize("name", list(SOURCES))


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@EVERY
@pytest.mark.parametrize("documents", ["stream", "masked"])
def test_batches_have_the_agreed_form(name, documents, options, open_small):
    pipeline = open_small(options[name], documents=documents)
    batch = pipeline.batch(3)
    expected = {"tokens": np.int32, "targets": np.int32, "weights": np.float32}
    if documents == "masked":
        expected |= {"segments": np.int32, "positions": np.int32}
    assert {k: v.dtype.type for k, v in batch.items()} == expected
    assert all(v.shape == (8, 16) for v in batch.values())
    assert (batch["tokens"][:, 1:] == batch["targets"][:, :-1]).all()
    # Documents that do not fill their row leave targets that do not count.
    assert set(np.unique(batch["weights"])) <= {0.0, 1.0}
    assert batch["weights"].mean() > 0.5
    assert batch["tokens"].min() >= 0
    assert batch["tokens"].max() < pipeline.vocab_size


@EVERY
def test_iterator_gives_the_batches_of_its_steps(name, options, open_small):
    pipeline = open_small(options[name])
    with pipeline.iterator(5) as batches:
        for step in range(5, 80):
            assert same(next(batches), pipeline.batch(step)), step


@EVERY
@pytest.mark.parametrize("n_hosts", [1, 2, 4])
def test_hosts_together_see_the_global_batch(name, n_hosts, options, open_small):
    pipeline = open_small(options[name])
    share = 8 // n_hosts
    hosts = [pipeline.iterator(rows=slice(h * share, (h + 1) * share)) for h in range(n_hosts)]
    for step in range(20):
        parts = [next(host) for host in hosts]
        joined = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
        assert same(joined, pipeline.batch(step))
    for host in hosts:
        host.close()


def test_worker_processes_change_nothing(options, open_small):
    pipeline = open_small(options["text"], seq_len=64)
    with pipeline.iterator(2, workers=2) as batches:
        for step in range(2, 300):
            assert same(next(batches), pipeline.batch(step)), step


@EVERY
def test_rows_travel_to_worker_processes(name, options, open_small):
    pipeline = open_small(options[name])
    pipeline.batch(0)  # Opens memory maps, which must not travel.
    content = pickle.dumps(pipeline._source.train)
    ids = np.array([3, 0, 2])
    assert same(pickle.loads(content).gather(ids), pipeline._source.train.gather(ids))
    assert name in ("markov", "hmm") or len(content) < 20_000


@EVERY
def test_resume_continues_where_the_state_was_taken(name, options, open_small):
    first = open_small(options[name]).iterator()
    for _ in range(70):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    expected = [next(first) for _ in range(3)]
    second = open_small(options[name]).iterator()
    next(second)
    second.set_state(state)
    assert all(same(next(second), batch) for batch in expected)
    assert second.get_state()["step"] == 73
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 4}, "batch_size was 8, is 4"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"seq_len": 8}, "data.seq_len was 16, is 8"),
        ({"documents": "masked"}, "data.documents was 'stream', is 'masked'"),
    ],
)
def test_state_of_other_data_is_refused(change, named, options, open_small):
    state = open_small(options["text"]).iterator().get_state()
    other = open_small(options["text"], **change).iterator()
    with pytest.raises(UserError, match=named):
        other.set_state(state)


def test_state_of_changed_content_is_refused(tmp_path, open_small):
    path = tmp_path / "t.bin"
    source = Tokens(paths=(str(path),), vocab_size=5000)
    np.arange(1000, dtype=np.uint16).tofile(path)
    state = open_small(source).iterator().get_state()
    np.arange(1, 1001, dtype=np.uint16).tofile(path)
    with pytest.raises(UserError, match="content_hash was"):
        open_small(source).iterator().set_state(state)


@EVERY
def test_seed_orders_the_data_and_leaves_the_evaluation_alone(name, options, open_small):
    one, two = (open_small(options[name], seed=s, batch_size=b) for s, b in ((0, 8), (1, 4)))
    assert not np.array_equal(one.batch(0)["tokens"][:4], two.batch(0)["tokens"])
    pairs = zip(one.eval_batches(4), two.eval_batches(4), strict=True)
    assert all(same(a, b) for a, b in pairs)
    assert one.bytes_per_token == two.bytes_per_token


@EVERY
def test_evaluation_rows_are_padded_nested_and_never_trained_on(name, options, open_small):
    small, large = (open_small(options[name], n_rows_eval=n) for n in (6, 9))
    batches = small.eval_batches(4)
    assert [b["tokens"].shape for b in batches] == [(4, 16)] * 2
    real = [b["weights"].any(axis=1).sum() for b in batches]
    assert real == [4, 2]
    rows = np.concatenate([b["targets"] for b in batches])[:6]
    assert np.array_equal(large.eval_batches(16)[0]["targets"][:6], rows)
    trained = {tuple(row) for step in range(40) for row in small.batch(step)["targets"]}
    assert not trained & {tuple(row) for row in rows}


def test_every_token_of_an_epoch_is_predicted_once(corpus_dir, open_small):
    pipeline = open_small(Tokens(paths=(str(corpus_dir / "raw.bin"),)), val_fraction=0.1)
    assert pipeline.unique_tokens == (4500 - 1) // 16 * 16
    n_rows = pipeline.unique_tokens // 16
    seen = np.concatenate([pipeline.batch(s)["targets"] for s in range(3 * n_rows // 8 + 1)])
    first, second = seen[:n_rows], seen[n_rows : 2 * n_rows]
    for epoch in (first, second):
        assert np.sort(epoch.ravel()).tolist() == list(range(1, pipeline.unique_tokens + 1))
    assert (first != second).any()


def test_an_epoch_of_fewer_rows_than_a_batch(tmp_path, open_small):
    path = tmp_path / "t.bin"
    np.arange(100, dtype=np.uint16).tofile(path)
    pipeline = open_small(Tokens(paths=(str(path),)), val_fraction=0.3, batch_size=64)
    rows = pipeline.batch(0)["tokens"][:, 0]
    assert pipeline.unique_tokens == 4 * 16
    assert np.bincount(rows).tolist()[::16] == [16, 16, 16, 16]
    assert [e.epoch for e in pipeline.examples(1)] == list(np.arange(64, 128) // 4)


@EVERY
def test_descriptions_are_json_and_complete(name, options, open_small):
    pipeline = open_small(options[name])
    stats = json.loads(json.dumps(pipeline.stats()))
    fingerprint = json.loads(json.dumps(pipeline.fingerprint))
    assert fingerprint == pipeline.fingerprint
    assert stats["content_hash"] == fingerprint["content_hash"]
    assert len(stats["content_hash"]) == 64
    synthetic = name not in ("stdlib", "text", "tokens")
    # A world of documents has a floor of the loss, but no rate.
    assert (pipeline.row_entropy is not None) == synthetic
    assert (pipeline.entropy_rate is not None) == (name in ("markov", "hmm"))
    assert (pipeline.unique_tokens is None) == synthetic
    assert (pipeline.bytes_per_token is not None) == (name in ("stdlib", "text"))


@EVERY
def test_examples_are_the_rows_of_the_batch(name, options, open_small):
    pipeline = open_small(options[name])
    batch, examples = pipeline.batch(2), pipeline.examples(2)
    assert len(examples) == 8
    for tokens, example in zip(batch["tokens"], examples, strict=True):
        assert example.places
        ids = example.text.encode() if name in ("stdlib", "text") else example.text.split()
        assert [int(i) for i in ids][:-1] == tokens.tolist()


def test_examples_name_document_and_offset(options, open_small, corpus_dir):
    pipeline = open_small(options["text"], seq_len=200)
    for example in pipeline.examples(0):
        pieces = example.text.split("\0")
        pieces = pieces[1:] if example.text.startswith("\0") else pieces
        for place, piece in zip(example.places, pieces, strict=True):
            content = (corpus_dir / place.document).read_text()
            assert content[place.offset :].startswith(piece)


def test_negative_step_is_refused(options, open_small):
    pipeline = open_small(options["markov"])
    for call in (pipeline.batch, pipeline.examples, pipeline.iterator):
        with pytest.raises(UserError, match="step=-1"):
            call(-1)


def test_unknown_source_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'markov'"):
        DataConfig(name="markow")


@pytest.mark.parametrize("name", ["markov", "hmm"])
def test_synthetic_world_depends_on_the_data_seed(name, options, open_small):
    one, two = (open_small(options[name], data_seed=s) for s in (0, 1))
    assert two.stats()["content_hash"] != one.stats()["content_hash"]
    assert two.entropy_rate != one.entropy_rate
    other_run = open_small(options[name], seed=1)
    assert other_run.entropy_rate == one.entropy_rate


def test_split_follows_the_data_seed(options, open_small):
    def trained(seed):
        pipeline = open_small(options["text"], data_seed=seed, val_fraction=0.3)
        return {p.document for s in range(60) for e in pipeline.examples(s) for p in e.places}

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)
    assert 20 <= len(trained(0)) <= 35


def test_few_uneven_documents_still_give_a_held_out_part(tmp_path, open_small):
    """Where the hash picks hardly any tokens, the documents next in line follow."""
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(f"document {i} " * 30)
        (tmp_path / f"{i}.short.txt").write_text(f"s{i}")
    source = Text(paths=(str(tmp_path / "*.txt"),))
    for seed in range(20):
        tokens = open_small(source, data_seed=seed, val_fraction=0.2).stats()["tokens"]
        assert tokens["validation"] >= 0.1 * sum(tokens.values())
        assert tokens["train"] > 0


def test_opening_a_source_loads_neither_jax_nor_grain():
    code = "import scaling.data.pipeline, sys; print({'jax', 'grain'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
