"""Are bootstrap draws optima? Our intervals beside those of a brute-force search, draw by draw.

Hypothesis: on tables whose optima are hard to find, every 95 % percentile interval of the
parameters and of a = beta/(alpha+beta) is as wide as that of 60 L-BFGS-B searches (scipy) a draw,
from starts drawn from the paper's grid, on the same resamples: within 10 %.
Command: OPENBLAS_NUM_THREADS=1 python -m experiments.bootstrap_referee [--tables NAME ...]
[--draws 100] [--starts 60]
Time: about 3 minutes a table on one core (scipy's search is 30 times slower when BLAS threads).
`worse` counts draws whose objective is more than 0.1 % above that of the other side.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from scaling.analysis.bootstrap import Bootstrap, resamples
from scaling.analysis.fit import fit, pose
from scaling.analysis.law import factorial
from scaling.analysis.laws.chinchilla import CHINCHILLA
from scaling.analysis.objective import values_of, z_of

DATA = Path(__file__).parents[1] / "tests" / "data" / "published"
WORSE = 1e-3  # relative, of an objective
SHORT, POLISHED, LONG = 100, 5, 3000  # iterations of all searches; of how many how many more
TRUTH = dict(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)


def synthetic(n_params, ratio, noise: float, seed: int) -> pd.DataFrame:
    """Runs of a known law at n_params x tokens per parameter, with relative noise on the loss."""
    table = factorial(n_params=n_params, ratio=ratio)
    n, d = table["n_params"], table["n_params"] * table["ratio"]
    loss = TRUTH["E"] + TRUTH["A"] * n ** -TRUTH["alpha"] + TRUTH["B"] * d ** -TRUTH["beta"]
    wiggle = np.exp(noise * np.random.default_rng(seed).standard_normal(len(table)))
    return pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss * wiggle})


def chinchilla_few() -> pd.DataFrame:
    """40 of the digitised points: few enough that E and the exponents trade."""
    table = pd.read_csv(DATA / "chinchilla_digitised.csv")
    return table.sample(40, random_state=0)


def gemstones_deep() -> pd.DataFrame:
    """The runs of Gemstones whose width is 512 or 768, every second checkpoint."""
    table = pd.read_csv(DATA / "gemstones_hot_100b.csv")
    return table[table["width"] <= 768].iloc[::2]


def olmo(task: str) -> pd.DataFrame:
    """The ladder of one task: 16 runs, bits per byte."""
    table = pd.read_csv(DATA / "olmo_ladder_step1.csv").rename(columns={"bits_per_byte": "loss"})
    return table[(table["task"] == task) & (table["mode"] == "train")]


def gadre() -> pd.DataFrame:
    """All 35 runs of RedPajama, over-trained up to 640 tokens a parameter."""
    table = pd.read_csv(DATA / "gadre_redpajama.csv")
    return table.assign(loss=table["loss_c4_val"])


TABLES = {
    "chinchilla, 40 points": chinchilla_few,
    "gemstones, up to width 768": gemstones_deep,
    "olmo, piqa": lambda: olmo("piqa_val_5shot"),
    "olmo, socialiqa": lambda: olmo("socialiqa_val_5shot"),
    "gadre": gadre,
    "ladder of 16, 1 % noise": lambda: synthetic(
        np.geomspace(2e7, 1e9, 4), (5, 20, 80, 320), 0.01, 1
    ),
    "small models, 0.5 % noise": lambda: synthetic(
        np.geomspace(1e6, 3e7, 5), (5, 20, 80, 320), 0.005, 2
    ),
}


def objective(table: pd.DataFrame, delta: float = 1e-3):
    """value(z, w, scale) -> (sum of w Huber(ln L - ln loss) / scale, gradient [5]) in plain numpy,
    with z = (ln E, ln A, ln B, alpha, beta): nothing of the fit engine in it."""
    log_n, log_d, target = (np.log(table[c].to_numpy()) for c in ("n_params", "n_tokens", "loss"))

    def value(z, w, scale):
        size, data = z[1] - z[3] * log_n, z[2] - z[4] * log_d
        top = np.maximum(np.maximum(size, data), z[0])
        floor, size, data = np.exp(z[0] - top), np.exp(size - top), np.exp(data - top)
        total = floor + size + data
        r = top + np.log(total) - target
        bounded = np.minimum(np.maximum(r, -delta), delta)
        f = w @ (bounded * (r - bounded / 2)) / scale
        psi = w * bounded / (total * scale)
        a, b = psi * size, psi * data
        return f, np.array([psi @ floor, a.sum(), b.sum(), -(a @ log_n), -(b @ log_d)])

    return value


def brute(table, weights: np.ndarray, box, starts: int, scale: float):
    """The best of `starts` L-BFGS-B searches for every row of weights: z [draws, 5], f [draws].
    The best few of them after SHORT iterations go on to the end."""
    value, rng = objective(table), np.random.default_rng(0)
    grid = z_of(CHINCHILLA, CHINCHILLA.starts(table))

    def search(z0, w, iterations):
        found = minimize(
            value, z0, (w, scale), "L-BFGS-B", True, bounds=box.T,
            options={"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-13, "gtol": 1e-9},
        )  # fmt: skip
        return found.fun, found.x

    out = []
    for w in weights:
        chosen = grid[rng.choice(len(grid), starts, replace=False)]
        found = sorted((search(z0, w, SHORT) for z0 in chosen), key=lambda s: s[0])
        ends = [search(z, w, LONG) for _, z in found[:POLISHED]]
        out.append(min(ends, key=lambda s: s[0]))
    return np.array([z for _, z in out]), np.array([f for f, _ in out]) * scale


def quantities(z: np.ndarray) -> dict[str, np.ndarray]:
    theta = values_of(CHINCHILLA, z)
    return theta | {"a": theta["beta"] / (theta["alpha"] + theta["beta"])}


def ends(z: np.ndarray) -> dict[str, tuple[float, float]]:
    """Percentile intervals; of A and B in ln, where they are nearly symmetric."""
    found = quantities(z) | {"ln A": z[:, 1], "ln B": z[:, 2]}
    names = ("E", "ln A", "ln B", "alpha", "beta", "a")
    return {k: tuple(np.nanpercentile(found[k], [2.5, 97.5])) for k in names}


def referee(name: str, draws: int, starts: int) -> pd.DataFrame:
    """One row a quantity: both intervals and the ratio of their widths."""
    table = TABLES[name]().reset_index(drop=True)
    how = Bootstrap(draws, "case")
    begin = time.perf_counter()
    found = fit("chinchilla", table, bootstrap=how, profile=False, cluster=False)
    ours_s = time.perf_counter() - begin
    problem = pose(CHINCHILLA, found.table, found.loss, found.delta)
    weights = resamples(how, problem, found.z, 5, found.seed).w
    begin = time.perf_counter()
    theirs, f = brute(table, weights, found.box, starts, found.objective)
    theirs_s = time.perf_counter() - begin
    value = objective(table)
    mine = np.array([value(z, w, 1.0)[0] for z, w in zip(found.draws, weights, strict=True)])
    shares = np.mean(mine > f * (1 + WORSE)), np.mean(f > mine * (1 + WORSE))
    print(
        f"\n{name}: {len(table)} points, status {found.status}; {draws} draws, "
        f"{found.bootstrap['converged']} converged; ours worse in {shares[0]:.1%}, brute force in "
        f"{shares[1]:.1%}; {ours_s:.1f} s against {theirs_s:.0f} s"
    )
    own, other = ends(found.draws), ends(theirs)
    rows = [
        {"table": name, "quantity": k, "low": own[k][0], "high": own[k][1]}
        | {"brute_low": other[k][0], "brute_high": other[k][1]}
        | {"ratio": np.ptp(own[k]) / np.ptp(other[k])}
        for k in own
    ]
    out = pd.DataFrame(rows)
    print(out.drop(columns="table").to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--starts", type=int, default=60, help="of the brute force, a draw")
    args = parser.parse_args()
    table = pd.concat([referee(name, args.draws, args.starts) for name in args.tables])
    off = table[(table["ratio"] - 1).abs() > 0.1]
    print(f"\nwidths more than 10 % apart: {len(off)} of {len(table)}")
    print(off[["table", "quantity", "ratio"]].to_string(index=False) if len(off) else "")


if __name__ == "__main__":
    main()
