"""Small states on eight devices, and checkpoints of them, for tests of scaling.run.checkpoint."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.run.checkpoint import Checkpointer

FINGERPRINT = {"run_id": "0" * 16, "config": {"train": {"batch_size": 32}, "seed": 0}}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    step: jax.Array
    params: dict
    opt_state: tuple


def make_state(seed: int = 0, axis: str = "data", size: int = 16) -> State:
    mesh = jax.make_mesh((8,), (axis,))
    rng = np.random.default_rng(seed)

    def put(x, spec):
        return jax.device_put(x, NamedSharding(mesh, spec))

    w = put(rng.standard_normal((size, size)).astype(np.float32), P(axis))
    b = put(rng.standard_normal(8).astype(jnp.bfloat16), P())
    return State(put(np.int32(seed), P()), {"w": w, "b.c/d": b}, (None, {"mu": w * 2}))


def abstract(state: State) -> State:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def assert_same(a: State, b: State) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def open_checkpointer(directory, **kwargs) -> Checkpointer:
    return Checkpointer(directory, fingerprint=kwargs.pop("fingerprint", FINGERPRINT), **kwargs)


def save_two(directory):
    """Checkpoints of steps 10 and 20 holding make_state(10) and make_state(20)."""
    with open_checkpointer(directory) as checkpointer:
        for step in (10, 20):
            checkpointer.save(step, make_state(step), {"data": {"position": step}})
    return directory


def restore(directory, state=None, **kwargs):
    checkpointer = open_checkpointer(directory, **kwargs)
    try:
        return checkpointer.restore(abstract(make_state() if state is None else state))
    finally:
        checkpointer.close()
