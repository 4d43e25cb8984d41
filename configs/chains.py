"""In-context Markov chains: uniform, unigram, bigram (Edelman et al. 2024, figure 2).

scaling sweep --config=configs/chains.py --out=sweeps/chains
scaling sweep --config=configs/chains.py:small --out=sweeps/chains-s     # under 3 minutes
scaling sweep --config=configs/chains.py:h200 --out=sweeps/chains-h      # a GPU

Probed every twentieth of the run: divergence from each strategy. Expected: both depths leave the
uniform guess at once; one layer stays at kl_unigram near 0, two layers go on to kl_bigram near 0.
"""

from scaling.errors import unknown
from scaling.resolve import default_config, probe_section
from scaling.sweep import designs


def get_config(variant: str = ""):
    c = default_config()
    c.name = "chains"
    c.model.width, c.model.transformer.n_heads = 32, 2
    c.data.name = "chains"
    c.data.seq_len = 64
    c.optim.peak_lr = 4e-3
    c.train.batch_size = 64
    c.train.steps_per_dispatch = 50
    c.eval.every = "100%"
    c.eval.n_rows = 512
    c.probes.chains = probe_section("chains", every="5%")
    designed = {
        "": ("12M tokens", {"model.depth": (1, 2, 3), "seed": range(3)}),
        "small": ("4M tokens", {"model.depth": (1, 2)}),
        "h200": ("60M tokens", {"model.depth": (1, 2, 4), "seed": range(10)}),
    }
    if variant not in designed:
        raise unknown("variant", variant, filter(None, designed))
    budget, axes = designed[variant]
    c.train.duration = budget
    return designs.sweep(
        "chains", chains=designs.group(c, axes=axes, title="In-context Markov chains")
    )
