"""Cipher world: recall that climbs smoothly beside in-context learning that comes suddenly.

scaling sweep --config=configs/emergence_cipher.py --out=sweeps/cipher            # the ladder
scaling sweep --config=configs/emergence_cipher.py:small --out=sweeps/cipher-s    # under 3 minutes
scaling sweep --config=configs/emergence_cipher.py:seeds --out=sweeps/cipher-3    # 3 seeds, not 5
scaling sweep --config=configs/emergence_cipher.py:tiny --out=sweeps/cipher-t     # that it runs
scaling sweep --config=configs/emergence_cipher.py:h200 --out=sweeps/cipher-h     # a GPU
scaling sweep --config=configs/emergence_cipher.py:tpu --out=/bucket/cipher       # a run a chip
scaling train --config=configs/emergence_cipher.py:run --workdir=runs/cipher      # 2 x 48 alone

Seven sizes (layers x width), 2,000 steps of 64 rows of 34 predictions (4.35M, pads included), AdamW
4e-3 cosine; five seeds at the knee (2x16, 2x24, 2x32). One seed of the ladder costs about 170
CPU-seconds. Expected at 15 shots of a fresh cipher: about .14 .14 .2 .5 .9 .95 .95 of a ceiling of
.959, with seeds at the knee far apart; recall of known ciphers climbs from .4 to .75.
"""

from scaling.errors import unknown
from scaling.resolve import default_config, probe_section
from scaling.sweep import designs

LADDER = ((1, 8), (1, 16), (2, 16), (2, 24), (2, 32), (2, 48), (2, 64))
KNEE = ((2, 16), (2, 24), (2, 32))
SEEDS = range(1, 5)
SMALL = ((1, 16), (2, 16), (2, 24), (2, 48))
LARGE = (*LADDER, (2, 96), (4, 64), (4, 128), (4, 256))
BUDGETS = ("4.352M tokens", "17.408M tokens", "69.632M tokens")


def get_config(variant: str = ""):
    base = _base()
    if variant == "run":
        base.model.depth, base.model.width, base.model.transformer.n_heads = 2, 48, 6
        return base
    designed = {
        "": _ladder(SEEDS),
        "seeds": _ladder(SEEDS[:2]),
        "tiny": [_point(*size, 0) | {"budget": "100K tokens"} for size in SMALL[:3]],
        "small": [_point(*size, 0) for size in SMALL],
        "h200": _grid(LARGE, 5, BUDGETS),
        "tpu": _grid((*LARGE, (8, 256), (8, 512)), 10, (*BUDGETS, "278.528M tokens")),
    }
    if variant not in designed:
        raise unknown("variant", variant, [*filter(None, designed), "run"])
    title = "Cipher world: known ciphers and fresh ones"
    group = designs.group(base, points=designed[variant], title=title)
    return designs.sweep("cipher", cipher=group)


def _ladder(more_seeds) -> list[dict]:
    sizes = [_point(*size, 0) for size in LADDER]
    return sizes + [_point(*size, seed) for seed in more_seeds for size in KNEE]


def _grid(sizes, n_seeds, budgets) -> list[dict]:
    return [
        _point(*size, seed) | {"budget": budget}
        for size in sizes
        for seed in range(n_seeds)
        for budget in budgets
    ]


def _base():
    c = default_config()
    c.name = "cipher"
    c.data.name = "cipher"
    c.data.seq_len = 34
    c.optim.peak_lr = 4e-3
    c.train.batch_size = 64
    c.train.duration = "4.352M tokens"
    c.train.steps_per_dispatch = 100
    c.eval.every = "100%"
    c.eval.n_rows = 1024
    c.probes.cipher = probe_section("cipher", every="25%")
    return c


def _point(depth: int, width: int, seed: int) -> dict:
    """Heads of size 8."""
    size = {"model.depth": depth, "model.width": width, "model.transformer.n_heads": width // 8}
    return size | {"seed": seed}
