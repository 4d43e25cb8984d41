"""What the studies in this directory share: the base run at three scales, chosen by a variant.

laptop   bytes of Python's own source, models of 3 layers, float32
h200     token files of your own (GPT-2's vocabulary, padded), Llama-like models, bfloat16
tpu      the same on a slice of 16; blocks are recomputed in the backward pass. The mesh is no part
         of a run: give --mesh=fsdp:16 to plan and sweep

The token files are named with --config.groups.GROUP.base.data.tokens.paths="('train-*.bin',)".
To see the price without them: scaling plan ... --vocab-size=50304.
"""

from scaling.errors import unknown
from scaling.resolve import default_config

VARIANTS = ("laptop", "h200", "tpu")


def base(variant: str):
    """(config of the base run, name of the recipe). Raises UserError for an unknown variant."""
    variant = variant or "laptop"
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    c = default_config()
    if variant == "laptop":
        c.data.seq_len = 128
        return c, "one_depth"
    c.data.name = "tokens"
    c.data.seq_len = 1024
    c.data.tokens.paths = ("data/train-*.bin",)
    c.data.tokens.vocab_size = 50304
    c.data.tokens.separator = 50256
    c.model.dtype = "bfloat16"
    c.eval.n_rows = 1024
    # Step Law's batch is any number of rows; these divide into microbatches, and over 16 devices.
    c.train.batch_size = 128
    c.train.n_microbatches = 4
    if variant == "tpu":
        c.model.transformer.remat = "block"
        c.train.batch_size = 512
    return c, "step_law"
