"""From a config and a mesh to the programs and the abstract state of a run."""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from scaling.config import RunConfig
from scaling.core.state import TrainState, init_state
from scaling.models.base import abstract_model, new_model
from scaling.models.params import infos
from scaling.optim.build import make_optimizer
from scaling.sharding import check_divisible, param_shardings, parse_mesh, spec, start_cpu_devices

_OF_STEPS = 1  # folded into the run's key it gives that of its steps


@dataclasses.dataclass(frozen=True)
class Program:
    """What a run computes, before any array exists.

    init(seed) -> TrainState, jitted and sharded from birth. abstract_state: TrainState of
    jax.ShapeDtypeStruct with shardings. infos: ParamInfo per parameter.
    """

    optimizer: optax.GradientTransformation
    init: Callable[[int], TrainState]
    abstract_state: TrainState
    infos: Any


def make_program(config: RunConfig, vocab_size: int, mesh: Mesh | AbstractMesh) -> Program:
    """Builds the run's functions under `mesh`. Call it, and them, inside `sharding.use_mesh(mesh)`.

    Nothing is allocated. Raises UserError when the config's sizes do not divide over the mesh.
    """
    check_mesh(config, vocab_size, mesh.shape)
    sizes = (config.model, vocab_size, config.data.seq_len)
    info_tree = infos(abstract_model(*sizes))
    optimizer = make_optimizer(config.optim, config.model, info_tree)
    shardings = param_shardings(mesh, info_tree)

    def new_state(key):
        params = jax.tree.map(jax.reshard, new_model(*sizes, key), shardings)
        return init_state(params, optimizer, jax.random.fold_in(key, _OF_STEPS))

    jitted = jax.jit(new_state)

    def init(seed: int) -> TrainState:
        return jitted(jax.random.key(seed))

    abstract_state = jax.eval_shape(new_state, jax.eval_shape(lambda: jax.random.key(0)))
    return Program(optimizer, init, _with_shardings(abstract_state, mesh), info_tree)


def abstract_batch(config: RunConfig, mesh: Mesh | AbstractMesh, *lead: int) -> dict[str, Any]:
    """Shapes of a training batch with leading dimensions `lead` (steps of a dispatch, say)."""

    def array(field):
        shape = (*lead, config.train.batch_size, *field.shape)
        sharding = NamedSharding(mesh, spec(*(None,) * len(lead), "batch", *field.axes))
        return jax.ShapeDtypeStruct(shape, field.dtype, sharding=sharding)

    layout = config.objective.options.layout(config.data)
    return {name: array(field) for name, field in layout.items()}


def abstract_dials(config: RunConfig, *lead: int) -> dict[str, Any]:
    """Shapes of the scalars of `lead` steps (none: of one)."""
    names = ("lr", *config.objective.options.dials(0.0))
    return {name: jax.ShapeDtypeStruct(lead, jnp.float32) for name in names}


def split_sizes(config: RunConfig, vocab_size: int) -> list[tuple[str, str, int]]:
    """(logical axis, field, size) of everything that the mesh may split."""
    model, train = config.model, config.train
    return [
        ("batch", "rows per microbatch", train.batch_size // train.n_microbatches),
        ("batch", "eval.batch_size", config.eval.batch_size),
        *model.options.split_sizes(model),
        ("vocab", "vocabulary size", vocab_size),
    ]


def check_mesh(config: RunConfig, vocab_size: int, mesh_shape: Any) -> None:
    """Raises UserError naming the first size that does not divide over the mesh."""
    for axis, field, size in split_sizes(config, vocab_size):
        check_divisible(mesh_shape, {axis: (field, size)})


def choose_mesh(config: RunConfig, mesh_text: str | None, n_processes: int = 1) -> dict[str, int]:
    """Mesh sizes, after giving the CPU backend one device per core it should use.

    Without `mesh_text` all devices share the rows. XLA runs one CPU device on about one core, so on
    CPU each core becomes a device (the greatest divisor of the rows that there are cores for).
    With `n_processes` each brings its share. Must be called before jax starts its backend; later
    it only sees what is there.
    """
    shape = parse_mesh(mesh_text) if mesh_text else None
    rows = math.gcd(config.train.batch_size // config.train.n_microbatches, config.eval.batch_size)
    if shape:
        wanted = max(1, math.prod(shape.values()) // n_processes)
    else:
        wanted = _divisor(max(1, rows // n_processes), _cores())
    start_cpu_devices(wanted, _cores())
    if shape:
        return shape
    n = _divisor(rows, jax.device_count())
    if jax.default_backend() == "cpu":
        n = min(n, wanted * n_processes)
    return parse_mesh(f"data:{n}")


def _cores() -> int:
    # Affinity, not cpu_count: a Slurm step or a container may own a few cores of many.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _divisor(n: int, most: int) -> int:
    return max(d for d in range(1, max(1, most) + 1) if n % d == 0)


def _with_shardings(tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Under explicit axes a shape knows its spec; restoring also wants to know the mesh."""

    def add(leaf):
        layout = leaf.sharding.spec if leaf.sharding is not None else jax.P()
        sharding = NamedSharding(mesh, layout)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(add, tree)
