"""How long do 20,000 multiple-choice items of 32 tokens take on the 98.6k model?

    python -m experiments.bench.probe_speed [--n-items 20000] [--mesh data:2]

Target: under 10 s on 2 quiet cores, compilation included. Choices are single tokens after a common
context, so every item costs one forward pass; `--pairs` makes them two tokens long, which costs one
pass a choice.
"""

import argparse
import time

import numpy as np

from scaling.core.build import choose_mesh, make_program
from scaling.probes.base import Target
from scaling.probes.requests import Choice, multiple_choice
from scaling.probes.scorer import ScoredModel
from scaling.resolve import resolve
from scaling.sharding import make_mesh, use_mesh

VOCAB, N_CHOICES, LENGTH = 42, 4, 32


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--n-items", type=int, default=20_000)
    p.add_argument("--mesh")
    p.add_argument("--pairs", action="store_true", help="choices of two tokens")
    args = p.parse_args()
    model = {"depth": 2, "width": 64, "transformer": {"n_heads": 8}}
    data = {"name": "cipher", "seq_len": 34}
    config = resolve({"model": model, "data": data, "train": {"batch_size": 64}})
    mesh = make_mesh(choose_mesh(config, args.mesh))
    r = np.random.default_rng(0)
    size = 2 if args.pairs else 1
    items = [
        Choice(
            r.integers(0, VOCAB, LENGTH - size + 1).tolist(),
            tuple(tuple(r.integers(0, VOCAB, size).tolist()) for _ in range(N_CHOICES)),
            0,
        )
        for _ in range(args.n_items)
    ]
    with use_mesh(mesh):
        params = make_program(config, VOCAB, mesh).init(0).params
        scored = ScoredModel(params, mesh, Target(config.data, VOCAB, 34))
        for attempt in ("with compilation", "again"):
            wall, cpu = time.perf_counter(), time.process_time()
            multiple_choice(scored, items)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{args.n_items} items {attempt}: {wall:.1f} s wall, {cpu:.1f} s CPU")


if __name__ == "__main__":
    main()
