"""The table of a sweep directory: one row for every record.json below it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.analysis.tables.objects import flatten
from scaling.doors.reading import read_json
from scaling.doors.shapes import PLACES
from scaling.errors import UserError


def read_records(directory: Path) -> pd.DataFrame:
    """Every run, finished or not; groups and axes from the sweep.json. Raises UserError."""
    rows = []
    for path in sorted(directory.rglob("record.json")):
        try:
            rows.append(flatten(read_json(path)))
        except UserError:
            rows.append({"status": "unreadable record"})
    started = {p.parent for p in directory.rglob("config.json")}
    waiting = len(started - {p.parent for p in directory.rglob("record.json")})
    rows += [{"status": "without a record"}] * waiting
    if not rows:
        raise UserError(f"{directory} holds no record.json: not a sweep directory?")
    places = _places(directory)
    table = pd.DataFrame([row | places.get(row.get("run_id"), {}) for row in rows])
    if {"n_params", "n_tokens"} <= set(table.columns):  # the multiplier of over-training laws
        table["tokens_per_param"] = table["n_tokens"] / table["n_params"]
    # Our own records count what they say they count.
    table.attrs["units"] = dict.fromkeys(map(str, table.columns), "as recorded")
    return table


def _places(directory: Path) -> dict[str, dict[str, Any]]:
    """run_id -> group and axes (axis.width), for a directory with a sweep.json."""
    path = directory / "sweep.json"
    if not path.is_file():
        return {}
    return {
        run["run_id"]: {"group": groups_of(run)} | flatten(run.get("axes", {}), "axis.")
        for run in read_json(path, PLACES)["runs"]
    }


def groups_of(run: Mapping[str, Any]) -> str:
    """The groups of an entry of sweep.json, joined by "+": a run may be in several."""
    return "+".join(filter(None, (run.get("group"), *run.get("also_in", ()))))
