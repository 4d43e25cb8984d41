"""The verbs of the laws: fit, laws, predict, optimal, compare."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from scaling.analysis.tables.names import listed
from scaling.cli.options import add_columns, fitting, law_names, read_table, verb_parser
from scaling.cli.parser import natural
from scaling.doors.terminal import printable, say
from scaling.errors import UserError

if TYPE_CHECKING:
    from scaling.analysis.fitted import Fit

_FIT_EXAMPLES = """examples:
  scaling fit results.csv --law chinchilla
  scaling fit results.csv --law chinchilla --map n_params=size,n_tokens=tokens,loss=val_loss
  scaling fit sheet.csv --map 'n_params=Params (M),n_tokens="Tokens, seen",loss=Val Loss' \\
      --unit n_tokens=B
  scaling fit sweep/ --law chinchilla --where "flops<=1e21" --holdout "flops>1e21"
  scaling fit lr_sweep.csv --law chinchilla --best-of lr,batch
  scaling fit chart.csv --join sizes.csv --map n_tokens=step,loss=val/loss --unit n_tokens=262144
  scaling fit results.csv --law chinchilla --drop-highest 5 --bootstrap 4000 --json fit.json
  scaling fit curves.jsonl --law multi_power --bootstrap 200 --plot fit.svg

Exit status: 0 when it ran to its end, whatever came out (read `status`: what is not ok is said on
stderr as well, with what to do about it), 2 bad input."""

_COMPARE_EXAMPLES = """examples:
  scaling compare results.csv --laws chinchilla chinchilla_tied kaplan
  scaling compare results.csv --laws chinchilla,kaplan --cluster run --plot compare.svg
  scaling compare results.csv --laws chinchilla --sensitivity --n-columns n_params,n_no_embed"""


def fit(argv: Sequence[str]) -> int:
    """scaling fit DATA --law LAW ..."""
    parser = verb_parser("fit", "Fit a scaling law to a table of results.", _FIT_EXAMPLES)
    _add_data(parser)
    parser.add_argument("--law", default="chinchilla", help="see `scaling laws` (chinchilla)")
    parser.add_argument(
        "--holdout", action="append", default=[], metavar="COND", help="rows to predict, not to fit"
    )
    parser.add_argument("--bootstrap", type=int, metavar="N", help="resamples, 4000 is usual")
    parser.add_argument(
        "--bootstrap-method", default=None, help="case, cluster, residual, parametric"
    )
    _add_fitting(parser)
    parser.add_argument("--no-profile", action="store_true", help="skip profile likelihoods")
    parser.add_argument("--json", metavar="OUT", help="write the fit as JSON")
    parser.add_argument("--plot", metavar="OUT", help="figure: .svg, .pdf or .png")
    args = parser.parse_args(argv)

    from scaling.analysis.bootstrap import Bootstrap
    from scaling.analysis.fit import fit as fit_law
    from scaling.analysis.laws import LAWS

    law = LAWS.load(args.law)
    _check_outputs(args.json, args.plot)
    options = fitting(args)
    if args.bootstrap is None and args.bootstrap_method:
        raise UserError(f"--bootstrap-method {args.bootstrap_method} needs --bootstrap N")
    table, notices = _read(args, law.target.name, args.holdout)
    bootstrap = None
    if args.bootstrap is not None:
        bootstrap = Bootstrap(args.bootstrap, args.bootstrap_method)
    result = fit_law(
        law,
        table,
        best_of=listed(args.best_of, table.columns) if args.best_of else (),
        holdout=args.holdout or None,
        bootstrap=bootstrap,
        profile=not args.no_profile,
        **options,
    )
    result.warnings[:0] = notices
    say(result)
    _say_status(result)
    if args.json is not None:
        result.to_json(args.json)
    if args.plot is not None:
        from scaling.analysis.plot import overview, save

        save(overview(result), args.plot)
    return 0


def laws(argv: Sequence[str]) -> int:
    """scaling laws [NAME ...]"""
    parser = verb_parser(
        "laws", "List the laws: formula, paper, columns.", "example: scaling laws kaplan"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="with parameters and bounds")
    args = parser.parse_args(argv)

    from scaling.analysis.laws import LAWS

    for name in args.names or LAWS:
        law = LAWS.load(name)
        needs = ", ".join(f"{c.name} [{c.unit}]" for c in law.input_columns)
        print(f"{name}\n  {law.formula}\n  {law.paper}\n  columns: {needs}")
        if args.names:
            for p in law.params:
                print(f"  {p.name:<10} in [{p.lower:g}, {p.upper:g}]  {p.doc}")
            for note in law.notes:
                print(f"  note: {note}")
    return 0


def predict(argv: Sequence[str]) -> int:
    """scaling predict FIT.json --n-params 7e10 --n-tokens 1.4e12"""
    example = "example: scaling predict fit.json --n-params 7e10 --n-tokens 1.4e12"
    parser = verb_parser("predict", "Predict from a saved fit, with 95 % intervals.", example)
    parser.add_argument("fit", metavar="FIT.json")
    parser.add_argument("--data", help="predict every row of this table instead of single values")
    add_columns(parser, conditions=False)
    known, _ = parser.parse_known_args(argv)  # which law it is says which flags there are

    from scaling.analysis.fitted import Fit

    loaded = Fit.from_json(known.fit)
    columns = [c for c in loaded.law.columns if c.numeric]
    for column in columns:
        flag = "--" + column.name.replace("_", "-")
        values = {"type": float, "nargs": "+", "metavar": column.unit.upper()}
        parser.add_argument(flag, dest=f"x_{column.name}", help=column.doc, **values)
    args = parser.parse_args(argv)
    given = {c.name: getattr(args, f"x_{c.name}") for c in columns}
    if known.data:
        if single := [name for name, values in given.items() if values is not None]:
            raise UserError(f"--data and --{single[0].replace('_', '-')}: give one of them")
        table, notices = read_table(args, known.data)
        table, more = _to_predict(loaded.law, table)
        notices += more
    else:
        if args.map or args.unit:
            raise UserError("--map and --unit speak of the table of --data, which is not given")
        missing = [name for name, values in given.items() if values is None]
        if missing or len(columns) < len(loaded.law.columns):
            flags = " ".join(f"--{n.replace('_', '-')} VALUE" for n in missing) or "--data TABLE"
            raise UserError(f"{loaded.law.name} also needs {flags}")
        table, notices = _combined(given), []
    out = loaded.predict(table)
    shown = [c.name for c in loaded.law.columns]
    _show(pd.concat([table[shown], out], axis=1), notices + out.attrs["warnings"])
    return 0


def _to_predict(law, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with the law's columns checked, as for a fit."""
    from scaling.analysis.tables.check import inputs
    from scaling.analysis.tables.doubts import doubts
    from scaling.analysis.tables.units import declared

    table = inputs(law, table)
    return table, doubts(table, {c.name: declared(c.unit) for c in law.columns if c.numeric})


