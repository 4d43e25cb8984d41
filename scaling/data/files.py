"""Finding input files: globs, nearest names."""

import difflib
import glob
import os
from pathlib import Path

from scaling.errors import UserError


def find_files(patterns: tuple[str, ...], field: str) -> list[Path]:
    """The files that `patterns` (paths or globs, ** included) name, each once, in a fixed order.

    Raises UserError naming `field` for an empty list, a missing file (with the nearest name next to
    it), a glob without a match, or a directory.
    """
    if not patterns:
        raise UserError(f"{field} is empty; name files or globs, such as ('books/*.txt',)")
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            raise UserError(
                f"{field}: {pattern!r} is a directory; name its files, such as {pattern + '/*'!r}"
            )
        if path.exists():
            if not path.is_file():
                raise UserError(
                    f"{field}: {pattern!r} is a device or a pipe; name a file, which can be read "
                    "again"
                )
            found[path] = None
            continue
        if not glob.has_magic(pattern):
            raise UserError(f"{field}: no file {pattern!r}{_nearest(path)}")
        matches = sorted(glob.glob(str(path), recursive=True))
        files = [Path(match) for match in matches if os.path.isfile(match)]
        if not files:
            raise UserError(f"{field}: the glob {pattern!r} matches no file")
        found |= dict.fromkeys(files)
    for path in found:
        if not os.access(path, os.R_OK):
            raise UserError(f"{field}: {str(path)!r} cannot be read: permission denied")
    return list(found)


def short_names(paths: list[Path]) -> list[str]:
    """Names relative to the deepest directory that holds all of `paths`."""
    absolute = [os.path.abspath(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [Path(os.path.relpath(path, common)).as_posix() for path in absolute]


def _nearest(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return f"; the directory {str(path.parent)!r} does not exist"
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
