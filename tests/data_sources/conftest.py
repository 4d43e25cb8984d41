"""Small corpora of every kind."""

import json
from pathlib import Path

import numpy as np
import pytest

from scaling.config import DataConfig
from scaling.data import stdlib, text, tokens
from scaling.data.pipeline import Pipeline, open_pipeline
from scaling.data.worlds import arithmetic, chains, cipher, hmm, markov, repeats

N_DOCUMENTS = 40


def document(i: int) -> str:
    """Distinct, easily told apart: every word carries the number of its document."""
    return " ".join(f"d{i}w{j}" for j in range(30 + i))


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory) -> Path:
    """40 text files; docs.jsonl with the same documents; docs.bin, 40 documents opened by token 7;
    raw.bin, the ids 0 .. 4999; lib, a small fake library."""
    root = tmp_path_factory.mktemp("corpus")
    library = root / "lib"
    (library / "sub").mkdir(parents=True)
    (library / "site-packages").mkdir()
    for i in range(N_DOCUMENTS):
        (root / f"{i:02d}.txt").write_text(document(i))
        (library / ("sub" if i % 2 else ".") / f"m{i}.py").write_text(f"# {document(i)}\n")
    (library / "site-packages" / "installed.py").write_text("not the library")
    lines = [json.dumps({"text": document(i)}) for i in range(N_DOCUMENTS)]
    (root / "docs.jsonl").write_text("\n".join(lines) + "\n")
    np.arange(5000, dtype=np.uint16).tofile(root / "raw.bin")
    numbers = iter(range(8, 10_000))
    ids = [[7] + [next(numbers) for _ in range(30 + i)] for i in range(N_DOCUMENTS)]
    np.concatenate(ids).astype(np.uint16).tofile(root / "docs.bin")
    return root


@pytest.fixture
def options(corpus_dir, monkeypatch) -> dict:
    """For every registered source, options that make it small. A new source adds a line."""
    monkeypatch.setattr(stdlib.sysconfig, "get_path", lambda _: str(corpus_dir / "lib"))
    return {
        "stdlib": stdlib.Stdlib(),
        "text": text.Text(paths=(str(corpus_dir / "*.txt"),)),
        "tokens": tokens.Tokens(paths=(str(corpus_dir / "docs.bin"),), separator=7),
        "markov": markov.Markov(vocab_size=5, order=2, concentration=1.0),
        "hmm": hmm.HMM(process="random", n_states=2, vocab_size=3),
        "cipher": cipher.Cipher(n_symbols=4, n_known=16),
        "repeats": repeats.Repeats(n_symbols=500, shortest=2, longest=4),
        "chains": chains.Chains(),
        "arithmetic": arithmetic.Arithmetic(digits=2),
    }


@pytest.fixture
def open_small(cache):
    """open_small(source options, seed=..., batch_size=..., field of DataConfig=...) -> Pipeline."""

    def call(
        options, *, seed=0, batch_size=8, n_rows_eval=6, cache_dir=None, data_seed=0, **fields
    ) -> Pipeline:
        kinds = {text.Text: "text", tokens.Tokens: "tokens", markov.Markov: "markov"}
        kinds |= {hmm.HMM: "hmm", stdlib.Stdlib: "stdlib", cipher.Cipher: "cipher"}
        kinds |= {repeats.Repeats: "repeats", chains.Chains: "chains"}
        kinds |= {arithmetic.Arithmetic: "arithmetic"}
        settings = {"seq_len": 16, "val_fraction": 0.2} | fields
        name = kinds[type(options)]
        data = DataConfig(name=name, options=options, seed=data_seed, **settings)
        return open_pipeline(
            data,
            batch_size=batch_size,
            seed=seed,
            n_rows_eval=n_rows_eval,
            cache_dir=cache_dir or cache,
        )

    return call
