"""What a run needs, derived and checked before its first side effect."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from scaling.config import RunConfig
from scaling.core.build import Program, choose_mesh
from scaling.core.programs import Programs, make_programs
from scaling.cost import accounting
from scaling.data.cache import cache_root
from scaling.data.pipeline import Pipeline, open_pipeline
from scaling.doors.limits import check_path, memory_bytes, refuse_beyond
from scaling.durations import Duration, Rates
from scaling.errors import UserError
from scaling.optim.schedules import dials
from scaling.probes.base import Target
from scaling.probes.schedule import PlannedProbe, plan_probes
from scaling.run.branch import check_parent
from scaling.run.checkpoint import check_retention
from scaling.run.mirror import require_wandb
from scaling.sharding import make_mesh, use_mesh


@dataclasses.dataclass(frozen=True)
class RunArgs:
    """How and where to run: nothing in here changes the numbers of the run.

    mesh: "data:2,fsdp:4" or None for all devices on data. checkpoint_every: distance of saves.
    checkpoint_seconds: a save on the way is left out when the one before is younger (in one
    process; 0 leaves out none).
    keep_last, keep_every: which checkpoints stay (keep_every in steps). keep_steps: made and kept
    for branches. parent: (workdir, step) of the trunk that a branch starts from. wandb: project to
    mirror to, or None. cache_dir: corpora and compiled programs; None is the user's cache
    directory. n_processes: how many processes share the run.
    """

    workdir: pathlib.Path
    mesh: str | None = None
    checkpoint_every: Duration = Duration(10, "%")
    checkpoint_seconds: float = 0.0
    keep_last: int = 2
    keep_every: int | None = None
    keep_steps: tuple[int, ...] = ()
    parent: tuple[pathlib.Path, int] | None = None
    wandb: str | None = None
    cache_dir: pathlib.Path | None = None
    n_processes: int = 1
    quiet: bool = False

    def __post_init__(self):
        check_path(self.workdir, "--workdir")


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that is checked and derived before the first side effect."""

    config: RunConfig
    pipeline: Pipeline
    mesh: Any
    programs: Programs
    dials: Mapping[str, np.ndarray]
    eval_every: int
    checkpoint_every: int
    keep_steps: tuple[int, ...]
    target: Target
    probes: tuple[PlannedProbe, ...]
    params: dict[str, int]
    flops_per_token: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def program(self) -> Program:
        return self.programs.program

    @property
    def total_steps(self) -> int:
        return len(self.dials["lr"])

    def eval_steps(self, last: int) -> list[int]:
        """The steps up to `last` after which the run is evaluated."""
        steps = range(self.eval_every, last + 1, self.eval_every)
        return [*steps, *([self.total_steps] if last == self.total_steps else [])]

    def next_stop(self, step: int) -> int:
        """The next step at which something besides training happens."""
        stops = [self.total_steps, *(kept for kept in self.keep_steps if kept > step)]
        everys = (self.eval_every, self.checkpoint_every, *(p.every for p in self.probes))
        stops += [(step // every + 1) * every for every in everys]
        return min(min(stops), step + self.config.train.steps_per_dispatch)


def refuse_what_cannot_fit(config: RunConfig, mesh: Any, n_processes: int = 1) -> None:
    """Raises UserError when the least that a run needs is more than there is.

    Weights and gradients in all devices together, were they split over all of them (the model of a
    vocabulary of one); the rows of one dispatch, and of one evaluation, in the memory of the
    machines. What fits here may still be too much: `scaling plan` has the estimate of everything.
    """
    model, train, seq_len = config.model, config.train, config.data.seq_len
    machines = memory_bytes() * n_processes
    devices = [device.memory_stats() or {} for device in mesh.local_devices]
    on_device = sum(stats.get("bytes_limit", math.inf) for stats in devices) * n_processes
    if mesh.local_devices[0].platform == "cpu":
        on_device = machines
    sizes = model.options.sizes_in_words(model)
    n_params = accounting.param_counts(model, 1, seq_len)["total"]
    refuse_beyond(on_device, 8 * n_params, sizes, "for weights and gradients alone")
    # Tokens and targets are int32, weights float32; the rows of a dispatch are stacked from copies.
    row = 12 * seq_len
    rows = f"train.batch_size={train.batch_size}, data.seq_len={seq_len}"
    rows += f", train.steps_per_dispatch={train.steps_per_dispatch}"
    n_bytes = 2 * row * train.batch_size * train.steps_per_dispatch
    refuse_beyond(machines, n_bytes, rows, "for the rows of one dispatch")
    rows = f"eval.batch_size={config.eval.batch_size}, data.seq_len={seq_len}"
    refuse_beyond(machines, row * config.eval.batch_size, rows, "for the rows of one evaluation")


def prepare(config: RunConfig, args: RunArgs) -> Setup:
    """Checks a run and derives what it needs. Raises UserError; writes nothing but caches."""
    if args.wandb:
        require_wandb()
    check_retention(args.keep_last, args.keep_every)
    if args.checkpoint_every.value == 0:
        raise UserError(
            f"--checkpoint-every='{args.checkpoint_every}' must be more than zero; "
            "'100%' saves at the end only"
        )
    cache = cache_root(args.cache_dir)
    mesh_shape = choose_mesh(config, args.mesh, args.n_processes)
    # Compiled programs are kept: the runs of a sweep and a resumed run need no compilation.
    jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    mesh = make_mesh(mesh_shape)
    refuse_what_cannot_fit(config, mesh, args.n_processes)
    config.model.options.check_backend(jax.default_backend())
    pipeline = open_pipeline(
        config.data,
        objective=config.objective,
        batch_size=config.train.batch_size,
        seed=config.seed,
        n_rows_eval=config.eval.n_rows,
        cache_dir=cache,
    )
    with use_mesh(mesh):
        programs = make_programs(config, pipeline.vocab_size, mesh)
    sizes = (config.model, pipeline.vocab_size, config.data.seq_len)
    params = accounting.param_counts(*sizes)
    flops_per_token = accounting.flops_per_token(config, pipeline.vocab_size, cache)
    rates = Rates(
        tokens_per_step=config.tokens_per_step,
        unique_tokens=pipeline.unique_tokens,
        n_params=params["total"],
        flops_per_token=flops_per_token[accounting.DEFAULT_CONVENTION],
    )
    total = config.train.duration.steps(rates, field="train.duration")
    target = Target(config.data, pipeline.vocab_size, config.data.seq_len)
    if config.probes:
        target = Target.of(config, pipeline.vocab_size)
    warnings = [*pipeline.warnings]
    if pipeline.unique_tokens and total * rates.tokens_per_step > pipeline.unique_tokens:
        epochs = total * rates.tokens_per_step / pipeline.unique_tokens
        warnings.append(f"tokens repeat: {epochs:.2f} epochs of {pipeline.unique_tokens} tokens")
    steered = dials(config, total, rates)
    if args.parent and not any((args.workdir / "checkpoints").glob("step_*")):
        check_parent(config, steered, args.parent, rates)
    return Setup(
        config=config,
        pipeline=pipeline,
        mesh=mesh,
        programs=programs,
        dials=steered,
        eval_every=max(1, config.eval.every.steps(rates, total, field="eval.every")),
        checkpoint_every=max(
            1, args.checkpoint_every.steps(rates, total, field="--checkpoint-every")
        ),
        keep_steps=args.keep_steps,
        target=target,
        probes=plan_probes(config.probes, target, rates, total),
        params=params,
        flops_per_token=flops_per_token,
        warnings=tuple(warnings),
    )
