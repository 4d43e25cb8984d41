"""What a sweep would cost: one row a run, totals and warnings. Nothing is launched or written.

Everything is closed-form and found once per shape, so ten thousand runs take seconds. Memory is an
estimate (tests hold it within a quarter of what tracing a step finds); `scaling plan` of a
single run traces it. Time is own FLOPs over the device's matmul rate times UTILISATION, without
start-up, compilation and evaluation.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from scaling.config import RunConfig
from scaling.core.build import check_mesh
from scaling.cost import accounting
from scaling.doors.limits import memory_bytes
from scaling.errors import UserError, unknown
from scaling.machine.hardware import DEVICE_BYTES, PEAK_BFLOAT16, measured_matmul_rate
from scaling.sweep.checks import warnings
from scaling.sweep.costs import Pricer
from scaling.sweep.definition import PlannedRun, Sweep

# Share of the matmul rate that training reaches: seen on 2 cores with models of 9k to 150k
# parameters (8 minutes where this says 8). Good programs on large GPUs reach more.
UTILISATION = 0.25
# Numbers the optimiser keeps per parameter, of hidden matrices and of all others.
_OPTIMIZER_COPIES = {
    "adamw": (2.0, 2.0),
    "muon": (1.0, 2.0),
    "lion": (1.0, 1.0),
    "sgd": (1.0, 1.0),
    "adafactor": (0.1, 0.1),
}


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
    import jax

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
    memory = functools.cache(lambda *key: _memory(*key, mesh=dict(mesh)))
    rows = []
    for run in sweep.runs:
        config, shape = run.config, pricer.shape(run.config)
        data = pricer.data(config.data)
        own = run.cost["flops_own"] / run.cost["flops"]
        n_bytes, misfit = memory(*_memory_key(config, data.vocab_size))
        rows.append(
            {
                "run_id": run.run_id,
                "name": run.name,
                "group": run.group,
                "also_in": list(run.also_in),
                "axes": dict(run.axes),
                "parent": dataclasses.asdict(run.parent) if run.parent else None,
                "params": shape.params,
                **run.cost,
                "batch_size": config.train.batch_size,
                "epochs": run.cost["n_tokens"] / data.unique_tokens if data.unique_tokens else None,
                "seconds": _seconds(run, shape.flops_per_token, own) / rate,
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
    memory = functools.cache(lambda *key: _memory(*key, mesh=dict(mesh)))
    for run in sweep.runs:
        _, misfit = memory(*_memory_key(run.config, pricer.data(run.config.data).vocab_size))
        if misfit:
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


def _memory_key(config: RunConfig, vocab_size: int) -> tuple:
    """All that the memory of a run depends on; few are different in a sweep."""
    train = config.train
    rows = (train.batch_size, train.n_microbatches, config.eval.batch_size, config.data.seq_len)
    return config.model, config.optim.name, rows, vocab_size, train.steps_per_dispatch


def _memory(
    model: Any, optimizer: str, rows: tuple, vocab_size: int, n_steps: int, *, mesh: dict[str, int]
) -> tuple[int | None, str | None]:
    """(bytes on each device, None) or (None, why the sizes do not divide over the mesh)."""
    batch_size, n_microbatches, eval_batch_size, seq_len = rows
    config = RunConfig()
    config = dataclasses.replace(
        config,
        model=model,
        train=dataclasses.replace(
            config.train, batch_size=batch_size, n_microbatches=n_microbatches
        ),
        eval=dataclasses.replace(config.eval, batch_size=eval_batch_size),
    )
    try:
        check_mesh(config, vocab_size, mesh)
    except UserError as error:
        return None, str(error)
    params = accounting.param_counts(model, vocab_size, seq_len)
    hidden = params["attention"] + params["mlp"]
    of_hidden, of_others = _OPTIMIZER_COPIES[optimizer]
    # Weights, gradients, and what the optimiser keeps; all float32.
    numbers = hidden * (2 + of_hidden) + (params["total"] - hidden) * (2 + of_others)
    data = mesh["data"] * mesh["fsdp"]
    batch = 3 * n_steps * batch_size * seq_len / data
    tokens = batch_size / n_microbatches * seq_len / data
    step = tokens * _numbers_per_token(model, vocab_size, seq_len, mesh["tensor"])
    return round(4 * (numbers / (mesh["fsdp"] * mesh["tensor"]) + batch + step)), None


def _numbers_per_token(model: Any, vocab_size: int, seq_len: int, ways: int) -> float:
    """Float32 numbers a step keeps per token. Coefficients by traces of scaling.cost.memory."""
    s = accounting.sizes(model)
    short = model.dtype == "bfloat16"
    scores = 0.0 if model.attention in ("blocked", "cudnn") else 1.2 * s.H * seq_len
    layer = 12 * s.D + (2 * s.n_mlp_matrices * s.F + scores) / ways
    layer *= 0.65 if short else 1.0
    logits = (1.75 if short else 2.25) * vocab_size / ways
    if model.remat == "block":
        return s.L * s.D + max(logits, layer)
    return s.L * layer * (0.7 if model.remat == "dots" else 1.0) + logits
