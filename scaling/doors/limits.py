"""What no machine here can hold is refused with its estimate before any of it is allocated."""

import os
import pathlib

from scaling.errors import UserError

_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
MOST_DEVICES = 2**20  # in a mesh
MOST_FITS = 10_000_000
_BYTES_A_FIT = 5 * 8  # as float64, of a law of five parameters
_NAME_BYTES, _PATH_BYTES = 255, 4095  # of one part of a path, and of all of it, on Linux and macOS


def memory_bytes() -> int:
    """What this machine, or the container around this process, has."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _CGROUP:
        try:
            least = min(least, int(pathlib.Path(name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return least


def refuse_beyond(limit: float, n_bytes: float, field: str, what: str) -> None:
    """Raises UserError when `field` ("train.duration='9e8 steps'") asks for more than `limit`."""
    if n_bytes > limit:
        raise UserError(
            f"{field} needs at least {bytes_text(n_bytes)} {what}; there are {bytes_text(limit)}"
        )


def refuse_too_many(field: str, n: int, what: str) -> None:
    """Raises UserError for more fits of one table than anybody waits for: resamples or starts."""
    if n > MOST_FITS:
        least = bytes_text(n * _BYTES_A_FIT)
        raise UserError(
            f"{field}: {n:,} {what} are as many fits and at least {least} of their parameters; "
            f"{MOST_FITS:,} is the most"
        )


def check_path(path: str | os.PathLike, field: str) -> None:
    """Raises UserError for a path that no file system takes."""
    if (fault := path_fault(path)) is not None:
        raise UserError(f"{field}: {fault}")


def path_fault(path: str | os.PathLike) -> str | None:
    """Why no file system takes such a path: a part of it, or all of it, is too long; None for one
    that it takes."""
    whole = os.fsencode(os.path.abspath(path))
    if b"\0" in whole:
        return "a path cannot hold the character NUL"
    longest = max(whole.split(b"/"), key=len)
    for what, n, most in (
        ("a name", len(longest), _NAME_BYTES),
        ("a path", len(whole), _PATH_BYTES),
    ):
        if n > most:
            start = longest[:40].decode("utf-8", "replace")
            return (
                f"{what} of {n} bytes ({start}...); {most} is the most that file systems take, so "
                "choose a shorter one"
            )
    return None


def bytes_text(n: float) -> str:
    """1.50 GiB."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = 0
    while n >= 1024 and power < len(units) - 1:
        n, power = n / 1024, power + 1
    return f"{n:,.2f} {units[power]}" if power else f"{n:,.0f} B"
