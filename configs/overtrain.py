"""Far beyond 20 tokens per parameter: what a small model that is used a lot should cost to train.

Sizes times tokens per parameter, for the law of Gadre et al. 2024 (arXiv 2403.08540): at a
fixed ratio, loss falls with compute as one power law whatever the ratio.

    scaling sweep --config=configs/overtrain.py --out=runs/overtrain
    scaling fit runs/overtrain --law gadre

laptop (default)  16 runs; 2.5 minutes on 2 cores; trunks save 35 %
h200              16 runs; 24 h on one H200
                  --config=configs/overtrain.py:h200 --mesh=data:1
tpu               16 runs; 7.2 days on 16 TPU v5e
                  --config=configs/overtrain.py:tpu --mesh=fsdp:16
Expected: parallel lines in log C (not run here). On a laptop the largest runs see Python's source
up to twice; the plan says so.
Costs are those of `scaling plan`: training at a quarter of the promised (laptop: measured) rate.
"""

from configs.scales import base
from scaling.sweep import designs


def get_config(variant: str = ""):
    c, recipe = base(variant)
    if recipe == "one_depth":
        sizes = {"widths": (8, 16, 24, 32), "trunk": True}
    elif variant == "h200":
        sizes = {"params": (2e6, 6e6, 18e6, 40e6)}
    else:
        sizes = {"params": (40e6, 80e6, 160e6, 320e6)}
    budgets = tuple(f"{ratio} tokens_per_param" for ratio in (20, 40, 80, 160))
    group = designs.parametric(
        c, recipe, budgets=budgets, **sizes, law="gadre", title="Over-training"
    )
    return designs.sweep("overtrain", overtrain=group)
