"""`scaling emergence`: the chart and the JSON of abilities against scale."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from scaling.analysis.tables.names import assignments, listed
from scaling.cli.options import add_columns, column_map, verb_parser
from scaling.cli.parser import natural
from scaling.doors.terminal import say
from scaling.errors import UserError, shown

_EXAMPLES = """examples:
  scaling emergence runs/cipher --metric exact_match --x n_params
  scaling emergence runs/cipher --where condition=novel --where shots=15 --x loss
  scaling emergence runs/cipher --by condition --where shots=15 --x n_params
  scaling emergence runs/cipher --where condition=novel --heat shots,n_params --plot heat.png
  scaling emergence results.csv --metric acc --x flops --chance 0.25 --n-items 1000 \\
      --map flops=C --bins 1e21,1e22,1e23 --plot acc.png --json acc.json
  scaling emergence BIG-bench/bigbench/benchmark_tasks/arithmetic --metric exact_str_match \\
      --where 'group=BIG-G T=0' --where shots=2 --n-items 1000
  scaling emergence lm_eval_results --metric acc --chance 0.25 --where label=arc_easy

A rise is smooth when one of these explains it: a straight line in ln x, a power law (saturating or
rising), a logistic, Gompertz or Weibull curve, each with 10 to 90 % of its rise over --smooth-width
or more. It is a break when all of them are rejected at 5 % (docs/emergence.md).
Without --by, conditions that vary (label, shots, ...) are analysed one by one.
Exit status: 0 done (read `verdict` in the result), 2 bad input."""


def emergence(argv: Sequence[str]) -> int:
    """scaling emergence DIR|CSV --metric METRIC --x SCALE ..."""
    parser = verb_parser(
        "emergence", "Tell jumps from artefacts and noise: chart, onset, tests.", _EXAMPLES
    )
    _add_options(parser)
    args = parser.parse_args(argv)
    heat = _heat_axes(args.heat)
    targets = _numbers(args.frontier, "--frontier")
    bins = _bins(args.bins)

    from scaling.analysis.emergence import analyse_groups
    from scaling.analysis.emergence.plots import chart
    from scaling.analysis.plot import check_format, save
    from scaling.analysis.probe_table import load_probes
    from scaling.analysis.tables.choose import rename, select
    from scaling.analysis.tables.join import joined
    from scaling.doors.outputs import check_output

    check_output(args.json, "--json")
    check_output(args.plot, "--plot")
    check_format(args.plot)
    table = load_probes(args.data, steps=args.steps)
    table, added = joined(table, args.join)
    mapping = column_map(args.map, table)
    units = assignments(args.unit, "--unit", names=[*mapping, *map(str, table.columns)])
    table, notices = rename(table, mapping, units)
    table = select(table, args.where) if args.where else table
    found = analyse_groups(
        table,
        args.metric,
        args.x,
        by=listed(args.by, table.columns) if args.by else None,
        continuous=args.continuous,
        answer_tokens=args.answer_tokens,
        chance=args.chance,
        ceiling=args.ceiling,
        above=args.above,
        n_items=args.n_items,
        bins=bins,
        smooth_width=args.smooth_width,
        alpha=args.alpha,
        draws=args.draws,
        seed=args.seed,
    )
    page = chart(found, table, heat=heat, targets=targets)
    say("\n\n".join(map(str, found.values())))
    for notice in added + notices:
        say(f"warning: {notice}")
    _write_json(args, found)
    save(page, args.plot)
    print(f"\nwritten: {args.plot}, {args.json}")
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        help="sweep or run directory, table, or results of lm-eval or BIG-bench",
    )
    add("--metric", help="exact_match or accuracy unless said otherwise")
    add("--x", default="n_params", help="n_params, n_tokens, flops, loss or any column (n_params)")
    add_columns(parser)
    add("--by", metavar="COL,...", help="analyse each value of these columns by itself")
    add("--steps", action="store_true", help="also what was probed during training")
    add("--continuous", metavar="METRIC", help="metric to look for an artefact with")
    add("--answer-tokens", type=float, metavar="L", help="length of the exact match (fitted)")
    add("--chance", type=float, help="chance level, for tables that have none")
    add("--ceiling", type=float, help="the best possible value")
    add("--above", type=float, help="test the onset against this (chance, or 1/n if more)")
    add("--n-items", type=float, metavar="N", help="items behind every value")
    add("--bins", metavar="K|EDGES", help="bins of x: a number, or inner edges 1e21,1e22")
    width = "10 to 90 %% of a smooth rise take this or more (0.4 decades of x, 0.03 of a loss)"
    add("--smooth-width", type=float, metavar="DECADES", help=width)
    add("--heat", metavar="ROWS,COLUMNS", help="add a heat map: shots,n_params")
    add("--frontier", metavar="VALUE,...", help="add iso-accuracy lines over size and tokens")
    add("--alpha", type=float, default=0.05, help="family-wise level of the onset (0.05)")
    add("--draws", type=int, default=1000, help="resamples behind the intervals (1000)")
    add("--seed", type=natural, default=42)
    add("--plot", metavar="OUT", default="emergence.svg", help="figure: .svg, .pdf or .png")
    add("--json", metavar="OUT", default="emergence.json", help="the numbers")


def _heat_axes(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    rows, _, columns = text.partition(",")
    if not (rows and columns) or "," in columns:
        raise UserError(f"--heat {text!r}: write ROWS,COLUMNS, for example shots,n_params")
    return rows, columns


def _numbers(text: str | None, flag: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"{flag} {text!r}: write numbers with commas between them") from None


def _bins(text: str | None) -> int | list[float] | None:
    if text is None:
        return None
    if not text.isdigit():
        return _numbers(text, "--bins")
    if len(text) > 6:
        raise UserError(f"--bins={shown(text)} is more bins than there can be results")
    return int(text)


def _write_json(args: argparse.Namespace, found: dict) -> None:
    from scaling.doors.files import dump
    from scaling.doors.outputs import write_output
    from scaling.doors.reading import loads

    conditions = {name: loads(one.to_json(), name) for name, one in found.items()}
    document = {"schema_version": 1, "source": Path(args.data).name, "conditions": conditions}
    write_output(args.json, dump(document) + "\n", "--json")
