"""How long `scaling report` takes on a sweep of a thousand finished runs, start-up included.

Hypothesis: under 20 s on 2 cores, of which no part grows faster than the number of records.
Command: python -m experiments.bench.report_speed [--runs 1000] [--out DIR] [--json out.json]
The runs follow a known law of 40 sizes and 25 budgets, with probes and loss curves, written by the
same writer as real ones. What is timed is the public command in a process of its own.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from tests.report.synthetic import write_sweep

SIZES = 40
GROUP = {
    "law": "chinchilla",
    "fit_where": ["n_tokens > 5e5"],
    "holdout": "largest n_params",
    "title": "Text ladder",
}


def measure(sweep: pathlib.Path, out: pathlib.Path) -> dict:
    """Wall and CPU seconds of one report, and the size of its page."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "scaling", "report", str(sweep), "--out", str(out), "--quiet"]
    subprocess.run(command, check=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    page = (out / "report.html").stat().st_size
    return {"wall_s": wall, "cpu_s": cpu, "page_bytes": page, "cores": len(os.sched_getaffinity(0))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=pathlib.Path, help="keep the sweep and the page here")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = args.out or pathlib.Path(directory)
        sizes = tuple(int(n) for n in np.geomspace(9e3, 5e6, SIZES))
        tokens = np.geomspace(4.6e5, 5e7, -(-args.runs // SIZES))
        budgets = tuple(int(d) // 1024 * 1024 for d in tokens)
        sweep = write_sweep(
            path / "sweep", sizes=sizes, budgets=budgets, probes=True, groups={"text": GROUP}
        )
        found = measure(sweep, path / "page") | {"runs": SIZES * len(budgets)}
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
