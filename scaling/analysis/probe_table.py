"""Probe results as a table: one row per run, probe label and group of items.

Columns: run_id, name, group, seed, n_params, n_params_non_embedding, n_tokens, flops, loss, label,
probe, step, every key of the groups (condition, shots, ...), n_items, chance, ceiling, ceiling_of,
and for every metric its mean `METRIC`, `METRIC_n` and `METRIC_sum_sq`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.analysis.tables.cells import numbers
from scaling.analysis.tables.foreign import format_of
from scaling.analysis.tables.read import as_table
from scaling.analysis.tables.records import read_places
from scaling.analysis.tables.status import is_complete
from scaling.analysis.tables.units import FRACTION
from scaling.doors.reading import read_json
from scaling.doors.schemas import FACTS, PROBE
from scaling.errors import UserError

_FACTS = ("run_id", "name", "n_params", "n_tokens", "flops", "loss")
RUN_COLUMNS = (
    *("run_id", "name", "group", "seed", "n_params", "n_params_non_embedding", "n_tokens"),
    *("flops", "loss", "step"),
)
_RECORD = {f"{name}?": shape for name, shape in FACTS.items()} | {"probes?": {str: PROBE}}


def load_probes(path: str | Path, *, steps: bool = False) -> pd.DataFrame:
    """Reads the probes of a sweep directory, a run directory, a table (as `as_table`), or
    files and folders of `tables.foreign`: results of lm-eval, scores of BIG-bench.

    A directory gives what every complete run was asked at its end, then or by `scaling probe`;
    `steps` adds the checkpoints before (probes/LABEL/step_*.json), also of unfinished runs, with
    the tokens of that step and FLOPs in proportion. `.attrs["warnings"]` says what was left out.
    Raises UserError when nothing was probed."""
    path = Path(path)
    known = format_of(path)
    if known is not None:
        table, notices = known.read(path)
        table.attrs["warnings"] = notices
    elif path.is_dir():
        table = _read_directory(path, steps)
    else:
        table, notices = as_table(path)
        table, more = _percent_cells(table)
        table.attrs["warnings"] = notices + more
    return table


def _percent_cells(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Columns whose cells are written 25.5%, as fractions."""
    notices = []
    for name in table.columns:
        cells = table[name].dropna()
        if len(cells) and all(isinstance(c, str) and c.rstrip().endswith("%") for c in cells):
            values, bad, said = numbers(table[name], FRACTION)
            if not bad.any():
                table = table.assign(**{name: values})
                notices += said
    return table, notices


def metrics_of(table: pd.DataFrame) -> list[str]:
    """The metrics of a probe table (columns with a `_n` beside them); of a foreign table every
    numeric column that is not known to be something else."""
    if "metrics" in table.attrs:
        return [m for m in table.attrs["metrics"] if m in table]
    counted = [c for c in table if f"{c}_n" in table]
    if counted:
        return counted
    numeric = table.select_dtypes("number").columns
    known = (*RUN_COLUMNS, "n_items", "chance", "ceiling")
    return [c for c in numeric if c not in known]


def keys_of(table: pd.DataFrame) -> list[str]:
    """The columns that tell one measured condition from another: label and the group keys. Of a
    foreign table, whose columns could mean anything, none."""
    if "keys" in table.attrs:
        return [k for k in table.attrs["keys"] if k in table]
    if "label" not in table:
        return []
    taken = {*RUN_COLUMNS, "probe", "n_items", "chance", "ceiling", "ceiling_of"}
    for metric in metrics_of(table):
        taken |= {metric, f"{metric}_n", f"{metric}_sum_sq"}
    return [c for c in table if c not in taken]


def require_one_condition(table: pd.DataFrame, apart: Sequence[str] = ()) -> None:
    """Raises UserError when label or keys vary, other than those in `apart`: their mean would be
    of nothing in particular."""
    varied = {k: list(map(short, table[k].unique())) for k in keys_of(table) if k not in apart}
    varied = {k: v for k, v in varied.items() if len(v) > 1}
    if varied:
        name, values = next(iter(varied.items()))
        raise UserError(
            f"the rows mix {', '.join(varied)}; choose one with --where '{name}={values[0]}' "
            f"({name}: {', '.join(values[:8])}) or split them with --by {','.join(varied)}"
        )


