"""`scaling runs`: the table of a sweep's records."""

import argparse
import os
import pathlib
from collections import Counter
from typing import Any

from scaling.cli.show import printable
from scaling.errors import UserError
from scaling.spreadsheet import csv_text

EPILOG = """\
Every run of the sweep is one row. Runs that are not complete are marked in `status`, have no loss,
and are counted on the last line; `scaling fit TABLE` leaves them out and says so.

examples:
  scaling runs sweeps/ladder                                a short table
  scaling runs sweeps/ladder --csv ladder.csv               every scalar of every record
  scaling fit ladder.csv --law chinchilla
"""
_SHOWN = ("run_id", "name", "status", "n_params", "n_tokens", "flops", "loss")


def runs(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    p = argparse.ArgumentParser(
        prog="scaling runs",
        description="Write the records of a sweep as a table, one row a run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("out", metavar="DIR", type=pathlib.Path, help="a sweep directory")
    p.add_argument("--csv", metavar="FILE", type=pathlib.Path)
    p.add_argument("--parquet", metavar="FILE", type=pathlib.Path, help="needs pyarrow")
    args = p.parse_args(argv)

    from scaling.sweep.manifest import read_sweep
    from scaling.sweep.rows import rows

    table = rows(args.out, read_sweep(args.out))
    if args.csv:
        _replace(args.csv, table, _to_csv)
    if args.parquet:
        _replace(args.parquet, table, _to_parquet)
    if not (args.csv or args.parquet):
        _print(table)
    counts = Counter(row["status"] for row in table)
    said = ", ".join(f"{n:,} {state}" for state, n in counts.most_common())
    print(f"{len(table):,} runs: {said}")
    return 0


def _to_csv(table: list[dict[str, Any]], path: pathlib.Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(table))


def _to_parquet(table: list[dict[str, Any]], path: pathlib.Path) -> None:
    import pandas as pd

    try:
        # Counts stay whole numbers where some rows have none.
        pd.DataFrame(table).convert_dtypes().to_parquet(path, index=False)
    except ImportError:
        raise UserError("--parquet needs pyarrow: pip install pyarrow, or use --csv") from None


def _replace(path: pathlib.Path, table: list[dict[str, Any]], write: Any) -> None:
    """Writes beside `path`, then renames."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(table, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error}") from error


def _print(table: list[dict[str, Any]]) -> None:
    lines = ["  ".join(f"{name:<16}" for name in _SHOWN)]
    lines += ["  ".join(f"{_cell(row.get(name)):<16}" for name in _SHOWN).rstrip() for row in table]
    print("\n".join(lines))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else printable(value)