def optimal(argv: Sequence[str]) -> int:
    """scaling optimal FIT.json --flops 1e21"""
    example = "example: scaling optimal fit.json --flops 1e21 1e22 1e23"
    parser = verb_parser("optimal", "Compute-optimal allocation from a saved fit.", example)
    parser.add_argument("fit", metavar="FIT.json")
    parser.add_argument("--flops", type=float, nargs="+", required=True, help="budgets in FLOPs")
    args = parser.parse_args(argv)

    from scaling.analysis.fitted import Fit

    out = Fit.from_json(args.fit).optimal(args.flops)
    _show(out, out.attrs["warnings"])
    return 0


def compare(argv: Sequence[str]) -> int:
    """scaling compare DATA --laws chinchilla,kaplan"""
    text = "Compare laws on one table by AICc and by how well they predict what they did not see."
    parser = verb_parser("compare", text, _COMPARE_EXAMPLES)
    _add_data(parser)
    parser.add_argument(
        "--laws", required=True, nargs="+", metavar="LAW", help="see `scaling laws`"
    )
    _add_fitting(parser)
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation (5)")
    parser.add_argument("--sensitivity", action="store_true", help="also vary delta and loss")
    parser.add_argument("--n-columns", help="conventions of n_params to try, comma-separated")
    parser.add_argument("--plot", metavar="OUT", help="figure: .svg, .pdf or .png")
    args = parser.parse_args(argv)

    from scaling.analysis.compare import compare as compare_laws
    from scaling.analysis.compare import sensitivity
    from scaling.analysis.laws import LAWS

    _check_outputs(None, args.plot)
    names, options = law_names(args.laws), fitting(args)
    if args.n_columns and not args.sensitivity:
        raise UserError(f"--n-columns {args.n_columns} needs --sensitivity")
    table, notices = _read(args, LAWS.load(names[0]).target.name)
    cluster = options.pop("cluster")
    best_of = listed(args.best_of, table.columns) if args.best_of else ()
    comparison = compare_laws(
        names, table, cluster=cluster, folds=args.folds, best_of=best_of, **options
    )
    say(comparison)
    for found in comparison.fits.values():
        _say_status(found)
    for notice in notices:
        say(f"warning: {notice}")
    if args.sensitivity:
        columns = listed(args.n_columns, table.columns) if args.n_columns else ["n_params"]
        for name in names:
            print(f"\nsensitivity of {name}")
            varied = sensitivity(name, table, n_columns=columns, seed=args.seed, best_of=best_of)
            _show(varied, [])
    if args.plot is not None:
        from scaling.analysis.plot import comparison_figure, save

        save(comparison_figure(comparison), args.plot)
    return 0


