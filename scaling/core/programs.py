"""The jitted functions of a run, shared by all runs of one process that compute the same thing.

A run's programs do not depend on its seed, its length, its learning rates or what its data say:
those are inputs. A process that takes the runs of a sweep one after another therefore traces and
compiles each shape once; jax finds the rest by the identity of the function.
"""

import dataclasses
import functools
from collections.abc import Callable

from jax.sharding import Mesh

from scaling.config import DataConfig, RunConfig
from scaling.core.build import Program, make_program
from scaling.core.step import make_eval_step, make_train_steps


@dataclasses.dataclass(frozen=True)
class Programs:
    """program: see `scaling.core.build`. steps and eval_step: jitted, see `scaling.core.step`."""

    program: Program
    steps: Callable
    eval_step: Callable


def make_programs(config: RunConfig, vocab_size: int, mesh: Mesh) -> Programs:
    """What `config` computes; the same object for configs that compute the same.

    Call it inside `sharding.use_mesh(mesh)`. Raises UserError as `make_program` does.
    """
    return _make(traced_part(config), vocab_size, mesh)


def traced_part(config: RunConfig) -> RunConfig:
    """`config` with everything at its default that the programs take as input or never see.

    The programs are made from this one, so what is left out here cannot get into them.
    """
    plain = RunConfig()
    data = DataConfig(seq_len=config.data.seq_len, documents=config.data.documents)
    kept = ("batch_size", "n_microbatches", "steps_per_dispatch")
    return dataclasses.replace(
        plain,
        model=config.model,
        objective=config.objective,
        data=data,
        optim=dataclasses.replace(
            config.optim, peak_lr=plain.optim.peak_lr, schedule=plain.optim.schedule
        ),
        train=dataclasses.replace(
            plain.train, **{name: getattr(config.train, name) for name in kept}
        ),
        eval=dataclasses.replace(plain.eval, batch_size=config.eval.batch_size),
    )


@functools.lru_cache(maxsize=8)
def _make(config: RunConfig, vocab_size: int, mesh: Mesh) -> Programs:
    program = make_program(config, vocab_size, mesh)
    return Programs(program, make_train_steps(config, program.optimizer), make_eval_step(config))
