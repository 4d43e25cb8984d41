"""What an objective makes of a source's rows: counted, reversible, a function of their place."""

import collections
import functools
import itertools

import numpy as np
import pytest

from scaling.config import OBJECTIVES, DataConfig, ObjectiveConfig
from scaling.data.hashing import bits
from scaling.data.pipeline import open_pipeline
from scaling.errors import UserError
from scaling.objectives.masked import Masked
from scaling.objectives.span import Span
from scaling.resolve import resolve

V = 50


def rows(B, T, seed=0, pads=0):
    """Next-token rows of random tokens; the last `pads` targets of each have no weight."""
    tokens = np.random.default_rng(seed).integers(0, V, (B, T + 1)).astype(np.int32)
    weights = np.ones((B, T), np.float32)
    weights[:, T - pads :] = 0.0
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "weights": weights}


def made(objective, source, first=0):
    draws = functools.partial(bits, 7, np.arange(first, first + len(source["tokens"])))
    return objective.make(source, draws, V)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seq_len", [4, 5, 17, 128])
def test_rows_have_the_promised_shape_and_number_of_targets(name, seq_len):
    objective = OBJECTIVES.load(name)()
    data = DataConfig(seq_len=seq_len)
    batch = made(objective, rows(9, seq_len))
    layout = objective.layout(data)
    assert batch.keys() == layout.keys()
    for key, field in layout.items():
        assert batch[key].shape == (9, *field.shape), key
        assert batch[key].dtype == field.dtype, key
    assert (batch["weights"].sum(axis=1) == objective.predictions(data)).all()
    highest = V + objective.extra_ids(data)
    assert (
        0 <= batch["tokens"].min() <= max(batch["tokens"].max(), batch["targets"].max()) < highest
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_batches_are_a_function_of_seed_and_place(name):
    data = DataConfig(name="markov", seq_len=16)
    opened = functools.partial(
        open_pipeline, data, objective=ObjectiveConfig(name=name), batch_size=8, n_rows_eval=8
    )
    pipeline = opened(seed=1)
    third = pipeline.batch(3)
    with pipeline.iterator(2, rows=slice(2, 6)) as batches:
        next(batches)
        part = next(batches)
    for key, array in part.items():
        np.testing.assert_array_equal(array, third[key][2:6])
    if name in ("masked", "span"):
        assert (third["tokens"] != opened(seed=2).batch(3)["tokens"]).any()
    # Held-out rows are the same for every run.
    for a, b in zip(pipeline.eval_batches(4), opened(seed=2).eval_batches(4), strict=True):
        np.testing.assert_array_equal(a["tokens"], b["tokens"])


def test_masked_shares_are_those_of_the_options():
    objective = Masked(rate=0.25, as_mask=0.5, as_random=0.3)
    source = rows(2000, 40)
    batch = made(objective, source)
    chosen = batch["weights"] > 0
    np.testing.assert_array_equal(batch["targets"], source["tokens"])
    assert (batch["tokens"][~chosen] == source["tokens"][~chosen]).all()
    n = chosen.sum()
    assert n == 2000 * 10
    held, was = batch["tokens"][chosen], source["tokens"][chosen]
    error = 4 * np.sqrt(0.25 / n)
    assert np.mean(held == V) == pytest.approx(0.5, abs=error)
    other = (held != V) & (held != was)
    assert other.mean() == pytest.approx(0.3 * (1 - 1 / V), abs=error)
    counts = np.bincount(held[other], minlength=V)
    assert counts.min() > 0.6 * counts.mean()
    # Every place is chosen as often as another.
    assert np.abs(chosen.mean(axis=0) - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_masked_leaves_pads_alone():
    batch = made(Masked(rate=0.9), rows(20, 30, pads=10))
    assert batch["weights"][:, 21:].sum() == 0
    assert (batch["weights"].sum(axis=1) == 21).all()


def restored(stream, counts):
    """The tokens that a row of `Span` was made from, by putting spans back for their sentinels."""
    length, cut, spans = counts
    first, second = stream[: length - cut + spans], stream[length - cut + spans :]
    parts, at = {}, None
    for token in second:
        if token >= V:
            at = token
            parts[at] = []
        else:
            parts[at].append(token)
    assert list(parts) == [V + i for i in range(spans)]
    out = []
    for token in first:
        out += parts[token] if token >= V else [token]
    return out


@pytest.mark.parametrize(
    ("objective", "T"),
    [
        (Span(), 128),
        (Span(rate=0.5, mean_length=1.0), 21),
        (Span(mean_length=9.0), 64),
        (Span(), 4),
    ],
)
def test_spans_can_be_put_back(objective, T):
    source = rows(30, T)
    batch = made(objective, source)
    counts = objective._counts(T)
    whole = np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1)
    original = np.concatenate([source["tokens"], source["targets"][:, -1:]], axis=1)
    for row, was, weights in zip(whole, original, batch["weights"], strict=True):
        assert restored(row.tolist(), counts) == was[: counts[0]].tolist()
        predicted = row[1:][weights > 0]
        assert len(predicted) == counts[1] + counts[2]
        assert predicted[0] == V
    assert batch["targets"][:, :-1].tolist() == batch["tokens"][:, 1:].tolist()


def test_every_division_into_spans_is_as_likely():
    objective = Span(rate=0.4, mean_length=2.0)
    length, cut, spans = objective._counts(13)
    batch = made(objective, rows(20_000, 13))
    seen = collections.Counter(tuple(np.flatnonzero(row >= V)[:spans]) for row in batch["tokens"])
    kept = [c for c in itertools.product(range(1, length), repeat=spans) if sum(c) == length - cut]
    assert len(seen) == len(kept) > 3
    expected = 20_000 / len(kept)
    assert sum((n - expected) ** 2 / expected for n in seen.values()) < 4 * len(kept)


@pytest.mark.parametrize(
    ("loose", "message"),
    [
        ({"objective": {"name": "masked", "masked": {"as_mask": 0.9, "as_random": 0.2}}}, "shares"),
        ({"objective": {"name": "span"}, "data": {"documents": "masked"}}, "data.documents"),
        ({"objective": {"name": "span"}, "data": {"seq_len": 3}}, "data.seq_len=3"),
        ({"objective": {"name": "scheduled_sampling"}, "data": {"documents": "masked"}}, "across"),
        ({"objective": {"name": "lm", "rate": 0.1}}, "objective.rate.*lm.z_loss"),
    ],
)
def test_what_means_nothing_is_refused(loose, message):
    with pytest.raises(UserError, match=message):
        resolve(loose)
