"""Repeat world and in-context chains: documents and floors."""

import itertools
import math

import numpy as np
import pytest

from scaling.config import DataConfig
from scaling.data.hashing import bits
from scaling.data.worlds.arithmetic import ALPHABET, Arithmetic, pairs
from scaling.data.worlds.chains import Chains, ChainsWorld, sampled_entropy
from scaling.data.worlds.repeats import Repeats
from scaling.errors import UserError


def documents(world, n=500, key=1):
    return world.draw(bits(key, np.arange(n), world.n_draws))


def test_blocks_repeat_to_the_end_of_the_row():
    source = Repeats(n_symbols=5, shortest=2, longest=4)
    world = source.world(DataConfig(name="repeats", options=source, seq_len=13))
    rows = documents(world)
    lengths = (rows == 6).argmax(axis=1) - 1
    assert set(lengths) == {2, 3, 4}
    for row, L in zip(rows, lengths, strict=True):
        assert row[0] == 5
        assert (row[L + 2 :] == row[1 : -L - 1]).all()


def test_floor_of_repeats_by_counting_documents():
    """All documents of a length are equally likely, and every document shows its length."""
    source = Repeats(n_symbols=3, shortest=1, longest=2)
    world = source.world(DataConfig(name="repeats", options=source, seq_len=5))
    nats, seen = 0.0, set()
    for L in (1, 2):
        for block in itertools.product(range(3), repeat=2):
            p = 0.5 * 3.0**-L
            row = tuple(world.compose(np.array([L]), np.array([block]))[0])
            if row not in seen:
                nats -= p * math.log(p)
            seen.add(row)
    assert len(seen) == 3 + 9
    assert world.row_entropy() == pytest.approx(nats / 5)


def test_floor_of_chains_by_enumeration():
    """Entropy of all sequences of 2 symbols under the Dirichlet-multinomial."""
    world = ChainsWorld(2, 6)
    nats = 0.0
    for tail in itertools.product(range(2), repeat=6):
        row = np.array([(0, *tail)])
        p = np.prod(np.take_along_axis(world.bigram(row[:, :-1])[0], row[0, 1:, None], 1))
        nats -= p * math.log(p)
    mean, error = sampled_entropy(world)
    assert error < 2e-3
    assert mean == pytest.approx(nats / 6, abs=4 * error)


def test_chains_are_followed_by_the_counting_rule():
    """Bayes' rule predicts a fresh document as well as its own entropies say."""
    world = Chains().world(DataConfig(name="chains", options=Chains(), seq_len=40))
    rows = documents(world, 3000)
    p = world.bigram(rows[:, :-1])
    right = np.take_along_axis(p, rows[:, 1:, None].astype(int), axis=2)[..., 0]
    nats = -np.log(right).mean(axis=1)
    mean, error = sampled_entropy(world)
    assert nats.mean() == pytest.approx(mean, abs=4 * (error + nats.std() / 3000**0.5))
    np.testing.assert_allclose(world.unigram(rows[:, :-1]).sum(axis=2), 1.0)


def test_problems_are_right_and_held_out_pairs_never_seen():
    source = Arithmetic(digits=2)
    world = source.world(DataConfig(name="arithmetic", options=source, seq_len=33))
    never = set(pairs(2, True).tolist())
    assert 800 < len(never) < 1200
    for row in documents(world):
        text = "".join(ALPHABET[t] for t in row[1:] if t < len(ALPHABET))
        for problem in text.split(";")[:-1]:
            a, b = int(problem[:2]), int(problem[3:5])
            assert 100 * a + b not in never
            assert int(problem[-3:]) == a + b
            if ">" in problem:
                units = a % 10 + b % 10
                tens = a // 10 + b // 10 + units // 10
                work = f"{units % 10}{units // 10}{tens % 10}{tens // 10}"
                assert problem == f"{problem[:5]}>{work}={a + b:03d}"
            else:
                assert problem == f"{problem[:5]}={a + b:03d}"


def test_floor_of_arithmetic_is_that_of_its_numbers():
    world = Arithmetic(digits=1, scratchpad=0.25).world(DataConfig(name="arithmetic", seq_len=20))
    n = math.log(len(pairs(1, False)))
    direct, worked = 20 // 7, 20 // 10
    total = 0.75 * (direct * n - math.log(0.75)) + 0.25 * (worked * n - math.log(0.25))
    assert world.row_entropy() == pytest.approx(total / (0.75 * direct * 7 + 0.25 * worked * 10))


def test_blocks_that_do_not_fit_are_refused():
    for source, seq_len in ((Repeats(), 32), (Repeats(shortest=9, longest=3), 64)):
        with pytest.raises(UserError, match="longest"):
            source.world(DataConfig(name="repeats", options=source, seq_len=seq_len))