def _add_data(parser: argparse.ArgumentParser) -> None:
    kinds = "CSV and its kin, JSON, JSONL, Parquet or sweep directory"
    parser.add_argument("data", metavar="DATA", help=kinds)
    add_columns(parser)
    parser.add_argument(
        "--best-of",
        metavar="COL,...",
        help="of the rows at one point only the best over these: lr,batch",
    )
    parser.add_argument(
        "--drop-highest", type=int, default=0, metavar="K", help="leave out the K highest targets"
    )


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    many = {"action": "append", "default": []}
    parser.add_argument("--pin", metavar="NAME=VALUE", help="hold a parameter there", **many)
    parser.add_argument("--bound", metavar="NAME=LOW:HIGH", help="search only there", **many)
    parser.add_argument("--delta", type=float, help="Huber width (the law's own, usually 1e-3)")
    parser.add_argument("--loss", help="log_huber, log_mse, huber or mse (the law's own)")
    parser.add_argument(
        "--weights", metavar="COL", help="column of weights; for isoflop: pooled, own or none"
    )
    parser.add_argument(
        "--cluster", metavar="COL",
        help="column that names the run of a row, or none for independent rows (default: the "
        "trunks or runs that the table names)",
    )  # fmt: skip
    parser.add_argument("--starts", type=int, metavar="N", help="number of starts (the law's own)")
    parser.add_argument("--seed", type=natural, default=42, help="of draws and resamples (42)")


def _read(
    args: argparse.Namespace, target: str, holdout: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of DATA that the options choose, columns renamed to the law's names.

    A --where that excludes every held-out row (--where "flops<=1e21" --holdout "flops>1e21")
    speaks of the rows to fit; the others apply to both."""
    from scaling.analysis.tables.choose import matches, select

    table, notices = read_table(args, args.data)
    held = matches(table, holdout) & bool(holdout)
    both = [c for c in args.where if not held.any() or (matches(table, c) & held).any()]
    fitted = [c for c in args.where if c not in both]
    if fitted:
        table = table[held | matches(table, fitted)]
    return select(table, both, args.drop_highest, target), notices


def _check_outputs(json_path: str | None, plot_path: str | None) -> None:
    """Raises UserError before any compute when a result could not be written."""
    from scaling.doors.outputs import check_output

    if json_path is not None:
        check_output(json_path, "--json")
    if plot_path is not None:
        from scaling.analysis.plot import check_format

        check_output(plot_path, "--plot")
        check_format(plot_path)


def _combined(given: dict[str, list[float]]) -> pd.DataFrame:
    """Lists of one length go side by side; single values are repeated."""
    longest = max(len(v) for v in given.values())
    for name, values in given.items():
        if len(values) not in (1, longest):
            raise UserError(f"{name} has {len(values)} values where another has {longest}")
    return pd.DataFrame({k: v * longest if len(v) == 1 else v for k, v in given.items()})


def _say_status(result: "Fit") -> None:
    """On stderr: a fit that is not ok, why, and what to do."""
    if result.status != "ok":
        from scaling.analysis.status import STATUSES

        said = f"{result.law.name}: status {result.status}: {STATUSES[result.status]}"
        print(printable(f"{said}; {result.remedy}"), file=sys.stderr)


def _show(table: pd.DataFrame, warnings: Sequence[str]) -> None:
    say(table.to_string(index=False, float_format=lambda v: f"{v:.6g}"))
    for warning in warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
