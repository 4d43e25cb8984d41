"""Reading tables: one row a point, from a file, a sweep directory or a DataFrame.

Functions that notice something worth saying return it beside the table as a list of sentences, so
that it ends up in `Fit.warnings`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.errors import UserError
from scaling.reading import loads, read_json
from scaling.shapes import PLACES

_READABLE = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".pq")
_FINISHED = ("complete", "completed")


def load(source: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Reads CSV, TSV, JSONL, Parquet (also .gz) or a sweep directory (every record.json below it).

    Returns the table and what was noticed: torn lines, runs that are incomplete or diverged and
    were left out. Raises UserError when nothing can be read."""
    table, notices = read(source)
    table, more = _drop_unfinished(table)
    return table, notices + more


def read(source: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """Like `load`, with every row that is there, finished or not."""
    path = Path(source)
    if path.is_dir():
        return _read_records(path), []
    if not path.is_file():
        raise UserError(f"no such file or directory: {path}")
    name = path.name.removesuffix(".gz")
    if not name.endswith(_READABLE):
        raise UserError(f"{path}: not .csv, .tsv, .jsonl, .parquet or a directory")
    notices: list[str] = []
    try:
        if name.endswith((".jsonl", ".ndjson")):
            table, notices = _read_jsonl(path)
        elif name.endswith((".parquet", ".pq")):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep="\t" if name.endswith(".tsv") else ",")
    except (ValueError, OSError) as error:  # pandas and pyarrow derive their errors from these
        raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    except ImportError:
        raise UserError(f"cannot read {path}: Parquet needs `pip install pyarrow`") from None
    if table.empty:
        raise UserError(f"{path} holds no rows")
    return table, notices


def _read_jsonl(path: Path) -> tuple[pd.DataFrame, list[str]]:
    text = pd.io.common.get_handle(path, "r", compression="infer", encoding="utf-8")
    rows, torn = [], 0
    with text as handle:
        for line in handle.handle:
            if not line.strip():
                continue
            try:
                rows.append(_flatten(loads(line, path.name)))
            except UserError:
                torn += 1
    notices = [f"{torn} line(s) of {path.name} are not JSON objects and were skipped"] * bool(torn)
    return pd.DataFrame(rows), notices


def _read_records(directory: Path) -> pd.DataFrame:
    rows = []
    for path in sorted(directory.rglob("record.json")):
        try:
            rows.append(_flatten(read_json(path)))
        except UserError:
            rows.append({"status": "unreadable record"})
    started = {p.parent for p in directory.rglob("config.json")}
    waiting = len(started - {p.parent for p in directory.rglob("record.json")})
    rows += [{"status": "without a record"}] * waiting
    if not rows:
        raise UserError(f"{directory} holds no record.json: not a sweep directory?")
    places = _places(directory)
    return pd.DataFrame([row | places.get(row.get("run_id"), {}) for row in rows])


def _places(directory: Path) -> dict[str, dict[str, Any]]:
    """run_id -> group and axes (axis.width), for a directory with a sweep.json."""
    path = directory / "sweep.json"
    if not path.is_file():
        return {}
    return {
        run["run_id"]: {"group": groups_of(run)} | _flatten(run.get("axes", {}), "axis.")
        for run in read_json(path, PLACES)["runs"]
    }


def groups_of(run: Mapping[str, Any]) -> str:
    """The groups of an entry of sweep.json, joined by "+": a run may be in several."""
    return "+".join(filter(None, (run.get("group"), *run.get("also_in", ()))))


def _flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys become dotted columns: params.total. Lists are left out."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat


def _drop_unfinished(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out the rows whose `status` is not complete, and says how many of which kind."""
    if "status" not in table:
        return table, []
    status = table["status"].astype(str)
    bad = ~status.isin(_FINISHED)
    if not bad.any():
        return table, []
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(status[bad]).most_common())
    if bad.all():
        raise UserError(f"no run is complete: {kinds}")
    return table[~bad], [f"{bad.sum()} of {len(table)} runs left out: {kinds}"]


def as_table(source: Any) -> tuple[pd.DataFrame, list[str]]:
    """A path, a DataFrame or a mapping of columns -> (a fresh DataFrame, notices)."""
    if isinstance(source, str | Path):
        return load(source)
    return _drop_unfinished(pd.DataFrame(source).copy(deep=False))
