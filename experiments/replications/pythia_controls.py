"""Pythia's negative controls: LAMBADA rises smoothly and examples hurt it, MMLU stays at chance."""

import pandas as pd

from experiments.replications.page import COLOURS, Page, Row, published, write
from experiments.replications.pythia_arithmetic import N_PARAMS
from scaling.analysis.emergence import analyse
from scaling.analysis.emergence.plots import curve

MODELS = {"pythia-70m": 70426624, "pythia-160m": N_PARAMS["160M"], "pythia-410m": N_PARAMS["410M"],
          "pythia-1b-bf16": N_PARAMS["1B"], "pythia-1.4b": N_PARAMS["1.4B"],
          "pythia-2.8b": N_PARAMS["2.8B"], "pythia-6.9b": N_PARAMS["6.9B"],
          "pythia-12b": N_PARAMS["12B"]}  # fmt: skip
LAMBADA = (0.185, 0.328, 0.516, 0.562, 0.616, 0.647, 0.673, 0.705)
ITEMS = {"lambada_openai": 5153, "mmlu57_macro": 14042}
FINAL = 143000
TOLERANCE = 0.00051
BAND = (0.25, 0.30)  # where MMLU stays


def load(task: str) -> pd.DataFrame:
    table = published("pythia_evals.csv")
    table = table[(table["task"] == task) & table["model"].isin(MODELS)]
    return table.assign(n_params=table["model"].map(MODELS)).sort_values("n_params")


def replicate() -> Page:
    words, mmlu = (load(task).query("step == @FINAL") for task in ITEMS)
    zero, five = (words[words["shots"] == s].set_index("model")["acc"] for s in (0, 5))
    rows = [
        Row(f"LAMBADA zero-shot, {name[7:]}", printed, zero[name], TOLERANCE)
        for name, printed in zip(MODELS, LAMBADA, strict=True)
    ]
    rows.append(Row("sizes where five-shot LAMBADA is below zero-shot", 8, (five < zero).sum(), 0))
    everything = load("mmlu57_macro")
    lowest, highest = mmlu["acc"].min(), mmlu["acc"].max()
    rows.append(Row("MMLU, lowest final", BAND[0], lowest, 0.0065))
    rows.append(Row("MMLU, highest final", BAND[1], highest, 0.005))
    smooth = analyse(words[words["shots"] == 0], "acc", chance=0.0, title="LAMBADA, zero-shot",
                     n_items=ITEMS["lambada_openai"])  # fmt: skip
    examples = analyse(words[words["shots"] == 5], "acc", chance=0.0, title="LAMBADA, five-shot",
                       n_items=ITEMS["lambada_openai"])  # fmt: skip
    flat = analyse(mmlu[mmlu["shots"] == 5], "acc", chance=0.25, title="MMLU, five-shot",
                   n_items=ITEMS["mmlu57_macro"])  # fmt: skip
    tested = smooth.breaks["acc"]
    rows.append(Row("breaks of zero-shot LAMBADA over size", 0, int(tested.bends), 0))
    left = [f.name for f in tested.families if not f.rejected]
    remarks = [
        f"LAMBADA: verdict {smooth.verdict}. {len(left)} of {len(tested.families)} smooth laws "
        f"are not rejected ({', '.join(left)}); emergence score "
        f"{smooth.scores['emergence'].value:.1f}, linearity "
        f"{smooth.scores['linearity'].value:.1f} of at most 7.",
        f"MMLU: verdict {flat.verdict}. With 14,042 questions .28 is significantly above .25, "
        "so the largest models are not at chance; a jump within one step explains the rise as "
        f"well as a smooth law does, but it is one of {highest - 0.25:.3f} in all. 'Flat' is a "
        "statement about size of effect, not about significance. "
        + (f"Onset {flat.onset.x:.2g} parameters." if flat.onset else "No onset."),
        f"Over all checkpoints MMLU lies between {everything['acc'].min():.3f} and "
        f"{everything['acc'].max():.3f}.",
    ]

    def draw(axes):
        curve(smooth, axes[0], label="zero-shot")
        curve(examples, axes[0], label="five-shot", colour=COLOURS[1])
        handles, labels = axes[0].get_legend_handles_labels()
        keep = {k: h for h, k in zip(handles, labels, strict=True) if not k.startswith("onset")}
        axes[0].legend(keep.values(), keep.keys(), fontsize=7)
        axes[0].set(title="LAMBADA", ylabel="accuracy")
        curve(flat, axes[1])
        axes[1].set(title="MMLU, five-shot", ylim=(0, 1), ylabel="accuracy")

    return Page(
        "Pythia: two negative controls",
        "Biderman et al. 2023 (arXiv:2304.01373), EleutherAI/pythia @ a19eecb.",
        "Accuracy at the last checkpoint of eight models; items of lambada_openai: 5,153, of MMLU "
        "14,042 (57 subjects, averaged by subject).",
        rows,
        remarks,
        draw,
    )


if __name__ == "__main__":
    write(replicate, __file__)
