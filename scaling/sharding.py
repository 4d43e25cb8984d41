"""The mesh, and the one table from logical axes to mesh axes.

Model code names what a dimension means ("batch", "embed", "heads"); only this file knows that
"embed" is split over `fsdp`. A new parallelism is a new mesh axis and a row of RULES.

Axes are Explicit: the sharding is part of an array's type, an operation that would need an
unasked-for transfer is an error at trace time, and `jax.reshard` is the only thing that moves data.
"""

import contextlib
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.doors.limits import MOST_DEVICES
from scaling.errors import UserError, unknown

MESH_AXES = ("data", "fsdp", "tensor")

MOST_CPU_DEVICES = 512

# logical axis -> mesh axes it is split over (None: replicated).
RULES: dict[str | None, str | tuple[str, ...] | None] = {
    # Activations. Rows are spread over both data-parallel axes.
    "batch": ("data", "fsdp"),
    "seq": None,
    "model": None,
    # Weights. The embed side is stored in pieces over fsdp and gathered where it is used.
    "layers": None,
    "embed": "fsdp",
    "heads": "tensor",
    # Grouped key/value heads are fewer than tensor shards may be: every shard keeps them all.
    "kv_heads": None,
    "mlp": "tensor",
    "vocab": "tensor",
    None: None,
}
# Storage-only splits: undone by `gather` before a weight meets an activation.
STORAGE_AXES = ("fsdp",)


def spec(*axes: str | None) -> P:
    """PartitionSpec of an array whose dimensions mean `axes`.

    Inside a `shard_map` over some mesh axes, of what is left: an array is one device's own there.
    Raises ValueError when two dimensions would be split over the same mesh axis.
    """
    own = jax.sharding.get_abstract_mesh().manual_axes
    used: list[str] = []
    parts: list[str | tuple[str, ...] | None] = []
    for axis in axes:
        names = tuple(name for name in mesh_axes(axis) if name not in own)
        parts.append(names if len(names) > 1 else names[0] if names else None)
        used += names
    if len(used) != len(set(used)):
        raise ValueError(f"axes {axes} map to {parts}: a mesh axis can split one dimension only")
    return P(*parts)


def ways(axis: str, mesh_shape: Mapping[str, int] | None = None) -> int:
    """Into how many parts a dimension that means `axis` is split on a mesh: the one in use, or
    {mesh axis: size}."""
    shape = jax.sharding.get_abstract_mesh().shape if mesh_shape is None else mesh_shape
    return math.prod(shape[name] for name in mesh_axes(axis))


def mesh_axes(axis: str | None) -> tuple[str, ...]:
    """The mesh axes that a dimension which means `axis` is split over."""
    if axis not in RULES:
        raise unknown("logical axis", str(axis), [str(a) for a in RULES])
    found = RULES[axis]
    return (found,) if isinstance(found, str) else found or ()


def gathered_spec(*axes: str | None) -> P:
    """Like `spec`, with the storage-only splits undone: how a weight is used, not kept."""
    return P(*(None if part in STORAGE_AXES else part for part in spec(*axes)))


