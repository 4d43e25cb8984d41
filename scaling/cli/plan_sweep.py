"""`scaling plan` of a sweep: one row a run, totals, warnings."""

import argparse
import json
from typing import Any

import ml_collections

from scaling.doors.terminal import marked
from scaling.errors import UserError

MOST_ROWS = 200  # of the table; --json has all
NUMBERS_WIDTH = 112  # of the table without the names of the runs


def plan_sweep(loose: ml_collections.ConfigDict, args: argparse.Namespace) -> int:
    """Prints the plan; the exit status. Raises UserError for bad input."""
    from scaling.sharding import parse_mesh
    from scaling.sweep import MAX_RUNS, expand
    from scaling.sweep.costs import Pricer
    from scaling.sweep.plan import device, plan

    mesh = parse_mesh(args.mesh)
    pricer = Pricer(args.vocab_size, args.cache_dir)
    sweep = expand(loose, pricer=pricer, max_runs=None if args.yes else MAX_RUNS)
    dtype = sweep.runs[0].config.model.dtype
    facts = plan(sweep, pricer, mesh, device(args.device, dtype, args.cache_dir))
    print(json.dumps(facts, indent=1, allow_nan=False)) if args.json else _print(facts)
    misfits = [run["misfit"] for run in facts["runs"]]
    if all(misfits):
        raise UserError(misfits[0])
    return 0


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    # Numbers cut short say nothing: in a file, or a narrow window, lines are rather long.
    width = NUMBERS_WIDTH + max(len(run["name"]) for run in facts["runs"])
    console = Console(highlight=False, width=max(console.width, width))
    machine, totals = facts["device"], facts["totals"]
    mesh = ", ".join(f"{axis} {size}" for axis, size in facts["mesh"].items())
    console.print(f"{marked(facts['name'])}  {facts['sweep_id']}  {_runs(facts)}")
    how = "measured" if machine["is_measured"] else "promised bfloat16"
    console.print(
        f"each on {facts['n_devices']:,} of {marked(machine['name'])} ({mesh}); time at "
        f"{machine['utilisation']:.0%} of {machine['rate']:.3g} FLOP/s ({how}), without start-up "
        "and compilation\n"
    )
    console.print(_table(facts["runs"]))
    hidden = len(facts["runs"]) - MOST_ROWS
    if hidden > 0:
        console.print(f"and {hidden:,} more runs: --json has all of them")
    console.print(
        f"\ntotal: {totals['n_tokens']:.4g} tokens, {totals['flops_own']:.4g} FLOPs, "
        f"{duration(totals['seconds'])} one after the other"
    )
    if totals["saved"]:
        console.print(
            f"branching saves {totals['saved']:.0%} of {totals['flops']:.4g} FLOPs "
            "(runs of one size share their constant-rate trunk)"
        )
    for sentence in facts["warnings"]:
        console.print(f"[yellow]warning:[/] {marked(sentence)}")


def _runs(facts: dict[str, Any]) -> str:
    text = f"{facts['n_runs']:,} runs in groups {', '.join(facts['groups'])}"
    n = facts["n_duplicates"]
    return f"{text} ({n:,} duplicates merged)" if n else text


def _table(runs: list[dict[str, Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from scaling.cost.accounting import DEFAULT_CONVENTION
    from scaling.doors.limits import bytes_text

    caption = f"FLOPs by {DEFAULT_CONVENTION!r}; own: without what the parent has done"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    table.add_column("run", no_wrap=True)
    columns = ("N", "N non-emb.", "tokens", "D/N", "steps", "batch", "FLOPs", "own", "time")
    for column in (*columns, "device memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in runs[:MOST_ROWS]:
        n_bytes = run["bytes_per_device"]
        table.add_row(
            marked(run["name"]),
            f"{run['params']['total']:.4g}",
            f"{run['params']['non_embedding']:.4g}",
            f"{run['n_tokens']:.4g}",
            f"{run['n_tokens'] / run['n_params']:.3g}",
            f"{run['n_steps']:,}",
            f"{run['batch_size']:,}",
            f"{run['flops']:.3g}",
            f"{run['flops_own']:.3g}",
            duration(run["seconds"]),
            "does not divide" if n_bytes is None else bytes_text(n_bytes),
        )
    return table


def duration(seconds: float) -> str:
    """12 s, 3.4 min, 5.6 h, 7.8 days."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
