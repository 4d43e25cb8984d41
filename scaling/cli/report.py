"""`scaling report`: the page of a sweep, or of one sweep beside another."""

from scaling.cli.options import named_path
from scaling.cli.parser import Parser

_EPILOG = """\
examples:
  scaling report runs/quickstart                  writes runs/quickstart/report/report.html
  scaling report runs/quickstart --out page       writes page/report.html
  scaling report runs/adamw runs/muon             compares: the second against the first

The page is one file that needs no network. Beside it: report.json with every number, the fits for
`scaling predict` and `scaling optimal`, and figures as SVG, PDF and PNG. A sweep that is half done
gives the part of the page that can be made.

Exit status: 0 written, 2 bad input."""


def report(argv: list[str]) -> int:
    """scaling report DIR [OTHER] [--out DIR]"""
    parser = Parser(
        prog="scaling report",
        description="Write the page of a sweep: law, held-out check, allocation, emergence.",
        epilog=_EPILOG,
    )
    parser.add_argument("sweep", metavar="DIR", type=named_path, help="a sweep directory")
    parser.add_argument(
        "other", metavar="OTHER", type=named_path, nargs="?", help="compare this sweep with DIR"
    )
    parser.add_argument(
        "--out", type=named_path, help="where to write (DIR/report, or DIR/report/versus-OTHER)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    args = parser.parse_args(argv)

    _require_charts()
    from scaling.doors.terminal import printable
    from scaling.report.versus import write_comparison
    from scaling.report.write import write_report

    if args.other is not None:
        done = write_comparison(args.sweep, args.other, args.out, quiet=args.quiet)
    else:
        done = write_report(args.sweep, args.out, quiet=args.quiet)
    for line in done.lines:
        print(printable(line))
    print(f"{printable(done.page)}  ({len(done.files)} files, {done.seconds:.1f} s)")
    return 0


def _require_charts() -> None:
    import importlib.util

    from scaling.errors import UserError

    for module in ("altair", "vl_convert"):
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"the report needs {module}, which is not installed: pip install 'scaling[report]'"
            )
