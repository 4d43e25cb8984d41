"""A branch starts from a checkpoint of its trunk, and is bit for bit the run trained alone.

The two may differ in length and in how the learning rate comes down at the end (`TAIL`), and in
nothing else; up to the step where the branch leaves, their learning rates are bitwise equal. What
the branch would have written up to there (its metrics) is copied. Its own checkpoints, once there
are any, come first: an interrupted branch resumes like any other run.
"""

import copy
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scaling.config import RunConfig
from scaling.doors.files import differences, stored
from scaling.durations import Rates
from scaling.errors import UserError
from scaling.optim.schedules import dials
from scaling.resolve import identity, resolve
from scaling.run.checkpoint import Restored, checkpoint_path, read_checkpoint
from scaling.run.metrics import FILE, losses
from scaling.run.record import FINAL_STATUSES, read_config, read_metrics, read_record

# Dotted keys in which a branch may differ from its trunk.
TAIL = ("train.duration", "optim.schedule.final", "optim.schedule.wsd")
_log = logging.getLogger(__name__)


class ParentNotReadyError(RuntimeError):
    """The trunk has not reached the step yet: run the branch again later."""


def without_tail(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a run's settings without TAIL: equal for a trunk and its branches."""
    out = copy.deepcopy(dict(settings))
    for path in TAIL:
        *sections, field = path.split(".")
        here = out
        for section in sections:
            here = here.get(section, {})
        here.pop(field, None)
    return out


def check_parent(
    config: RunConfig,
    steered: Mapping[str, np.ndarray],
    parent: tuple[pathlib.Path, int],
    rates: Rates,
) -> None:
    """Raises UserError when the run cannot branch from `parent`, a (workdir, step).

    steered: `schedules.dials` of the branch. rates: of both, which are of one shape.
    """
    workdir, step = parent
    n_steps = len(steered["lr"])
    if not 0 < step < n_steps:
        raise UserError(f"a run of {n_steps} steps cannot branch from step {step} of {workdir}")
    if not (workdir / "config.json").exists():
        raise ParentNotReadyError(f"{workdir} has not started; step {step} of it is needed")
    settings = read_config(workdir)["config"]
    changes = differences(_comparable(settings), _comparable(identity(config)))
    if changes:
        raise UserError(f"{workdir} cannot be the trunk of this run: {'; '.join(changes)}")
    trunk = resolve(settings)
    total = trunk.train.duration.steps(rates, field="train.duration")
    if total < step:
        raise UserError(f"{workdir} has {total} steps; it cannot be left at step {step}")
    for name, theirs in dials(trunk, total, rates).items():
        ours = steered[name]
        if theirs[:step].tobytes() != ours[:step].tobytes():
            first = int(np.flatnonzero(theirs[:step] != ours[:step])[0])
            what = "learning rates differ" if name == "lr" else f"{name} differs"
            raise UserError(
                f"{workdir} cannot be the trunk of this run: {what} from step {first + 1} on "
                f"({theirs[first]:g} -> {ours[first]:g}); warm-up in steps or tokens is the same "
                "for every length, a share is not"
            )


def restore_parent(
    parent: tuple[pathlib.Path, int], abstract_state: Any, fingerprint: Mapping[str, Any]
) -> Restored | None:
    """The trunk's checkpoint of that step.

    None when the trunk is over and did not keep it, or has it damaged: the branch is then trained
    alone, to the same end. Raises ParentNotReadyError while there is hope, UserError when the
    checkpoint was made by other settings or data.
    """
    workdir, step = parent
    mine = _trimmed(stored(fingerprint))
    path = checkpoint_path(workdir / "checkpoints", step)
    # Asked before looking: a trunk that ends in between leaves its checkpoint first.
    over = _is_over(workdir)
    if path.is_dir():
        restored = read_checkpoint(
            path, step, abstract_state, lambda theirs: differences(_trimmed(theirs), mine)
        )
        if restored is not None:
            return restored
    elif not over:
        raise ParentNotReadyError(f"{workdir} has no checkpoint of step {step} yet")
    _log.warning("%s has no good checkpoint of step %d; training from step 0", workdir, step)
    return None


def trunk_losses(workdir: pathlib.Path, step: int) -> list[tuple[int, float]]:
    """(step, loss) of the trunk's training steps up to `step` that were not skipped."""
    found = [
        (row["step"], math.nan if row["loss"] is None else row["loss"])
        for row in read_metrics(workdir)
        if row.get("kind") == "train" and row["step"] <= step and not row.get("skipped")
    ]
    return sorted(found, key=lambda pair: pair[0])


def trunk_has_rows(workdir: pathlib.Path, step: int) -> bool:
    """Whether every row that a branch at `step` would take over is there; said in the log if not.

    What the branch makes of the trunk's losses would otherwise not be what it makes of its own.
    """
    gone = losses(workdir / FILE, step)
    for text in gone:
        _log.warning("%s: %s; training from step 0", workdir, text)
    return not gone


def _is_over(workdir: pathlib.Path) -> bool:
    path = workdir / "record.json"
    return path.exists() and read_record(workdir)["status"] in FINAL_STATUSES


def _trimmed(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {**fingerprint, "config": without_tail(fingerprint["config"])}


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As stored: secrets redacted, without label and probes, which change no number."""
    plain = stored(without_tail(settings))
    return {key: value for key, value in plain.items() if key not in ("name", "probes")}
