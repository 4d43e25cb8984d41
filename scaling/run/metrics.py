"""metrics.jsonl: rows in, whole rows out, and which of them are gone.

A row has "step" and, where a run wrote it, "kind": every training step leaves one row "train",
every evaluation one "eval" (with its "set"), every answer of a probe one "probe" (with its
"label"). A file that was cut, emptied or edited below the step of a checkpoint cannot be made
whole again, so what it lacks is counted and said.
"""

import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from scaling.doors.files import dump
from scaling.doors.reading import NUMBER, Missing, read_rows, require
from scaling.errors import UserError

FILE = "metrics.jsonl"
Span = tuple[int, int]  # first and last step
_ROW = {"step": int, "kind?": str, "set?": str, "label?": str}
_TRAIN = {"loss": (*NUMBER, None), "n_tokens": NUMBER, "skipped?": (*NUMBER, bool)}
_MOST_SPANS = 20  # in a sentence
_log = logging.getLogger(__name__)


def rows(path: str | os.PathLike) -> Iterator[dict[str, Any]]:
    """The whole rows of a file in order, each once; what is torn or stands there again is left out
    and logged. Nothing when there is no file; UserError when it cannot be read."""
    seen, again = set(), 0
    try:
        for number, row in read_rows(path):
            if row is None or not _is_whole(row):
                _log.warning("%s:%d: torn line left out", path, number)
                continue
            key = (row["step"], row.get("kind"), row.get("set"), row.get("label"))
            # Rows of no kind are not ours to judge.
            if key[1] is not None and key in seen:
                again += 1
                continue
            seen.add(key)
            yield row
    except Missing:
        return
    if again:
        _log.warning("%s: %d rows stand there again; the first of each counts", path, again)


def copy_rows(source: str | os.PathLike, last: int, out: TextIO) -> None:
    """Writes the rows of `source` up to step `last` to `out`."""
    for row in rows(source):
        if row["step"] <= last:
            out.write(dump(row, indent=None) + "\n")


def losses(
    path: str | os.PathLike,
    n_steps: int,
    *,
    evals: Iterable[int] = (),
) -> list[str]:
    """What is not in a file that should be, a sentence each.

    n_steps: training steps, each of which should have a row. evals: steps that should have an
    evaluation.
    """
    found: dict[str, set[int]] = {"train": set(), "eval": set()}
    try:
        for row in rows(path):
            found.get(row.get("kind", ""), set()).add(row["step"])
    except UserError as error:
        return [str(error)]
    out = []
    wanted = {"train": range(1, n_steps + 1), "eval": sorted(set(evals))}
    for kind, name in (("train", "training"), ("eval", "evaluation")):
        gone = spans(step for step in wanted[kind] if step not in found[kind])
        if gone:
            out.append(
                f"{FILE} has lost {name} rows: steps {in_words(gone)} are gone "
                f"({_count(gone, wanted[kind]):,} of {len(wanted[kind]):,})"
            )
    return out


def spans(steps: Iterable[int]) -> list[Span]:
    """Ascending steps as ranges: 1, 2, 3, 7 -> [(1, 3), (7, 7)]."""
    out: list[Span] = []
    for step in steps:
        if out and step == out[-1][1] + 1:
            out[-1] = (out[-1][0], step)
        else:
            out.append((step, step))
    return out


def in_words(ranges: Sequence[Span]) -> str:
    """[(1, 3), (7, 7)] as "1-3, 7"."""
    said = [f"{first}-{last}" if first != last else f"{first}" for first, last in ranges]
    more = len(said) - _MOST_SPANS
    return ", ".join(said[:_MOST_SPANS]) + (f" and {more:,} more ranges" if more > 0 else "")


def saved_steps(workdir: str | os.PathLike) -> list[int]:
    """Steps of the checkpoints in a run directory, ascending; [] when there are none."""
    try:
        names = os.listdir(pathlib.Path(workdir) / "checkpoints")
    except OSError:
        return []
    steps = (name.removeprefix("step_") for name in names if name.startswith("step_"))
    return sorted(int(step) for step in steps if step.isdecimal())


def _is_whole(row: dict[str, Any]) -> bool:
    try:
        require(row, "row", _ROW | (_TRAIN if row.get("kind") == "train" else {}))
    except UserError:
        return False
    return row["step"] >= 0


def _count(gone: Sequence[Span], wanted: Iterable[int]) -> int:
    lost = {step for first, last in gone for step in range(first, last + 1)}
    return sum(step in lost for step in wanted)
