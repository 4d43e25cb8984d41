"""The main job: a law on real text, a law whose floor is known, an ability that appears.

scaling plan  --config=configs/quickstart.py
scaling sweep --config=configs/quickstart.py --out=runs/quickstart      # 9 minutes on 2 cores
scaling report runs/quickstart
scaling sweep --config=configs/quickstart.py:small --out=runs/small     # every part, no science

text: Python's own source as bytes; seven sizes of one shape rule, four budgets that share a trunk,
two seeds of what the law is fitted to. One depth, batches of 1,024 tokens and a tuned optimiser,
because ladders of mixed depth miss their largest size by 2-5 % and large batches bend the curves.
Luck is .7 % of the loss at width 32 and stays with its trunk for good, so seeds and a size near the
largest buy more than budgets. Fitted above 0.5M tokens and above one head of 8.
truth: a Markov chain of order 2, of known entropy, that all sizes could represent: the fitted floor
beside the truth.
cipher: see emergence_cipher.py. Why all this: experiments/LOG.md.
"""

from configs import emergence_cipher
from scaling.errors import unknown
from scaling.resolve import default_config
from scaling.sweep import designs

SEEDS = {8: 1, 16: 2, 24: 2, 32: 2, 48: 2, 56: 2, 64: 1}  # width: seeds


def get_config(variant: str = ""):
    if variant not in ("", "small"):
        raise unknown("variant", variant, ("small",))
    if variant == "small":
        budgets = ("30K tokens", "64K tokens", "128K tokens")
        text = _ladder("stdlib", {8: 1, 16: 1, 24: 1}, budgets, rows=128)
        truth = _ladder(
            "markov", {8: 1, 16: 1, 24: 1}, budgets[::2], rows=128, law="multiplicative"
        )
        cipher = emergence_cipher.get_config("tiny").groups.cipher
    else:
        budgets = ("0.5M tokens", "1M tokens", "2M tokens", "4M tokens")
        text = _ladder("stdlib", SEEDS, budgets, fit_where=("n_tokens > 6e5", "n_params > 7e3"))
        budgets = ("0.8M tokens", "1.5M tokens", "2.5M tokens", "4M tokens")
        truth = _ladder("markov", {16: 1, 24: 1, 40: 1}, budgets, law="multiplicative")
        cipher = emergence_cipher.get_config("seeds").groups.cipher
    text.title = "Python's standard library, as bytes"
    truth.title = "A Markov chain of known entropy"
    truth.base.data.markov.update(vocab_size=16, order=2, concentration=0.3)
    name = "quickstart-small" if variant == "small" else "quickstart"
    return designs.sweep(name, text=text, truth=truth, cipher=cipher)


def _ladder(source: str, seeds: dict[int, int], budgets, *, rows: int = 1024, **rest):
    base = default_config()
    base.data.name = source
    base.data.seq_len = 128
    base.eval.n_rows = rows
    points = [{"width": width, "seed": seed} for width, n in seeds.items() for seed in range(n)]
    rest = {"law": "chinchilla", "trunk": True, "holdout": "largest n_params", **rest}
    return designs.group(base, "one_depth", axes={"budget": budgets}, points=points, **rest)