def gather(weight: jax.Array, *axes: str | None) -> jax.Array:
    """A stored weight as the layers use it (the all-gather of FSDP; its transpose scatters)."""
    return jax.reshard(weight, gathered_spec(*axes))


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Moves an activation to the layout of its logical axes."""
    return jax.reshard(x, spec(*axes))


def parse_mesh(text: str) -> dict[str, int]:
    """Reads "data:8,fsdp:4" into {"data": 8, "fsdp": 4, "tensor": 1}. Raises UserError."""
    shape = dict.fromkeys(MESH_AXES, 1)
    seen = set()
    for part in filter(None, (p.strip() for p in text.split(","))):
        axis, _, size = part.partition(":")
        if axis not in shape:
            raise unknown("mesh axis", axis, MESH_AXES)
        if axis in seen:
            raise UserError(f"--mesh={text}: axis {axis!r} is given twice")
        size = size.lstrip("0") if size.isdecimal() else ""
        if not size:
            raise UserError(
                f"--mesh={text[:80]}: {part[:80]!r} is not AXIS:SIZE with a size of 1 or more"
            )
        seen.add(axis)
        shape[axis] = int(size) if len(size) < 20 else MOST_DEVICES + 1
    if math.prod(shape.values()) > MOST_DEVICES:
        raise UserError(
            f"--mesh={text[:80]} asks for more than {MOST_DEVICES:,} devices; give the sizes of a "
            "mesh that exists"
        )
    return shape


def start_cpu_devices(wanted: int, cores: int) -> None:
    """Has the CPU backend start with `wanted` devices, if it is not up yet.

    Each takes threads and memory: beyond what anyone tries on one machine it gets one a core, and
    `make_mesh` says what is missing.
    """
    n = wanted if wanted <= max(MOST_CPU_DEVICES, cores) else cores
    # Once the backend is up (tests, notebooks) its devices are taken as they are.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", max(1, n))


def make_mesh(shape: Mapping[str, int]) -> Mesh:
    """A mesh over the first devices. Raises UserError when the devices do not suffice or fit."""
    sizes = tuple(shape[axis] for axis in MESH_AXES)
    wanted, devices = int(np.prod(sizes)), jax.devices()
    if wanted > len(devices) or (jax.process_count() > 1 and wanted != len(devices)):
        text = ",".join(f"{a}:{s}" for a, s in zip(MESH_AXES, sizes, strict=True))
        raise UserError(
            f"--mesh={text} needs {wanted} devices, but there are {len(devices)} "
            f"({devices[0].device_kind}); choose sizes whose product is {len(devices)}"
        )
    return jax.make_mesh(
        sizes, MESH_AXES, (AxisType.Explicit,) * len(sizes), devices=devices[:wanted]
    )


def abstract_mesh(shape: Mapping[str, int]) -> AbstractMesh:
    """The same mesh without devices: for planning and for contract tests."""
    sizes = tuple(shape[axis] for axis in MESH_AXES)
    return AbstractMesh(sizes, MESH_AXES, axis_types=(AxisType.Explicit,) * len(sizes))


def use_mesh(mesh: Mesh | AbstractMesh) -> AbstractContextManager:
    """The context in which programs for `mesh` are built and run."""
    if isinstance(mesh, AbstractMesh):
        return jax.sharding.use_abstract_mesh(mesh)
    return jax.set_mesh(mesh)


def check_divisible(mesh_shape: Mapping[str, int], sizes: Mapping[str, tuple[str, int]]) -> None:
    """Checks {logical axis: (field name, size)} against the mesh. Raises UserError on a misfit."""
    for axis, (field, size) in sizes.items():
        n = ways(axis, mesh_shape)
        if size % n:
            raise UserError(
                f"{field}={size} cannot be split {n} ways over mesh axes "
                f"{', '.join(mesh_axes(axis))}; make it a multiple of {n} or change --mesh"
            )


def param_shardings(mesh: Mesh | AbstractMesh, infos: Any) -> Any:
    """NamedSharding per parameter, from the pytree of ParamInfo."""
    return jax.tree.map(lambda info: NamedSharding(mesh, spec(*info.axes)), infos)


def process_rows(mesh: Mesh, shape: tuple[int, ...], axis: int = 0) -> slice:
    """Which rows of a global batch this process holds; `axis` is the dimension of rows."""
    axes = (None,) * axis + ("batch",)
    index = NamedSharding(mesh, spec(*axes)).addressable_devices_indices_map(shape)
    parts = [part[axis].indices(shape[axis]) for part in index.values()]
    rows = slice(min(p[0] for p in parts), max(p[1] for p in parts))
    assert sum(p[1] - p[0] for p in set(parts)) == rows.stop - rows.start, "rows have a gap"
    return rows


def place(mesh: Mesh, batch: Mapping[str, np.ndarray], *axes: str | None) -> dict[str, jax.Array]:
    """This process's rows of a batch -> global arrays split over the mesh.

    Every array's leading dimensions mean `axes`; the rest is replicated.
    """
    sharding = NamedSharding(mesh, spec(*axes))
    return {
        name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()
    }
