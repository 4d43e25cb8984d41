"""Probes asked of finished (or half-finished) runs: one run directory, or all runs of a sweep.

Reads config.json and checkpoints, writes probes/LABEL/step_*.json and nothing else. What is there
is not asked again, so an interrupted command is simply given again.
"""

import dataclasses
import pathlib
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from scaling.config import PROBES, ProbeConfig, RunConfig, options_class
from scaling.core.build import choose_mesh, make_program
from scaling.core.state import token_count
from scaling.data.cache import cache_root
from scaling.data.pipeline import open_pipeline
from scaling.doors.files import stored, write_json
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.schedule import read_result, result_path, run_probe
from scaling.probes.scorer import ScoredModel
from scaling.resolve import probe_section, resolve, to_dict
from scaling.run.checkpoint import checkpoint_path, read_checkpoint
from scaling.run.metrics import saved_steps
from scaling.run.record import read_config
from scaling.sharding import make_mesh, use_mesh


@dataclasses.dataclass(frozen=True)
class Task:
    """One checkpoint and the probes that it still has to answer, by label."""

    workdir: pathlib.Path
    config: RunConfig
    target: Target
    step: int
    probes: Mapping[str, ProbeConfig]


def parse_probe(text: str) -> tuple[str, ProbeConfig]:
    """Reads "[LABEL=]NAME[:option=value,...]"; a list is written 0+1+4. Raises UserError."""
    head, _, tail = text.partition(":")
    label, _, name = head.rpartition("=")
    kinds = typing.get_type_hints(options_class(PROBES, name))
    settings: dict[str, Any] = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--probe={text}: {part!r} is not option=value")
        if key in settings:
            raise UserError(f"--probe={text}: option {key!r} is given twice")
        is_list = typing.get_origin(kinds.get(key)) is tuple
        settings[key] = [_number(v) for v in value.split("+")] if is_list else _number(value)
    label = label or name
    section = resolve({"probes": {label: probe_section(name, **settings)}})
    return label, section.probes[label]


def find_runs(directory: pathlib.Path) -> list[pathlib.Path]:
    """The run directories at or under `directory`: a run, a sweep's OUT, or a directory of runs.
    Raises UserError."""
    if (directory / "config.json").is_file():
        return [directory]
    for pattern in ("runs/*/config.json", "*/config.json"):
        if runs := sorted(path.parent for path in directory.glob(pattern)):
            return runs
    raise UserError(
        f"{directory} holds no run: neither config.json nor runs/*/config.json nor */config.json"
    )


def plan(
    runs: Sequence[pathlib.Path],
    probes: Mapping[str, ProbeConfig],
    step: int | str,
    cache_dir: pathlib.Path | None,
) -> list[Task]:
    """What is left to do. step: a number, "last" or "all". Raises UserError before any compute.

    Without `probes` each run is asked its own.
    """
    vocabularies: dict[str, int] = {}
    tasks = []
    for workdir in runs:
        config = resolve(read_config(workdir)["config"])
        target = _target(config, vocabularies, cache_dir)
        mine = probes or config.probes
        if not mine:
            raise UserError(f"{workdir} was configured without probes; name one with --probe=NAME")
        for probe in mine.values():
            probe.options.check(target)
        for at in _steps(workdir, step):
            missing = {label: p for label, p in mine.items() if not _is_done(workdir, label, p, at)}
            if missing:
                tasks.append(Task(workdir, config, target, at, missing))
    return tasks


def run_tasks(tasks: Sequence[Task], mesh_text: str | None) -> Iterator[tuple[Task, str, dict]]:
    """Asks, writes and yields (task, label, result), one after the other. Raises UserError."""
    mesh = None
    for task in tasks:
        if mesh is None:
            mesh = make_mesh(choose_mesh(task.config, mesh_text))
        with use_mesh(mesh):
            params, n_tokens = _load(task, mesh)
            model = ScoredModel(params, mesh, task.target)
            for label, probe in task.probes.items():
                found = run_probe(label, probe, model, task.step, n_tokens)
                path = result_path(task.workdir, label, task.step)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, found)
                yield task, label, found


def load_model(
    workdir: pathlib.Path, step: int | str = "last", mesh_text: str | None = None
) -> ScoredModel:
    """The model of one checkpoint; use it inside `use_mesh(model.mesh)`. Raises UserError."""
    config = resolve(read_config(workdir)["config"])
    task = Task(workdir, config, _target(config, {}, None), _steps(workdir, step)[-1], {})
    mesh = make_mesh(choose_mesh(config, mesh_text))
    with use_mesh(mesh):
        params, _ = _load(task, mesh)
    return ScoredModel(params, mesh, task.target)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _target(
    config: RunConfig, vocabularies: dict[str, int], cache_dir: pathlib.Path | None
) -> Target:
    """Runs of one sweep mostly share their data: it is opened once."""
    key = repr((config.data, config.objective))
    if key not in vocabularies:
        sizes = {"batch_size": 1, "n_rows_eval": 1, "seed": config.seed}
        pipeline = open_pipeline(
            config.data, objective=config.objective, cache_dir=cache_dir, **sizes
        )
        vocabularies[key] = pipeline.vocab_size
    return Target.of(config, vocabularies[key])


def _steps(workdir: pathlib.Path, step: int | str) -> list[int]:
    found = saved_steps(workdir)
    if not found:
        raise UserError(f"{workdir} has no checkpoint; train it first")
    if step == "all":
        return found
    if step == "last":
        return found[-1:]
    if step not in found:
        raise UserError(
            f"{workdir} has no checkpoint of step {step}; there are: {', '.join(map(str, found))}"
        )
    return [step]


def _is_done(workdir: pathlib.Path, label: str, probe: ProbeConfig, step: int) -> bool:
    path = result_path(workdir, label, step)
    found = read_result(path)
    if found is None:
        return False
    if found.get("config") != stored(to_dict(probe)):
        raise UserError(
            f"{path} was made with other options; give these a label of their own: "
            f"--probe=LABEL={probe.name}:..."
        )
    return True


def _load(task: Task, mesh: Mesh) -> tuple[Any, int]:
    """(params, tokens seen) of a checkpoint."""
    program = make_program(task.config, task.target.vocab_size, mesh)
    path = checkpoint_path(task.workdir / "checkpoints", task.step)
    restored = read_checkpoint(path, task.step, program.abstract_state, _no_difference)
    if restored is None:
        raise UserError(f"{path} is damaged; choose another --step")
    return restored.state.params, token_count(restored.state)


def _no_difference(fingerprint: dict) -> list[str]:
    """Names, shapes and types of the leaves are compared anyway; nothing else matters here."""
    return []


def keep_programs(cache_dir: pathlib.Path | None) -> None:
    """Compiled programs are kept for the next command."""
    jax.config.update("jax_compilation_cache_dir", str(cache_root(cache_dir) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
