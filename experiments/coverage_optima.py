"""Do the intervals of an exponent from IsoFLOP minima cover, and which weights of minima are best?

Hypothesis: with one relative deviation for all budgets ("pooled") the 95 % interval of a covers in
92 to 98 % of 300 studies at 4, 6, 8 and 12 sizes by 5 and 10 budgets, and no other weighting has a
smaller variance; with the deviation of each budget's own residuals 4 sizes fail both.
Command: python -m experiments.coverage_optima [--sets 300] [--noise 0.003] [--out optima.csv]
Time: about 4 minutes on one core. The truth is what the same design gives without noise, so that
the known bias of parabolas is not counted against the interval.
"""

import argparse
import pathlib

import numpy as np
import pandas as pd

from experiments.coverage import chance
from scaling.analysis.fit import fit
from scaling.analysis.law import factorial
from scaling.analysis.laws.optimum import ISOFLOP, REFERENCE_C, TRUE_A, TRUE_OPTIMUM, with_true_loss
from scaling.doors.spreadsheet import frame_text

SIZES, BUDGETS = (4, 6, 8, 12), (5, 10)
REACH = np.log(6)  # the sizes of a budget lie within this factor of its optimum


def design(sizes: int, budgets: int) -> pd.DataFrame:
    """Noiseless losses at `sizes` around the optimum of each of `budgets`, centred on it."""
    table = factorial(flops=np.geomspace(1e18, 1e22, budgets), at=np.linspace(-REACH, REACH, sizes))
    best = TRUE_OPTIMUM["N_ref"] * (table["flops"] / REFERENCE_C) ** TRUE_A
    return with_true_loss(table.assign(n_params=best * np.exp(table["at"])))


def study(sizes: int, budgets: int, sets: int, noise: float, first_seed: int) -> list[dict]:
    """One row a weighting: the share of studies whose interval of a holds the truth, its median
    width, and the variance of a relative to that of the pooled weights."""
    exact = design(sizes, budgets)
    truth = {
        how: fit(ISOFLOP, exact, weights=how, profile=False).theta["a"]
        for how in ("pooled", "none")
    }
    truth["own"] = truth["pooled"]  # without noise the residuals are the misfit of the parabola
    found = {how: [] for how in ISOFLOP.weightings}
    for seed in range(first_seed, first_seed + sets):
        wiggle = np.exp(noise * np.random.default_rng(seed).standard_normal(len(exact)))
        table = exact.assign(loss=exact["loss"] * wiggle)
        for how, rows in found.items():
            a = fit(ISOFLOP, table, weights=how, profile=False).derived["b"]
            low, high = (1 - end for end in a.ci95[::-1])
            rows.append((1 - a.value, low, high))
    out = []
    for how, rows in found.items():
        value, low, high = np.array(rows).T
        covered = np.mean((low <= truth[how]) & (truth[how] <= high))
        facts = {"covered": covered, "width": np.median(high - low), "variance": np.var(value)}
        out.append({"sizes": sizes, "budgets": budgets, "weights": how} | facts)
    pooled = out[0]["variance"]
    return [row | {"variance": row["variance"] / pooled} for row in out]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--noise", type=float, default=0.003, help="of ln loss")
    parser.add_argument("--first-seed", type=int, default=30_000)
    parser.add_argument("--out", help="write the table as CSV")
    args = parser.parse_args()
    rows = [
        row
        for sizes in args.sizes
        for budgets in BUDGETS
        for row in study(sizes, budgets, args.sets, args.noise, args.first_seed)
    ]
    table = pd.DataFrame(rows)
    wide = table.pivot_table(index=["sizes", "budgets"], columns="weights")
    print(wide[["covered", "variance", "width"]].round(4).to_string())
    pooled = table.loc[table["weights"] == "pooled", "covered"]
    print(f"pooled: {100 * pooled.min():.1f} to {100 * pooled.max():.1f} % covered")
    print(f"intervals that cover exactly 95 % would show 95 ± {100 * chance(args.sets):.1f} here")
    if args.out:
        pathlib.Path(args.out).write_text(frame_text(table), encoding="utf-8")


if __name__ == "__main__":
    main()
