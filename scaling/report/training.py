"""Training curves: held-out loss over tokens, one line per run."""

import math
import pathlib

import altair as alt
import numpy as np
import pandas as pd

from scaling.doors.reading import NUMBER, loads
from scaling.errors import UserError
from scaling.report import charts
from scaling.report.collect import Chapter, Run, Study
from scaling.report.content import Section, Text
from scaling.report.text import count, plural

MAX_RUNS = 40  # of a group, drawn; more lines are a smear
MAX_POINTS = 80  # of a run
_ROW = {"step": int, "loss?": (*NUMBER, None), "n_tokens?": (*NUMBER, None)}
_COLUMNS = ("name", "step", "n_tokens", "loss")


def training(study: Study) -> Section:
    """One figure per group; runs without metrics are counted."""
    blocks = []
    for group in study.groups:
        runs = study.of(group)
        blocks.append(_figure(group, runs))
    return Section("curves", "Training curves", blocks)


def _figure(group: Chapter, runs: list[Run]) -> charts.Figure | Text:
    chosen = _spread(runs)
    frames = [frame for run in chosen if (frame := curve(run)) is not None]
    if not frames:
        return Text(f"{group.title}: no run has metrics yet.", "missing")
    table = pd.concat(frames)
    known = table.dropna(subset=["n_params"])
    table = table.assign(size=table["n_params"].map(count))
    colour = charts.size_colour(known) if len(known) else alt.value("@muted")
    lines = (
        alt.Chart(alt.Data(values=charts.shown(table, (*_COLUMNS, "run_id", "size"))))
        .mark_line(strokeWidth=1.3, point={"size": 12, "filled": True, "opacity": 0.9})
        .encode(
            charts.x_axis("n_tokens", "tokens", over=table["n_tokens"]),
            charts.y_axis("loss", "loss (nats per token)"),
            color=colour,
            detail="run_id:N",
            tooltip=charts.tooltips(table, _COLUMNS),
        )
    )
    left = f" {len(frames)} of {len(runs)} runs are drawn." if len(frames) < len(runs) else ""
    return charts.figure(
        f"curves-{group.key}",
        group.title,
        lines,
        f"Held-out loss of {plural(len(frames), 'run')} over tokens, coloured by parameters.",
        caption=f"Held-out loss; of a run never evaluated on the way, the training loss.{left}",
        switches=("x", "y"),
        data=charts.data_table(table.groupby("run_id", sort=False).tail(1), _COLUMNS),
    )


def _spread(runs: list[Run]) -> list[Run]:
    if len(runs) <= MAX_RUNS:
        return runs
    at = np.linspace(0, len(runs) - 1, MAX_RUNS).round().astype(int)
    return [runs[i] for i in at]


def curve(run: Run) -> pd.DataFrame | None:
    """step, n_tokens, loss of one run, thinned to MAX_POINTS: the evaluations where there are
    three or more, else the training steps. None when there is nothing."""
    lines = _lines(run.path / "metrics.jsonl")
    evals, train = [], []
    for line in lines:
        # Most rows are dropped unread: parsing all of 1,000 runs would take a minute.
        (evals if b'"eval"' in line else train).append(line)
    rows = [row for row in map(_row, evals) if row and row.get("kind") == "eval"]
    if len(rows) >= 3:
        rows = _attach_tokens(rows, train)
    else:
        rows = [row for row in map(_row, _thin(train)) if row and row.get("kind") == "train"]
    rows = [r for r in _thin(rows) if r.get("loss") is not None and r.get("n_tokens")]
    if not rows:
        return None
    frame = pd.DataFrame(rows)[["step", "n_tokens", "loss"]]
    n_params = run.record["n_params"] if run.record else math.nan
    return frame.assign(name=run.name, run_id=run.run_id, n_params=n_params)


def _attach_tokens(evals: list[dict], train: list[bytes]) -> list[dict]:
    """Evaluations carry a step; the tokens so far stand in the training rows, which are linear."""
    known = [row for row in map(_row, _thin(train)) if row and row.get("kind") == "train"]
    if not known:
        return []
    steps, tokens = ([row[k] for row in known] for k in ("step", "n_tokens"))
    per_step = tokens[-1] / max(steps[-1], 1)
    return [
        row
        | {"n_tokens": float(np.interp(row["step"], steps, tokens, left=row["step"] * per_step))}
        for row in evals
    ]


def _thin(rows: list) -> list:
    if len(rows) <= MAX_POINTS:
        return rows
    at = np.unique(np.geomspace(1, len(rows), MAX_POINTS).round().astype(int)) - 1
    return [rows[i] for i in at]


def _lines(path: pathlib.Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _row(line: bytes) -> dict | None:
    try:
        return loads(line, "row", _ROW)
    except UserError:
        return None
