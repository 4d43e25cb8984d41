"""What a sweep would cost: one row a run, totals and warnings. Nothing is launched or written.

Everything is found once per shape, so ten thousand runs take seconds: about one for each shape,
whose step is traced for its memory. Time is own FLOPs over the device's matmul rate times
UTILISATION, without start-up, compilation and evaluation.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax

from scaling.config import RunConfig
from scaling.core.build import check_mesh
from scaling.core.programs import traced_part
from scaling.cost import accounting
from scaling.cost.memory import device_memory
from scaling.doors.limits import memory_bytes
from scaling.errors import UserError, unknown
from scaling.machine.hardware import DEVICE_BYTES, PEAK_BFLOAT16, measured_matmul_rate
from scaling.sweep.checks import warnings
from scaling.sweep.costs import Pricer
from scaling.sweep.definition import PlannedRun, Sweep, place_dict

# Share of the matmul rate that training reaches: seen on 2 cores with models of 9k to 150k
# parameters (8 minutes where this says 8). Good programs on large GPUs reach more.
UTILISATION = 0.25


@dataclasses.dataclass(frozen=True)
class Device:
    """rate: FLOP/s of its matrix products. n_bytes: its memory, None when unknown."""

    name: str
    rate: float
    n_bytes: int | None
    is_measured: bool


def device(name: str | None, dtype: str, cache_dir: Any = None) -> Device:
    """The named device as promised by its maker, or the one here, measured.

    Raises UserError for a name that is not listed.
    """
    if name is not None:
        if name not in PEAK_BFLOAT16:
            raise unknown("device", name, PEAK_BFLOAT16)
        return Device(name, PEAK_BFLOAT16[name], DEVICE_BYTES[name], False)
    here = jax.local_devices()
    rate = measured_matmul_rate(dtype, cache_dir) / len(here)
    n_bytes = (here[0].memory_stats() or {}).get("bytes_limit")
    if here[0].platform == "cpu":
        n_bytes = memory_bytes() // len(here)
    return Device(here[0].device_kind, rate, n_bytes, True)


def plan(sweep: Sweep, pricer: Pricer, mesh: Mapping[str, int], machine: Device) -> dict[str, Any]:
    """Everything that is printed, JSON-ready. mesh: of every run, {axis: size}."""
    n_devices = math.prod(mesh.values())
    rate = machine.rate * UTILISATION * n_devices
    memory = Memory(mesh)
    rows = []
    for run in sweep.runs:
        config, model = run.config, pricer.model_cost(run.config)
        data = pricer.data(config)
        own = run.cost["flops_own"] / run.cost["flops"]
        n_bytes, misfit = memory(config, data.vocab_size)
        rows.append(
            {
                **place_dict(run),
                "params": model.params,
                **run.cost,
                "batch_size": config.train.batch_size,
                "epochs": run.cost["n_tokens"] / data.unique_tokens if data.unique_tokens else None,
                "seconds": _seconds(run, model.flops_per_token, own) / rate,
                "bytes_per_device": n_bytes,
                "misfit": misfit,
            }
        )
    return {
        "name": sweep.name,
        "sweep_id": sweep.sweep_id,
        "n_runs": len(rows),
        "n_duplicates": sweep.n_duplicates,
        "mesh": dict(mesh),
        "n_devices": n_devices,
        "device": dataclasses.asdict(machine) | {"utilisation": UTILISATION},
        "groups": {name: dataclasses.asdict(group) for name, group in sweep.groups.items()},
        "totals": _totals(rows),
        "warnings": warnings(sweep, rows, machine.n_bytes),
        "runs": rows,
    }


def check_meshes(sweep: Sweep, pricer: Pricer, mesh: Mapping[str, int]) -> None:
    """Raises UserError for the first run whose sizes do not divide over the mesh."""
    memory = Memory(mesh)
    for run in sweep.runs:
        if misfit := memory.misfit(run.config, pricer.data(run.config).vocab_size):
            raise UserError(f"run {run.name}: {misfit}")


def _totals(rows: list[dict[str, Any]]) -> dict[str, float]:
    """saved: share of the FLOPs that branching leaves out."""
    flops, own = (math.fsum(row[key] for row in rows) for key in ("flops", "flops_own"))
    return {
        "flops": flops,
        "flops_own": own,
        "saved": 1 - own / flops,
        "n_tokens": sum(row["n_tokens"] for row in rows),
        "seconds": math.fsum(row["seconds"] for row in rows),
    }


def _seconds(run: PlannedRun, per_token: Mapping[str, float], own: float) -> float:
    """Matrix products that the run itself multiplies; over FLOP/s, seconds."""
    return per_token[accounting.UTILISATION_CONVENTION] * run.cost["n_tokens"] * own


class Memory:
    """Bytes of a run on each device of a mesh, or why it does not fit it; once for each shape."""

    def __init__(self, mesh: Mapping[str, int]):
        self._mesh = dict(mesh)
        self._bytes, self._misfit = functools.cache(self._trace), functools.cache(self._check)

    def __call__(self, config: RunConfig, vocab_size: int) -> tuple[int | None, str | None]:
        """(bytes, None) or (None, why the sizes do not divide); both None where this machine cannot
        trace the step (cuDNN attention without a GPU)."""
        misfit = self.misfit(config, vocab_size)
        return (None, misfit) if misfit else (self._bytes(traced_part(config), vocab_size), None)

    def misfit(self, config: RunConfig, vocab_size: int) -> str | None:
        """Why the sizes do not divide over the mesh."""
        return self._misfit(traced_part(config), vocab_size)

    def _trace(self, config: RunConfig, vocab_size: int) -> int | None:
        try:
            config.model.options.check_backend(jax.default_backend())
        except UserError:
            return None
        return device_memory(config, vocab_size, self._mesh).total

    def _check(self, config: RunConfig, vocab_size: int) -> str | None:
        try:
            check_mesh(config, vocab_size, self._mesh)
        except UserError as error:
            return str(error)
        return None