def short(value: Any) -> str:
    """A key for people: 15 rather than 15.0."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def _read_directory(path: Path, steps: bool) -> pd.DataFrame:
    groups = _sweep_groups(path)
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    labels: Counter[str] = Counter()  # of results at any step
    for run in sorted({p.parent for p in path.rglob("config.json")} | _with_records(path)):
        record = _json(run / "record.json", _RECORD)
        status = str(record.get("status", "unfinished"))
        facts = _facts(record, run, groups)
        if is_complete(status):
            for label, result in _final_results(run, record).items():
                rows += _rows(facts, label, result)
        else:
            left_out[status] += 1
        labels.update(path.parent.name for path in run.glob("probes/*/step_*.json"))
        if steps and status != "diverged":
            rows += _step_rows(run, facts, record)
    if not rows:
        kinds = ", ".join(f"{n} {kind}" for kind, n in left_out.most_common())
        way = (
            f"{labels.total()} of checkpoints are there: --steps reads them"
            if labels
            else "`scaling probe DIR --probe=...` makes them"
        )
        raise UserError(
            f"{path}: no probe results of the end of a complete run{f' ({kinds})' * bool(kinds)}; "
            f"{way}"
        )
    table = pd.DataFrame(rows)
    if early := sorted(labels.keys() - set(table["label"])):
        table.attrs["hint"] = f"{', '.join(early)} was asked before the end only: add --steps"
    if steps:  # the last step is both in the record and in its own file
        same = ["run_id", "label", "step", *(k for k in keys_of(table) if k != "label")]
        table = table.drop_duplicates(same, ignore_index=True)
    if left_out:
        kinds = ", ".join(f"{n} {kind}" for kind, n in left_out.most_common())
        table.attrs["warnings"] = [f"{left_out.total()} runs left out: {kinds}"]
    return table


def _with_records(path: Path) -> set[Path]:
    return {p.parent for p in path.rglob("record.json")}


def _json(path: Path, shape: Any = dict) -> dict[str, Any]:
    """The object in a file; {} when there is none yet. Raises UserError when it is broken."""
    if not path.is_file():
        return {}
    return read_json(path, shape)


def _sweep_groups(path: Path) -> dict[str, str]:
    """run_id -> group, from the nearest sweep.json."""
    for at in (path, path.parent, path.parent.parent):
        if places := read_places(at):
            return {run_id: place["group"] for run_id, place in places.items()}
    return {}


def _facts(record: Mapping[str, Any], run: Path, groups: Mapping[str, str]) -> dict[str, Any]:
    facts = {name: record.get(name) for name in _FACTS}
    facts["run_id"] = facts["run_id"] or run.name
    facts["n_params_non_embedding"] = (record.get("params") or {}).get("non_embedding")
    facts["seed"] = (record.get("seeds") or {}).get("run")
    facts["group"] = groups.get(facts["run_id"])
    return facts


def _rows(facts: Mapping[str, Any], label: str, result: Mapping[str, Any]) -> Iterator[dict]:
    for group in result.get("groups", ()):
        row = {**facts, "label": label, "probe": result.get("probe"), "step": result.get("step")}
        row |= group.get("keys", {})
        row |= {"n_items": group.get("n"), "chance": group.get("chance")}
        row |= {"ceiling": group.get("ceiling"), "ceiling_of": group.get("ceiling_of", "accuracy")}
        for metric, counts in group.get("metrics", {}).items():
            n, total = counts["n"], counts["sum"]
            row[metric] = total / n if n and total is not None else math.nan
            row[f"{metric}_n"] = n
            row[f"{metric}_sum_sq"] = counts.get("sum_sq")
        yield row


def _final_results(run: Path, record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a complete run was asked at its end, by its config or afterwards by `scaling probe`."""
    final = dict(record.get("probes") or {})
    for path in sorted(run.glob("probes/*/step_*.json")):
        label = path.parent.name
        if label in final:
            continue
        result = _json(path)
        if result.get("n_tokens") == record.get("n_tokens"):
            final[label] = result
    return final


def _step_rows(run: Path, facts: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[dict]:
    """The intermediate results of a run. The final loss is not theirs, so it is left out."""
    final_tokens, final_flops = record.get("n_tokens"), record.get("flops")
    for path in sorted(run.glob("probes/*/step_*.json")):
        result = _json(path, PROBE)
        tokens = result.get("n_tokens")
        at = {**facts, "n_tokens": tokens}
        if tokens != final_tokens:
            at["loss"] = None
            known = tokens and final_tokens and final_flops
            at["flops"] = final_flops * tokens / final_tokens if known else None
        yield from _rows(at, result.get("label", path.parent.name), result)
