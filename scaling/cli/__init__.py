"""The `scaling` command. A verb is one short function `verb(argv) -> status` in a sibling file.

Exit status: 0 done, 2 bad input (one line on stderr; with --debug the traceback as well), 75
interrupted and saved: run me again. What is our bug keeps its traceback.
This file imports nothing heavy, so `scaling --help` answers at once.
"""

import os
import select
import sys
import traceback

from scaling.doors.redact import redact
from scaling.doors.terminal import printable
from scaling.errors import UserError
from scaling.registry import Registry

DEBUG = "--debug"
_SIGPIPE = 141  # what a shell reports for a program that this signal ended

# name -> (where it lives, one line of help); the order is the order of --help.
_VERBS = {
    "train": (
        "scaling.cli.train:train",
        "train one config into one record; run again to resume",
    ),
    "plan": (
        "scaling.cli.plan:plan",
        "price a config without running it",
    ),
    "sweep": ("scaling.cli.sweep:sweep", "run every run of a config on an engine; again: go on"),
    "run": ("scaling.cli.run:run", "do one run of a sweep directory: the job of every engine"),
    "status": ("scaling.cli.status:status", "where the runs of a sweep stand, live"),
    "runs": ("scaling.cli.runs:runs", "the records of a sweep as a table, CSV or Parquet"),
    "show": ("scaling.cli.show:show", "print the record of a run directory"),
    "probe": ("scaling.cli.probe:probe", "ask probes of the checkpoints of a run or a sweep"),
    "data": ("scaling.cli.data:data", "look at a data source: statistics, the examples of step K"),
    "report": ("scaling.cli.report:report", "write the page of a sweep, or compare two sweeps"),
    "fit": ("scaling.cli.fit:fit", "fit a scaling law to a table of results"),
    "doctor": ("scaling.cli.doctor:doctor", "what this machine has, and what to do about the rest"),
    "laws": ("scaling.cli.fit:laws", "list the laws with formula, paper and required columns"),
    "predict": ("scaling.cli.fit:predict", "predict from a saved fit, with intervals"),
    "optimal": ("scaling.cli.fit:optimal", "compute-optimal allocation from a saved fit"),
    "compare": ("scaling.cli.fit:compare", "compare several laws on one table"),
    "emergence": (
        "scaling.cli.emergence:emergence",
        "abilities against scale: onset, breaks, artefacts",
    ),
    "import": ("scaling.cli.importing:import_", "results from elsewhere (CSV, W&B) as a table"),
}
VERBS = Registry("command", {name: path for name, (path, _) in _VERBS.items()})


def usage() -> str:
    """The text of `scaling --help`."""
    lines = [
        "usage: scaling COMMAND [ARGS ...]",
        "       scaling COMMAND --help     options and examples of one command",
        "       scaling COMMAND --debug    also where an error comes from",
        "",
        "commands:",
        *(f"  {name:<10} {summary}" for name, (_, summary) in _VERBS.items()),
        "",
        "examples:",
        "  scaling train --config=configs/tiny.py --workdir=runs/tiny",
        "  scaling plan --config=configs/tiny.py --mesh=data:8,fsdp:4",
        "  scaling fit results.csv --law chinchilla --bootstrap 4000 --plot fit.svg",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script. Returns the exit status."""
    try:
        try:
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # What is still buffered has nowhere to go; do not let the interpreter try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more (`scaling laws | head`)."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        from scaling import __version__

        print(__version__)
        return 0
    debug = DEBUG in argv
    verb, *rest = (word for word in argv if word != DEBUG)
    try:
        return VERBS.load(verb)(rest)
    except UserError as error:
        if debug:
            traceback.print_exception(error)
        # Engines keep what is said here.
        print(printable(f"scaling {verb}: {redact(str(error))}"), file=sys.stderr)
        return 2
