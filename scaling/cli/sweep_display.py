"""The progress of a whole sweep: live in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from scaling.cli.run_table import duration, status_table
from scaling.doors.terminal import printable

_LINE_SECONDS = 30.0
_LIVE_SECONDS = 0.5
_SILENT_SECONDS = 30.0
_ROWS = 12  # of running runs; `scaling status` has them all


class Display:
    """`tell` may be called as often as there is news. Use as a context manager.

    names: {run_id: name}.
    """

    def __init__(self, names: Mapping[str, str]):
        self._names = names
        self._terminal = sys.stdout.isatty()
        self._live: Any = None
        self._said: tuple[float, str] = (0.0, "")
        self._known: dict[str, str] = {}

    def __enter__(self) -> "Display":
        if self._terminal:
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, progress: Any) -> None:
        """Shows where the sweep stands (a `scaling.sweep.orchestrate.Progress`)."""
        for run_id, error in progress.gave_up.items():
            if self._known.get(run_id) != error:
                self._known[run_id] = error
                self._say(f"gave up run {run_id}: {printable(error)}")
        at, before = self._said
        elapsed = time.monotonic() - at
        if elapsed < (_LIVE_SECONDS if self._live else 1.0):
            return
        line = headline(progress)
        if self._live is not None:
            self._said = (time.monotonic(), line)
            self._live.update(_table(progress, line, self._names), refresh=True)
        elif elapsed >= _LINE_SECONDS or _counted(progress) != before:
            self._said = (time.monotonic(), _counted(progress))
            self._say(line)

    def conclude(self, progress: Any) -> None:
        """The last word: what became of every run."""
        print(_counted(progress))
        for run_id, error in progress.gave_up.items():
            print(f"  {run_id}: {printable(error)}", file=sys.stderr)

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)


def headline(progress: Any) -> str:
    """One line: counts, share of the FLOPs, time left."""
    parts = [_counted(progress), f"{progress.fraction:.0%} of the FLOPs"]
    if progress.eta_s is not None:
        parts.append(f"{duration(progress.eta_s)} left")
    if progress.silent_s > _SILENT_SECONDS:
        parts.append(f"the engine has not answered for {duration(progress.silent_s)}")
    return ", ".join(parts)


def _counted(progress: Any) -> str:
    from scaling.sweep.survey import counts

    found = counts(progress.views.values())
    said = [f"{n:,} {state}" for state, n in found.items()]
    return f"{len(progress.views):,} runs: {', '.join(said)}"


def _table(progress: Any, line: str, names: Mapping[str, str]) -> Any:
    from rich.console import Group
    from rich.text import Text

    running = [progress.views[r] for r, s in progress.active.items() if s == "running"]
    return Group(status_table(running[:_ROWS], names), Text(line))
