"""Trunk and branch: runs that differ in length only share their constant-rate part.

With a WSD schedule nothing before the decay depends on the length of the run (Hägele et al. 2024,
arXiv 2405.18392, section 4). Of runs that are equal but for length and decay, the one with the
longest constant part is the trunk; each of the others starts from the trunk's checkpoint of the
step where its own decay begins. Bit for bit the same as when it is trained alone.
"""

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any

from scaling.config import RunConfig
from scaling.doors.files import differences
from scaling.errors import UserError
from scaling.optim.schedules import branch_step
from scaling.resolve import identity, to_dict
from scaling.run.branch import TAIL, without_tail
from scaling.sweep.definition import Parent

# What makes a run the run it is: its identity, section by section.
_FIELDS = tuple(identity(RunConfig()))


@dataclasses.dataclass(frozen=True)
class Links:
    """parent of a branch, or keep_steps of a trunk."""

    parent: Parent | None = None
    keep_steps: tuple[int, ...] = ()


def branch(drafts: Sequence[Any], pricer: Any) -> dict[str, Links]:
    """{run_id: links} of those drafts that share a trunk (`scaling.sweep.expand.Draft`).

    Raises UserError when runs that should share one cannot.
    """
    families: dict[tuple, list[tuple[int, int, Any]]] = {}
    for draft in drafts:
        step, n_steps = _step(draft, pricer), draft.facts["cost"]["n_steps"]
        key = tuple(_trimmed(field, getattr(draft.config, field)) for field in _FIELDS)
        families.setdefault(key, []).append((step, n_steps, draft))
    links: dict[str, Links] = {}
    for family in families.values():
        links |= _family(family)
    if drafts and not links:
        raise UserError(_no_family(drafts))
    return links


@functools.cache
def _trimmed(field: str, section: Any) -> str:
    """A section of a run config without what a branch may change, as text."""
    plain = to_dict(section) if dataclasses.is_dataclass(section) else section
    return json.dumps(without_tail({field: plain}), sort_keys=True)


def _step(draft: Any, pricer: Any) -> int:
    config, group = draft.config, draft.facts["group"]
    try:
        step = branch_step(config.optim, draft.facts["cost"]["n_steps"], pricer.rates(config))
    except UserError as error:
        raise UserError(f"group {group!r}: {error}") from error
    own = config.objective.options.dials
    if own(0.0) != own(1.0):
        raise UserError(
            f"group {group!r}: {', '.join(own(0.0))} of objective.name={config.objective.name!r} "
            "follows the length of the run, so branches have no common trunk; leave trunk=True out"
        )
    every = config.eval.every
    if every.unit == "%" and every.value < 100:
        raise UserError(
            f"group {group!r}: eval.every='{every}' depends on the length of the run, so branches "
            "have no common trunk; give it in steps or tokens, or '100%' for the end only"
        )
    return step


def _family(family: list[tuple[int, int, Any]]) -> dict[str, Links]:
    longest, _, trunk = max(family, key=lambda member: member[:2])
    trunk_id = trunk.facts["run_id"]
    links, kept = {}, set()
    for step, _, draft in family:
        if draft is not trunk and 0 < step <= longest:
            links[draft.facts["run_id"]] = Links(parent=Parent(trunk_id, step))
            kept.add(step)
    if kept:
        links[trunk_id] = Links(keep_steps=tuple(sorted(kept)))
    return links


def _no_family(drafts: Sequence[Any]) -> str:
    """Why nothing is shared: what else two runs of one model differ in."""
    group = drafts[0].facts["group"]
    first = drafts[0].config
    same = [d.config for d in drafts[1:] if d.config.model == first.model]
    found: list[str] = []
    if same:
        found = differences(*(without_tail(identity(config)) for config in (first, same[0])))
    reason = (
        f"its runs of one size also differ in {'; '.join(found)}"
        if found
        else ("no two of its runs differ in length only")
    )
    return f"group {group!r}: trunk=True, but {reason} (allowed: {', '.join(TAIL)})"
