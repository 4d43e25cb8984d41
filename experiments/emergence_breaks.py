"""The break test of `scaling emergence`: how often are smooth curves called breaks, and jumps not?

Hypothesis: at .05, no smooth family of the set is called a break in more than 5 % of studies,
whatever its width (10 to 90 % over .4 decades or more), the design and the dispersion; a jump of
.25 is called one in 90 % or more wherever the design allows it. `bound` is the most that any test
of level .05 can reach (Neyman and Pearson): the jump against the one smooth curve nearest to it.
Command: python -m experiments.emergence_breaks [--studies 100] [--draws 100] [--out breaks.csv]
"""

import argparse
import math
import pathlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import special

from scaling.analysis.emergence.analyse import analyse
from scaling.analysis.emergence.breaks import break_test, is_break
from scaling.analysis.emergence.levels import make_levels, points
from scaling.analysis.emergence.series import make_series
from scaling.analysis.emergence.shapefit import fit_shape
from scaling.analysis.emergence.shapes import SMOOTH
from scaling.doors.spreadsheet import frame_text

CHANCE, TOP, JUMP = 0.125, 0.95, 0.25
DESIGNS = {  # (sizes, decades, items)
    name: tuple(map(int, name.split("/")))
    for name in ("6/2/400", "8/3/1000", "12/3/1000", "20/3/400")
}
NOISES = {  # (variance over that of the items, luck of a place in decades: .04 is .7 % of loss)
    "items": (1.0, 0.0),
    "items x 4": (4.0, 0.0),
    "luck .04": (1.0, 0.04),
}
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (u, all u of the design) -> share


def sigmoid(kind: str, width: float, place: float = 0.52) -> Curve:
    """From chance to TOP, 10 to 90 % over `width` decades; `place` of the middle in the design."""

    def curve(u: np.ndarray, design: np.ndarray) -> np.ndarray:
        theta = np.array([design[0] + place * np.ptp(design), math.log10(width)])
        ends = (design[0], design[-1])
        return CHANCE + (TOP - CHANCE) * SMOOTH[kind].rise(u, theta, ends)

    return curve


def _along(u: np.ndarray, design: np.ndarray) -> np.ndarray:
    return (u - design[0]) / np.ptp(design)


def _after(u: np.ndarray, design: np.ndarray) -> np.ndarray:
    """1 above the middle of the design, between two of its sizes."""
    return (u > np.median(design) + 1e-3) * 1.0


NULLS: dict[str, Curve] = {
    **{f"logistic, {w:g}": sigmoid("logistic", w) for w in (0.4, 0.8, 1.6, 3.1)},
    "logistic, 0.6, half seen": sigmoid("logistic", 0.6, 1.0),
    "gompertz, 0.6": sigmoid("gompertz", 0.6),
    "weibull, 0.6": sigmoid("weibull", 0.6),
    "linear": lambda u, d: CHANCE + 0.7 * _along(u, d),
    "power law": lambda u, d: 0.9 - 0.8 * 10 ** (-1.5 * _along(u, d)),
    "4th power of a logistic": lambda u, d: (0.97 * special.expit(5 * (_along(u, d) - 0.4))) ** 4,
    "4th power, log p linear": lambda u, d: np.exp(4 * (-1.2 + 1.15 * _along(u, d))),
}
JUMPS: dict[str, Curve] = {
    "jump": lambda u, d: CHANCE + JUMP * _after(u, d),
    "jump on a line": lambda u, d: CHANCE + 0.3 * _along(u, d) + JUMP * _after(u, d),
}


def study(curve: Curve, design: tuple[int, float, int], noise: tuple[float, float], seed: int):
    """One accuracy a size, as `scaling emergence` would see it."""
    sizes, decades, items = design
    rng = np.random.default_rng(seed)
    u = np.linspace(6, 6 + decades, sizes)
    factor, luck = noise
    share = np.clip(curve(u + luck * rng.standard_normal(sizes), u), 0, 1)
    if factor > 1:  # beta-binomial
        total = (items - factor) / (factor - 1)
        share = rng.beta(np.maximum(share * total, 1e-9), np.maximum((1 - share) * total, 1e-9))
    table = pd.DataFrame({"n_params": 10**u, "accuracy": rng.binomial(items, share) / items})
    p = points(table, "accuracy", "n_params", n_items=items)
    return make_series(p, make_levels(p))


def rate(curve: Curve, design, noise, studies: int, draws: int) -> float:
    """The share of studies that are called a break."""
    called = (is_break(study(curve, design, noise, k), draws=draws, seed=k) for k in range(studies))
    return sum(called) / studies


