"""`scaling status`: a live table of the runs of a sweep, from any shell."""

import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.cli.run_table import cells, status_table
from scaling.errors import UserError

EPILOG = """\
examples:
  scaling status sweeps/ladder           live in a terminal, until Ctrl-C
  scaling status sweeps/ladder --once    one table, then back to the shell

Reads the directory only: it works while runs work, over a half-written directory and from any
machine that sees it. "running" means that a live process holds the run; on another machine, that
it has given a sign of life within a minute.
"""
_EVERY_SECONDS = 2.0
_MANY = 200  # rows; above that rich would measure cells for seconds
_ORDER = ("running", "failed", "interrupted", "diverged", "pending", "complete")


def status(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    p = Parser(
        prog="scaling status",
        description="Show where the runs of a sweep stand.",
        epilog=EPILOG,
    )
    p.add_argument("out", metavar="DIR", type=named_path, help="a sweep directory")
    p.add_argument("--once", action="store_true", help="print once (always so in a pipe)")
    args = p.parse_args(argv)

    from rich.console import Console

    from scaling.sweep.survey import survey

    names = run_names(args.out)
    # In a pipe lines must not be cut to a width that nobody has asked for.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if args.once or not sys.stdout.isatty():
        views = survey(args.out, names)
        print(summary(views))
        if len(views) > _MANY:
            _print_plain(_sorted(views))
        else:
            console.print(status_table(_sorted(views), names))
        return 0
    _watch(args.out, names, console)
    return 0


def run_names(out: pathlib.Path) -> dict[str, str]:
    """{run_id: name} of a sweep; of the run directories where sweep.json is missing. UserError."""
    from scaling.sweep.definition import read_sweep

    if (out / "sweep.json").exists():
        return {planned.run_id: planned.name for planned in read_sweep(out).runs}
    try:
        found = sorted(path.name for path in (out / "runs").iterdir() if path.is_dir())
    except OSError:
        found = []
    if not found:
        raise UserError(f"{out} has no sweep.json and no runs: not the --out of a `scaling sweep`")
    return dict.fromkeys(found, "")


def summary(views: dict[str, Any]) -> str:
    """One line of counts."""
    from scaling.sweep.survey import counts

    said = ", ".join(f"{n:,} {state}" for state, n in counts(views.values()).items())
    return f"{len(views):,} runs: {said}"


def _print_plain(views: Sequence[Any]) -> None:
    for view in views:
        print("  ".join(f"{cell:<12}" for cell in cells(view, "")).rstrip())


def _sorted(views: dict[str, Any]) -> list[Any]:
    return sorted(views.values(), key=lambda view: _ORDER.index(view.state))


def _watch(out: pathlib.Path, names: dict[str, str], console: Any) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from scaling.sweep.survey import look, survey

    views = survey(out, names)
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                rows = _sorted(views)[: max(1, console.height - 6)]
                hidden = len(views) - len(rows)
                more = f"; {hidden:,} more with --once" if hidden else ""
                shown = Group(status_table(rows, names), Text(summary(views) + more))
                live.update(shown, refresh=True)
                time.sleep(_EVERY_SECONDS)
                # A record is final.
                views = {r: v if v.final else look(out, r) for r, v in views.items()}
        except KeyboardInterrupt:
            pass
