"""What other people call our columns: a --map to propose where one is missing."""

import re
from collections.abc import Iterable, Sequence
from types import MappingProxyType

# In order of preference, searched in the plain name: model.n_params -> model_n_params.
_ALIASES = MappingProxyType(
    {
        "n_params": (
            r"(^|_)(n|num|total)_(params|parameters)$",
            r"(^|_)params_total$",
            r"(^|_)(params|parameters|param_count|model_size|n)$",
        ),
        "n_tokens": (
            r"(^|_)(n|num|total|train|training)_tokens$",
            r"(^|_)tokens(_(seen|trained|total|processed))?$",
            r"^d$",
        ),
        "flops": (
            r"(^|_)(total_|train_|training_)?flops$",
            r"(^|_)(flops_budget|compute)$",
            r"^c$",
        ),
        "loss": (
            r"(^|_)(val|valid|validation|eval|test|dev|heldout)_(loss|crossentropyloss|ce)$",
            r"^loss_(val|valid|validation|eval|test)",
            r"(^|_)(val|valid|validation|eval)_bpb$",
            r"(^|_)(crossentropyloss|cross_entropy|bits_per_byte|loss)$",
            r"^l$",
        ),
        "accuracy": (r"(^|_)(acc|accuracy|exact_match)(_none)?$",),
    }
)


def proposal(columns: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """{our name: the column that looks like it} for those of `wanted` that one is found for."""
    columns = list(map(str, columns))
    found: dict[str, str] = {}
    for ours in wanted:
        for pattern in _ALIASES.get(ours, ()):
            match = [
                c for c in columns if c not in found.values() and re.search(pattern, _plain(c))
            ]
            if match:
                found[ours] = min(match, key=len)
                break
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
