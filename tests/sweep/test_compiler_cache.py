"""The compiler's count is made once per shape, whatever the depth, and kept on disk."""

import dataclasses

import pytest

from scaling.cost import accounting, compiler
from tests.helpers import VOCAB, small_config

CONFIG = small_config(model={"depth": 3})
MODEL = CONFIG.model


def test_a_kept_count_is_the_count(tmp_path, monkeypatch):
    first = accounting.flops_per_token(CONFIG, VOCAB, tmp_path)
    monkeypatch.setattr(compiler, "_counts", lambda *_: pytest.fail("counted twice"))
    assert accounting.flops_per_token(CONFIG, VOCAB, tmp_path) == first
    deeper = dataclasses.replace(MODEL, depth=5)
    per_layer = (compiler.flops_per_token(deeper, VOCAB, 16, tmp_path).training
                 - first["compiler"]) / 2  # fmt: skip
    assert 0 < per_layer < first["compiler"]


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_a_damaged_count_is_made_again(text, tmp_path):
    first = compiler.flops_per_token(MODEL, VOCAB, 16, tmp_path)
    (path,) = (tmp_path / "flops").iterdir()
    path.write_text(text)
    assert compiler.flops_per_token(MODEL, VOCAB, 16, tmp_path) == first


def test_another_width_or_row_is_another_shape(tmp_path):
    found = {
        compiler.flops_per_token(MODEL, VOCAB, 16, tmp_path),
        compiler.flops_per_token(dataclasses.replace(MODEL, width=48), VOCAB, 16, tmp_path),
        compiler.flops_per_token(MODEL, VOCAB, 32, tmp_path),
        compiler.flops_per_token(MODEL, VOCAB + 1, 16, tmp_path),
    }
    assert len(found) == 4


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "flops").write_text("in the way")
    assert compiler.flops_per_token(MODEL, VOCAB, 16, tmp_path).training > 0
