"""`scaling doctor`: what this machine has for a sweep, and what to do about what it lacks."""

import dataclasses
import json
import pathlib
import sys

from scaling.cli.options import named_path
from scaling.cli.parser import Parser

_EPILOG = """\
examples:
  scaling doctor                  versions, devices, their speed, caches, disk, engines
  scaling doctor --out /scratch   is there room for a sweep?
  scaling doctor --json           for a bug report

Exit status: 0 runs will start, 1 something must be mended first, 2 bad input."""
_MARKS = {"ok": "ok", "absent": "-", "warn": "!", "problem": "PROBLEM"}


def doctor(argv: list[str]) -> int:
    """Prints one line per finding, with advice where there is some."""
    parser = Parser(
        prog="scaling doctor",
        description="Versions, devices, their measured matmul rate, compile cache, free disk, "
        "Slurm, SkyPilot, W&B: found or not, and what to do about it.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--out", type=named_path, default=pathlib.Path(), help="where a sweep would be written"
    )
    parser.add_argument("--cache-dir", type=named_path, help="where corpora are kept")
    parser.add_argument("--no-measure", action="store_true", help="leave the matmul rate out")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    args = parser.parse_args(argv)

    from scaling.errors import UserError
    from scaling.machine.doctor import examine

    if not args.out.is_dir():
        raise UserError(f"--out={args.out} is not a directory")
    findings = examine(args.cache_dir, args.out, measure=not args.no_measure)
    if args.json:
        json.dump([dataclasses.asdict(f) for f in findings], sys.stdout, indent=1)
        print()
    else:
        _print(findings)
    return int(any(f.state == "problem" for f in findings))


def _print(findings: list) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for f in findings:
        found = Text(f.found)
        if f.advice:
            found.append(f"\n-> {f.advice}", style="bold")
        style = {"warn": "yellow", "problem": "red"}.get(f.state, "")
        table.add_row(Text(_MARKS[f.state], style=style), f.name, found)
    Console().print(table)
