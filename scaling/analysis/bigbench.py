"""The `scores_*.json` files of BIG-bench as a table.

Schema (bigbench/api/results.py and task.py of google/BIG-bench, Apache-2.0): one file a task and
model, TASK/results/scores_FAMILY_MODEL.json, {"task": {"task_name"}, "model": {"model_family",
"model_name", "total_params", "non_embedding_params", "flop_matched_non_embedding_params",
"training_batch_size", "training_steps", "description", "decoding_params", "additional_details"},
"scores": [{"score_dict": {METRIC: value}, "preferred_score", "number_of_shots" (-1: shots make no
sense), "low_score", "high_score", "subtask_description"}, ...], "queries": null or [...]}. Scores
are as the metric counts (bleu to 100, exact_str_match to 1). A score whose subtask is the name of
the task is the mean over its subtasks and may hold "normalized_aggregate_score".
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scaling.doors.reading import read_json
from scaling.errors import UserError

KEYS = ["group", "label", "subtask", "shots"]
_FACTS = (
    *("run_id", "group", "n_params", "n_params_non_embedding", "n_params_flop_matched", "n_steps"),
    *("label", "subtask", "shots", "low_score", "high_score", "preferred", "chance", "ceiling_of"),
)


def load_scores(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """One row per model, task, subtask and number of shots.

    Columns: run_id (model), group (family), label (task), subtask, shots, n_params,
    n_params_non_embedding, n_params_flop_matched, n_steps, low_score, high_score, preferred (its
    name), preferred_score, normalised (0 at low_score, 100 at high_score: Srivastava et al. 2022,
    section 3.1), chance and ceiling_of (low_score is of the preferred metric) and every metric of
    score_dict. `.attrs` names the keys and metrics. A directory means every scores_*.json below it.
    Raises UserError for a file of another kind."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.rglob("scores_*.json")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"no scores_*.json in {', '.join(map(str, paths))}")
    rows = [row for file in files for row in _read(file)]
    if not rows:
        raise UserError(f"{files[0]} holds no scores")
    table = pd.DataFrame(rows)
    table.attrs |= {"keys": KEYS, "metrics": [c for c in table if c not in _FACTS]}
    return table


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = read_json(path)
        model, task = content["model"], content["task"]["task_name"]
        return [_row(task, model, score) for score in content["scores"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not follow BIG-bench's scores schema ({error!r})") from None


def _row(task: str, model: Mapping[str, Any], score: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "run_id": f"{model['model_family']} {model['model_name']}",
        "group": model["model_family"],
        "n_params": model.get("total_params"),
        "n_params_non_embedding": model.get("non_embedding_params"),
        "n_params_flop_matched": model.get("flop_matched_non_embedding_params"),
        "n_steps": model.get("training_steps"),
        "label": task,
        "subtask": score.get("subtask_description") or "",
        "shots": score["number_of_shots"],
        "low_score": score.get("low_score"),
        "high_score": score.get("high_score"),
        "preferred": score["preferred_score"],
        "chance": score.get("low_score"),
        "ceiling_of": score["preferred_score"],
    }
    values = {k: v for k, v in score["score_dict"].items() if isinstance(v, int | float)}
    best, low, high = values.get(row["preferred"]), row["low_score"], row["high_score"]
    row["preferred_score"] = best
    scaled = None not in (best, low, high) and high != low
    row["normalised"] = 100 * (best - low) / (high - low) if scaled else None
    return row | values
