"""`scaling plan`: what a run or a sweep would cost, without running it."""

import dataclasses
import json
import math
from typing import Any

from scaling.cli.flags import EXAMPLES, open_config
from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.config import RunConfig
from scaling.doors.limits import bytes_text
from scaling.errors import UserError
from scaling.resolve import resolve, run_id

_DESCRIPTION = f"""\
Price a config: parameters by group, FLOPs per token under every convention, length of the run, and
bytes on each device of a mesh. Nothing is allocated, and the devices need not exist.

A sweep: every run with its parameters, tokens, FLOPs, time and memory, what branching saves, and
warnings. Nothing is launched or written.

config flags:
{EXAMPLES}
"""
_EPILOG = """\
exit status: 0, or 2 when the config is wrong or does not divide over the mesh (of a sweep: when
             none of its runs does; the others are warnings)

examples:
  scaling plan --config=configs/tiny.py
  scaling plan --config=configs/tiny.py --mesh=data:8,fsdp:4
  scaling plan --config=configs/tiny.py --config.model.width=256 --json
  scaling plan --config=mine.py --mesh=data:64,fsdp:4 --vocab-size=128256   without its data
  scaling plan --config=configs/kaplan.py                                     a sweep
  scaling plan --config=configs/kaplan.py:h200 --device="NVIDIA H200" --vocab-size=50304
"""


def parser() -> Parser:
    """Arguments besides --config."""
    p = Parser(
        "scaling plan",
        usage="scaling plan --config=FILE [--config.FIELD=VALUE ...] [--mesh=AXIS:SIZE,...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    p.add_argument("--mesh", default="", help="axis sizes, such as data:8,fsdp:4 (default: 1)")
    p.add_argument("--vocab-size", type=int, help="use this and leave the data source unopened")
    p.add_argument("--compiler", action="store_true", help="let XLA count FLOPs too (seconds)")
    p.add_argument("--device", metavar="NAME", help="of a sweep: not this machine's but this one")
    p.add_argument("--yes", action="store_true", help="of a sweep: more than 10,000 runs are meant")
    p.add_argument("--cache-dir", type=named_path, help="where corpora are kept")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def plan(argv: list[str]) -> int:
    """The verb. Returns the exit status; raises UserError for bad input."""
    loose, args = open_config(parser(), argv)
    if args.vocab_size is not None and not 1 <= args.vocab_size < 2**31:
        raise UserError(f"--vocab-size={args.vocab_size} must be 1 or more, and ids below 2^31")
    if "groups" in loose:
        from scaling.cli.plan_sweep import plan_sweep

        return plan_sweep(loose, args)
    config = resolve(loose)
    from scaling.sweep.costs import Pricer

    pricer = Pricer(args.vocab_size, args.cache_dir)
    facts, misfit = price(config, args.mesh, pricer, args.compiler)
    print(json.dumps(facts, indent=1, allow_nan=False)) if args.json else _print(facts)
    if misfit is not None:
        raise misfit
    return 0


def price(
    config: RunConfig, mesh_text: str, pricer: Any, ask_compiler: bool = False
) -> tuple[dict[str, Any], UserError | None]:
    """(everything that is printed, JSON-ready; why the config does not fit the mesh, or None).

    pricer: a `scaling.sweep.costs.Pricer`. bytes_per_device is None when the config does not fit.
    Raises UserError for other bad input.
    """
    from scaling.cost import accounting
    from scaling.cost.memory import device_memory
    from scaling.sharding import parse_mesh

    mesh = parse_mesh(mesh_text)
    vocab_size, unique_tokens = pricer.data(config)
    conventions = accounting.CONVENTIONS if ask_compiler else accounting.CLOSED_FORMS
    params = pricer.model_cost(config).params
    costs = {name: accounting.prediction_cost(config, name, vocab_size) for name in conventions}
    cost = pricer.cost(config)
    steps, tokens = cost["n_steps"], cost["n_tokens"]
    memory, misfit = None, None
    try:
        memory = device_memory(config, vocab_size, mesh)
    except UserError as error:
        misfit = error
    facts = {
        "name": config.name,
        "run_id": run_id(config),
        "vocab_size": vocab_size,
        "mesh": mesh,
        "n_devices": math.prod(mesh.values()),
        "params": params,
        "flops_per_token": {
            name: {k: _finite(v) for k, v in cost._asdict().items()} for name, cost in costs.items()
        },
        "steps": steps,
        "tokens": tokens,
        "epochs": tokens / unique_tokens if unique_tokens else None,
        "tokens_per_param": tokens / params[accounting.DEFAULT_N],
        "flops": {name: _finite(cost.training * tokens) for name, cost in costs.items()},
        "axes": _axes(config, vocab_size, mesh),
        "bytes_per_device": None,
    }
    if memory is not None:
        facts["bytes_per_device"] = {**dataclasses.asdict(memory), "total": memory.total}
    return facts, misfit


def _axes(config: RunConfig, vocab_size: int, mesh: dict[str, int]) -> list[dict[str, Any]]:
    """How the mesh splits each size: {"field", "size", "over", "ways", "divides"}."""
    from scaling.core.build import split_sizes
    from scaling.sharding import mesh_axes, ways

    rows = []
    for axis, field, size in split_sizes(config, vocab_size):
        over, n = list(mesh_axes(axis)), ways(axis, mesh)
        rows.append(
            {"field": field, "size": size, "over": over, "ways": n, "divides": size % n == 0}
        )
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    mesh = ", ".join(f"{axis} {size}" for axis, size in facts["mesh"].items())
    console.print(f"{facts['name']}  {facts['run_id']}  vocabulary {facts['vocab_size']:,}")
    console.print(f"{facts['steps']:,} steps, {facts['tokens']:,} tokens: {_length(facts)}")
    console.print(f"{facts['n_devices']:,} devices: {mesh}\n")

    params = Table("parameters")
    params.add_column("count", justify="right")
    for role, count in facts["params"].items():
        params.add_row(role, f"{count:,}")
    console.print(params)

    flops = Table("FLOPs")
    for column in ("forward / token", "training / token", "whole run"):
        flops.add_column(column, justify="right")
    for name, cost in facts["flops_per_token"].items():
        numbers = (cost["forward"], cost["training"], facts["flops"][name])
        flops.add_row(name, *("-" if n is None else f"{n:.4g}" for n in numbers))
    console.print(flops)

    axes = Table("split over the mesh")
    for column in ("size", "ways", "each"):
        axes.add_column(column, justify="right")
    for row in facts["axes"]:
        each = f"{row['size'] // row['ways']:,}" if row["divides"] else "does not divide"
        axes.add_row(row["field"], f"{row['size']:,}", f"{row['ways']:,}", each)
    console.print(axes)

    if facts["bytes_per_device"] is not None:
        memory = Table("each device, at most")
        memory.add_column("bytes", justify="right")
        for item, n_bytes in facts["bytes_per_device"].items():
            memory.add_row(item, bytes_text(n_bytes))
        console.print(memory)


def _length(facts: dict[str, Any]) -> str:
    text = f"{facts['tokens_per_param']:.3g} tokens per parameter"
    return text if facts["epochs"] is None else f"{facts['epochs']:.3g} epochs, {text}"
