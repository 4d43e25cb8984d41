"""Whether a run is finished, in everybody's words: ours, Weights & Biases, Slurm, MLflow, Ray."""

import difflib
import re
from collections import Counter
from types import MappingProxyType

import numpy as np
import pandas as pd

from scaling.analysis.tables.cells import missing, row_names
from scaling.analysis.tables.names import quoted
from scaling.errors import UserError

# word -> our status (the five of a record). Case, "_", "-" and blanks do not matter.
WORDS = MappingProxyType(
    dict.fromkeys(("complete", "completed", "finished", "success", "succeeded", "successful",
                   "done", "ok"), "complete")
    | dict.fromkeys(("running", "pending", "queued", "scheduled", "configuring", "completing",
                     "submitted", "starting", "resizing", "requeued", "in progress", "inprogress",
                     "initializing", "created", "waiting"), "running")
    | dict.fromkeys(("interrupted", "killed", "preempted", "preempting", "cancelled", "canceled",
                     "timeout", "timed out", "deadline", "stopped", "stopping", "aborted",
                     "suspended", "paused", "revoked"), "interrupted")
    | dict.fromkeys(("failed", "fail", "failure", "crashed", "crash", "error", "errored",
                     "node fail", "boot fail", "out of memory", "outofmemory", "oom",
                     "launch failed", "without a record", "unreadable record"), "failed")
    | dict.fromkeys(("diverged", "divergence"), "diverged")
)  # fmt: skip
COLUMNS = ("status", "state", "runstatus", "runstate", "jobstatus", "jobstate")


def canonical(word: object) -> str | None:
    """Our status for somebody's word, or None for a word that is no status."""
    text = " ".join(re.sub(r"[\s_-]+", " ", str(word)).split()).lower().rstrip("+")
    # Slurm: "CANCELLED by 1000".
    return WORDS.get(text) or WORDS.get(re.sub(r" by \d+$", "", text))


def is_complete(word: object) -> bool:
    return canonical(word) == "complete"


def is_name(name: object) -> bool:
    """Whether a column of this name may tell how runs ended."""
    return re.sub(r"[\s_-]+", "", str(name)).lower() in COLUMNS


def find(table: pd.DataFrame) -> tuple[object | None, list[str]]:
    """The column that tells how runs ended, or None, and what is worth saying. One that is not
    called `status` counts only by its words.

    Raises UserError for a word that is no status in a column of them, and for numbers."""
    plain = {name: re.sub(r"[\s_-]+", "", str(name)).lower() for name in table.columns}
    names = [name for name in plain if plain[name] in COLUMNS]
    for name in sorted(names, key=lambda name: (name != "status", COLUMNS.index(plain[name]))):
        words = table[name]
        there = ~missing(words)
        strange = there & np.array([canonical(word) is None for word in words], bool)
        if not there.any() or (name != "status" and strange.sum() * 2 > there.sum()):
            continue
        if strange.any() and pd.api.types.is_numeric_dtype(words) and words[there].nunique() == 1:
            return None, [f"column 'status' holds the number {words[there].iloc[0]} only: not read"]
        if strange.any():
            raise _strange(name, words, strange)
        return name, []
    return None, []


def _strange(name: object, words: pd.Series, strange: np.ndarray) -> UserError:
    first, rows = words[strange].iloc[0], row_names(words.index, strange)
    there = f"--where {quoted(str(name))}={quoted(str(first))}"
    if pd.api.types.is_numeric_dtype(words):
        return UserError(
            f"column {str(name)!r} holds numbers ({first} in {rows}), not words: say which rows "
            f"count, as in {there}"
        )
    near = difflib.get_close_matches(str(first).lower(), WORDS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"unknown status {str(first)!r} in column {str(name)!r}, {rows}; {hint}known: "
        f"{', '.join(sorted(WORDS))}; to use these rows all the same: {there}"
    )


def keep_complete(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out the rows whose status is not complete, and says how many of which kind."""
    name, notices = find(table)
    if name is None:
        return table, notices
    words = table[name].where(~missing(table[name]), "without a status")
    bad = ~np.array([is_complete(word) for word in words], bool)
    if not bad.any():
        return table, notices
    kinds = ", ".join(f"{n} {word}" for word, n in Counter(map(str, words[bad])).most_common())
    if bad.all():
        raise UserError(f"no run is complete: {kinds}")
    where = "" if name == "status" else f" (column {str(name)!r})"
    return table[~bad], [f"{bad.sum()} of {len(table)} runs left out{where}: {kinds}"]
