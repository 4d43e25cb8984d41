"""From a config to the frozen runs of a sweep: deterministic, duplicates merged."""

import collections
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from scaling.config import RunConfig
from scaling.errors import UserError, unknown
from scaling.resolve import resolve, run_id_of, to_dict
from scaling.sweep import axes, designs
from scaling.sweep.definition import Group, PlannedRun, Sweep

MAX_RUNS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclasses.dataclass
class Draft:
    """A run that is being put together; becomes a PlannedRun."""

    config: RunConfig
    settings: dict[str, Any]
    facts: dict[str, Any]  # the other fields of PlannedRun


def expand(
    config: ml_collections.ConfigDict | Mapping[str, Any],
    *,
    pricer: Any = None,
    vocab_size: int | None = None,
    cache_dir: pathlib.Path | None = None,
    max_runs: int | None = MAX_RUNS,
) -> Sweep:
    """The sweep that a config file describes; a plain run config is a sweep of one.

    pricer: a `scaling.sweep.costs.Pricer` to use; else one is made. vocab_size: leaves the data
    sources unopened (epochs are then unknown). max_runs: None allows any number. Raises UserError
    for anything wrong; nothing is written but data caches.
    """
    loose = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    if "groups" not in loose:
        loose = designs.sweep(_single_name(loose), runs=designs.group(loose)).to_dict()
    _check(loose, max_runs)
    # Pricing needs the array library; reading a sweep does not.
    from scaling.sweep.branching import branch
    from scaling.sweep.costs import Pricer

    pricer = pricer or Pricer(vocab_size, cache_dir)
    drafts: dict[str, Draft] = {}
    n_points = 0
    for name, group in loose["groups"].items():
        try:
            for draft in _group(name, group, pricer):
                n_points += 1
                first = drafts.setdefault(draft.facts["run_id"], draft)
                others = first.facts["also_in"]
                if name != first.facts["group"] and name not in others:
                    first.facts["also_in"] = (*others, name)
        except UserError as error:
            raise UserError(f"group {name!r}: {error}") from error
    trunks = {name for name, group in loose["groups"].items() if group["trunk"]}
    runs = branch([d for d in drafts.values() if trunks & _groups(d)], pricer)
    return Sweep(
        name=loose["name"],
        groups={name: _about(group) for name, group in loose["groups"].items()},
        runs=tuple(_parents_first(drafts, runs)),
        n_duplicates=n_points - len(drafts),
    )


def _groups(draft: Draft) -> set[str]:
    return {draft.facts["group"], *draft.facts["also_in"]}


def _check(loose: Mapping[str, Any], max_runs: int | None) -> None:
    """Names, keys and the number of runs, before any of them is made."""
    for key in loose:
        if key not in ("name", "groups"):
            raise unknown("key of a sweep config", key, ("name", "groups"))
    for kind, name in (("sweep", loose.get("name")), *(("group", g) for g in loose["groups"])):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"{kind} name {name!r} must be 1 to 60 letters, digits, '.', '_' or '-', and start "
                "with a letter or digit"
            )
    if not loose["groups"]:
        raise UserError(f"sweep {loose['name']!r} has no groups")
    total = 0
    for name, group in loose["groups"].items():
        if not isinstance(group, Mapping):
            raise UserError(f"group {name!r} is {group!r}; make it with scaling.sweep.designs")
        for key in group:
            if key not in axes.KEYS:
                raise unknown(f"key of group {name!r}:", key, axes.KEYS)
        missing = [key for key in axes.KEYS if key not in group]
        if missing:
            raise UserError(
                f"group {name!r} has no {', '.join(missing)}; make it with scaling.sweep.designs"
            )
        try:
            total += axes.n_points(group)
            _check_law(group["law"])
            _check_conditions(group)
        except UserError as error:
            raise UserError(f"group {name!r}: {error}") from error
    if max_runs is not None and total > max_runs:
        raise UserError(f"{total:,} runs are more than {max_runs:,}; add --yes if you mean it")


def _check_law(name: str | None) -> None:
    if name is not None:
        from scaling.analysis.laws import LAWS

        if name not in LAWS:
            raise unknown("law", name, LAWS)


def _check_conditions(group: Mapping[str, Any]) -> None:
    """The form of what the report will ask of the records; their columns are not known yet."""
    from scaling.analysis.tables.choose import parse_conditions

    asked = list(group["fit_where"])
    if group["holdout"] is not None and not group["holdout"].strip().startswith("largest "):
        asked.append(group["holdout"])
    for condition in asked:
        parse_conditions(condition)


