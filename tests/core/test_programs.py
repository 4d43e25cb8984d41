"""Runs that share programs compute what they would compute alone."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from scaling.config import OPTIMIZERS, SCHEDULES
from scaling.core.build import abstract_batch, abstract_dials, make_program
from scaling.core.programs import make_programs, traced_part
from scaling.core.step import make_train_steps
from scaling.durations import Duration
from scaling.resolve import resolve
from scaling.sharding import make_mesh, parse_mesh, use_mesh

VOCAB = 16
INPUTS = {
    "name": "other",
    "seed": 7,
    "data": {"seed": 3, "val_fraction": 0.2},
    "train": {"duration": "7 steps", "max_loss": 9.0},
    "eval": {"every": "10%", "n_rows": 3},
}


def one_device_mesh():
    return make_mesh(parse_mesh("data:1"))


def config(optimizer, **changes):
    sections = {
        "model": {"depth": 1, "width": 8, "transformer": {"n_heads": 2}},
        "data": {"seq_len": 8},
        "train": {"batch_size": 2, "steps_per_dispatch": 2},
        "eval": {"batch_size": 2},
        "optim": {"name": optimizer},
    }
    for key, value in changes.items():
        sections[key] = {**sections[key], **value} if key in sections else value
    return resolve(sections)


def program_text(settings):
    """The training program, made from the config itself, without the cache."""
    mesh = one_device_mesh()
    with use_mesh(mesh):
        program = make_program(settings, VOCAB, mesh)
        K = settings.train.steps_per_dispatch
        return (
            make_train_steps(settings, program.optimizer)
            .lower(
                program.abstract_state,
                abstract_batch(settings, mesh, K),
                abstract_dials(settings, K),
                jax.ShapeDtypeStruct((), jnp.int32),
            )
            .as_text()
        )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_left_out_of_the_shape_is_not_in_the_program(optimizer):
    schedule = next(name for name in SCHEDULES if name != "constant")
    optim = {"peak_lr": 0.123, "schedule": {"name": schedule}}
    kept = {"weight_decay": 0.1, "clip_norm": 0.5, "skip_nonfinite": True}
    settings = config(optimizer, optim=optim | kept, objective={"lm": {"z_loss": 0.1}}, **INPUTS)
    assert program_text(settings) == program_text(traced_part(settings))


def test_runs_of_one_shape_share_and_others_do_not():
    mesh, settings = one_device_mesh(), config("adamw")
    with use_mesh(mesh):
        mine = make_programs(settings, VOCAB, mesh)
        assert make_programs(config("adamw", **INPUTS), VOCAB, mesh) is mine
        for other in (
            config("sgd"),
            config("adamw", model={"width": 16}),
            config("adamw", optim={"weight_decay": 0.1}),
            config("adamw", optim={"skip_nonfinite": True}),
            config("adamw", train={"batch_size": 4}),
            config("adamw", data={"documents": "masked"}),
        ):
            assert make_programs(other, VOCAB, mesh) is not mine
        assert make_programs(settings, VOCAB + 1, mesh) is not mine


def test_a_field_that_is_new_counts_until_somebody_says_otherwise():
    settings = config("adamw")
    kept = dataclasses.replace(settings, optim=dataclasses.replace(settings.optim, clip_norm=0.5))
    assert traced_part(kept).optim.clip_norm == 0.5
    longer = dataclasses.replace(
        settings, train=dataclasses.replace(settings.train, duration=Duration(9, "steps"))
    )
    assert traced_part(longer) == traced_part(settings)
