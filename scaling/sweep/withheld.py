"""What sweep.json must not hold and the jobs need all the same: secrets inside a config.

A value that is redacted where it is written (a URL with a password, a key) goes to the jobs through
their environment, from the process that read the config; it is on no disk. A job that was started
without it says so. That nothing was mixed up shows the run_id, which is the hash of the config as
it was.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from scaling.doors.files import dump_secret, stored
from scaling.doors.reading import loads
from scaling.doors.redact import REDACTED
from scaling.errors import UserError
from scaling.resolve import run_id_of

VARIABLE = "SCALING_WITHHELD"
_MOST_BYTES = 100_000  # of one variable; Linux allows 131,072


def withheld(runs: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """{dotted field: {run_id: value}} of everything in the settings of `runs` that is redacted."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        plain, shown = _flat(run.settings), _flat(stored(run.settings))
        if shown.keys() != plain.keys():
            strange = min(shown.keys() - plain.keys())
            raise UserError(f"a label in the config looks like a secret: {strange}; choose another")
        for field, value in plain.items():
            if REDACTED in str(shown.get(field)) and REDACTED not in str(value):
                found.setdefault(field, {})[run.run_id] = value
    return found


def hand_over(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Puts what `withheld` found into the environment of this process. Raises UserError."""
    if not values:
        return
    text = dump_secret(values)
    if len(text) > _MOST_BYTES:
        raise UserError(
            f"{', '.join(values)}: {len(text):,} bytes look like secrets and cannot be handed to "
            f"the jobs ({_MOST_BYTES:,} can); name files and labels otherwise"
        )
    os.environ[VARIABLE] = text


def restored(settings: Mapping[str, Any], run_id: str) -> Mapping[str, Any]:
    """The settings of a run as they were before they were redacted. Raises UserError."""
    hidden = [field for field, value in _flat(settings).items() if REDACTED in str(value)]
    if not hidden:
        return settings
    known = loads(os.environ.get(VARIABLE) or "{}", VARIABLE, {str: dict})
    found = {field: known[field][run_id] for field in hidden if run_id in known.get(field, {})}
    whole = _with(settings, found)
    if len(found) < len(hidden) or run_id_of(whole) != run_id:
        raise UserError(
            f"run {run_id}: {', '.join(hidden)} held a secret and was not written to sweep.json; "
            "start its runs with `scaling sweep`, which hands it to them"
        )
    return whole


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _with(settings: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "") -> dict:
    return {
        key: _with(value, values, f"{prefix}{key}.")
        if isinstance(value, Mapping)
        else values.get(f"{prefix}{key}", value)
        for key, value in settings.items()
    }
