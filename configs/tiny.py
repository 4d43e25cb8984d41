"""The smallest useful run: two layers on the Python standard library's source, as bytes.

scaling train --config=configs/tiny.py --workdir=runs/tiny
scaling train --config=configs/tiny.py:small --workdir=runs/smoke    # a few seconds
"""

from scaling.errors import unknown
from scaling.resolve import default_config


def get_config(variant: str = ""):
    if variant not in ("", "small"):
        raise unknown("variant", variant, ("small",))
    c = default_config()
    c.name = "tiny"
    c.model.depth = 2
    c.model.width = 32
    c.model.transformer.n_heads = 4
    c.data.name = "stdlib"
    c.data.seq_len = 128
    c.train.batch_size = 32
    c.train.duration = "100 steps" if variant == "small" else "2M tokens"
    c.eval.n_rows = 64 if variant == "small" else 256
    return c
