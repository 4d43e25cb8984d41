"""IPA transliteration on open models: the exact match is silent where BLEU already climbs."""

import numpy as np

from experiments.replications.page import COLOURS, Page, Row, published, write
from experiments.replications.wei_open_models import EDGES, medians
from scaling.analysis.emergence import analyse
from scaling.analysis.emergence.result import Break
from scaling.analysis.emergence.shapes import SMOOTH
from scaling.analysis.emergence.wording import law

ITEMS = 1003  # every exact match of the table is a whole number of 1,003, but for two models
BLEU = (0.073, 0.072, 0.167, 0.84, 4.0, 35.0, 45.0, 59.0)
SLACK = (6e-4, 6e-4, 6e-4, 6e-3, 0.06, 0.6, 0.6, 0.6)  # about half a unit of the last digit
RANGES = ("< 1e21", "1e21–5e21", "5e21–2e22", "2e22–5e22", "5e22–1.5e23", "1.5e23–5e23",
          "5e23–1e24", "> 1e24")  # fmt: skip
MIS_SCALED = ("Qwen/Qwen-7B", "Qwen/Qwen-14B")


def _gradual(tested: Break) -> float:
    """The largest p-value of the families whose gain never picks up."""
    return max(f.p_value for f in tested.families if SMOOTH[f.name].gradual)


def replicate() -> Page:
    table = published("open_models_emergent.csv")
    table = table[table["flops"].notna()]
    flops = table["flops"].to_numpy()
    bleu = medians(table["ipa_bleu"].to_numpy(), flops)
    match = medians(table["ipa_exact_match"].to_numpy(), flops)
    rows = [
        Row(f"BLEU, {name}", printed, found, slack)
        for name, printed, found, slack in zip(RANGES, BLEU, bleu, SLACK, strict=True)
    ]
    rows += [
        Row(f"exact match, {name}", 0.0, found, 0.0)
        for name, found in zip(RANGES[:3], match[:3], strict=True)
    ]
    silent = table[flops < 2e22].dropna(subset=["ipa_bleu", "ipa_exact_match"])
    at = np.log(silent["flops"])
    climb = float(np.corrcoef(at.rank(), silent["ipa_bleu"].rank())[0, 1])
    sound = table[~table["model"].isin(MIS_SCALED)]
    options = {"chance": 0.0, "n_items": ITEMS, "bins": EDGES, "draws": 400, "above": 0.005}
    exact = analyse(sound, "ipa_exact_match", "flops", **options)
    smooth = analyse(sound, "ipa_bleu", "flops", chance=0.0, ceiling=100.0, bins=EDGES, draws=400)
    tested = exact.breaks["ipa_exact_match"], smooth.breaks["ipa_bleu"]
    rising = [b.picks_up for b in tested]
    rows.append(Row("metrics whose gain picks up, of the two", 2, sum(rising), 0))
    qwen = table[table["model"].isin(MIS_SCALED)]
    ratio = (qwen["ipa_bleu"] / (100 * qwen["ipa_exact_match"])).round(3).tolist()
    others = sound[sound["ipa_exact_match"] > 0.05]
    usual = float((others["ipa_bleu"] / (100 * others["ipa_exact_match"])).median())
    remarks = [
        "The continuous metric moves earlier: below 2e22 FLOPs, where the median exact match is 0, "
        f"the rank correlation of BLEU with compute is {climb:.2f} ({len(silent)} models).",
        "Yet the gain of BLEU picks up with scale as that of the exact match does: for both a "
        "straight line and a saturating power law are rejected (largest p "
        f"{max(_gradual(b) for b in tested):.3f}, parametric bootstrap with the spread between "
        "models as noise). So the rise of the exact match is in part its all-or-nothing counting, "
        "in part there. Neither is a break: "
        + "; ".join(f"{b.metric}: {law(b)}" for b in tested)
        + f". The exact match is above half a per cent from {exact.onset.x:.2g} FLOPs on.",
        f"BLEU of Qwen-7B and 14B looks mis-scaled: it is {ratio[0]} and {ratio[1]} times their "
        f"exact match in per cent; the median of the other models above 5 % is {usual:.1f}. They "
        "are left out of the curves, not of the medians.",
    ]

    def draw(axes):
        for ax, column, found in (
            (axes[0], "ipa_exact_match", exact),
            (axes[1], "ipa_bleu", smooth),
        ):
            ax.plot(table["flops"], table[column], ".", color="0.7", label="models")
            middle = [np.median(v.values) for v in found.levels]
            ax.plot([v.x for v in found.levels], middle, "o-", color=COLOURS[0], label="median")
            odd = table[table["model"].isin(MIS_SCALED)]
            ax.plot(odd["flops"], odd[column], "x", color=COLOURS[1], label="Qwen-7B, 14B")
            ax.set(xscale="log", xlabel="training compute (FLOPs)")
        axes[0].set_ylabel("exact match")
        axes[1].set(yscale="log", ylabel="BLEU of the same outputs")
        for ax in axes:
            ax.legend(fontsize=7)

    return Page(
        "IPA transliteration: exact match against BLEU",
        "Ruan et al. 2024 (arXiv:2405.10938), open base models, 2-shot; the question is that of "
        "Schaeffer et al. 2023 (arXiv:2304.15004).",
        "Medians per bin of training compute of two metrics of the same outputs.",
        rows,
        remarks,
        draw,
    )


if __name__ == "__main__":
    write(replicate, __file__)
