"""Muon for hidden matrices, Adam for everything else (Jordan et al. 2024; arXiv 2502.16982)."""

import dataclasses
import math
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from scaling.config import option
from scaling.models.params import ParamInfo


@dataclasses.dataclass(frozen=True)
class Muon:
    """The momentum of a matrix, orthogonalised by Newton-Schulz iterations, then scaled by shape.

    With `debias` Nesterov's look ahead corrects gradient and average for the average's start at
    zero, each by its own factor, as Nadam does (Dozat 2016) and optax's Muon: until the average has
    filled, some 20 steps, the newest gradient weighs more than in Jordan's original (`debias`
    False). Later, and without `nesterov`, both are one.

    "spectral": sqrt(max(1, out / in)), the spectral norm that keeps features moving equally at any
    width (Jordan et al. 2024; Bernstein & Newhouse 2024, arXiv 2409.20325).
    "rms": 0.2 sqrt(max(in, out)), entries as large as AdamW's, so that its learning rate can be
    kept (Liu et al. 2025, arXiv 2502.16982).
    """

    momentum: float = option(0.95, "decay of the momentum", low=0.0, high=0.999999)
    nesterov: bool = option(True, "look ahead by one step")
    debias: bool = option(True, "look ahead with Nadam's correction; Jordan's original has none")
    iterations: int = option(5, "Newton-Schulz iterations", low=1, high=100)
    scale: str = option("spectral", "scaling by shape", choices=("spectral", "rms"))
    adam_lr: float = option(
        1.0, "learning rate of embeddings, head and gains over Muon's", low=0.0, high=1e6
    )
    b1: float = option(0.9, "Adam: decay of the first moment", low=0.0, high=0.999999)
    b2: float = option(0.95, "Adam: decay of the second moment", low=0.0, high=0.999999)
    eps: float = option(1e-8, "Adam: added to the root of the second moment", low=0.0, high=1.0)

    def build(self, infos: Any) -> optax.GradientTransformation:
        by_shape = optax.stateless_with_tree_map(lambda u, _: u * self._shape_factor(u.shape))
        adam = optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.eps), optax.scale(self.adam_lr)
        )
        labels = jax.tree.map(lambda info: "muon" if info.is_hidden else "adam", infos)
        # As a function: a tree of labels is a model, and optax would call it.
        return optax.partition(
            {"muon": optax.chain(*self._orthogonal(), by_shape), "adam": adam}, lambda _: labels
        )

    def _orthogonal(self) -> list[optax.GradientTransformation]:
        # The last two dimensions are (in, out); a leading "layers" is a batch of matrices.
        dims = MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)

        def muon(beta: float, nesterov: bool) -> optax.GradientTransformation:
            return scale_by_muon(
                ns_steps=self.iterations,
                beta=beta,
                nesterov=nesterov,
                weight_dimension_numbers=lambda tree: jax.tree.map(lambda _: dims, tree),
            )

        if self.debias or not self.nesterov:
            return [_auto_sharded(muon(self.momentum, self.nesterov))]
        # Jordan's look ahead is that of SGD; orthogonalising then needs no memory of its own.
        iterate = muon(0.0, nesterov=False)
        bare = optax.stateless(lambda u, _: iterate.update(u, iterate.init(u))[0])
        return [optax.trace(self.momentum, nesterov=True), _auto_sharded(bare)]

    def step_kind(self, info: ParamInfo) -> str:
        return "spectral" if info.is_hidden and self.scale == "spectral" else "sign"

    def _shape_factor(self, shape: tuple[int, ...]) -> float:
        fan_in, fan_out = shape[-2:]
        if self.scale == "rms":
            return 0.2 * math.sqrt(max(fan_in, fan_out))
        return math.sqrt(max(1.0, fan_out / fan_in))


def _auto_sharded(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Lets the compiler place what happens inside an update on a mesh with explicit axes.

    Newton-Schulz multiplies a split matrix with its own transpose, for which there is no layout
    that is right for every mesh. Updates and state keep the layout they come in with.
    """

    def update(updates, state, params=None):
        if jax.sharding.get_abstract_mesh().empty:
            return inner.update(updates, state, params)
        layout = jax.tree.map(lambda x: jax.typeof(x).sharding, (updates, state))
        run = jax.sharding.auto_axes(lambda u, s: inner.update(u, s), out_sharding=layout)
        return run(updates, state)

    return optax.GradientTransformation(inner.init, update)
