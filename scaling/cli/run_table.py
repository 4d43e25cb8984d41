"""Runs of a sweep as the rows of a table, for `scaling status` and `scaling sweep`."""

from collections.abc import Mapping, Sequence
from typing import Any

from scaling.doors.terminal import printable


def status_table(views: Sequence[Any], names: Mapping[str, str]) -> Any:
    """A rich table, one row a run; names: {run_id: name}."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("run", "name", "state", "attempt", "step", "loss", "tokens/s", "left", "host"):
        right = column in ("attempt", "step", "loss", "tokens/s", "left")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "host")
    for view in views:
        table.add_row(*(Text(cell) for cell in cells(view, names.get(view.run_id, ""))))
    return table


def cells(view: Any, name: str) -> tuple[str, ...]:
    """One row of text."""
    step = "" if view.step is None else f"{view.step:,}"
    return (
        view.run_id,
        printable(name),
        view.state,
        str(view.attempt or ""),
        step if view.total_steps is None else f"{step}/{view.total_steps:,}",
        "" if view.loss is None else f"{view.loss:.4f}",
        "" if view.tokens_per_s is None else f"{view.tokens_per_s:,.0f}",
        "" if view.eta_s is None else duration(view.eta_s),
        printable(view.error or view.host or ""),
    )


def duration(seconds: float) -> str:
    """1 h 02 min, 3 min 04 s or 5 s."""
    seconds = round(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600:,} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
