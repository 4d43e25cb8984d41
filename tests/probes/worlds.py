"""For every registered probe: a small world, options that make it quick, and its oracles.

A new probe adds a function that returns a Case. oracles: {name: (predict, chooses)}; `chooses` says
of a group's keys whether this oracle should reach its ceiling.
"""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scaling.config import DataConfig
from scaling.data.stdlib import Stdlib
from scaling.data.worlds.arithmetic import ALPHABET, Arithmetic
from scaling.data.worlds.chains import Chains
from scaling.data.worlds.cipher import Cipher
from scaling.data.worlds.repeats import Repeats
from scaling.probes.arithmetic import ArithmeticProbe
from scaling.probes.base import Target
from scaling.probes.chains import ChainsProbe
from scaling.probes.cipher import CipherProbe
from scaling.probes.repeats import RepeatsProbe
from scaling.probes.task import TaskProbe

TASK_FILE = Path(__file__).parents[1] / "data" / "tasks" / "first_letter.jsonl"


@dataclasses.dataclass(frozen=True)
class Case:
    probe: Any
    target: Target
    oracles: dict[str, tuple[Callable, Callable]]


def cipher() -> Case:
    source = Cipher(n_symbols=4, n_known=9)
    data = DataConfig(name="cipher", options=source, seq_len=14)
    world = source.world(data)
    every = np.array(list(itertools.permutations(range(4))))
    known = np.array([world.p_known @ (world.table == p).all(axis=1) for p in every])

    def oracle(prior):
        def predict(tokens_NT):
            return np.stack([_cipher_posterior(world, every, prior, row) for row in tokens_NT])

        return predict

    return Case(
        CipherProbe(n_items=400, shots=(0, 1, 3, 5), queries=2),
        Target(data, world.vocab_size, 14),
        {
            "novel": (oracle(np.ones(24)), lambda k: k["condition"] in ("novel", "instructed")),
            "known": (oracle(known), lambda k: k["condition"] in ("known", "instructed")),
        },
    )


def _cipher_posterior(world, every, prior, row):
    """(T, V) probabilities of the next token by Bayes' rule over all 24 ciphers."""
    V, p = world.options.n_symbols, np.zeros((len(row), world.vocab_size))
    words = row[1:3] - world.pad - 1
    alive, first = prior.astype(float), 1
    if (words >= 0).all():
        rank = words @ [world.n_words, 1]
        alive, first = (every == world.table[rank]).all(axis=1).astype(float), 3
    for t in range(first, len(row)):
        is_x = (t - first) % 2 == 0
        if row[t] >= 2 * V:
            break
        if is_x:
            images = every[:, row[t]]
            p[t, V : 2 * V] = np.bincount(images, weights=alive, minlength=V) / max(
                alive.sum(), 1e-30
            )
        else:
            alive = alive * (every[:, row[t - 1]] == row[t] - V)
    return p


def repeats() -> Case:
    """The oracle copies what stood one period ago, once the end of the block was seen."""
    source = Repeats(n_symbols=6, shortest=2, longest=6)
    data = DataConfig(name="repeats", options=source, seq_len=17)
    V = 6

    def predict(tokens_NT):
        p = np.full((*tokens_NT.shape, V + 2), 1 / V)
        p[..., V:] = 0.0
        for row, out in zip(tokens_NT, p, strict=True):
            ends = np.flatnonzero(row == V + 1)
            for t in range(ends[0] if len(ends) else len(row), len(row)):
                out[t] = np.eye(V + 2)[row[t + 1 - ends[0]]] if t >= ends[0] else out[t]
        return p

    return Case(
        RepeatsProbe(n_items=300, length=4),
        Target(data, V + 2, 17),
        {"copier": (predict, lambda keys: keys["condition"] != "head")},
    )


def chains() -> Case:
    data = DataConfig(name="chains", options=Chains(), seq_len=24)
    world = Chains().world(data)
    return Case(
        ChainsProbe(n_items=600, shots=(1, 8, 24)),
        Target(data, 3, 24),
        {"bigram": (world.bigram, lambda keys: True)},
    )


def arithmetic() -> Case:
    """The oracle reads both numbers of a problem and writes all of it."""
    source = Arithmetic(digits=2)
    data = DataConfig(name="arithmetic", options=source, seq_len=32)
    world = source.world(data)

    def predict(tokens_NT):
        out = np.zeros((*tokens_NT.shape, 16))
        for row, p in zip(tokens_NT, out, strict=True):
            worked = row[6] == ALPHABET.index(">")
            length = world.length(worked)
            for start in range(1, len(row) - length + 2, length):
                a, b = row[start : start + 2] @ [10, 1], row[start + 3 : start + 5] @ [10, 1]
                text = world.problems(np.array(100 * a + b), worked)
                for t in range(start + 5, min(start + length, len(row))):
                    p[t - 1] = np.eye(16)[text[t - start]]
        return out

    return Case(
        ArithmeticProbe(n_items=100, shots=(0, 1)),
        Target(data, 16, 32),
        {"adder": (predict, lambda keys: True)},
    )


def task() -> Case:
    """Of a question in words nobody knows the best answer."""
    probe = TaskProbe(
        file=str(TASK_FILE), template="Q: {word} A: {answer}", shots=(0, 2), labels="abstract"
    )
    return Case(probe, Target(DataConfig(name="stdlib", options=Stdlib()), 256, 64), {})


CASES = {
    "cipher": cipher,
    "repeats": repeats,
    "chains": chains,
    "arithmetic": arithmetic,
    "task": task,
}
