"""`scaling import`: results from elsewhere, as a table that every other verb reads."""

import io
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling.analysis.tables.names import assignments
from scaling.cli.options import add_columns, column_map, named_path, verb_parser
from scaling.cli.parser import Parser
from scaling.doors.outputs import check_output, write_output
from scaling.doors.spreadsheet import frame_text
from scaling.errors import UserError

if TYPE_CHECKING:
    import pandas

_EXAMPLES = """examples:
  scaling import csv old.csv --map n_params=size,n_tokens=tokens,loss=val_loss --out old.table.csv
  scaling import csv old.csv --map n_params=size_m,loss=ppl --unit n_params=M,loss=perplexity \\
      --out old.table.parquet
  scaling import wandb --entity lab --project ladder \\
      --map n_params=config.model.params,n_tokens=summary.tokens,loss=summary.val/loss \\
      --out ladder.csv
  scaling fit ladder.csv --law chinchilla

--map says OUR_NAME=THEIR_COLUMN. Needed: n_params, n_tokens, loss; two of n_params, n_tokens and
flops give the third by C = 6 N D. Also known: run_id, name, status, flops, n_steps, created,
params.total, params.non_embedding, seeds.run, evals.SET.loss, config.ANYTHING. Columns that nobody
maps are kept under "extra.", so `--where extra.lr=0.001` finds them. --unit says what theirs are
in: K, M, B, T, PFLOPs, PF-days, bits, perplexity, or a factor; headers and cells that say it
themselves ("Params (M)", 1.4B) need none. Losses are nats a token here.

Exit status: 0 written, 2 bad input (nothing is written)."""


def import_(argv: Sequence[str]) -> int:
    """scaling import csv|wandb ... --out TABLE"""
    args = _parser().parse_args(argv)
    if args.out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {str(args.out)!r} must end in .csv or .parquet")
    check_output(args.out, "--out")

    from scaling.analysis.tables.join import joined
    from scaling.analysis.tables.read import read
    from scaling.interop.columns import to_records

    if args.source == "csv":
        source = args.file
        raw, notices = read(args.file)
    else:
        from scaling.interop.wandb import default_mapping, read_project

        source = f"wandb:{args.entity}/{args.project}"
        raw, notices = read(read_project(args.entity, args.project))
    raw, added = joined(raw, args.join)
    notices += added
    mapping = column_map(args.map, raw)
    if args.source == "wandb":
        mapping = default_mapping(raw) | mapping
    stated = assignments(args.unit, "--unit", names=[*mapping, *map(str, raw.columns)])
    table, more = to_records(raw, mapping, stated, source=source)
    _write(table, args.out)
    for notice in notices + more:
        print(f"note: {notice}", file=sys.stderr)
    print(f"{args.out}: {len(table)} rows, {len(table.columns)} columns")
    return 0


def _parser() -> Parser:
    shape = {"epilog": _EXAMPLES}
    text = "Turn results from elsewhere into a table like that of our own records."
    parser = verb_parser("import", text, _EXAMPLES)
    kinds = parser.add_subparsers(dest="source", required=True, metavar="csv|wandb")
    csv = kinds.add_parser("csv", help="CSV, TSV, JSONL or Parquet", **shape)
    csv.add_argument("file", metavar="FILE")
    wandb = kinds.add_parser("wandb", help="a project of Weights & Biases", **shape)
    wandb.add_argument("--entity", required=True, help="user or team")
    wandb.add_argument("--project", required=True)
    for kind in (csv, wandb):
        add = kind.add_argument
        add_columns(kind, conditions=False)
        add("--out", type=named_path, required=True, metavar="TABLE", help=".csv or .parquet")
    return parser


def _write(table: "pandas.DataFrame", out: pathlib.Path) -> None:
    if out.suffix == ".csv":
        write_output(out, frame_text(table), "--out")
        return
    file = io.BytesIO()
    try:
        # Mixed columns of other people's configs have no one Parquet type.
        mixed = table.select_dtypes(object).columns
        table.astype(dict.fromkeys(mixed, "string")).to_parquet(file, index=False)
    except ImportError:
        raise UserError(f"--out {str(out)!r}: Parquet needs `pip install pyarrow`") from None
    write_output(out, file.getvalue(), "--out")
