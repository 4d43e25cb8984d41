"""Histories of OLMo runs as allenai/OLMo-ladder stores them (src/scaling/download_wandb_logs.py).

One file a run, named by its size (190M-1xC.csv): _step, eval/SET/CrossEntropyLoss,
eval/downstream/TASK, throughput/total_tokens, throughput/total_training_Gflops,
optim/learning_rate_group0, learning_rate_peak, batch_size_in_tokens.
"""

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format

_TOKENS, _GFLOPS = "throughput/total_tokens", "throughput/total_training_Gflops"
_LOSS = "/CrossEntropyLoss"


def _recognise(table: pd.DataFrame) -> bool:
    return _TOKENS in table and any(str(name).endswith(_LOSS) for name in table)


def _read(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    made = {}
    if "n_tokens" not in table:
        made["n_tokens"] = table[_TOKENS]
    if "flops" not in table and _GFLOPS in table:
        made["flops"] = 1e9 * pd.to_numeric(table[_GFLOPS], errors="coerce")
    loss = next(str(name) for name in table if str(name).endswith(_LOSS))
    missing = "" if "n_params" in table else "; the size is in the file's name only: add n_params"
    return table.assign(**made), [
        f"this is the history of an OLMo run: {' and '.join(made) or 'nothing'} made of its "
        f"throughput columns; losses are per set, as in --map loss={loss}{missing}"
    ]


OLMO = Format("the history of an OLMo run", _recognise, _read)
