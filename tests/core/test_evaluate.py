"""Sums become means, whatever the batches they were added up in."""

import math

import numpy as np
import pytest

from scaling.core.evaluate import summarize


def sums(T, seed=0):
    r = np.random.default_rng(seed)
    count = r.integers(1, 9, 15).astype(float)
    return {
        "nll": r.random(T),
        "weight": np.ones(T),
        "entropy": r.random(),
        "confidence": count * r.random(15),
        "correct": count * r.random(15),
        "count": count,
    }


def test_batches_add_up():
    a, b = sums(100, 1), sums(100, 2)
    both = summarize([a, b], 1.0)
    total = {name: a[name] + b[name] for name in a}
    assert both == summarize([total], 1.0)
    assert both["loss"] == pytest.approx((a["nll"] + b["nll"]).sum() / 200)
    assert both["n_tokens"] == 200


def test_bits_per_byte_counts_bytes_of_text():
    out = summarize([sums(10)], 4.0)
    assert out["bits_per_byte"] == pytest.approx(out["loss"] / math.log(2) / 4)
    assert summarize([sums(10)], None)["bits_per_byte"] is None


def test_positions_and_in_context_learning_score():
    part = sums(100)
    part["nll"] = np.linspace(2.0, 1.0, 100)
    out = summarize([part], None)
    assert len(out["loss_per_position"]) == 64
    assert np.all(np.diff(out["loss_per_position"]) < 0)
    late, early = part["nll"][90:].mean(), part["nll"][10:20].mean()
    assert out["icl_score"] == pytest.approx(late - early)


def test_a_calibrated_model_has_no_calibration_error():
    part = sums(10)
    part["correct"] = part["confidence"]
    assert summarize([part], None)["ece"] == 0.0
    part["correct"] = part["confidence"] + 1.0 / 15
    assert summarize([part], None)["ece"] == pytest.approx(0.1)


def test_a_stretch_without_tokens_is_not_a_number():
    part = sums(10)
    part["weight"][3] = part["nll"][3] = 0.0
    assert math.isnan(summarize([part], None)["loss_per_position"][3])
