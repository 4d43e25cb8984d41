"""Probed quantities over training, one line a run: the figures of the pages in this folder.

    scaling sweep --config=configs/induction.py:small --out=sweeps/induction
    python -m experiments.worlds.curves sweeps/induction experiments/worlds/induction.png \\
        "accuracy/condition=copy" "prefix_matching/*layer=1*"

Each quantity is a pattern over the keys of probe rows in metrics.jsonl and gets a panel; of several
keys that match, the greatest value is drawn.
"""

import argparse
import fnmatch
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from scaling.errors import UserError
from scaling.run.record import read_config, read_metrics


def curve(workdir: pathlib.Path, pattern: str) -> tuple[list[int], list[float]]:
    """(steps, greatest value of the keys that match `pattern`)."""
    steps, values = [], []
    for row in read_metrics(workdir):
        found = [v for k, v in row.items() if fnmatch.fnmatch(k, pattern) and v is not None]
        if row["kind"] == "probe" and found:
            steps.append(row["step"])
            values.append(max(found))
    return steps, values


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("sweep", type=pathlib.Path)
    p.add_argument("figure", type=pathlib.Path)
    p.add_argument("quantities", nargs="+")
    args = p.parse_args()
    runs = sorted(path.parent for path in args.sweep.glob("runs/*/metrics.jsonl"))
    if not runs:
        raise UserError(f"{args.sweep} holds no run with metrics")
    runs.sort(key=lambda run: read_config(run)["config"]["name"])
    n = len(args.quantities)
    figure, axes = plt.subplots(1, n, figsize=(3.4 * n, 2.6), squeeze=False)
    for axis, pattern in zip(axes[0], args.quantities, strict=True):
        for run in runs:
            axis.plot(*curve(run, pattern), label=read_config(run)["config"]["name"])
        axis.set(title=pattern, xlabel="step")
        axis.title.set_fontsize(8)
    axes[0][0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(args.figure, dpi=130)


if __name__ == "__main__":
    main()
