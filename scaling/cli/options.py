"""What the command lines of the analysis verbs share: the parser, the options of tables."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling.analysis.tables.names import assignments
from scaling.cli.parser import Parser
from scaling.doors.limits import path_fault
from scaling.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def verb_parser(verb: str, description: str, examples: str) -> Parser:
    """The parser of `scaling VERB`, with `examples` below its options."""
    return Parser(f"scaling {verb}", description=description, epilog=examples)


def add_columns(parser: argparse.ArgumentParser, conditions: bool = True) -> None:
    """--map, --unit, --join and, with `conditions`, --where."""
    many = {"action": "append", "default": []}
    parser.add_argument(
        "--map",
        metavar="NAME=COL,...",
        help='our name = your column; odd names in "quotes"',
        **many,
    )
    parser.add_argument(
        "--unit",
        metavar="NAME=UNIT,...",
        help="what it is in: K, M, B, T, PFLOPs, PF-days, bits, perplexity, percent or a factor",
        **many,
    )
    parser.add_argument(
        "--join",
        type=named_path,
        metavar="FILE",
        help="a second table with columns to add: run,n_params",
    )
    if conditions:
        parser.add_argument(
            "--where", metavar="COND", help='rows to use: "flops<=1e21", "task=mmlu"', **many
        )


def read_table(args: argparse.Namespace, source: object) -> tuple["pd.DataFrame", list[str]]:
    """The table of `source` (a path, or a table that was read), as --map and --unit say. Runs that
    are not complete are left out, unless --where speaks of their status."""
    from scaling.analysis.tables.choose import choose_status
    from scaling.analysis.tables.join import joined
    from scaling.analysis.tables.read import as_table, read

    raw, notices = read(source)
    raw, added = joined(raw, args.join)
    notices += added
    mapping = column_map(args.map, raw)
    units = assignments(args.unit, "--unit", names=[*mapping, *map(str, raw.columns)])
    named = [*mapping, *raw.columns]
    unfinished = choose_status(getattr(args, "where", ()), named)
    table, more = as_table(raw, mapping, units, unfinished=unfinished)
    return table, notices + more


def column_map(texts: Sequence[str], table: "pd.DataFrame") -> dict[str, str]:
    """--map, given the columns that there are."""
    return assignments(texts, "--map", columns=list(map(str, table.columns)))


def number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{flag}: {text!r} is not a number") from None


def fitting(args: argparse.Namespace) -> dict:
    """What --pin, --bound and the other options of a fit say. Raises UserError when two of them
    contradict each other."""
    pinned = assignments(args.pin, "--pin")
    bounds = assignments(args.bound, "--bound")
    for name in pinned.keys() & bounds.keys():
        raise UserError(
            f"--pin {name}={pinned[name]} and --bound {name}={bounds[name]}: {name} is either held "
            "or searched; leave one of them out"
        )
    if args.delta is not None and args.loss in ("mse", "log_mse"):
        raise UserError(f"--delta {args.delta:g} has no meaning for --loss {args.loss}")
    return {
        "pinned": {k: number(v, "--pin") for k, v in pinned.items()},
        "bounds": {k: _bound(v) for k, v in bounds.items()},
        "delta": args.delta,
        "loss": args.loss,
        "weights": args.weights,
        "cluster": args.cluster,
        "starts": args.starts,
        "seed": args.seed,
    }


def _bound(text: str) -> tuple[float, float]:
    low, sep, high = text.partition(":")
    if not sep:
        raise UserError(f"--bound {text!r}: write NAME=LOW:HIGH")
    return number(low, "--bound"), number(high, "--bound")


def law_names(texts: Sequence[str]) -> list[str]:
    """["chinchilla,kaplan", "gadre"] -> three names. Raises UserError for one that stands twice."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--laws: {name!r} is listed twice")
    if not names:
        raise UserError("--laws names no law; see `scaling laws`")
    return names


def named_path(text: str) -> pathlib.Path:
    """A path of the command line, for argparse; empty it would be the directory one stands in."""
    # An unset variable of a script (--workdir=$DIR) must not mean that.
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a file or directory")
    if (fault := path_fault(text)) is not None:
        raise argparse.ArgumentTypeError(fault)
    return pathlib.Path(text)
