"""What a design leaves open: do intervals hold on tables that hardly determine the law?

Hypothesis: for a 16-point ladder, three sizes, two sizes, one ratio of tokens to parameters and
one ratio with jitter, the intervals of the five constants, of a, of N* and of predictions near and
far hold the truth in 92 to 98 % of studies, or the fit says that the design does not determine
the quantity ("refused").
Command: nice python -m experiments.coverage_designs [--sets 150] [--designs ladder two_sizes ...]
Time: about a second of one core a study. The table is printed, and written to --out.

Seen on 2026-11-25 (100 studies a design, seeds from 70,000, which no choice in the code was made
on; coverage is of the studies that were not refused, in %): ladder 95.0 to 100, of which 6 of 9
above 98 (up to 8 % refused); jittered ratio 93.6 to 99.0, near 99.0 (2 to 24 % refused); three
sizes 90.0 to 97.0, near 90.0 and E 91.9 (at most 1 % refused); two sizes B 90.9 and beta 92.0,
all else refused in every study; fixed ratio far 95.3 (its point lies on the line of the runs; 14 %
refused), N* 100 and near 100 (69 and 76 % refused), the rest refused in 94 to 100. So the
hypothesis holds but for ten cells: seven too wide, and three (near and E, B) one to two points
short, where exact intervals would show 95 +- 4.3.
"""

import argparse

import numpy as np
import pandas as pd

from experiments.coverage import TRUTH, chance, true_loss
from scaling.analysis.fit import fit
from scaling.analysis.law import factorial
from scaling.doors.outputs import write_output
from scaling.doors.spreadsheet import frame_text
from scaling.errors import UserError

LEVEL = 0.003  # standard deviation of ln loss
BUDGET = 1e21
NEAR, FAR = (5e8, 3e10), (7e10, 1.4e12)  # (n_params, n_tokens)
LADDER = (190e6, 370e6, 760e6, 1.3e9)
WIDE = np.geomspace(5e7, 3e9, 24)


def _grid(sizes, ratios) -> pd.DataFrame:
    design = factorial(n_params=sizes, ratio=ratios)
    return design.assign(n_tokens=design["n_params"] * design["ratio"])


def _line(jitter: float, rng) -> pd.DataFrame:
    ratio = 20 * np.exp(jitter * rng.standard_normal(len(WIDE)))
    return pd.DataFrame({"n_params": WIDE, "ratio": ratio, "n_tokens": WIDE * ratio})


DESIGNS = {
    "ladder": lambda rng: _grid(LADDER, (20, 40, 100, 200)),
    "three_sizes": lambda rng: _grid((1e8, 4e8, 1.6e9), np.geomspace(5, 320, 8)),
    "two_sizes": lambda rng: _grid((2e8, 1e9), np.geomspace(5, 320, 12)),
    "fixed_ratio": lambda rng: _line(0.0, rng),
    "jittered_ratio": lambda rng: _line(0.1, rng),
}


def truths() -> dict[str, float]:
    """The value of every quantity judged."""
    alpha, beta = TRUTH["alpha"], TRUTH["beta"]
    scale = (alpha * TRUTH["A"] / (beta * TRUTH["B"])) ** (1 / (alpha + beta))
    a = beta / (alpha + beta)
    near, far = (true_loss(pd.DataFrame([p], columns=["n_params", "n_tokens"]))[0]
                 for p in (NEAR, FAR))  # fmt: skip
    return TRUTH | {"a": a, "N*": scale * (BUDGET / 6) ** a, "near": near, "far": far}


def intervals(table: pd.DataFrame, seed: int, **options) -> dict[str, tuple[float, float] | None]:
    """{quantity: (low, high)}, None where the fit refuses: it failed, says that the quantity is not
    determined or only given a bound, or has no interval."""
    result = fit("chinchilla", table, seed=seed, **options)
    every = result.params | result.derived
    out = {k: v.ci95 if v.identified and not v.conditional else None for k, v in every.items()}
    try:
        points = pd.DataFrame([NEAR, FAR], columns=["n_params", "n_tokens"])
        for name, row in zip(("near", "far"), result.predict(points).itertuples(), strict=True):
            out[name] = (row.ci_low, row.ci_high) if row.determined else None
    except UserError:
        out |= {"near": None, "far": None}
    try:
        best = result.optimal(BUDGET).iloc[0]
        out["N*"] = (best["n_params_low"], best["n_params_high"]) if best["determined"] else None
    except UserError:
        out["N*"] = None
    return out | {"status": result.status}


def study(design: str, sets: int, first_seed: int, **options) -> pd.DataFrame:
    """One row a quantity: refused and covered (of those not refused) in %, median width in ln."""
    known, rows, statuses = truths(), [], []
    for seed in range(first_seed, first_seed + sets):
        rng = np.random.default_rng(seed)
        table = DESIGNS[design](rng)
        noise = LEVEL * rng.standard_normal(len(table))
        table = table.assign(loss=true_loss(table) * np.exp(noise))
        found = intervals(table.drop(columns="ratio"), seed, **options)
        statuses.append(found.pop("status"))
        for name, truth in known.items():
            ends = found[name]
            held = None if ends is None else float(ends[0] <= truth <= ends[1])
            width = np.nan
            if ends is not None:
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    width = np.log10(ends[1]) - np.log10(ends[0])
            rows.append((name, held, width))
    frame = pd.DataFrame(rows, columns=["quantity", "held", "decades"])
    groups = frame.groupby("quantity", sort=False)
    out = pd.DataFrame(
        {
            "design": design,
            "sets": sets,
            "refused": 100 * groups["held"].apply(lambda v: v.isna().mean()),
            "covered": 100 * groups["held"].apply(lambda v: v.dropna().astype(float).mean()),
            "decades": groups["decades"].median(),
        }
    )
    counts = pd.Series(statuses).value_counts()
    print(f"{design}: " + ", ".join(f"{k} {v}" for k, v in counts.items()), flush=True)
    print(out.drop(columns=["design", "sets"]).round(3).T.to_string(), flush=True)
    return out.reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--sets", type=int, default=150)
    parser.add_argument("--first-seed", type=int, default=30_000)
    parser.add_argument("--bootstrap", type=int, help="draws of the case bootstrap")
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--out", help="write the table as CSV")
    args = parser.parse_args()
    options = {"bootstrap": args.bootstrap, "profile": not args.no_profile}
    parts = [study(d, args.sets, args.first_seed, **options) for d in args.designs]
    table = pd.concat(parts, ignore_index=True)
    given = table[table["refused"] < 50]
    outside = given[(given["covered"] < 92) | (given["covered"] > 98)]
    print(f"outside 92 to 98 % and not refused by half: {len(outside)} of {len(table)}")
    print(f"exact intervals would show 95 ± {100 * chance(args.sets):.1f} here")
    if args.out:
        write_output(args.out, frame_text(table), "--out")


if __name__ == "__main__":
    main()
