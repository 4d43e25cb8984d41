"""What the columns of a table of runs are: settings, names of runs, or outcomes.

By name where the field has a usual one (`config.optim.peak_lr`, `optim/lr`, `Batch Size`), else by
how the values repeat. A wrong guess costs a sentence, never a row.
"""

import re
from types import MappingProxyType

import pandas as pd

# Searched in the name in lower case with "_" for every other sign: config_optim_peak_lr.
_NAMES = MappingProxyType(
    {
        "schedule": r"(^|_)(schedules?|scheduler|warmup|cooldown|decay|anneal\w*)(_|$)",
        "weight_decay": r"(^|_)(wd|weight_decay)(_|$)",
        "lr": r"(^|_)(lr|lrs|learning_rate|learningrate|eta)(_|$)",
        "batch": r"(^|_)(batch|bs|bsz|batchsize|batch_size)(_|$)",
        "seed": r"(^|_)(seeds?|rng)(_|$)",
        "optimiser": r"(^|_)(optim|optimizer|optimiser|optim_name|optimizer_name)$|"
        r"(^|_)(beta_?[12]|momentum|dropout)$",
        "data": r"(^|_)(data|datasets?|corpus|source|mixture|data_name|fingerprint)$|"
        r"(^|_)(dataset|corpus)_name$",
        "tokenizer": r"(^|_)(tokeni[sz]er|vocab|vocabulary)(_name|_size)?$|(^|_)n_vocab$",
        "group": r"(^|_)(group|experiment|study|suite|condition)$",
        "architecture": r"(^|_)(arch|architecture|family|model_type|model_name|router_type)$",
        "objective": r"(^|_)(objective|objective_name|loss_type|task)$",
    }
)
MIXED = ("data", "tokenizer", "group", "architecture", "objective")  # rows of several are a mixture
_RUNS = ("run_id", "run", "run_name", "name", "id", "run_path", "display_name")
# Facts about a run that nobody chose, by the words in a column's name.
_OUTCOMES = re.compile(
    r"(^|_)(\w*loss\w*|acc|accuracy|ppl|perplexity|bpb|bits|score|metric|evals?|val|grad|norms?|"
    r"time|times|timestamp|runtime|wall|duration|created|finished|updated|host|hardware|device|"
    r"user|versions?|hash|commit|code|status|state|attempts?|tags|notes|url|path|dir|error|warnings|"
    r"divergence|nonfinite|skipped|throughput|schema|imported|parent|weight|runs?|name|id)(_|$)"
)


def kind_of(column: str) -> str | None:
    """ "lr", "batch", "seed", ... of a column by its name; None when the name says nothing."""
    name = _plain(column)
    for kind, pattern in _NAMES.items():
        # weight_decay is looked for before the other decays.
        if re.search(pattern, name) and not (kind == "schedule" and "weight_decay" in name):
            return kind
    return None


def run_column(table: pd.DataFrame) -> str | None:
    """The column that names the run of each row, or None: of several one whose names repeat."""
    plain = {c: _plain(c).removeprefix("extra_") for c in table.columns}
    named = [c for name in _RUNS for c in plain if plain[c] == name]
    return next((c for c in named if table[c].duplicated().any()), next(iter(named), None))


def is_setting(table: pd.DataFrame, column: str) -> bool:
    """Whether somebody chose the values of a column: known by name, or few values that repeat."""
    if kind_of(column) is not None:
        return True
    if _OUTCOMES.search(_plain(column)):
        return False
    if table[column].map(lambda v: isinstance(v, list | dict)).any():
        return False  # a record's lists, which are no level of anything
    return table[column].nunique(dropna=False) <= max(2, len(table) // 2)


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(column).lower()).strip("_")
