"""Addition of 2 digits (3 with --config.groups.arithmetic.base.data.arithmetic.digits=3).

scaling sweep --config=configs/arithmetic.py --out=sweeps/arithmetic
scaling sweep --config=configs/arithmetic.py:small --out=sweeps/arithmetic-s     # under 3 minutes
scaling sweep --config=configs/arithmetic.py:h200 --out=sweeps/arithmetic-h      # a GPU

Pairs seen in training and pairs never seen, directly and with the working shown. The :small form
is too short to learn it: width 32 gets .14 of held-out sums right directly, .01 with the working
(experiments/worlds/arithmetic.md). What larger sizes do is open.
"""

from scaling.errors import unknown
from scaling.resolve import default_config, probe_section
from scaling.sweep import designs

LADDER = ((1, 16), (2, 16), (2, 32), (2, 64), (4, 64))


def get_config(variant: str = ""):
    c = default_config()
    c.name = "arithmetic"
    c.data.name = "arithmetic"
    c.data.seq_len = 60
    c.optim.peak_lr = 4e-3
    c.train.batch_size = 64
    c.train.steps_per_dispatch = 50
    c.eval.every = "100%"
    c.eval.n_rows = 512
    c.probes.arithmetic = probe_section("arithmetic", every="20%")
    designed = {
        "": (LADDER, "15M tokens", 2),
        "small": (LADDER[1:3], "4M tokens", 1),
        "h200": ((*LADDER, (4, 128), (6, 256)), "200M tokens", 5),
    }
    if variant not in designed:
        raise unknown("variant", variant, filter(None, designed))
    sizes, budget, seeds = designed[variant]
    c.train.duration = budget
    points = [
        {"model.depth": d, "model.width": w, "model.transformer.n_heads": w // 8, "seed": seed}
        for d, w in sizes
        for seed in range(seeds)
    ]
    return designs.sweep("arithmetic", arithmetic=designs.group(c, points=points, title="Addition"))
