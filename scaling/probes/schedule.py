"""When probes run and where their results lie: WORKDIR/probes/LABEL/step_0000000100.json.

A result that is there is not computed again, which is how an interrupted probing resumes; one made
with other options of the same label is replaced while training, and refused afterwards.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from jax.sharding import Mesh

from scaling.config import ProbeConfig
from scaling.data.hashing import key_of
from scaling.doors.files import stored
from scaling.doors.reading import read_json
from scaling.doors.schemas import PROBE
from scaling.durations import Rates
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.result import ProbeResult
from scaling.probes.scorer import ScoredModel
from scaling.resolve import to_dict
from scaling.run.metrics import in_words, spans
from scaling.run.record import finite

FOLDER = "probes"


@dataclasses.dataclass(frozen=True)
class PlannedProbe:
    """A checked probe of a run; `every` in steps."""

    label: str
    config: ProbeConfig
    every: int


def plan_probes(
    probes: Mapping[str, ProbeConfig], target: Target, rates: Rates, total_steps: int
) -> tuple[PlannedProbe, ...]:
    """Raises UserError when a probe cannot be asked of this run."""
    out = []
    for label, config in probes.items():
        config.options.check(target)
        every = config.every.steps(rates, total_steps, field=f"probes.{label}.every")
        out.append(PlannedProbe(label, config, max(1, every)))
    return tuple(out)


class Prober:
    """The probes of one run. `write(path, result)` is called on the primary process only."""

    def __init__(
        self,
        probes: tuple[PlannedProbe, ...],
        workdir: pathlib.Path,
        mesh: Mesh,
        target: Target,
        log: Callable[[dict[str, Any]], None],
        write: Callable[[pathlib.Path, Mapping[str, Any]], None],
    ):
        self._probes, self._workdir = probes, workdir
        self._mesh, self._target = mesh, target
        self._log, self._write = log, write

    def due(self, step: int) -> bool:
        """Whether a probe wants to see the model of `step`."""
        return any(step % probe.every == 0 for probe in self._probes)

    def __call__(self, step: int, params: Any, n_tokens: int, *, final: bool = False) -> dict:
        """Runs what is due (when final: everything); {label: result as in the record}."""
        out = {}
        for probe in self._probes:
            if not (final or step % probe.every == 0):
                continue
            path = result_path(self._workdir, probe.label, step)
            found = read_result(path)
            if found is None or found.get("config") != stored(to_dict(probe.config)):
                model = ScoredModel(params, self._mesh, self._target)
                found = run_probe(probe.label, probe.config, model, step, n_tokens)
                self._write(path, found)
            self._log({"step": step, "kind": "probe", "label": probe.label, **means_of(found)})
            out[probe.label] = found
        return out

    def lost(self, start: int, last: int) -> list[str]:
        """Which results after step `start`, up to `last`, are not on disk, a sentence a probe."""
        out = []
        for probe in self._probes:
            due = range((start // probe.every + 1) * probe.every, last + 1, probe.every)
            paths = {step: result_path(self._workdir, probe.label, step) for step in due}
            gone = spans(step for step, path in paths.items() if read_result(path) is None)
            if gone:
                out.append(f"probe {probe.label}: no result of steps {in_words(gone)} is there")
        return out


def run_probe(
    label: str, config: ProbeConfig, model: ScoredModel, step: int, n_tokens: int
) -> dict[str, Any]:
    """Asks one probe; the JSON-ready result. Call it inside `use_mesh(model.mesh)`."""
    result: ProbeResult = config.options(model, key_of("probe", config.name, config.seed))
    return finite(
        {
            "label": label,
            "probe": config.name,
            "config": to_dict(config),
            "step": step,
            "n_tokens": n_tokens,
            **result.to_dict(),
        }
    )


def means_of(found: Mapping[str, Any]) -> dict[str, float]:
    """{"accuracy/condition=novel,shots=15": mean, ...}, for curves over training."""
    out = {}
    for group in found["groups"]:
        where = ",".join(f"{key}={value}" for key, value in group["keys"].items())
        for name, tally in group["metrics"].items():
            mean = math.nan if tally["sum"] is None else tally["sum"] / tally["n"]
            out[f"{name}/{where}"] = mean
    return out


def result_path(workdir: pathlib.Path, label: str, step: int) -> pathlib.Path:
    return pathlib.Path(workdir) / FOLDER / label / f"step_{step:010d}.json"


def read_result(path: pathlib.Path) -> dict[str, Any] | None:
    """A result on disk; None when there is none, or only half of one."""
    try:
        return read_json(path, PROBE)
    except UserError:
        return None
