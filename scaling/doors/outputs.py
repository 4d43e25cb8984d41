"""Files that the user names (--json, --csv, --plot, --out): checked before compute, written whole.

A file is replaced, so a reader sees the old one or the new one; a link stays a link, and what it
points to is replaced. What is no file (a device, a pipe, a terminal, /dev/stdout) is written to.
"""

import contextlib
import os
import pathlib
import re
import shutil
import stat
import sys
import uuid

from scaling.errors import UserError

_MOST_NAME = 255  # bytes, on the file systems there are
_DESCRIPTORS = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+(?:/task/\d+)?))/fd")
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


def check_output(path: str | os.PathLike, flag: str) -> None:
    """Raises UserError, naming `flag`, when `write_output` could not write there."""
    text = os.fspath(path)
    said = f"{flag}={str(text)!r}"
    if not text:
        raise UserError(f"{flag} is empty; name a file")
    if "\0" in text:
        raise UserError(f"{said} holds a NUL byte; choose another name")
    descriptor = _descriptor(text)
    if descriptor is not None:
        try:
            os.fstat(descriptor)
        except OSError as error:
            raise UserError(f"{said} cannot be written: {error.strerror}") from None
        return
    target = pathlib.Path(os.path.realpath(text))
    if len(os.fsencode(target.name)) > _MOST_NAME:
        raise UserError(f"{flag}: a name of {len(target.name)} characters; {_MOST_NAME} bytes is "
                        "the most")  # fmt: skip
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise UserError(f"{said} cannot be written: {error.strerror}") from None
    if text.endswith("/") or (mode is not None and stat.S_ISDIR(mode)):
        raise UserError(f"{said} is a directory; name a file")
    if not target.parent.is_dir():
        raise UserError(f"{said} cannot be written: no such directory: {str(target.parent)!r}")
    writable = target.parent if mode is None or stat.S_ISREG(mode) else target
    if not os.access(writable, os.W_OK):
        raise UserError(f"{said} cannot be written: permission denied")


def write_output(path: str | os.PathLike, data: str | bytes, flag: str = "output") -> None:
    """Makes `data` (text as UTF-8) the content of `path`. Raises UserError; a file is then as it
    was."""
    check_output(path, flag)
    data = data.encode("utf-8", "replace") if isinstance(data, str) else data
    try:
        descriptor = _descriptor(os.fspath(path))
        if descriptor is not None:
            # What was printed so far comes first, and the place in a file is shared with it.
            (sys.stderr if descriptor == 2 else sys.stdout).flush()
            _write_all(os.dup(descriptor), data)
        elif os.path.lexists(path) and not os.path.isfile(path) and os.path.exists(path):
            _write_all(os.open(path, os.O_WRONLY), data)
        else:
            _replace(pathlib.Path(os.path.realpath(path)), data)
    except OSError as error:
        raise UserError(f"{flag}={str(path)!r} cannot be written: {error.strerror}") from None


def _descriptor(path: str) -> int | None:
    """N when `path` means the open file N of this process: /dev/stdout, /dev/fd/N and links."""
    for _ in range(20):
        if path in _STREAMS:
            return _STREAMS[path]
        parent, name = os.path.split(os.path.abspath(path))
        real = os.path.realpath(parent)
        if name.isdecimal() and _DESCRIPTORS.fullmatch(real):
            mine = real in ("/dev/fd", f"/proc/{os.getpid()}/fd")
            return int(name) if mine else None
        if not os.path.islink(path):
            return None
        path = os.path.join(parent, os.readlink(path))
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _replace(target: pathlib.Path, data: bytes) -> None:
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
