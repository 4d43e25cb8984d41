"""Other people's exports, each recognised by what it holds and read into rows and plain columns.

A format is one file here and one line below: a `Format` that says whether a source is its own and
reads it. Files and folders are asked before anything is parsed, tables afterwards.
"""

from pathlib import Path

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format
from scaling.registry import Registry

_HERE = "scaling.analysis.tables.foreign"
FILES = Registry(
    "file format",
    {
        "lm_eval": f"{_HERE}.lm_eval:LM_EVAL",
        "bigbench": f"{_HERE}.bigbench:BIGBENCH",
    },
)
TABLES = Registry(
    "table format",
    {
        "dict_cells": f"{_HERE}.dict_cells:DICT_CELLS",
        "wandb_chart": f"{_HERE}.wandb_chart:WANDB_CHART",
        "nanochat": f"{_HERE}.nanochat:NANOCHAT",
        "olmo": f"{_HERE}.olmo:OLMO",
    },
)


def format_of(path: str | Path) -> Format | None:
    """The format of a file or folder that is not a table yet, or None."""
    path = Path(path)
    formats = map(FILES.load, FILES)
    return next((f for f in formats if f.recognise(path)), None)


def translate(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A table that was read -> the table meant, and what was done. `.attrs["hint"]` keeps what is
    worth saying when a column is missing."""
    notices: list[str] = []
    for name in TABLES:
        found = TABLES.load(name)
        if found.recognise(table):
            table, said = found.read(table)
            notices += said
            table.attrs["hint"] = "; ".join(said)
    return table, notices
