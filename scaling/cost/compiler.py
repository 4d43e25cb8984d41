"""What XLA says a model costs: the referee of the formulas in `scaling.cost.accounting`.

Nothing is compiled or allocated: a program is lowered on abstract shapes and its operations are
counted, by XLA's client for CPU whatever the accelerator (others cannot count before compiling).
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from scaling.config import DataConfig, ModelConfig
from scaling.cost.accounting import TokenCost
from scaling.data.cache import cache_root
from scaling.doors.files import dump, write_atomic
from scaling.doors.reading import NUMBER, read_json
from scaling.models.base import abstract_model
from scaling.objectives.lm import LanguageModel
from scaling.resolve import to_dict
from scaling.sharding import MESH_AXES, use_mesh


def flops_per_token(
    model: ModelConfig, vocab_size: int, seq_len: int, cache_dir: pathlib.Path | None = None
) -> TokenCost:
    """XLA's count of every operation, element-wise ones too, of the loss and of its gradient.

    One row of `seq_len` tokens, without the optimiser (whose share vanishes as the batch grows).
    NaN where jax has been denied the CPU (JAX_PLATFORMS=cuda; write cuda,cpu).

    With remat the recomputation counts: hardware FLOPs in the words of Chowdhery et al. 2022
    (arXiv 2204.02311, appendix B). XLA counts the body of a loop once, so layers are unrolled; one
    layer costs what the next one costs, so two shallow models give the deep one exactly.

    Counting takes about a second, so the counts of both are kept in the user's cache directory.
    """
    # The count is of the mathematics: which kernel runs attention must not change it.
    plain = dataclasses.replace(model, options=model.options.unrolled(seq_len), depth=1)
    key = _key(plain, vocab_size, seq_len)
    path = cache_root(cache_dir) / "flops" / f"{key}.json"
    try:
        one, two = read_json(path, [[NUMBER]])
    except ValueError:  # Not counted yet, or damaged: count.
        try:
            device = jax.local_devices(backend="cpu")[0]
        except RuntimeError:
            return TokenCost(math.nan, math.nan)
        one, two = (_counts(plain, depth, vocab_size, seq_len, device) for depth in (1, 2))
        with contextlib.suppress(OSError):  # A cache that cannot be written costs a second.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, dump([one, two]), durable=False)
    return TokenCost(*(a + (model.depth - 1) * (b - a) for a, b in zip(one, two, strict=True)))


def _counts(
    model: ModelConfig, depth: int, vocab_size: int, seq_len: int, device: jax.Device
) -> list[float]:
    """FLOPs per token of the loss, and of it with its gradient."""
    with use_mesh(_mesh_of(device)):
        loss, arguments = _loss(dataclasses.replace(model, depth=depth), vocab_size, seq_len)
        both = (loss, jax.value_and_grad(loss))
        return [_count(f, *arguments) / seq_len for f in both]


def _key(model: ModelConfig, vocab_size: int, seq_len: int) -> str:
    facts = [to_dict(model), vocab_size, seq_len, jax.__version__, _sources()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@functools.cache
def _sources() -> str:
    """Hash of the code whose operations are counted."""
    here = pathlib.Path(__file__)
    rooms = [here.parents[1] / room for room in ("models", "objectives")]
    files = [here, *(path for room in rooms for path in room.rglob("*"))]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.suffix == ".py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _loss(model: ModelConfig, vocab_size: int, seq_len: int) -> tuple[Callable, tuple[Any, ...]]:
    """loss(params, batch) of one row, and its abstract arguments."""
    objective = LanguageModel()

    def loss(params, batch):
        return objective.cross_entropy(params.forward(batch), batch)[0]

    layout = objective.layout(DataConfig(seq_len=seq_len))
    batch = {name: jax.ShapeDtypeStruct((1, *f.shape), f.dtype) for name, f in layout.items()}
    return loss, (abstract_model(model, vocab_size, seq_len), batch)


def _count(function: Callable, *arguments: Any) -> float:
    return float(jax.jit(function).lower(*arguments).cost_analysis()["flops"])


def _mesh_of(device: jax.Device) -> Mesh:
    explicit = (AxisType.Explicit,) * len(MESH_AXES)
    return jax.make_mesh((1,) * len(MESH_AXES), MESH_AXES, explicit, devices=[device])
