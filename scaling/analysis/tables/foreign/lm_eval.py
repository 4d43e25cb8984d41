"""Results of EleutherAI/lm-evaluation-harness: `results_*.json`, one file or folders of them.

Schema (lm_eval/evaluator.py, evaluator_utils.py, api/group.py; MIT), versions 0.3 to 0.4.11:
{"results": {TASK: {"acc,none": .3, "acc_stderr,none": .01 | "N/A", "alias", "sample_len"}},
"groups": the same, "group_subtasks": {GROUP: [TASK]}, "n-shot": {TASK: 0}, "n-samples": {TASK:
{"original", "effective"}}, "config": {"model_args", "model_num_parameters" (-1: unknown),
"model_revision", "num_fewshot", "limit"}, "date", "model_name", "model_source"}. Before 0.4 metrics
are called "acc" and "acc_stderr", without a filter.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format
from scaling.errors import UserError

KEYS = ["label", "filter", "shots"]
_OURS = ("sweep.json", "config.json", "record.json")
_NO_METRIC = ("alias", "name", "sample_len", "sample_count", "samples")
_FACTS = ("run_id", "model", "revision", "n_params", "label", "filter", "shots", "n_items", "date")
_BESIDE = ("versions", "configs", "n-shot", "config", "config_general", "git_hash")


def _recognise(path: Path) -> bool:
    if path.is_dir():
        ours = any((path / name).exists() for name in _OURS)
        return not ours and any(map(_is_results, path.rglob("results*.json")))
    return path.suffix == ".json" and path.is_file() and _is_results(path)


def _is_results(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(content, dict)
        and isinstance(content.get("results"), dict)
        and any(name in content for name in _BESIDE)
    )


def _read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """One row per model, task, filter and number of shots, the newest where there are several.

    Columns: run_id, model, revision, n_params, label (task), filter, shots, n_items, date, and for
    every metric `METRIC` and `METRIC_stderr`."""
    files = sorted(path.rglob("results*.json")) if path.is_dir() else [path]
    good = [file for file in files if _is_results(file)]
    notices = []
    if len(good) < len(files):
        other = next(file for file in files if file not in good)
        notices.append(f"{len(files) - len(good)} file(s) are no lm-eval results: {other}")
    rows = [row for file in good for row in _rows_of(file)]
    if not rows:
        raise UserError(f"{path} holds lm-eval results without a number")
    table = pd.DataFrame(rows)
    newest = table.sort_values(["date", "file"], kind="stable", na_position="first")
    newest = newest.drop_duplicates(["run_id", *KEYS], keep="last").sort_index()
    if len(newest) < len(table):
        notices.append(
            f"{len(table) - len(newest)} older results of the same model, task and shots are left "
            "out"
        )
    newest = newest.drop(columns="file").reset_index(drop=True)
    notices += _unknown_sizes(newest)
    metrics = [c for c in newest if c not in _FACTS and not c.endswith("_stderr")]
    newest.attrs |= {"keys": KEYS, "metrics": metrics, "hint": "; ".join(notices)}
    return newest, notices


def _unknown_sizes(table: pd.DataFrame) -> list[str]:
    models = table.loc[table["n_params"].isna(), "model"].unique()
    if not len(models):
        return []
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    return [
        f"these lm-eval results do not say how large {', '.join(models[:3])}{more} are: --join "
        "SIZES.csv adds it, a table with the columns model,n_params"
    ]


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    facts = _model(content, path) | {"date": _date(content), "file": str(path)}
    scores = {**_section(content, "groups"), **_section(content, "results")}
    for task, values in scores.items():
        if not isinstance(values, Mapping):
            continue
        by_filter: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            metric, _, name = str(key).partition(",")
            if metric in _NO_METRIC or isinstance(value, bool):
                continue
            if isinstance(value, int | float):
                by_filter.setdefault(name or "none", {})[metric] = float(value)
        for name, metrics in by_filter.items():
            yield {
                **facts,
                "label": task,
                "filter": name,
                "shots": _shots(content, task),
                "n_items": _items(content, task),
                **metrics,
            }


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _model(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Who was asked. Two revisions (checkpoints) of one model are two runs."""
    config = _section(content, "config") or _section(content, "config_general")
    args = _arguments(config.get("model_args"))
    name = content.get("model_name") or args.get("pretrained") or args.get("model")
    name = str(name or config.get("model_name") or path.parent.name)
    revision = config.get("model_revision") or args.get("revision")
    revision = None if revision in (None, "main", "") else str(revision)
    size = config.get("model_num_parameters")
    known = isinstance(size, int | float) and not isinstance(size, bool) and size > 0
    return {
        "run_id": f"{name}@{revision}" if revision else name,
        "model": name,
        "revision": revision,
        "n_params": float(size) if known else None,
    }


def _arguments(given: Any) -> Mapping[str, Any]:
    """model_args as lm-eval has it: an object, or "pretrained=a/b,revision=step1"."""
    if isinstance(given, Mapping):
        return given
    parts = (part.partition("=") for part in str(given or "").split(","))
    return {name.strip(): value.strip() for name, _, value in parts if value}


def _date(content: Mapping[str, Any]) -> float | None:
    try:
        return float(content["date"])
    except (KeyError, TypeError, ValueError):
        return None


def _shots(content: Mapping[str, Any], task: str) -> float | None:
    given = _section(content, "n-shot").get(task)
    if given is None:
        given = _section(_section(content, "configs"), task).get("num_fewshot")
    if given is None:
        given = _section(content, "config").get("num_fewshot")
    return float(given) if isinstance(given, int | float) else None


def _items(content: Mapping[str, Any], task: str, depth: int = 0) -> float | None:
    """The items a score is the mean of: those asked, not those there are; of a group all of its
    tasks'."""
    given = _section(content, "n-samples").get(task)
    if isinstance(given, Mapping):
        given = given.get("effective", given.get("original"))
    if given is None:
        given = _section(_section(content, "results"), task).get("sample_len")
    if isinstance(given, int | float) and given > 0:
        return float(given)
    parts = _section(content, "group_subtasks").get(task)
    if not isinstance(parts, list) or not parts or depth > 10:
        return None
    counts = [_items(content, str(part), depth + 1) for part in parts]
    return sum(counts) if all(counts) else None


LM_EVAL = Format("results of lm-eval", _recognise, _read)
