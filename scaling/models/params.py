"""What every parameter carries besides its value: logical axes and a role.

Matrices are stored two-dimensional, (in, out), and stacked layers put "layers" in front; vectors
have one dimension. Everything that treats parameters by kind (sharding, decay masks, muP, Muon,
accounting) reads it from here; nothing is ever guessed from a parameter's name.
"""

import dataclasses
from typing import Any

import jax
from flax import nnx

ROLES = ("embedding", "position", "attention", "mlp", "recurrent", "norm", "bias", "head")
HIDDEN = ("attention", "mlp", "recurrent")


@dataclasses.dataclass(frozen=True)
class ParamInfo:
    """Logical axes (one name or None per dimension) and role of one parameter."""

    axes: tuple[str | None, ...]
    role: str

    @property
    def is_stacked(self) -> bool:
        return bool(self.axes) and self.axes[0] == "layers"

    @property
    def is_matrix(self) -> bool:
        """True for (in, out) matrices, stacked or not; embeddings count, gains do not."""
        return len(self.axes) - self.is_stacked == 2

    @property
    def is_hidden(self) -> bool:
        """True for matrices whose two sides both grow with width."""
        return self.is_matrix and self.role in HIDDEN


def param(value: jax.Array, axes: tuple[str | None, ...], role: str) -> nnx.Param:
    """A parameter with its logical axes and role. `value` has one dimension per axis."""
    assert len(axes) == value.ndim, (axes, value.shape)
    assert role in ROLES, role
    return nnx.Param(value, axes=axes, role=role)


def infos(model: Any) -> Any:
    """The pytree of `model` with a ParamInfo in place of every array (concrete or abstract)."""
    variables = jax.tree.leaves(model, is_leaf=lambda v: isinstance(v, nnx.Variable))
    found = []
    for variable in variables:
        meta = variable.get_metadata()
        # A stack is built by vmapping one layer's constructor, which adds a leading dimension.
        stacked = variable.get_value().ndim - len(meta["axes"])
        assert stacked in (0, 1), (meta, variable.get_value().shape)
        found.append(ParamInfo(("layers",) * stacked + meta["axes"], meta["role"]))
    return jax.tree.unflatten(jax.tree.structure(model), found)
