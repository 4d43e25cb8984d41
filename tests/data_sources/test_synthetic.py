"""Sampling and entropy rates of the synthetic sources, against brute force."""

import itertools

import numpy as np
import pytest

from scaling.data.hashing import bits
from scaling.data.walk import alias_tables, random_rows
from scaling.data.worlds.hmm import HMM, _matrices, enumerated_bounds, sampled_bounds
from scaling.data.worlds.markov import Markov, _world, stationary
from scaling.errors import UserError


def test_alias_tables_hold_the_distribution():
    p_SO = random_rows(np.random.default_rng(0), (50, 13), 0.2, 0.01)
    p_SO = np.vstack([p_SO, np.eye(13)[:2], np.full((1, 13), 1 / 13)])
    keep, other = (table.reshape(p_SO.shape) for table in alias_tables(p_SO))
    total = keep / 2**32
    for row, alias, share in zip(total, other % 13, keep / 2**32, strict=True):
        np.add.at(row, alias, 1 - share)
    assert (other // 13 == np.arange(len(p_SO))[:, None]).all()
    np.testing.assert_allclose(total / 13, p_SO, atol=1e-9)


def sequence_probability(p_CV, stationary_C, V, k, sequence) -> float:
    """By summing over the context before the sequence."""
    total = 0.0
    for context in range(V**k):
        p, c = stationary_C[context], context
        for x in sequence:
            p, c = p * p_CV[c, x], (c * V + x) % V**k
        total += p
    return total


def block_entropy(p_CV, stationary_C, V, k, n) -> float:
    p = [
        sequence_probability(p_CV, stationary_C, V, k, s)
        for s in itertools.product(range(V), repeat=n)
    ]
    return -sum(x * np.log(x) for x in p)


@pytest.mark.parametrize(("V", "k"), [(3, 1), (2, 2), (2, 3)])
def test_markov_entropies_by_enumeration(V, k, open_small):
    p_CV, stationary_C, _ = _world(V, k, 0.5, 0)
    H = [block_entropy(p_CV, stationary_C, V, k, n) for n in range(1, 7)]
    pipeline = open_small(Markov(vocab_size=V, order=k, concentration=0.5), seq_len=5)
    assert pipeline.entropy_rate == pytest.approx(H[5] - H[4], abs=1e-12)
    assert pipeline.row_entropy == pytest.approx((H[5] - H[0]) / 5, abs=1e-12)
    short = open_small(Markov(vocab_size=V, order=k, concentration=0.5), seq_len=1)
    assert short.row_entropy == pytest.approx(H[1] - H[0], abs=1e-12)


def test_stationary_by_solving_and_by_iterating(monkeypatch):
    p_CV = random_rows(np.random.default_rng(1), (6**3, 6), 0.1, 0.01)
    solved = stationary(p_CV, 3)
    monkeypatch.setattr("scaling.data.worlds.markov._SMALL", 0)
    np.testing.assert_allclose(stationary(p_CV, 3), solved, atol=1e-12)
    monkeypatch.setattr("scaling.data.worlds.markov._MAX_ITERATIONS", 3)
    with pytest.raises(UserError, match="mixes too slowly"):
        stationary(p_CV, 3)


@pytest.mark.parametrize("k", [1, 2])
def test_markov_rows_have_the_stated_entropy(k, open_small):
    """Loss of the true model on rows, and the conditional entropy of counts, meet the rate."""
    V, T = 8, 128
    pipeline = open_small(Markov(vocab_size=V, order=k), seq_len=T, batch_size=4000)
    p_CV, stationary_C, _ = _world(V, k, 0.1, 0)
    batch = pipeline.batch(0)
    rows = np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1).astype(int)
    context = sum(rows[:, k - 1 - j : T - j] * V**j for j in range(k))
    nats_RT = -np.log(p_CV[context, rows[:, k:]])
    error = nats_RT.mean(axis=1).std() / len(rows) ** 0.5
    assert abs(nats_RT.mean() - pipeline.entropy_rate) < 4 * error < 0.01
    counts = np.zeros_like(p_CV)
    np.add.at(counts, (context, rows[:, k:]), 1)
    seen = counts.sum(axis=1, keepdims=True)
    plug_in = -(counts * np.log(np.maximum(counts, 1) / np.maximum(seen, 1))).sum() / seen.sum()
    assert plug_in == pytest.approx(pipeline.entropy_rate, abs=0.01)
    # The first symbol of a row is already stationary.
    first = np.bincount(rows[:, 0], minlength=V) / len(rows)
    expected = stationary_C.reshape(-1, V).sum(axis=0)
    assert np.abs(first - expected).max() < 4 * 0.5 / len(rows) ** 0.5


