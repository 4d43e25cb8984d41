"""The estimate of memory per device against the compiler's own analysis."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from scaling.core.build import abstract_batch, abstract_dials, make_program
from scaling.core.step import make_train_steps
from scaling.cost.memory import device_memory
from scaling.errors import UserError
from scaling.resolve import resolve
from scaling.sharding import make_mesh, parse_mesh, use_mesh
from tests.helpers import model_section

# name -> (model, train, mesh, vocabulary)
CASES = {
    "unrolled, data and fsdp": ({"depth": 3}, {}, "data:2,fsdp:4", 512),
    "scanned, remat of all but products": (
        {"depth": 8, "layers": "scan", "remat": "dots"},
        {},
        "data:8",
        256,
    ),
    "swiglu, grouped heads, tensor": (
        {"depth": 2, "width": 256, "activation": "swiglu", "n_kv_heads": 2},
        {},
        "data:2,tensor:4",
        2048,
    ),
    "scanned, microbatches": (
        {"depth": 6, "layers": "scan", "qk_norm": True, "tied": True},
        {"n_microbatches": 4, "batch_size": 128},
        "data:4,fsdp:2",
        1024,
    ),
}


def run_config(model, train=None):
    return resolve(
        {
            "model": model_section(**{"width": 128, "n_heads": 4} | model),
            "data": {"name": "markov", "seq_len": 128},
            "train": {"batch_size": 32, "steps_per_dispatch": 2, **(train or {})},
        }
    )


def compiled_bytes(config, mesh_text, vocab_size):
    """(arguments, all) bytes per device of the training program, as the compiler plans them."""
    mesh = make_mesh(parse_mesh(mesh_text))
    K = config.train.steps_per_dispatch
    with use_mesh(mesh):
        program = make_program(config, vocab_size, mesh)
        dials, n = abstract_dials(config, K), jax.ShapeDtypeStruct((), jnp.int32)
        # The estimate is for accelerators, and on CPU an upper bound.
        steps = make_train_steps(config, program.optimizer, in_cache=False)
        lowered = steps.lower(program.abstract_state, abstract_batch(config, mesh, K), dials, n)
        found = lowered.compile().memory_analysis()
    arguments = found.argument_size_in_bytes
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return arguments, arguments + results + found.temp_size_in_bytes


@pytest.mark.parametrize("name", CASES)
def test_within_15_percent_of_the_compiler(name):
    model, train, mesh_text, vocab_size = CASES[name]
    config = run_config(model, train)
    memory = device_memory(config, vocab_size, parse_mesh(mesh_text))
    arguments, total = compiled_bytes(config, mesh_text, vocab_size)
    # Counters and learning rates are the only other arguments.
    assert memory.parameters + memory.optimizer + memory.batch == pytest.approx(arguments, abs=128)
    assert memory.total == pytest.approx(total, rel=0.15)


def test_state_is_split_over_fsdp_and_rows_over_both():
    # Said aloud: left to itself the stack is scanned under fsdp, with its peak elsewhere.
    config = run_config({"depth": 2, "layers": "unroll"})
    whole, split = (device_memory(config, 512, parse_mesh(m)) for m in ("data:1", "data:2,fsdp:4"))
    # Gains are not split.
    assert split.parameters == pytest.approx(whole.parameters / 4, rel=0.02)
    assert split.optimizer == pytest.approx(whole.optimizer / 4, rel=0.02)
    assert split.batch == whole.batch / 8
    assert split.logits == pytest.approx(whole.logits / 8)


def test_remat_and_microbatches_save_activations():
    mesh = parse_mesh("data:2")
    scanned = {"depth": 12, "layers": "scan"}
    none, dots, block = (
        device_memory(run_config({**scanned, "remat": r}), 256, mesh).activations
        for r in ("none", "dots", "block")
    )
    assert block < dots / 2 < none / 3
    quarters = device_memory(run_config(scanned, {"n_microbatches": 4}), 256, mesh)
    assert quarters.activations == pytest.approx(none / 4, rel=0.15)


def test_logits_are_told_from_a_hidden_layer_of_the_same_size():
    # Hidden 4 * 128 = 512 = vocabulary.
    same = device_memory(run_config({"depth": 4}), 512, parse_mesh("data:2"))
    near = device_memory(run_config({"depth": 4}), 520, parse_mesh("data:2"))
    assert same.logits == pytest.approx(near.logits, rel=0.02)
    assert same.activations == pytest.approx(near.activations, rel=0.02)


def test_a_device_stores_its_own_rows_only():
    """The look-up of embeddings is laid out by the compiler, and must not count as whole."""
    few = device_memory(run_config({"depth": 1}), 512, parse_mesh("data:2"))
    many = run_config({"depth": 1}, {"batch_size": 32 * 64})
    # Evaluation batches have to divide as well.
    many = dataclasses.replace(many, eval=dataclasses.replace(many.eval, batch_size=128))
    assert device_memory(many, 512, parse_mesh("data:128")) == few


def test_a_misfit_is_named():
    with pytest.raises(UserError, match=r"model.transformer.n_heads=4 cannot be split 8 ways"):
        device_memory(run_config({"depth": 1}), 512, parse_mesh("tensor:8"))
