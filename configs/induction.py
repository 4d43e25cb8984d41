"""Repeat world: one layer cannot copy, two can, and the induction head shows when.

scaling sweep --config=configs/induction.py --out=sweeps/induction
scaling sweep --config=configs/induction.py:small --out=sweeps/induction-s     # under 3 minutes
scaling sweep --config=configs/induction.py:h200 --out=sweeps/induction-h      # a GPU

Probed every tenth of the run: accuracy of copying, all symbols of a block, prefix-matching score of
every head. Expected: one layer stays near chance, two layers copy, and the score of one head of the
second layer rises at the same time.
"""

from scaling.errors import unknown
from scaling.resolve import default_config, probe_section
from scaling.sweep import designs


def get_config(variant: str = ""):
    c = default_config()
    c.name = "induction"
    c.model.width, c.model.transformer.n_heads = 32, 4
    c.data.name = "repeats"
    c.data.seq_len = 48
    c.optim.peak_lr = 4e-3
    c.train.batch_size = 64
    c.train.steps_per_dispatch = 50
    c.eval.every = "100%"
    c.eval.n_rows = 512
    c.probes.repeats = probe_section("repeats", every="10%")
    designed = {
        "": ("10M tokens", {"model.depth": (1, 2, 3), "seed": range(3)}),
        "small": ("4M tokens", {"model.depth": (1, 2)}),
        "h200": ("40M tokens", {"model.depth": (1, 2, 4), "seed": range(10)}),
    }
    if variant not in designed:
        raise unknown("variant", variant, filter(None, designed))
    budget, axes = designed[variant]
    c.train.duration = budget
    return designs.sweep("induction", induction=designs.group(c, axes=axes, title="Repeat world"))
