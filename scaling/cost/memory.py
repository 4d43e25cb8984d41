"""Bytes per device of a training run, before any of them is allocated.

Parameters, optimiser state and batches are exact: their shapes and layouts are those that the run
will have. What a step needs on top is read off its jaxpr (see `scaling.cost.liveness`), so that
remat, scanning, microbatches and any new model are counted as written, not as a formula of them.
tests/cost/test_memory.py compares with the compiler's own analysis. On CPU it is an upper bound:
there a step takes rows as they fit the cache (`scaling.core.step.cache_pieces`).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from scaling.config import RunConfig
from scaling.core.build import Program, abstract_batch, abstract_dials, make_program
from scaling.core.step import make_train_step
from scaling.cost import liveness
from scaling.sharding import abstract_mesh, use_mesh


@dataclasses.dataclass(frozen=True)
class DeviceMemory:
    """Bytes on each device at the worst moment of a step.

    batch: the rows of all steps of a dispatch. gradients: also weights gathered or cut out for
    use, and updates. logits: everything of the size of the vocabulary per token. activations: the
    rest of what a step stores.
    """

    parameters: int
    optimizer: int
    batch: int
    gradients: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


def device_memory(
    config: RunConfig, vocab_size: int, mesh_shape: Mapping[str, int]
) -> DeviceMemory:
    """Traces a step on an abstract mesh {axis: size}; no device needed, nothing allocated.

    Raises UserError when the config's sizes do not divide over the mesh, and for cuDNN attention on
    a machine that has no cuDNN to ask for the shapes of its results.
    """
    config.model.options.check_backend(jax.default_backend())
    mesh = abstract_mesh(mesh_shape)
    with use_mesh(mesh):
        program = make_program(config, vocab_size, mesh)
        batches = abstract_batch(config, mesh, config.train.steps_per_dispatch)
        peak = _step_peak(config, program, mesh)
        weights, logits = _shares(config, program, vocab_size, peak)
        if vocab_size in (taken := _layer_sizes(config, program)):
            # Hidden layers have the shape of the logits: tell them apart with another vocabulary.
            other = _distinct_vocabulary(taken, vocab_size, mesh_shape)
            twin = make_program(config, other, mesh)
            share = _shares(config, twin, other, _step_peak(config, twin, mesh))[1]
            logits = min(share * vocab_size // other, peak.n_bytes - weights)
    state = program.abstract_state
    return DeviceMemory(
        parameters=_bytes(state.params),
        optimizer=_bytes(state.opt_state),
        batch=_bytes(batches),
        gradients=weights,
        activations=peak.n_bytes - weights - logits,
        logits=logits,
    )


def _step_peak(config: RunConfig, program: Program, mesh: Any) -> liveness.Peak:
    step = make_train_step(config, program.optimizer)
    arguments = (abstract_batch(config, mesh), abstract_dials(config))
    jaxpr = jax.make_jaxpr(step)(program.abstract_state, *arguments)
    # The state comes first among the results, and is donated.
    return liveness.peak(jaxpr, in_place=len(jax.tree.leaves(program.abstract_state)))


def _shares(
    config: RunConfig, program: Program, vocab_size: int, peak: liveness.Peak
) -> tuple[int, int]:
    """(bytes shaped like weights or stacks of them, bytes shaped like logits) at the peak."""
    shapes = {leaf.shape for leaf in jax.tree.leaves(program.abstract_state.params)}
    infos = jax.tree.leaves(program.infos)
    params = jax.tree.leaves(program.abstract_state.params)
    # One layer of a stack is shaped like a weight too, and so is its transpose.
    shapes |= {p.shape[1:] for p, info in zip(params, infos, strict=True) if info.is_stacked}
    shapes |= {shape[:-2] + shape[:-3:-1] for shape in shapes if len(shape) > 1}
    weights = sum(b.n_bytes for b in peak.buffers if b.shape in shapes)
    rows = config.train.batch_size // config.train.n_microbatches
    # Microbatches are taken by each device of the data axis for itself.
    own = rows // jax.sharding.get_abstract_mesh().shape["data"]
    like_logits = [(n, config.data.seq_len, vocab_size) for n in (rows, own)]
    return weights, sum(b.n_bytes for b in peak.buffers if b.shape in like_logits)


def _layer_sizes(config: RunConfig, program: Program) -> set[int]:
    """Sizes that something of the shape (rows, positions, size) may have in a layer."""
    arrays, infos = jax.tree.leaves(program.abstract_state.params), jax.tree.leaves(program.infos)
    vocabulary = ("embedding", "head")
    inner = [a.shape for a, i in zip(arrays, infos, strict=True) if i.role not in vocabulary]
    return {config.model.width, config.data.seq_len, *(n for shape in inner for n in shape)}


def _distinct_vocabulary(taken: set[int], vocab_size: int, mesh_shape: Mapping[str, int]) -> int:
    step = math.prod(mesh_shape.values())
    return next(v for v in range(vocab_size + step, 10**9, step) if v not in taken)


def _bytes(tree: Any) -> int:
    """Bytes per device of a pytree of abstract arrays with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
