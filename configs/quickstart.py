"""The main job: a law on real text, a law whose floor is known, an ability that appears.

scaling plan  --config=configs/quickstart.py
scaling sweep --config=configs/quickstart.py --out=runs/quickstart      # 13 minutes on 2 cores
scaling report runs/quickstart
scaling sweep --config=configs/quickstart.py:small --out=runs/small     # every part, no science

text: Python's own source as bytes; six sizes of one shape rule, five budgets that share a trunk,
two seeds. One depth, batches of 1,024 tokens and a tuned optimiser, because ladders of mixed depth
miss their largest size by 2-5 % and large batches bend the curves. The law is fitted above 0.5M
tokens (up to there seeds differ by 1 % of the loss) and above one head of 8.
truth: a Markov chain of order 2, of known entropy: the fitted floor beside the truth.
cipher: see emergence_cipher.py. Why all this: experiments/LOG.md.
"""

from configs import emergence_cipher
from scaling.errors import unknown
from scaling.resolve import default_config
from scaling.sweep import designs

ONE_HEAD = ("n_params > 7e3",)  # leaves out width 8


def get_config(variant: str = ""):
    if variant not in ("", "small"):
        raise unknown("variant", variant, ("small",))
    if variant == "small":
        text = _ladder("stdlib", (8, 16, 24), ("30K tokens", "64K tokens", "128K tokens"), rows=128)
        truth = _ladder("markov", (8, 16, 24), ("30K tokens", "128K tokens"), rows=128)
        cipher = emergence_cipher.get_config("tiny").groups.cipher
    else:
        text = _ladder(
            "stdlib",
            (8, 16, 24, 32, 48, 64),
            ("0.5M tokens", "1M tokens", "1.5M tokens", "2.5M tokens", "4M tokens"),
            seeds=(0, 1),
            fit_where=("n_tokens > 6e5", *ONE_HEAD),
        )
        budgets = ("0.7M tokens", "1M tokens", "1.5M tokens", "3M tokens")
        truth = _ladder("markov", (8, 16, 24, 32), budgets, fit_where=ONE_HEAD)
        cipher = emergence_cipher.get_config("seeds").groups.cipher
    text.title = "Python's standard library, as bytes"
    truth.title = "A Markov chain of known entropy"
    truth.base.data.markov.update(vocab_size=16, order=2, concentration=0.3)
    name = "quickstart-small" if variant == "small" else "quickstart"
    return designs.sweep(name, text=text, truth=truth, cipher=cipher)


def _ladder(source: str, widths, budgets, *, rows: int = 1024, **rest):
    base = default_config()
    base.data.name = source
    base.data.seq_len = 128
    base.eval.n_rows = rows
    rest = {"trunk": True, "holdout": "largest n_params", **rest}
    return designs.parametric(base, "one_depth", widths=widths, budgets=budgets, **rest)
