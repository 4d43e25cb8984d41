"""`scaling runs`: the table of a sweep's records."""

import io
from collections import Counter
from typing import Any

from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.doors.spreadsheet import csv_text
from scaling.doors.terminal import printable
from scaling.errors import UserError

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
    p = Parser(
        prog="scaling runs",
        description="Write the records of a sweep as a table, one row a run.",
        epilog=EPILOG,
    )
    p.add_argument("out", metavar="DIR", type=named_path, help="a sweep directory")
    p.add_argument("--csv", metavar="FILE")
    p.add_argument("--parquet", metavar="FILE", help="needs pyarrow")
    args = p.parse_args(argv)

    from scaling.doors.outputs import check_output, write_output
    from scaling.sweep.definition import read_sweep
    from scaling.sweep.rows import rows

    writers = {"--csv": (args.csv, csv_text), "--parquet": (args.parquet, _to_parquet)}
    asked = {flag: pair for flag, pair in writers.items() if pair[0] is not None}
    for flag, (path, _) in asked.items():
        check_output(path, flag)
    table = rows(args.out, read_sweep(args.out))
    for flag, (path, write) in asked.items():
        write_output(path, write(table), flag)
    if not asked:
        _print(table)
    counts = Counter(row["status"] for row in table)
    said = ", ".join(f"{n:,} {state}" for state, n in counts.most_common())
    print(f"{len(table):,} runs: {said}")
    return 0


def _to_parquet(table: list[dict[str, Any]]) -> bytes:
    import pandas as pd

    file = io.BytesIO()
    try:
        # Counts stay whole numbers where some rows have none.
        pd.DataFrame(table).convert_dtypes().to_parquet(file, index=False)
    except ImportError:
        raise UserError("--parquet needs pyarrow: pip install pyarrow, or use --csv") from None
    return file.getvalue()


def _print(table: list[dict[str, Any]]) -> None:
    lines = ["  ".join(f"{name:<16}" for name in _SHOWN)]
    lines += ["  ".join(f"{_cell(row.get(name)):<16}" for name in _SHOWN).rstrip() for row in table]
    print("\n".join(lines))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else printable(value)
