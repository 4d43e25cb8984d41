"""BIG-bench's `scores_*.json`, recognised; `scaling.analysis.bigbench` reads them."""

from pathlib import Path

import pandas as pd

from scaling.analysis.bigbench import load_scores
from scaling.analysis.tables.foreign.formats import Format

_OURS = ("sweep.json", "config.json", "record.json")


def _recognise(path: Path) -> bool:
    if path.is_dir():
        ours = any((path / name).exists() for name in _OURS)
        return not ours and any(path.rglob("scores_*.json"))
    return path.name.startswith("scores_") and path.suffix == ".json"


def _read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    return load_scores(path), []


BIGBENCH = Format("scores of BIG-bench", _recognise, _read)
