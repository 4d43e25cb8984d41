"""Runs of a Weights & Biases project as a raw table, through W&B's own public API client.

Columns: id, name, state, group, job_type, tags, created_at, config.* and summary.*, nested keys
dotted. Histories are not fetched: a point of a scaling law is the end of a run.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from scaling.doors.redact import redact
from scaling.errors import UserError
from scaling.interop.columns import is_ours

_PAGE = 200
_TIMEOUT_S = 60
_FACTS = {"run_id": "id", "name": "name", "status": "state", "created": "created_at"}


def read_project(entity: str, project: str) -> pd.DataFrame:
    """One row a run, raw. Raises UserError: no wandb, no login, no such project, no answer."""
    if importlib.util.find_spec("wandb") is None:
        raise UserError("`scaling import wandb` needs: pip install 'scaling[wandb]'")
    import wandb

    path = f"{entity}/{project}"
    try:
        api = wandb.Api(timeout=_TIMEOUT_S)
        # Not lazy: otherwise every run's config and summary would be a request of its own.
        runs = api.runs(path, per_page=_PAGE, lazy=False)
        rows = [_row(run) for run in _shown(runs, path)]
    except Exception as error:  # W&B derives its errors from nothing in common
        text = redact(" ".join(str(error).split())) or type(error).__name__
        raise UserError(f"W&B project {path}: {text}") from error
    return pd.DataFrame(rows)


def default_mapping(raw: pd.DataFrame) -> dict[str, str]:
    """What needs no --map: facts of W&B, and summaries named as in our records (our mirror's)."""
    mapping = {ours: theirs for ours, theirs in _FACTS.items() if theirs in raw}
    for column in map(str, raw.columns):
        ours = column.removeprefix("summary.").replace("/", ".")
        if column.startswith("summary.") and is_ours(ours) and ours not in mapping:
            mapping[ours] = column
    return mapping


def _row(run: Any) -> dict[str, Any]:
    facts = {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "group": run.group,
        "job_type": run.job_type,
        "tags": ",".join(run.tags or ()),
        "created_at": run.created_at,
    }
    summary = run.summary_metrics or {}
    return facts | dict(_flat(redact({"config": run.config, "summary": summary})))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list | tuple):
            yield f"{prefix}{key}", value


def _shown(runs: Any, path: str) -> Iterable[Any]:
    """The runs, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(runs, f"runs of {path}", total=len(runs), console=console, disable=hidden)
