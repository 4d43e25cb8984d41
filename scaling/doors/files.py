"""Small files that survive a crash and hold no secret: written aside, synced, then renamed.

All JSON that is written goes through `dump`, which redacts, so no writer can forget to.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from scaling.doors.reading import loads
from scaling.doors.redact import redact
from scaling.errors import UserError


def write_atomic(path: str | os.PathLike, text: str, *, durable: bool = True) -> None:
    """Replaces `path` by `text` (UTF-8): a reader sees the old file or the new one, never half.

    durable: survive a power cut too. Raises OSError (disk full, read-only); `path` is then as it
    was.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: str | os.PathLike) -> None:
    """Makes renames inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def dump(value: Any, *, indent: int | None = 1) -> str:
    """JSON without secrets, in ASCII only, so that hostile text cannot act on a terminal. Raises
    ValueError on NaN."""
    return json.dumps(redact(value), indent=indent, allow_nan=False)


def dump_secret(value: Any) -> str:
    """JSON with its secrets, for a place that is no file."""
    return json.dumps(value, allow_nan=False)


def stored(value: Any) -> Any:
    """`value` as it will be read back: without secrets, tuples as lists, keys as text."""
    return loads(dump(value, indent=None), "a value of ours", object)


def write_json(path: str | os.PathLike, value: Any, *, durable: bool = True) -> None:
    """Replaces `path` by `value` as JSON, secrets redacted; otherwise like `write_atomic`."""
    write_atomic(path, dump(value), durable=durable)


def write_orders(path: str | os.PathLike, value: Any) -> None:
    """Like `write_json` for what another process will act on, and so needs as it is: raises
    UserError naming the field where something looks like a secret, and writes nothing."""
    check_orders(path, value)
    write_json(path, value)


def check_orders(path: str | os.PathLike, value: Any) -> None:
    """The check of `write_orders`."""
    before, after = _flat({"": value}), _flat({"": redact(value)})
    changed = next((key for key in before if before[key] != after.get(key)), None)
    if changed is not None:
        raise UserError(
            f"{path} would hold a secret in clear: {changed.lstrip('.')} is "
            f"{redact(before[changed])!r} once redacted; name it otherwise"
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """["optim.peak_lr: 0.001 -> 0.002", ...] for every dotted key whose value differs."""
    before, after = _flat(old), _flat(new)
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, now = (repr(side[key]) if key in side else "(absent)" for side in (before, after))
        if was != now:
            lines.append(f"{key}: {was} -> {now}")
    return lines


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            out.update(_flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out