def _group(name: str, group: Mapping[str, Any], pricer: Any) -> Iterator[Draft]:
    """The runs of a group in order, those that the filters leave."""
    settings = axes.Composer(group)
    section = _sections(settings.base)
    points = list(axes.points(group))
    varying = _varying(points)
    drafts = []
    for point in points:
        changes = collections.defaultdict(dict)
        for path, value in settings.changes(point).items():
            changes[path.partition(".")[0]][path] = _frozen(value)
        parts = {
            field.name: section(field.name, tuple(changes[field.name].items()))
            for field in dataclasses.fields(RunConfig)
            if field.name != "name"
        }
        label = _label(name, point, varying)
        config = RunConfig(name=label, **{field: part for field, (part, _) in parts.items()})
        as_dict = {"name": label} | {field: plain for field, (_, plain) in parts.items()}
        facts = {
            "run_id": run_id_of(as_dict),
            "group": name,
            "axes": {axis: _plain(value) for axis, value in point.items()},
            "cost": pricer.cost(config),
            "also_in": (),
        }
        drafts.append(Draft(config, as_dict, facts))
    return iter(_filtered(drafts, group["where"]))


def _sections(base: Mapping[str, Any]) -> Any:
    """section(field, changes) -> (resolved, JSON-ready) of a top-level field of the run config.

    Resolved once per distinct set of changes: ten thousand runs have few distinct sections.
    """
    start: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    for path, value in base.items():
        start[path.partition(".")[0]][path] = value

    @functools.cache
    def section(field: str, changes: tuple[tuple[str, Any], ...]) -> tuple[Any, Any]:
        resolved = resolve(axes.nest(start[field] | dict(changes)))
        return getattr(resolved, field), to_dict(resolved)[field]

    unknown_fields = start.keys() - {field.name for field in dataclasses.fields(RunConfig)}
    for field in sorted(unknown_fields):
        section(field, ())  # Raises with the nearest name.
    return section


def _filtered(drafts: list[Draft], where: Any) -> list[Draft]:
    """Those that meet all conditions on axes and cost."""
    if not where:
        return drafts
    import pandas as pd

    from scaling.analysis.tables.choose import matches

    rows = []
    for draft in drafts:
        cost = draft.facts["cost"]
        ratio = cost["n_tokens"] / cost["n_params"]
        rows.append({**draft.facts["axes"], **cost, "tokens_per_param": ratio})
    mask = matches(pd.DataFrame(rows), list(where))
    if not mask.any():
        raise UserError(f"none of {len(rows)} points meets {' and '.join(where)}")
    return [draft for draft, kept in zip(drafts, mask, strict=True) if kept]


def _varying(points: list[axes.Point]) -> set[str]:
    """Axes with more than one value: the ones worth naming runs by."""
    seen = collections.defaultdict(set)
    for point in points:
        for name, value in point.items():
            seen[name].add(str(value))
    return {
        name
        for name, values in seen.items()
        if len(values) > 1 or any(name not in p for p in points)
    }


def _label(group: str, point: axes.Point, varying: set[str]) -> str:
    """text-width16-2M_tokens-seed1: a label to read; nothing is ever parsed out of it."""
    parts = [group]
    for name, value in point.items():
        if name in varying:
            # 8e+07 would lose its sign.
            text = f"{value:g}".replace("e+", "e") if isinstance(value, float) else str(value)
            parts.append(text if name == "budget" else name.split(".")[-1] + text)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))[:100]


def _single_name(loose: Mapping[str, Any]) -> str:
    return loose.get("name", next(f.default for f in dataclasses.fields(RunConfig)))


def _about(group: Mapping[str, Any]) -> Group:
    return Group(
        law=group["law"],
        fit_where=tuple(group["fit_where"]),
        holdout=group["holdout"],
        title=group["title"],
    )


def _parents_first(drafts: dict[str, Draft], branches: Mapping[str, Any]) -> Iterator[PlannedRun]:
    """RunSpecs in the order of the config, but every trunk before its branches."""
    done = set()
    for key in drafts:
        parent = branches[key].parent if key in branches else None
        for one in (parent.run_id, key) if parent else (key,):
            if one not in done:
                done.add(one)
                yield _spec(drafts[one], branches.get(one))


def _spec(draft: Draft, links: Any) -> PlannedRun:
    facts = dict(draft.facts)
    if links is not None:
        facts |= {"parent": links.parent, "keep_steps": links.keep_steps}
        own = 1 - links.parent.step / facts["cost"]["n_steps"] if links.parent else 1
        facts["cost"] = facts["cost"] | {"flops_own": facts["cost"]["flops"] * own}
    planned = PlannedRun(name=draft.config.name, settings=draft.settings, **facts)
    # What resolve(settings) would give is at hand already.
    vars(planned)["config"] = draft.config
    return planned


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
