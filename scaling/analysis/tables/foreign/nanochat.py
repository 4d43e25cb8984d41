"""results.csv of karpathy/nanochat: runs/scaling_laws.sh and runs/miniseries.sh (MIT).

Columns read off these scripts (commit 92d63d4): [flops_budget,] depth, model_dim, params_wte,
params_value_embeds, params_lm_head, params_transformer, params_scalars, params_total (or
num_params, num_scaling_params), num_iterations, tokens_trained, val_bpb, core_score,
train_time_sec. A CORE of 0.0 is written where the log held none.
"""

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format

_NEEDED = {"depth", "model_dim", "tokens_trained", "val_bpb"}
_OURS = {
    "n_params": ("params_total", "num_params"),
    "n_tokens": ("tokens_trained",),
    "flops": ("flops_budget",),
}


def _recognise(table: pd.DataFrame) -> bool:
    return set(table.columns) >= _NEEDED


def _read(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    found = {
        ours: next((t for t in theirs if t in table), None)
        for ours, theirs in _OURS.items()
        if ours not in table
    }
    found = {ours: theirs for ours, theirs in found.items() if theirs}
    table = table.assign(**{ours: table[theirs] for ours, theirs in found.items()})
    said = ", ".join(f"{ours} is {theirs}" for ours, theirs in found.items())
    own = {"params_transformer", "params_lm_head"} <= set(table.columns)
    said += " (nanochat's own analysis takes params_transformer + params_lm_head)" * own
    notices = [
        f"these are results of nanochat: {said}; its loss is in bits a byte (--map loss=val_bpb: "
        "E, A and B are then in bits a byte too)"
    ]
    if "core_score" in table and (lost := (table["core_score"] == 0).sum()):
        table["core_score"] = table["core_score"].where(table["core_score"] != 0)
        notices.append(f"core_score is 0.0 in {lost} row(s): nanochat's sign for none")
    return table, notices


NANOCHAT = Format("results of nanochat", _recognise, _read)
