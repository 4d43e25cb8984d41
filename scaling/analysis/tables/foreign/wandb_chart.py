"""The CSV of one chart of Weights & Biases: a column a run, `RUN - METRIC`, with __MIN and __MAX.

"Export data as CSV" in the menu of a line chart writes it: the x axis first ("Step"), then for
every run its metric and the range that the chart's smoothing hides.
"""

import re
from collections import defaultdict

import pandas as pd

from scaling.analysis.tables.foreign.formats import Format

# A run may hold " - " itself: its last one parts it from the metric.
_SERIES = re.compile(r"(.+) - (.+?)(__MIN|__MAX)?")
_STEPS = ("step", "_step", "global_step", "trainer/global_step")


def _recognise(table: pd.DataFrame) -> bool:
    names = [str(name) for name in table.columns]
    if len(names) < 2 or any(_SERIES.fullmatch(name) is None for name in names[1:]):
        return False
    ranges = any(f"{name}__MIN" in names and f"{name}__MAX" in names for name in names)
    return ranges or names[0].lower() in _STEPS


def _read(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    axis = str(table.columns[0])
    x = "step" if axis.lower() in _STEPS else axis
    series: dict[str, dict[str, pd.Series]] = defaultdict(dict)
    for name in table.columns[1:]:
        run, metric, extreme = _SERIES.fullmatch(str(name)).groups()
        if extreme is None:
            series[run][metric] = table[name]
    parts = []
    for run, metrics in series.items():
        rows = pd.DataFrame({"run": run, x: table[axis], **metrics})
        parts.append(rows[rows[list(metrics)].notna().any(axis=1)])
    long = pd.concat(parts, ignore_index=True)
    left_out = "; __MIN and __MAX are left out" if len(table.columns) - 1 > len(series) else ""
    metrics = ", ".join(name for name in long if name not in ("run", x))
    return long, [
        f"this is a W&B chart export, a column a run: its {len(series)} runs are read as "
        f"{len(long)} rows with the columns run, {x}, {metrics}{left_out}. Sizes are not in it: "
        "--join SIZES.csv adds them, a table with the columns run,n_params"
    ]


WANDB_CHART = Format("a W&B chart export", _recognise, _read)
