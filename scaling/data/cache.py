"""Tokenised corpora on disk: built once, renamed into place whole, checked when opened.

<root>/data/<content>/...     the files of one corpus, named by the hash of its content
<root>/data/<key>.ref         key of the inputs (paths, sizes, times) -> content
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from scaling.doors.reading import read_json
from scaling.errors import UserError

_FORMAT = 3
_SIZES = "sizes.json"


def cache_root(cache_dir: Path | None = None) -> Path:
    """`cache_dir`, else $SCALING_CACHE, else scaling/ in the user's cache directory."""
    if cache_dir is not None:
        return Path(cache_dir)
    if path := os.environ.get("SCALING_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scaling"


def key_of_files(paths: Iterable[Path], *parts: object) -> str:
    """Hex key of files as they are now (size and time of change) and of how they are read."""
    stats = []
    for path in paths:
        now = path.stat()
        stats.append((os.path.abspath(path), now.st_size, now.st_mtime_ns))
    text = json.dumps([_FORMAT, stats, parts], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def build_once(root: Path, key: str, build: Callable[[Path], str]) -> Path:
    """The directory for `key`, built if it is missing or damaged.

    `build(directory)` fills an empty directory and returns the hex hash of the content, which names
    it. Other processes wait meanwhile. Raises UserError when the cache cannot be written.
    """
    home = root / "data"
    try:
        if (found := _find(home, key)) is not None:
            return found
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f"{key}.lock"):
            return _find(home, key) or _build(home, key, build)
    except OSError as error:
        raise UserError(
            f"cannot use the data cache {str(home)!r}: {error.strerror or error}; "
            "set SCALING_CACHE to a writable directory with free space"
        ) from error


def _find(home: Path, key: str) -> Path | None:
    try:
        found = home / (home / f"{key}.ref").read_text()
    except FileNotFoundError:
        return None
    return found if _intact(found) else None


def _intact(directory: Path) -> bool:
    try:
        sizes = read_json(directory / _SIZES, {str: int})
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, UserError):
        return False


def _build(home: Path, key: str, build: Callable[[Path], str]) -> Path:
    draft = home / f"{key}.tmp"
    shutil.rmtree(draft, ignore_errors=True)  # Left by a killed process; the lock is ours.
    draft.mkdir()
    try:
        name = build(draft)[:32]
        sizes = {path.name: path.stat().st_size for path in draft.iterdir()}
        (draft / _SIZES).write_text(json.dumps(sizes))
        final = home / name
        if not _intact(final):
            shutil.rmtree(final, ignore_errors=True)
            os.rename(draft, final)
        reference = home / f"{key}.ref.tmp"
        reference.write_text(name)
        os.replace(reference, home / f"{key}.ref")
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final
