"""Altair charts. Colours are tokens of `theme`; the page fits widths, themes and scales.

Every point carries its run in the tooltip. Figures of several sizes use one ordinal colour scale,
so a size keeps its colour through the whole page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from scaling.report.content import Figure, Table
from scaling.report.text import count, number, percent, power
from scaling.report.theme import ramp, series

HEIGHT = 320
MAX_LEGEND = 12
MAX_TABLE = 150  # rows under a figure
MAX_ROWS = 20_000  # of one figure: beyond that a browser is slow and the page large
# Each column a tooltip or a table may show: its words, and how its values are printed.
FIELDS = {
    "name": ("run", str),
    "run_id": ("run id", str),
    "n_params": ("parameters", count),
    "n_tokens": ("tokens", count),
    "flops": ("FLOPs", power),
    "loss": ("loss", lambda v: number(v, 5)),
    "predicted": ("predicted", lambda v: number(v, 5)),
    "actual": ("measured", lambda v: number(v, 5)),
    "error": ("error", percent),
    "step": ("step", lambda v: f"{v:.0f}"),
}
_LABELS = {
    "count": "replace(format(datum.value, '~s'), 'G', 'B')",
    "power": "replace(format(datum.value, '~e'), '+', '')",
}


def shown(
    table: pd.DataFrame, columns: Sequence[str], raw: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Rows for a chart: the columns that exist, floats to six digits, and `t_*` texts for the
    tooltip, so that a value reads the same in the figure and in the table below it. raw: columns
    that are drawn, where others are only told (default: all are drawn)."""
    columns = [c for c in columns if c in table]
    rows = []
    for record in table[columns].to_dict("records"):
        row = {k: _plain(v) for k, v in record.items() if raw is None or k in raw}
        row |= {f"t_{k}": FIELDS[k][1](v) for k, v in record.items() if k in FIELDS}
        rows.append(row)
    return rows


def tooltips(table: pd.DataFrame, columns: Sequence[str]) -> list[alt.Tooltip]:
    """The texts made by `shown`, under their words."""
    return [
        alt.Tooltip(f"t_{c}:N", title=FIELDS[c][0]) for c in columns if c in table and c in FIELDS
    ]


def data_table(table: pd.DataFrame, columns: Sequence[str]) -> Table:
    """The points of a figure as a table; of very many an even choice."""
    columns = [c for c in columns if c in table]
    caption = ""
    if len(table) > MAX_TABLE:
        caption = f"{MAX_TABLE} of {len(table):,} rows; runs.csv has all of them"
        table = table.iloc[np.linspace(0, len(table) - 1, MAX_TABLE).round().astype(int)]
    rows = [tuple(FIELDS[c][1](record[c]) for c in columns) for record in table.to_dict("records")]
    return Table(tuple(FIELDS[c][0] for c in columns), tuple(rows), caption)


def x_axis(
    field: str, title: str, log: bool = True, kind: str = "count", over=(), **scale
) -> alt.X:
    """A quantitative x channel that the page can switch between log and linear. kind: how labels
    are written, count, power, percent or number; over: the values it spans, for even ticks."""
    scale = _scale(log, scale)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=_axis(kind, True, log, over))


def y_axis(
    field: str, title: str, log: bool = True, kind: str = "number", over=(), **scale
) -> alt.Y:
    """The same for y."""
    scale = _scale(log, scale)
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=_axis(kind, False, log, over))


def log_ticks(values) -> list[float]:
    """1, 2, 5, 10, ... within the values, 1, 3, 10, ... when they span more than a factor of 50,
    decades beyond 5,000; nothing below 3, where ordinary ticks read better."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values) or values.max() < 3 * values.min():
        return []
    low, high = values.min() / 1.1, values.max() * 1.1
    ratio = values.max() / values.min()
    steps = (1, 2, 5) if ratio < 50 else (1, 3) if ratio < 5000 else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [t for k in decades for s in steps if low <= (t := s * 10.0**k) <= high]


def ramp_colour(names: Sequence[str], title: str, field: str) -> alt.Color:
    """Colour along the ramp: `names` are the values of `field`, the smallest first. The legend is
    left out when nobody could read it."""
    scale = alt.Scale(domain=list(names), range=ramp(len(names)))
    legend = alt.Legend(title=title) if len(names) <= MAX_LEGEND else None
    return alt.Color(f"{field}:N", scale=scale, legend=legend, sort=None)


def size_colour(table: pd.DataFrame) -> alt.Color:
    """Colour by model size, of a table with `size` = `count(n_params)`."""
    return ramp_colour(names_of(table["n_params"]), "parameters", "size")


def names_of(values: pd.Series) -> list[str]:
    """The distinct values as `count` writes them, rising."""
    return list(dict.fromkeys(count(v) for v in np.sort(values.unique())))


def series_colour(names: Sequence[str], title: str, field: str) -> alt.Color:
    """Colour by a name, in a fixed order."""
    scale = alt.Scale(domain=list(names), range=series(len(names)))
    return alt.Color(f"{field}:N", scale=scale, legend=alt.Legend(title=title), sort=None)


def spec(chart: alt.TopLevelMixin, height: int = HEIGHT) -> Mapping[str, Any]:
    """The chart as Vega-Lite, as wide as the page lets it be."""
    with alt.data_transformers.enable("default", max_rows=MAX_ROWS):
        # Checking every point against Vega-Lite's schema takes seconds; the tests do that.
        return chart.properties(width="container", height=height).to_dict(validate=False)


def figure(key: str, title: str, chart: alt.TopLevelMixin, alt_text: str, **rest) -> Figure:
    """A Figure of `chart`."""
    height = rest.pop("height", HEIGHT)
    return Figure(key=key, title=title, alt=alt_text, spec=spec(chart, height), **rest)


def rows_of(**columns) -> alt.Data:
    """Inline data from columns of one length."""
    frame = pd.DataFrame(columns)
    return alt.Data(values=[{k: _plain(v) for k, v in r.items()} for r in frame.to_dict("records")])


def _scale(log: bool, options: Mapping[str, Any]) -> alt.Scale:
    # Vega's "nice" on a log axis rounds to whole decades and pushes the data into a corner.
    kind = {"type": "log", "nice": False} if log else {"type": "linear", "zero": False}
    return alt.Scale(**({"padding": 12} | kind | dict(options)))


def _axis(kind: str, horizontal: bool, log: bool, over) -> alt.Axis:
    options = {"tickCount": 6 if horizontal else 7, "labelOverlap": "greedy"}
    if log and (ticks := log_ticks(over)):
        options["values"] = ticks
    if kind in _LABELS:
        return alt.Axis(labelExpr=_LABELS[kind], **options)
    return alt.Axis(format="~%" if kind == "percent" else "~g", **options)


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
