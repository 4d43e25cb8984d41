"""Log-probabilities are the model's own, whatever the batch they were computed in."""

import math

import jax
import numpy as np
import pytest

from scaling.config import DataConfig
from scaling.data.pipeline import open_pipeline
from scaling.data.worlds.markov import Markov, _world
from scaling.objectives.lm import LanguageModel
from scaling.probes.base import Target
from scaling.probes.scorer import ScoredModel, batch_rows
from scaling.sharding import place
from tests.probes.conftest import CLOSE, VOCAB
from tests.probes.models import table_of


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(0, VOCAB, (37, 20)).astype(np.int32)


def test_token_scores_sum_to_the_loss_of_training(transformer, in_mesh, rows):
    logp, _ = transformer.token_scores(rows)
    rows = rows[:36]
    weights = (rows[:, 1:] % 3 > 0).astype(np.float32)
    batch = {"tokens": rows[:, :-1], "targets": rows[:, 1:], "weights": weights}
    batch = place(in_mesh, {k: np.ascontiguousarray(v) for k, v in batch.items()}, "batch")
    objective = jax.jit(lambda model, rows: LanguageModel().loss(model, rows, None))
    total, aux = objective(transformer.params, batch)
    assert -(logp[:36] * weights).sum() == pytest.approx(float(total), rel=1e-5)
    assert float(aux["weight"]) == weights.sum()


def test_next_token_is_the_whole_distribution(transformer, in_mesh, rows):
    logp, guess = transformer.token_scores(rows)
    places = np.random.default_rng(1).integers(0, 19, (37, 5))
    full = transformer.next_token(rows[:, :-1], places)
    np.testing.assert_allclose(np.exp(full).sum(axis=2), 1.0, rtol=1e-5)
    at = np.take_along_axis(rows[:, 1:], places, axis=1)
    right = np.take_along_axis(full, at[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(right, np.take_along_axis(logp, places, axis=1), **CLOSE)
    assert (full.argmax(axis=2) == np.take_along_axis(guess, places, axis=1)).all()


def test_what_shares_a_batch_changes_no_score(transformer, in_mesh, rows):
    logp, _ = transformer.token_scores(rows)
    order = np.random.default_rng(2).permutation(37)
    shuffled, _ = transformer.token_scores(rows[order])
    np.testing.assert_allclose(shuffled, logp[order], **CLOSE)
    alone, _ = transformer.token_scores(rows[5:6])
    np.testing.assert_allclose(alone[0], logp[5], **CLOSE)
    shorter, _ = transformer.token_scores(rows[:, :11])
    np.testing.assert_allclose(shorter, logp[:, :10], **CLOSE)


def test_batches_are_full_and_divide_over_the_mesh(mesh):
    for n in (1, 3, 100, 10**6):
        assert batch_rows(n, 32, mesh) % 2 == 0
    assert batch_rows(10**6, 10**7, mesh) == 2
    assert batch_rows(5, 32, mesh) == 8


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_excess_loss_is_the_divergence(in_mesh, mix):
    """Of a wrong model q on a Markov chain p: loss - entropy rate = sum pi(c) KL(p_c || q_c)."""
    source = Markov(vocab_size=6, concentration=0.5)
    data = DataConfig(name="markov", options=source, seq_len=32)
    pipeline = open_pipeline(data, batch_size=4000, seed=0, n_rows_eval=1)
    p, stationary, _ = _world(6, 1, 0.5, 0)
    q = (1 - mix) * p + mix / 6
    batch = pipeline.batch(0)
    rows = np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1)
    model = ScoredModel(table_of(q), in_mesh, Target(data, 6, 32))
    nll_R = -model.token_scores(rows)[0].mean(axis=1)
    divergence = float(stationary @ (p * np.log(p / q)).sum(axis=1))
    error = float(nll_R.std()) / math.sqrt(len(nll_R))
    excess = float(nll_R.mean()) - pipeline.entropy_rate
    assert excess == pytest.approx(divergence, abs=4 * error + 1e-6)
    assert error < 0.02
