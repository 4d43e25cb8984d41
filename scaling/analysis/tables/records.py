"""The table of a sweep directory: one row for every record.json below it.

What a run of a sweep is called in any table, here, of probes, of `scaling runs` and of the report,
is said once: `place_of` its entry in sweep.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.analysis.tables.objects import flatten
from scaling.doors.reading import read_json
from scaling.doors.schemas import PLACES
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
    places = read_places(directory)
    table = pd.DataFrame([row | places.get(row.get("run_id"), {}) for row in rows])
    if {"n_params", "n_tokens"} <= set(table.columns):  # the multiplier of over-training laws
        table["tokens_per_param"] = table["n_tokens"] / table["n_params"]
    # Our own records count what they say they count.
    table.attrs["units"] = dict.fromkeys(map(str, table.columns), "as recorded")
    return table


def read_places(directory: Path) -> dict[str, dict[str, Any]]:
    """run_id -> `place_of` it, of the sweep.json in a directory; {} where there is none."""
    path = directory / "sweep.json"
    if not path.is_file():
        return {}
    return {run["run_id"]: place_of(run) for run in read_json(path, PLACES)["runs"]}


def place_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of an entry of sweep.json: group (several are joined by "+"), and for every axis its
    value, axis.width; JSON text where it is no scalar."""
    groups = "+".join(filter(None, (run["group"], *run.get("also_in", ()))))
    return {"group": groups} | {f"axis.{k}": _cell(v) for k, v in run.get("axes", {}).items()}


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
