"""Chinchilla's table A4: exact training FLOPs over 6ND, for six models."""

from experiments.replications.page import COLOURS, Page, Row, write
from scaling.config import ModelConfig
from scaling.cost.accounting import param_counts
from scaling.models.transformer import TransformerOptions

# Width, MLP, head size, heads and depth of six of the paper's models, and the printed ratio.
MODELS = {
    "73M": (640, 2560, 64, 10, 10, 1.0250),
    "305M": (1024, 4096, 64, 16, 20, 1.1008),
    "552M": (1280, 5120, 128, 10, 24, 1.0829),
    "1.1B": (1792, 7168, 128, 14, 26, 1.0441),
    "1.6B": (2048, 8192, 128, 16, 28, 1.0329),
    "6.8B": (3584, 14336, 128, 28, 40, 0.9941),
}
VOCABULARY, CONTEXT = 32_000, 2_048


def appendix_f(model: ModelConfig, vocab_size: int, seq_len: int) -> dict[str, float]:
    """The lines of appendix F as forward FLOPs per token, summed over layers.

    Fewer key/value heads and a third MLP matrix, which the paper does not have, count as what
    they are: products of their real sizes.
    """
    own, D, L, T = model.options, model.width, model.depth, seq_len
    H, G, K = own.heads(model)
    mlp_matrices = 3 if own.activation == "swiglu" else 2
    return {
        "embedding": 2.0 * vocab_size * D,
        "qkv": 2.0 * L * D * K * (H + 2 * G),
        "kq_logits": 2.0 * L * T * K * H,
        "softmax": 3.0 * L * T * H,
        "reduction": 2.0 * L * T * K * H,
        "projection": 2.0 * L * K * H * D,
        "dense": 2.0 * L * mlp_matrices * D * own.hidden(model),
        "logits": 2.0 * D * vocab_size,
    }


def ratios(D: int, F: int, K: int, H: int, L: int) -> tuple[float, float]:
    """(layers only over 6N, the whole printed formula over 6N), N with the biases and relative
    positions of the paper's Transformer-XL."""
    own = TransformerOptions(n_heads=H, head_size=K, mlp_ratio=F / D, norm="layernorm")
    model = ModelConfig(depth=L, width=D, options=own)
    terms = appendix_f(model, VOCABULARY, CONTEXT)
    counts = param_counts(model, VOCABULARY, CONTEXT)
    biases = L * (4 * D + F + D) + L * 2 * D + D
    n = counts["embedding"] + counts["non_embedding"] + L * (D * D + 2 * D) + biases
    whole = sum(terms.values())
    return 3 * (whole - terms["embedding"] - terms["logits"]) / (6 * n), 3 * whole / (6 * n)


def replicate() -> Page:
    found = {name: ratios(*sizes[:5]) for name, sizes in MODELS.items()}
    rows = [Row(f"{name}: FLOPs / 6ND", MODELS[name][5], found[name][0], 5e-5) for name in MODELS]
    remarks = [
        "**The printed ratios do not come out of the printed formula.** They leave out the FLOPs "
        "of the embedding and of the logits, and count one vocabulary matrix in N. With all terms "
        "of appendix F the ratios are "
        + ", ".join(f"{whole:.3f} ({name})" for name, (_, whole) in found.items())
        + ". `scaling.cost.accounting` keeps the conventions apart; every record carries them all.",
    ]

    def draw(axes):
        for row, label, colour in ((0, "layers only", COLOURS[0]), (1, "all terms", COLOURS[1])):
            axes[0].plot(
                list(found), [r[row] for r in found.values()], "o-", color=colour, label=label
            )
        axes[0].plot(list(found), [m[5] for m in MODELS.values()], "k+", ms=12, label="printed")
        axes[0].axhline(1, color="black", lw=0.8)
        axes[0].set(ylabel="training FLOPs / 6ND")
        axes[0].legend(fontsize=7)

    return Page(
        "Chinchilla's table A4",
        "Hoffmann et al. 2022 (arXiv:2203.15556), appendix F.",
        f"Forward FLOPs of appendix F from the sizes, V = {VOCABULARY:,}, T = {CONTEXT:,}; "
        "training is three times that. The ratio is to 6N per token.",
        rows,
        remarks,
        draw,
        panels=1,
    )


if __name__ == "__main__":
    write(replicate, __file__)
