"""muP: its table, the coordinate check, and (slow) that the best learning rate stays put."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.mup_transfer import Study, sweep
from scaling import sharding
from scaling.config import (
    OPTIMIZERS,
    DataConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from scaling.core.build import make_program
from scaling.core.step import make_train_step
from scaling.models import mup
from scaling.models.params import ParamInfo
from tests.helpers import transformer, varied

V, B, T, N_STEPS = 32, 4, 16, 4
# Compilation is nearly all of the time here.
QUICK = {"xla_backend_optimization_level": 0}
WIDTHS = (32, 64, 128, 256)
BASE = transformer(width=32, depth=2, base_width=32, base_depth=2, n_heads=4)
# Large enough that a few steps move the features as far as they will go.
LEARNING_RATES = {"adamw": 2**-7, "adafactor": 2**-7, "lion": 2**-8, "muon": 2**-5, "sgd": 0.1}

HIDDEN = ParamInfo(("layers", "embed", "mlp"), "mlp")
BLOCK_GAIN = ParamInfo(("layers", None), "norm")
GAIN = ParamInfo((None,), "norm")
EMBEDDING = ParamInfo(("vocab", "embed"), "embedding")
HEAD = ParamInfo(("embed", "vocab"), "head")


def sized(parametrization, width=32, depth=2, **fields):
    fields = {"parametrization": parametrization, "width": width, "depth": depth} | fields
    return varied(BASE, **fields)


@pytest.mark.parametrize("fields", [{}, {"head_size": 8}, {"tied": True}])
def test_equals_the_standard_parametrisation_at_the_base_size(fields):
    sp, mu = sized("sp", **fields), sized("mup", **fields)
    for role, fan_in in [("embedding", 32), ("attention", 32), ("mlp", 128), ("head", 32)]:
        assert mup.init_std(sp, role, fan_in) == mup.init_std(mu, role, fan_in)
    for rule in (mup.attention_scale, mup.logit_scale, mup.residual_scale):
        assert rule(sp) == rule(mu)
    for info in (HIDDEN, BLOCK_GAIN, GAIN, EMBEDDING, HEAD):
        for kind in mup.STEP_KINDS:
            assert mup.lr_multiplier(sp, info, kind) == mup.lr_multiplier(mu, info, kind) == 1.0


def test_standard_parametrisation_knows_no_base():
    large = sized("sp", 128, 8)
    assert mup.init_std(large, "head", 128) == pytest.approx(128**-0.5)
    assert mup.attention_scale(large) == pytest.approx(32**-0.5)
    assert mup.logit_scale(large) == mup.residual_scale(large) == 1.0
    assert mup.lr_multiplier(large, HIDDEN, "sign") == 1.0


def test_table_8_of_tensor_programs_v_at_four_times_the_width():
    wide = sized("mup", 128)
    assert mup.init_std(wide, "mlp", 128) == pytest.approx(128**-0.5)
    assert mup.init_std(wide, "head", 128) == pytest.approx(32**-0.5)
    assert mup.init_std(wide, "embedding", 128) == 1.0
    assert mup.init_std(sized("mup", 128, tied=True), "embedding", 128) == pytest.approx(32**-0.5)
    assert mup.logit_scale(wide) == 0.25
    # Heads grow from 8 to 32: 1 / sqrt(8) at the base, falling like 1 / 32 / ... from there.
    assert mup.attention_scale(wide) == pytest.approx(8**-0.5 / 4)
    assert mup.attention_scale(sized("mup", 128, head_size=8)) == pytest.approx(8**-0.5)
    multiplier = lambda info, kind: mup.lr_multiplier(wide, info, kind)  # noqa: E731
    assert [multiplier(HIDDEN, kind) for kind in mup.STEP_KINDS] == [0.25, 1.0, 0.5, 1.0]
    assert [multiplier(HEAD, kind) for kind in mup.STEP_KINDS] == [1.0, 4.0, 1.0, 1.0]
    assert [multiplier(EMBEDDING, kind) for kind in mup.STEP_KINDS] == [1.0, 4.0, 1.0, 1.0]
    assert [multiplier(GAIN, kind) for kind in mup.STEP_KINDS] == [1.0] * 4


def test_depth_rule_at_four_times_the_depth():
    deep = sized("mup", depth=8)
    assert mup.residual_scale(deep) == 0.5
    assert [mup.lr_multiplier(deep, HIDDEN, k) for k in mup.STEP_KINDS] == [0.5, 1.0, 0.5, 0.5]
    assert mup.lr_multiplier(deep, BLOCK_GAIN, "sign") == 0.5
    assert mup.lr_multiplier(deep, HEAD, "sign") == mup.lr_multiplier(deep, GAIN, "sign") == 1.0


def test_completep_at_four_times_the_depth():
    """Dey et al. 2025, table 1 with alpha = 1: branches 1 / l, rates as at the base depth."""
    deep = sized("mup", depth=8, depth_alpha=1.0)
    assert mup.residual_scale(deep) == 0.25
    assert [mup.lr_multiplier(deep, HIDDEN, k) for k in mup.STEP_KINDS] == [1.0, 4.0, 1.0, 1.0]
    assert mup.lr_multiplier(deep, BLOCK_GAIN, "sign") == mup.lr_multiplier(deep, HEAD, "sign") == 1
    assert mup.residual_scale(sized("sp", depth=8, depth_alpha=1.0)) == 1.0


def test_gradients_are_raised_to_what_they_are_at_the_base_size():
    for alpha, in_block in ((0.5, 8.0), (1.0, 16.0)):
        big = sized("mup", 128, 8, depth_alpha=alpha)
        assert [mup.gradient_scale(big, i, "sign") for i in (HIDDEN, BLOCK_GAIN)] == [in_block] * 2
        assert [mup.gradient_scale(big, i, "sign") for i in (EMBEDDING, HEAD, GAIN)] == [4.0] * 3
        assert mup.gradient_scale(big, HIDDEN, "gradient") == 1.0
    assert mup.gradient_scale(sized("sp", 128, 8), HIDDEN, "sign") == 1.0


def activations(model, tokens):
    """(residual stream before the last norm, logits without their mean over the vocabulary)."""
    seen, norm = [], model.final_norm

    def spy(x):
        seen.append(x)
        return norm(x)

    model.final_norm = spy
    logits = model(tokens)
    return seen[0], logits - logits.mean(-1, keepdims=True)


def change_of_activations(model, optimizer):
    """RMS change of each activation over N_STEPS steps on random tokens from a part of V."""
    config = RunConfig(
        model=model,
        optim=OptimConfig(name=optimizer, clip_norm=0.0),
        data=DataConfig(seq_len=T),
        train=TrainConfig(batch_size=B),
    )
    rows = np.random.default_rng(0).integers(0, V // 4, (N_STEPS, B, T + 1)).astype(np.int32)
    mesh = sharding.make_mesh(sharding.parse_mesh("data:1"))
    with sharding.use_mesh(mesh):
        program = make_program(config, V, mesh)
        step = jax.jit(make_train_step(config, program.optimizer), compiler_options=QUICK)
        look = jax.jit(activations, compiler_options=QUICK)
        state = program.init(0)
        before = look(state.params, rows[0, :, :-1])
        for k in range(N_STEPS):
            batch = {"tokens": rows[k, :, :-1], "targets": rows[k, :, 1:]}
            batch |= {"weights": np.ones((B, T), np.float32)}
            state, _ = step(state, batch, {"lr": jnp.float32(LEARNING_RATES[optimizer])})
        after = look(state.params, rows[0, :, :-1])
    return [
        float(jnp.sqrt(jnp.mean(jnp.square(b - a)))) for a, b in zip(before, after, strict=True)
    ]


SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS if n != "adamw"]


@pytest.mark.parametrize("optimizer", ["adamw", *SLOW])
def test_coordinate_check(optimizer):
    """Yang et al. 2022, appendix D.1: changes keep their size under muP and grow under SP.

    Measured exponents of width (stream, logits): AdamW, SP 0.94, 0.53 and muP 0.05, -0.01; SGD, SP
    0.29, 0.55 and muP 0.06, 0.00; Muon, whose steps are muP's already, SP -0.13, 0.57 (the head is
    Adam's) and muP -0.03, 0.07.
    """
    models = {width: sized("mup", width, layers="scan") for width in WIDTHS}
    mu = np.array([change_of_activations(model, optimizer) for model in models.values()])
    slopes = np.polyfit(np.log(WIDTHS), np.log(mu), 1)[0]
    assert np.all(np.abs(slopes) < 0.2), slopes
    # At the base width the parametrisations are one, so SP needs only the largest model.
    sp = np.array(change_of_activations(sized("sp", WIDTHS[-1], layers="scan"), optimizer))
    growth = np.log(sp / mu[0]) / np.log(WIDTHS[-1] / WIDTHS[0])
    assert growth.max() > 0.4, growth


DEPTHS = (2, 8)
MORE = [pytest.param(n, a, marks=pytest.mark.slow) for n in ("adamw", "sgd") for a in (0.5, 1.0)]


@pytest.mark.parametrize(("optimizer", "alpha"), [("adamw", 1.0), MORE[0], *MORE[2:]])
def test_coordinate_check_over_depth(optimizer, alpha):
    """Measured exponents of depth from 2 to 16 (stream, logits): AdamW, SP 0.91, 0.10, alpha = 1/2
    0.03, 0.06, alpha = 1 -0.06, 0.07; SGD, SP 0.76, 0.18, alpha = 1/2 0.10, 0.07, alpha = 1 0.00,
    0.08. With the rates of the other alpha the stream would grow or fall by a power of 1/2."""
    models = [sized("mup", depth=d, layers="scan", depth_alpha=alpha) for d in DEPTHS]
    mu = np.array([change_of_activations(model, optimizer) for model in models])
    slopes = np.log(mu[1] / mu[0]) / np.log(DEPTHS[1] / DEPTHS[0])
    assert np.all(np.abs(slopes) < 0.25), slopes
    sp = np.array(change_of_activations(sized("sp", depth=DEPTHS[1], layers="scan"), optimizer))
    assert np.log(sp[0] / mu[0][0]) / np.log(DEPTHS[1] / DEPTHS[0]) > 0.5


@pytest.mark.slow
def test_best_learning_rate_moves_under_sp_and_stays_under_mup():
    """Measured with AdamW, widths 32, 64, 128: SP 2^-6, 2^-7, 2^-8.5; muP 2^-6 at all three."""
    study = Study(lrs=tuple(range(-9, -4)), n_steps=200, n_devices=2)
    sp = sweep(study, "sp", "width", [32, 64, 128])
    mu = sweep(study, "mup", "width", [64, 128])
    best_sp = [study.lrs[int(np.nanargmin(sp[width]))] for width in (32, 64, 128)]
    best_mup = [study.lrs[int(np.nanargmin(row))] for row in (sp[32], mu[64], mu[128])]
    assert best_sp[0] - best_sp[2] >= 2, (best_sp, sp)
    assert max(best_mup) - min(best_mup) <= 1, (best_mup, mu)
