"""A sweep directory as one frozen `Study`: every planned run, with its record if it has one.

A half-done sweep is an ordinary one: runs without a record are counted by their status. A
directory without sweep.json is read as one group of all the runs below it.
"""

import pathlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from scaling.analysis.clusters import root
from scaling.analysis.tables.objects import flatten
from scaling.analysis.tables.records import place_of
from scaling.errors import UserError
from scaling.run.record import read_record
from scaling.sweep.definition import FILE, place_dict, read_sweep
from scaling.sweep.survey import look

DEFAULT_LAW = "chinchilla"


@dataclass(frozen=True)
class Chapter:
    """Runs that one law or one emergence chart is about. key: of file names and anchors, letters,
    digits and hyphens only. fit_where: conditions on the table; holdout: "largest COLUMN",
    conditions, or None."""

    name: str
    key: str
    title: str
    law: str | None = None
    fit_where: tuple[str, ...] = ()
    holdout: str | None = None


@dataclass(frozen=True)
class Run:
    """One planned run. groups: that it belongs to. status: of its record, "unreadable record", or
    one of `survey.STATES`. note: the error or the reason of divergence. trunk: the run_id of the
    run whose steps it begins with, its own where that is itself. place: columns of its place in the
    sweep, group and axis.NAME."""

    run_id: str
    name: str
    groups: tuple[str, ...]
    path: pathlib.Path
    status: str
    trunk: str
    place: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    record: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Study:
    """Everything a report reads, besides metrics.jsonl and probes."""

    path: pathlib.Path
    name: str
    sweep_id: str
    created: str | None
    code: Mapping[str, Any]
    groups: tuple[Chapter, ...]
    runs: tuple[Run, ...]

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """The records there are, of complete and diverged runs."""
        return [run.record for run in self.runs if run.record is not None]

    def statuses(self) -> Counter:
        """How many runs there are of each status."""
        return Counter(run.status for run in self.runs)

    def of(self, group: Chapter) -> list[Run]:
        """The runs of a group, in the order of the sweep."""
        return [run for run in self.runs if group.name in run.groups]

    def table(self, group: Chapter) -> pd.DataFrame:
        """One row per complete run of a group: the record with dotted columns, its place in the
        sweep (group, axis.NAME), and trunk. Empty when no run is complete."""
        rows = [
            {**flatten(run.record), **run.place, "trunk": run.trunk}
            for run in self.of(group)
            if run.status == "complete" and run.record
        ]
        return pd.DataFrame(rows)


def collect(path: str | pathlib.Path, progress=lambda done, total: None) -> Study:
    """Reads a sweep directory. Raises UserError when there is neither sweep.json nor any run."""
    path = pathlib.Path(path)
    if not path.is_dir():
        raise UserError(f"{path} is not a directory: give the --out of a `scaling sweep`")
    if not (path / FILE).exists():
        return _loose(path, progress)
    sweep = read_sweep(path)
    parents = {planned.run_id: planned.parent and planned.parent.run_id for planned in sweep.runs}
    runs = []
    for k, planned in enumerate(sweep.runs):
        run = _run(path, planned.run_id, path / "runs" / planned.run_id, planned.name)
        groups = planned.groups
        trunk = root(planned.run_id, parents)
        runs.append(replace(run, groups=groups, trunk=trunk, place=place_of(place_dict(planned))))
        progress(k + 1, len(sweep.runs))
    groups = tuple(
        Chapter(
            name=name,
            key=_key(name, k),
            title=group.title or name,
            law=group.law,
            fit_where=tuple(group.fit_where),
            holdout=group.holdout,
        )
        for k, (name, group) in enumerate(sweep.groups.items())
    )
    return Study(
        path=path,
        name=sweep.name or path.resolve().name,
        sweep_id=sweep.sweep_id,
        created=sweep.created,
        code=sweep.code,
        groups=groups,
        runs=tuple(runs),
    )


def _key(name: str, k: int) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return plain if plain == name else f"{plain or 'group'}-{k}"


def _loose(path: pathlib.Path, progress) -> Study:
    """The runs below a directory that no sweep wrote, as one group."""
    directories = sorted({p.parent for p in path.rglob("config.json")})
    if not directories:
        raise UserError(f"{path} holds neither sweep.json nor a run: nothing to report on")
    runs = []
    for k, directory in enumerate(directories):
        runs.append(_run(directory.parent.parent, directory.name, directory, directory.name))
        progress(k + 1, len(directories))
    group = Chapter("runs", "runs", "All runs", DEFAULT_LAW)
    return Study(path, path.resolve().name, "", None, {}, (group,), tuple(runs))


def _run(out: pathlib.Path, run_id: str, directory: pathlib.Path, name: str) -> Run:
    """The run in `directory`, as its record says, or else as `survey.look` finds it."""
    record, note = None, ""
    if (directory / "record.json").exists():
        try:
            record = read_record(directory)
            status = record["status"]
            note = record.get("error") or (record["divergence"] or {}).get("reason", "")
        except UserError as error:
            status, note = "unreadable record", str(error)
    else:
        view = look(out, run_id)
        status, note = view.state, view.error or ""
    name = str((record or {}).get("name") or name or run_id)
    return Run(run_id, name, ("runs",), directory, status, run_id, note=note, record=record)