def hmm_row_probability(A, E, start, sequence) -> float:
    alpha = start
    for x in sequence:
        alpha = (alpha @ A) * E[:, x]
    return alpha.sum()


def hmm_block_entropy(A, E, start, n) -> float:
    V = E.shape[1]
    sequences = itertools.product(range(V), repeat=n)
    p = np.array([hmm_row_probability(A, E, start, s) for s in sequences])
    return float(-(p * np.log(p)).sum())


@pytest.mark.parametrize("source", [HMM(), HMM(process="random", n_states=2, vocab_size=3)])
def test_hmm_entropies_by_enumeration(source, open_small):
    A, E = _matrices(source, 0)
    start = stationary(A, 1)
    H = [hmm_block_entropy(A, E, start, n) for n in range(1, 8)]
    bounds = enumerated_bounds(A, E, start)
    np.testing.assert_allclose(bounds.conditional[:7], np.diff([0, *H]), atol=1e-12)
    assert (np.diff(bounds.conditional) <= 1e-12).all()
    assert bounds.lower <= bounds.upper == bounds.conditional[-1]
    pipeline = open_small(source, seq_len=6)
    assert pipeline.row_entropy == pytest.approx((H[6] - H[0]) / 6, abs=1e-12)


def test_mess3_is_known_to_a_millionth():
    A, E = _matrices(HMM(), 0)
    bounds = enumerated_bounds(A, E, np.full(3, 1 / 3))
    assert 0 < bounds.upper - bounds.lower < 1e-6
    sampled = sampled_bounds(A, E, np.full(3, 1 / 3), 5)
    assert sampled.lower < bounds.lower < bounds.upper < sampled.upper
    assert sampled.upper - sampled.lower < 5e-3


def test_hmm_with_no_memory_has_the_entropy_of_its_symbols():
    E = np.array([[0.5, 0.25, 0.25]])
    bounds = enumerated_bounds(np.ones((1, 1)), E, np.ones(1))
    assert bounds.lower == pytest.approx(1.5 * np.log(2))
    assert bounds.upper == pytest.approx(1.5 * np.log(2))


def test_wide_hmm_is_bounded_by_sampling(open_small):
    source = HMM(process="random", n_states=4, vocab_size=64, concentration=0.2)
    pipeline = open_small(source, seq_len=300)
    low, high = pipeline.stats()["entropy_bounds"]
    A, E = _matrices(source, 0)
    exact = enumerated_bounds(A, E, stationary(A, 1))
    assert exact.lower - 5e-3 < low < high < exact.upper + 5e-3
    assert high - low < 0.01
    assert low < pipeline.entropy_rate < pipeline.row_entropy


@pytest.mark.parametrize("source", [HMM(), HMM(process="random", n_states=3, vocab_size=4)])
def test_hmm_rows_have_the_stated_entropy(source, open_small):
    """Loss of the exact forward filter on sampled rows is row_entropy."""
    pipeline = open_small(source, seq_len=64, batch_size=4000)
    batch = pipeline.batch(0)
    rows = np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1)
    A, E = _matrices(source, 0)
    belief, nats = np.tile(stationary(A, 1), (len(rows), 1)), []
    for x in rows.T:
        joint = (belief @ A) * E[:, x].T
        nats.append(-np.log(joint.sum(axis=1)))
        belief = joint / joint.sum(axis=1, keepdims=True)
    per_row = np.array(nats)[1:].mean(axis=0)
    error = per_row.std() / len(rows) ** 0.5
    assert abs(per_row.mean() - pipeline.row_entropy) < 4 * error < 0.02


@pytest.mark.parametrize(
    "source",
    [Markov(vocab_size=100, order=4), HMM(process="random", n_states=900, vocab_size=60)],
)
def test_tables_too_large_are_refused(source, open_small):
    with pytest.raises(UserError, match="is more than 4194304"):
        open_small(source)


def test_long_walks_draw_fresh_bits():
    assert len(np.unique(bits(1, np.arange(2), 5000))) == 10_000
