"""Sweep directories from a known law, written by the run directory's own writer."""

import functools
import json

import numpy as np

from scaling.machine.environment import environment
from scaling.run.lease import Lease
from scaling.run.record import RunDir
from scaling.sweep import definition
from scaling.sweep.definition import Group, PlannedRun, Sweep

TRUTH = {"E": 0.8, "A": 18.0, "alpha": 0.4, "B": 25.0, "beta": 0.33}
SIZES = (9_216, 20_736, 36_864, 82_944, 147_456)
BUDGETS = (460_800, 972_800, 2_000_896, 4_000_768)
START = "2026-11-24T02:00:00Z"


@functools.cache
def facts():
    return environment()


def loss_at(n_params, n_tokens, truth=TRUTH):
    """The law, nats per token."""
    return (
        truth["E"]
        + truth["A"] * n_params ** -truth["alpha"]
        + truth["B"] * n_tokens ** -truth["beta"]
    )


def record_of(run_id, name, n_params, n_tokens, loss, **rest):
    """A complete record with these numbers."""
    flops = 6.0 * n_params * n_tokens
    groups = ("embedding", "position", "attention", "mlp", "head", "norm")
    record = {
        "run_id": run_id,
        "name": name,
        "config": {"name": name, "seed": 0, "data": {"name": "stdlib"}},
        "status": "complete",
        "params": dict.fromkeys(groups, 0) | {"total": n_params, "non_embedding": n_params},
        "n_params": n_params,
        "n_tokens": n_tokens,
        "n_steps": n_tokens // 1024,
        "flops": flops,
        "flops_by_convention": {"chinchilla": flops},
        "loss": loss,
        "loss_smoothed": loss,
        "evals": {"val": {"loss": loss, "n_tokens": 65536}},
        "probes": {},
        "seeds": {"run": 0, "data": 0},
        "data": {"fingerprint": "ab"},
        **facts(),
        "wall_time_s": 10.0,
        "compile_time_s": 1.0,
        "time_s": {
            "steps": 7.0,
            "compile": 1.0,
            "eval": 1.0,
            "probes": 0.4,
            "data": 0.3,
            "checkpoint": 0.2,
            "other": 0.1,
        },
        "n_skipped_updates": 0,
        "divergence": None,
        "error": None,
        "warnings": [],
        "parent": None,
        "created": START,
        "finished": "2026-11-24T02:08:00Z",
    }
    return record | rest


def cipher_probe(n_params, step, n_tokens, knee=40_000, n=512):
    """A probe result in which "novel" appears at `knee` parameters and "known" much earlier."""
    groups = []
    for condition, at in (("known", knee / 8), ("novel", knee)):
        for shots in (0, 4, 15):
            chance, ceiling = 0.1, 0.2 + 0.05 * shots
            p = chance + (ceiling - chance) / (1 + (at / n_params) ** 3)
            right = round(n * p)
            likely = 0.1 + 0.8 * p
            groups.append(
                {
                    "keys": {"condition": condition, "shots": shots, "queries": 1},
                    "n": n,
                    "chance": chance,
                    "ceiling": ceiling,
                    "metrics": {
                        "accuracy": {"n": n, "sum": right, "sum_sq": right},
                        "p_right": {"n": n, "sum": n * likely, "sum_sq": n * likely**2},
                        "brier": {"n": n, "sum": n * (1 - p), "sum_sq": n * (1 - p) ** 2},
                    },
                }
            )
    head = {"label": "cipher", "probe": "cipher", "config": {}, "step": step, "n_tokens": n_tokens}
    return {"cipher": head | {"groups": groups}}


def write_run(directory, record, curve=()):
    """One run directory; `curve`: (step, n_tokens, loss) of its evaluations."""
    directory.mkdir(parents=True)
    with Lease(directory) as lease:
        run = RunDir(directory, lease)
        run.write_config(record["config"], record["run_id"])
        run.rewind(-1)
        for step, n_tokens, loss in curve:
            run.metrics({"step": step, "kind": "train", "n_tokens": n_tokens, "loss": loss})
            run.metrics({"step": step, "kind": "eval", "set": "val", "loss": loss})
        run.write_record(record)
        run.close()


def write_sweep(
    path,
    *,
    sizes=SIZES,
    budgets=BUDGETS,
    truth=TRUTH,
    noise=0.003,
    seed=0,
    name="ladder",
    groups=None,
    missing=(),
    row_entropy=None,
    names=None,
    curves=True,
    probes=False,
    sweep_json=True,
):
    """A sweep of sizes x budgets whose losses follow `truth`, times exp(noise).

    missing: numbers of runs that have no directory yet. names: {number: run name}.
    """
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    groups = groups or {
        "text": {"law": "chinchilla", "fit_where": [], "holdout": None, "title": "Text ladder"}
    }
    group = next(iter(groups))
    specs = []
    for number, (n, d) in enumerate((n, d) for n in sizes for d in budgets):
        run_id = f"{seed * 100_000 + number:016x}"
        label = (names or {}).get(number, f"{n}-{d}")
        specs.append(PlannedRun(run_id, label, group, {"size": n}, settings={}, cost={}))
        loss = loss_at(n, d, truth) * float(np.exp(noise * rng.standard_normal()))
        if number in missing:
            continue
        data = {"fingerprint": "ab"} | ({"row_entropy": row_entropy} if row_entropy else {})
        record = record_of(run_id, label, n, d, loss, data=data)
        if probes:
            record["probes"] = cipher_probe(n, record["n_steps"], d)
        steps = np.linspace(0.05, 1, 12) if curves else ()
        curve = [(int(s * d / 1024), int(s * d), float(loss_at(n, s * d, truth))) for s in steps]
        write_run(path / "runs" / run_id, record, curve)
    if sweep_json:
        made = {k: Group(**{**g, "fit_where": tuple(g["fit_where"])}) for k, g in groups.items()}
        definition.write_sweep(path, Sweep(name, made, tuple(specs)), {"commit": None})
    return path


def set_fields(path, run_id, **changes):
    """Changes fields of a written record, as another status would have left them."""
    file = path / "runs" / run_id / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