def bound(curve: Curve, design, width: float = 0.4) -> float:
    """Power of the best test of level .05 of `curve` against the smooth curve nearest to it."""
    sizes, decades, items = design
    u = np.linspace(6, 6 + decades, sizes)
    share = curve(u, u)
    w = items / (share * (1 - share))
    box = (0.0, 1.0, 0.0, 1.0)
    apart = min(float(fit_shape(s, u, share[None], w, width, box).chi2[0]) for s in SMOOTH.values())
    return float(special.ndtr(math.sqrt(apart) - special.ndtri(0.95)))


def coverage(width: float, design, studies: int) -> float:
    """How often the 95 % interval of the width of a logistic holds it."""
    inside = 0
    for k in range(studies):
        found = break_test(study(sigmoid("logistic", width), design, (1.0, 0.0), k), draws=20)
        low, high = found.width_ci95
        inside += (low or 0) <= width <= (high or math.inf)
    return inside / studies


def answers(log_p: Callable[[np.ndarray], np.ndarray], length: int, seed: int) -> pd.DataFrame:
    """Exact match of `length` tokens, each right with probability exp(log_p): ten sizes over three
    decades, four runs of 500 items each."""
    rng, n = np.random.default_rng(seed), 500
    size = np.repeat(np.geomspace(1e6, 1e9, 10), 4)
    mean = log_p(size) + 0.3 / math.sqrt(n) * rng.standard_normal(len(size))
    match = rng.binomial(n, np.exp(length * log_p(size))) / n
    columns = {"label": "task", "n_params": size, "chance": 0.0, "exact_match": match}
    columns |= {"exact_match_n": n, "exact_match_sum_sq": match * n, "logprob_per_token": mean}
    columns |= {"logprob_per_token_n": n, "logprob_per_token_sum_sq": n * (mean**2 + 0.09)}
    return pd.DataFrame(columns).assign(run_id=np.arange(len(size)).astype(str))


TOKENS = {  # (log-probability of a token, tokens of an answer)
    "power law, 5 tokens": (lambda n: -3 * (n / 1e6) ** -0.35, 5),
    "linear, 4 tokens": (lambda n: -2.0 + 0.28 * np.log(n / 1e6), 4),
}


def verdicts(studies: int, draws: int) -> dict[str, dict[str, int]]:
    """How often each verdict is given where the probability of a token is smooth in scale."""
    out = {}
    for name, (log_p, length) in TOKENS.items():
        said = [analyse(answers(log_p, length, k), draws=draws).verdict for k in range(studies)]
        out[name] = {word: said.count(word) for word in sorted(set(said))}
    return out


def table(studies: int, draws: int, designs=tuple(DESIGNS), noises=tuple(NOISES)) -> pd.DataFrame:
    """One row a curve, design and noise: rate, its binomial error, and the bound for jumps."""
    rows = []
    for name, curve in {**NULLS, **JUMPS}.items():
        for noise in noises:
            for design in designs:
                found = rate(curve, DESIGNS[design], NOISES[noise], studies, draws)
                rows.append(
                    {
                        "curve": name,
                        "noise": noise,
                        "design": design,
                        "rate": found,
                        "error": math.sqrt(found * (1 - found) / studies),
                        "bound": bound(curve, DESIGNS[design])
                        if name in JUMPS and noise == "items"
                        else math.nan,
                    }
                )
            print(_row(name, noise, rows[-len(designs) :]), flush=True)
    return pd.DataFrame(rows)


def _row(name: str, noise: str, rows: list[dict]) -> str:
    cells = [
        f"{100 * r['rate']:4.0f} ± {100 * r['error']:.0f}"
        + ("" if math.isnan(r["bound"]) else f" ({100 * r['bound']:.0f})")
        for r in rows
    ]
    return f"{name:<24}{noise:<11}" + "".join(f"{cell:>15}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=100, help="a cell")
    parser.add_argument("--draws", type=int, default=100, help="of a bootstrap")
    parser.add_argument("--out", help="the table as CSV")
    args = parser.parse_args()
    print("called a break, in % (in brackets the most that any test can); sizes/decades/items")
    print(" " * 35 + "".join(f"{design:>15}" for design in DESIGNS))
    found = table(args.studies, args.draws)
    print("95 % intervals of the width hold it, in %")
    for width in (0.4, 0.8, 1.6):
        cells = [coverage(width, design, args.studies) for design in DESIGNS.values()]
        print(f"{f'logistic, {width:g}':<35}" + "".join(f"{100 * c:>15.0f}" for c in cells))
    for name, said in verdicts(args.studies, args.draws).items():
        print(f"log-probability of a token {name}: verdicts {said}")
    if args.out:
        pathlib.Path(args.out).write_text(frame_text(found), encoding="utf-8")


if __name__ == "__main__":
    main()
