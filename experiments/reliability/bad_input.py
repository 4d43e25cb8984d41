"""Does any bad input get a traceback, or a wrong answer without a word?

python -m experiments.reliability.bad_input            every try, some ten minutes
python -m experiments.reliability.bad_input --every 20 one of twenty, and every case; in CI
python -m experiments.reliability.bad_input --kind case

Hypothesis: no. What is tried, each in an empty directory with small good inputs beside it:

case    files of real users in tests/data/cases, each with the value that is right
file    every verb that reads a file, with the file spoilt in ways that happen: cut, emptied, of
        another kind, other encodings, a column gone or doubled, a separator changed
flag    every option that --help of every verb names, with values that nobody should give
field   every field of a config with such values

Allowed are a refusal (exit 2, one line that names the verb, nothing written) and the right answer.
A spoilt table that gives other numbers than the good one must have been remarked upon.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import sys
import tempfile

from experiments.reliability import bad_cases, bad_files, bad_values
from experiments.reliability.outcomes import REFUSED, TRACEBACK, WRONG, run, verdict

KINDS = {
    "case": bad_cases.tries,
    "file": bad_files.tries,
    "flag": bad_values.flag_tries,
    "field": bad_values.field_tries,
}


def main(argv: list[str] | None = None) -> int:
    """Prints each fault and the totals; 0 when there is none."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one try of N (1)")
    parser.add_argument("--kind", choices=KINDS, help="only these tries")
    parser.add_argument("--verbose", action="store_true", help="print every try")
    args = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        # Nothing may reach for a network or another user's programs.
        os.environ["WANDB_MODE"] = "offline"
        for kind in [args.kind] if args.kind else KINDS:
            pathlib.Path(kind).mkdir()
            with contextlib.chdir(kind):
                _try_all(KINDS[kind], 1 if kind == "case" else args.every, args.verbose, counts)
    faults = counts[TRACEBACK] + counts[WRONG]
    print(
        f"{counts.total()} tries: {counts[REFUSED]} refused, {counts['done']} answered, "
        f"{counts[TRACEBACK]} tracebacks, {counts[WRONG]} wrong"
    )
    return 1 if faults else 0


def _try_all(make, every: int, verbose: bool, counts) -> None:
    for number, one in enumerate(make()):
        if number % every:
            continue
        outcome = run(one.argv)
        what, why = verdict(one, outcome)
        counts[what] += 1
        if why or verbose:
            print(f"{what:<10}{one}\n          {why}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
