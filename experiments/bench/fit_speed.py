"""How long a fit takes here, side by side with the authors' procedure (scipy BFGS, start by start).

Hypothesis: the 4,500-start fit of the digitised Chinchilla points and 4,000 case bootstraps take
at most 10 s together on 2 cores (theirs: minutes); 100,000 points with 100 starts under 10 s;
under 2 GB.
Command: python -m experiments.bench.fit_speed DATA.csv [--sample 15] [--json out.json]
DATA.csv is chinchilla_digitised.csv; the five highest losses are dropped, as the authors did. Their
procedure is timed on a random sample of its starts and resamples and extrapolated.
"""

import argparse
import json
import os
import resource
import time

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from scaling.analysis.fit import fit
from scaling.analysis.law import factorial
from scaling.analysis.laws import LAWS
from scaling.analysis.tables.choose import select

STARTS, DRAWS, DELTA = 4500, 4000, 1e-3


def timed(work):
    """(seconds, result) of one call."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def scipy_objective(p, log_n, log_d, log_l, weight):
    """The authors' objective, over (a, b, e, alpha, beta), with its gradient."""
    a, b, e, alpha, beta = p
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    top = terms.max(0)
    shares = np.exp(terms - top)
    total = shares.sum(0)
    r = log_l - top - np.log(total)
    shares /= total
    size = np.abs(r)
    value = np.where(size <= DELTA, r * r / 2, DELTA * (size - DELTA / 2))
    push = -weight * np.clip(r, -DELTA, DELTA)
    grad = [
        *(push @ s for s in shares),
        -(push * shares[0]) @ log_n,
        -(push * shares[1]) @ log_d,
    ]
    return (weight * value).sum(), np.array(grad)


def scipy_procedure(table: pd.DataFrame, sample: int, optimum: dict[str, float]) -> dict:
    """Seconds for their whole grid and bootstrap, from `sample` of each."""
    log_n, log_d, log_l = (np.log(table[c].to_numpy()) for c in ("n_params", "n_tokens", "loss"))
    grid = LAWS.load("chinchilla").starts(table)
    points = np.stack(
        [np.log(grid["A"]), np.log(grid["B"]), np.log(grid["E"]), grid["alpha"], grid["beta"]], 1
    )
    rng, n = np.random.default_rng(0), len(table)
    chosen = points[rng.choice(len(points), sample, replace=False)]

    def run(start, weight):
        return minimize(
            scipy_objective, start, (log_n, log_d, log_l, weight), method="BFGS", jac=True
        )

    grid_s, found = timed(lambda: [run(p, np.ones(n)) for p in chosen])
    best = [optimum[k] for k in ("A", "B", "E", "alpha", "beta")]
    best = np.array([*np.log(best[:3]), *best[3:]])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=sample).astype(float)
    boot_s, _ = timed(lambda: [run(best, w) for w in weights])
    return {
        "grid_s": grid_s / sample * STARTS,
        "bootstrap_s": boot_s / sample * DRAWS,
        "best_of_sample": min(r.fun for r in found),
        "sample": sample,
    }


def long_table(n: int = 100_000) -> pd.DataFrame:
    table = factorial(n_params=np.geomspace(1e7, 1e11, 400), ratio=np.geomspace(1, 500, n // 400))
    tokens = table["n_params"] * table["ratio"]
    loss = 1.8 + 480 * table["n_params"] ** -0.35 + 2100 * tokens**-0.37
    noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(len(table)))
    return table.assign(n_tokens=tokens, loss=loss * noise)


def measure(table: pd.DataFrame, sample: int) -> dict:
    first_s, result = timed(
        lambda: fit("chinchilla", table, delta=DELTA, bootstrap=DRAWS, profile=False)
    )
    warm_s, _ = timed(lambda: fit("chinchilla", table, delta=DELTA, bootstrap=DRAWS, profile=False))
    alone_s, _ = timed(lambda: fit("chinchilla", table, delta=DELTA, profile=False))
    profile_s, _ = timed(lambda: fit("chinchilla", table, delta=DELTA))
    long = long_table()
    long_s, long_fit = timed(lambda: fit("chinchilla", long, starts=100))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "fit_and_bootstrap_first_s": first_s,
        "fit_and_bootstrap_again_s": warm_s,
        "fit_alone_again_s": alone_s,
        "fit_with_profiles_again_s": profile_s,
        "long_table_s": long_s,
        "long_table_status": long_fit.status,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "objective": result.objective,
        "starts": result.starts,
        "se": {k: p.se for k, p in (result.params | result.derived).items()},
        "scipy": scipy_procedure(table, sample, result.theta),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--sample", type=int, default=15, help="scipy starts and resamples timed")
    parser.add_argument("--json", help="write the figures")
    args = parser.parse_args()
    out = measure(select(pd.read_csv(args.data), drop_highest=5), args.sample)
    theirs = out["scipy"]
    print(f"{'':<44}{'here':>10}{'scipy':>12}")
    both = theirs["grid_s"] + theirs["bootstrap_s"]
    print(f"{'4,500 starts + 4,000 bootstraps (s)':<44}", end="")
    print(f"{out['fit_and_bootstrap_first_s']:>10.2f}{both:>12.1f}")
    print(f"{'  the same again, compiled (s)':<44}{out['fit_and_bootstrap_again_s']:>10.2f}")
    print(f"{'4,500 starts, compiled (s)':<44}{out['fit_alone_again_s']:>10.2f}", end="")
    print(f"{theirs['grid_s']:>12.1f}")
    print(f"{'100,000 points, 100 starts, profiles (s)':<44}{out['long_table_s']:>10.2f}")
    print(f"{'peak memory (GB)':<44}{out['peak_memory_gb']:>10.2f}")
    print(f"objective {out['objective']:.12g}; best of {theirs['sample']} scipy starts ", end="")
    print(f"{theirs['best_of_sample']:.12g}; load average {out['load']:.1f}, {out['cores']} cores")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as handle:
            json.dump(out, handle, indent=1)


if __name__ == "__main__":
    main()
