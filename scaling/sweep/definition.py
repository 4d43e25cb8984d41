"""OUT/sweep.json: what a sweep is. Frozen dataclasses, and the one reader and writer.

Written once. A directory belongs to one sweep: the same runs from the same parents. What only
matters to analysis (laws, titles, names) may change, and is then replaced.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from scaling.config import RunConfig
from scaling.doors.files import dump, write_atomic
from scaling.doors.reading import read_json
from scaling.doors.schemas import SWEEP
from scaling.errors import UserError
from scaling.resolve import resolve
from scaling.sweep.withheld import restored

SCHEMA_VERSION = 1
FILE = "sweep.json"


@dataclasses.dataclass(frozen=True)
class Group:
    """What is to be learned from the runs of a group.

    law: name in scaling.analysis.laws, or None. fit_where: conditions on the table of records.
    holdout: what the fit must predict, such as "largest n_params", or None.
    """

    law: str | None = None
    fit_where: tuple[str, ...] = ()
    holdout: str | None = None
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Parent:
    """The run of the same sweep, and the step, whose checkpoint a branch starts from."""

    run_id: str
    step: int


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    axes: {axis: value} as written in the config. settings: the resolved config, JSON-ready; runs
    share its sections, so treat it as frozen. keep_steps: whose checkpoints branches need. cost:
    {"n_params", "n_tokens", "n_steps", "flops", "flops_own"}, FLOPs in the default convention;
    flops_own leaves out what the parent has done. also_in: other groups with the same run.
    """

    run_id: str
    name: str
    group: str
    axes: Mapping[str, Any]
    settings: Mapping[str, Any]
    cost: Mapping[str, float]
    parent: Parent | None = None
    keep_steps: tuple[int, ...] = ()
    also_in: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group that the run belongs to; it is named and counted once, by the first."""
        return (self.group, *self.also_in)

    @functools.cached_property
    def config(self) -> RunConfig:
        """`settings` as dataclasses, checked on first use; with what `withheld` kept back."""
        return resolve(restored(self.settings, self.run_id))


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All runs, in order; a trunk stands before its branches.

    code: what `scaling.machine.environment.code` said when the sweep was written, created: when.
    n_duplicates: points of the config that were runs already.
    """

    name: str
    groups: Mapping[str, Group]
    runs: tuple[PlannedRun, ...]
    n_duplicates: int = 0
    created: str = ""
    code: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def sweep_id(self) -> str:
        """16 hex digits of the hash of the runs and their parents."""
        parents = [(r.run_id, r.parent and (r.parent.run_id, r.parent.step)) for r in self.runs]
        return hashlib.sha256(json.dumps(sorted(parents)).encode()).hexdigest()[:16]

    def run(self, run_id: str) -> PlannedRun:
        """Raises UserError when there is no such run."""
        found = next((r for r in self.runs if r.run_id == run_id), None)
        if found is None:
            raise UserError(f"sweep {self.name!r} has no run {run_id!r}")
        return found


def write_sweep(out: pathlib.Path, sweep: Sweep, code: Mapping[str, Any] | None = None) -> Sweep:
    """Writes OUT/sweep.json and returns what stands there.

    code: facts about the code that will run (None: those of this process). A sweep of the same
    runs keeps its `created` and `code`. Raises UserError when `out` belongs to another sweep.
    """
    out = pathlib.Path(out)
    if (out / FILE).exists():
        old = check_same(out, sweep)
        full = dataclasses.replace(sweep, created=old.created, code=old.code)
        if _dump(full) == (out / FILE).read_text(encoding="utf-8"):
            return full
    else:
        # Only a writer needs these: they look at git and the installed packages.
        from scaling.machine.environment import code as facts
        from scaling.run.record import now

        full = dataclasses.replace(sweep, created=now(), code=dict(code or facts()))
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / FILE, _dump(full))
    return full


def check_same(out: pathlib.Path, sweep: Sweep) -> Sweep:
    """The sweep in `out`. Raises UserError, naming what differs, unless its runs are `sweep`'s."""
    old = read_sweep(out)
    if old.sweep_id != sweep.sweep_id:
        raise UserError(_not_ours(out, old, sweep))
    return old


def read_sweep(out: pathlib.Path) -> Sweep:
    """OUT/sweep.json; configs are not resolved until asked for. Raises UserError."""
    path = pathlib.Path(out) / FILE
    found = read_json(path, SWEEP, missing="not the --out of a `scaling sweep`")
    if found["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version {found['schema_version']} is not known here")
    runs = tuple(_run(facts) for facts in found["runs"])
    known = {run.run_id for run in runs}
    for run in runs:
        if run.parent is not None and run.parent.run_id not in known:
            raise UserError(f"{path}: run {run.run_id} has the parent {run.parent.run_id!r}, which "
                            "is not in the sweep")  # fmt: skip
        strange = set(run.groups) - found["groups"].keys()
        if strange:
            raise UserError(f"{path}: run {run.run_id} is in group {min(strange)!r}, which is not "
                            "in the sweep")  # fmt: skip
    return Sweep(
        name=found["name"],
        groups={name: _group(facts) for name, facts in found["groups"].items()},
        runs=runs,
        n_duplicates=found["n_duplicates"],
        created=found["created"],
        code=found["code"],
    )


def _group(facts: Mapping[str, Any]) -> Group:
    chosen = {field.name: facts.get(field.name) for field in dataclasses.fields(Group)}
    return Group(**{**chosen, "fit_where": tuple(facts["fit_where"])})


def _run(facts: Mapping[str, Any]) -> PlannedRun:
    return PlannedRun(
        run_id=facts["run_id"],
        name=facts["name"],
        group=facts["group"],
        axes=facts["axes"],
        settings=facts["config"],
        cost=facts["cost"],
        parent=Parent(**facts["parent"]) if facts["parent"] else None,
        keep_steps=tuple(facts["keep_steps"]),
        also_in=tuple(facts["also_in"]),
    )


def _dump(sweep: Sweep) -> str:
    """A run a line: ten thousand of them stay readable, and fast to read."""
    head = {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": sweep.sweep_id,
        "name": sweep.name,
        "created": sweep.created,
        "code": dict(sweep.code),
        "n_duplicates": sweep.n_duplicates,
        "groups": {name: dataclasses.asdict(group) for name, group in sweep.groups.items()},
    }
    lines = ",\n".join(dump(run_dict(run), indent=None) for run in sweep.runs)
    return f'{dump(head)[:-2]},\n "runs": [\n{lines}\n ]\n}}\n'


def run_dict(run: PlannedRun) -> dict[str, Any]:
    """One entry of "runs" in sweep.json."""
    return {
        **place_dict(run),
        "keep_steps": list(run.keep_steps),
        "cost": dict(run.cost),
        "config": run.settings,
    }


def place_dict(run: PlannedRun) -> dict[str, Any]:
    """What a run is called, and where in the sweep it stands."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "group": run.group,
        "also_in": list(run.also_in),
        "axes": dict(run.axes),
        "parent": dataclasses.asdict(run.parent) if run.parent else None,
    }


def _not_ours(out: pathlib.Path, old: Sweep, new: Sweep) -> str:
    before, now = ({run.run_id for run in sweep.runs} for sweep in (old, new))
    what = (
        "the same runs with other parents"
        if before == now
        else f"{len(now - before)} of {len(now)} runs are not in it, {len(before - now)} of its "
        f"{len(before)} are not in the config"
    )
    return f"{out} belongs to another sweep, {old.name!r}: {what}; choose another --out"
