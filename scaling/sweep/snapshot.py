"""The code that the jobs of a sweep run: copied once, whatever happens to the tree afterwards.

    OUT/code/scaling, launch, configs, setup.py   what git tracks, and Python files it does not
    OUT/code/scaling-snapshot.json                commit, diff and hashes of the tree, and what was
                                                  left out: dotfiles, names of secrets, other files

Nothing here is to carry a password further: the diff is redacted, and so are the configs, which are
there to be read (the jobs take theirs from sweep.json). The code itself must stay as it is.

Without git (an installed package) the package alone is copied, and commit is null.
"""

import contextlib
import os
import pathlib
import re
import shutil
from typing import Any

import scaling
from scaling.doors.files import sync_directory, write_json
from scaling.doors.reading import read_json
from scaling.doors.redact import redact
from scaling.doors.schemas import SNAPSHOT
from scaling.errors import UserError
from scaling.machine.environment import SNAPSHOT_FACTS, code, git, source_hash

_COPIED = ("scaling", "launch", "configs", "setup.py")
_PRIVATE = {"secret", "secrets", "credential", "credentials", "password", "passwords", "passwd"}
_PRIVATE |= {"token", "apikey", "netrc", "htpasswd", "rsa", "dsa", "ecdsa", "ed25519", "env"}
_PRIVATE_ENDS = (".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", ".gpg", ".asc", ".ppk")


def facts(out: pathlib.Path | None = None) -> dict[str, Any]:
    """source_hash, commit, dirty, diff_hash, diff, left_out: of the tree, or of the snapshot in
    `out`.

    As `scaling.machine.environment.code` will have it in the records of that code. diff: the text
    of what is not committed, None without git; `git apply` on the commit gives the tree, new files
    aside. Raises UserError when `out` has no snapshot.
    """
    if out is not None:
        path = out / "code" / SNAPSHOT_FACTS
        return read_json(path, SNAPSHOT, missing="the sweep has no snapshot of its code")
    known, diff = code(), None
    if known["commit"] is not None:
        private = (path for path, why in _seen(_package()) if why)
        hidden = (f":(exclude){path.relative_to(_package())}" for path in private)
        text = git(_package(), "diff", "HEAD", "--", ".", *hidden)
        diff = None if text is None else text.decode(errors="replace")
    hashed = source_hash(_package(), _files(_package()))
    return {**known, "source_hash": hashed, "diff": diff, "left_out": left_out()}


def take(out: pathlib.Path) -> None:
    """Copies the code to OUT/code, which exists whole or not at all; keeps that of a sweep."""
    final, draft, root = out / "code", out / ".code.tmp", _package().parent
    if final.exists():
        if (out / "sweep.json").exists():
            return
        # Of a launcher that was killed before it had written sweep.json: no job has seen it.
        shutil.rmtree(final)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for name in _COPIED:
            for path in _files(root / name):
                target = draft / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(path, target, redacted=name == "configs")
        # Of the copy: the tree may have changed meanwhile.
        known = {**facts(), "source_hash": source_hash(draft / "scaling")}
        write_json(draft / SNAPSHOT_FACTS, known)
        os.rename(draft, final)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise UserError(f"the code cannot be copied to {final}: {error}") from error
    sync_directory(out)


def _copy(path: pathlib.Path, target: pathlib.Path, *, redacted: bool) -> None:
    data = path.read_bytes()
    if redacted:
        with contextlib.suppress(UnicodeDecodeError):
            data = redact(data.decode("utf-8")).encode("utf-8")
    target.write_bytes(data)


def _package() -> pathlib.Path:
    return pathlib.Path(scaling.__file__).resolve().parent


def _files(top: pathlib.Path) -> list[pathlib.Path]:
    """The files of `top` that are copied."""
    return [path for path, why in _seen(top) if not why]


def left_out() -> list[str]:
    """The files below _COPIED that are not copied, each with the reason."""
    root = _package().parent
    seen = (pair for name in _COPIED for pair in _seen(root / name))
    return sorted(f"{path.relative_to(root)}: {why}" for path, why in seen if why)


def _seen(top: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """(file, why it is not copied or "") of `top` as git sees the tree, or as they lie there."""
    if code()["commit"] is None:
        # Beside an installed package lie other people's: `configs` there need not be ours.
        paths = top.rglob("*") if top.name in ("scaling", "launch") else []
        found = {p: "" for p in paths if "__pycache__" not in p.parts}
    else:
        listed = _listed(top, "--others", "--exclude-standard")
        found = {p: "" if p.suffix == ".py" else "not in git" for p in listed}
        found |= dict.fromkeys(_listed(top, "--cached"), "")
    root = top.parent
    return [
        (path, _private(path.relative_to(root)) or ("a link" if path.is_symlink() else why))
        for path, why in found.items()
        if path.is_file()
    ]


def _listed(top: pathlib.Path, *which: str) -> list[pathlib.Path]:
    names = git(top.parent, "ls-files", "-z", *which, "--", top.name)
    return [top.parent / os.fsdecode(name) for name in (names or b"").split(b"\0") if name]


def _private(path: pathlib.PurePath) -> str:
    """Why a file of this name stays where it is, whatever git knows of it; or ""."""
    if any(part.startswith(".") for part in path.parts):
        return "a dotfile"
    name = path.name.lower()
    words = set(re.split(r"[\W_]+", name))
    token = path.suffix != ".py" and re.match(r"token(?!iz)", name)
    if token or words & _PRIVATE or name.endswith(_PRIVATE_ENDS):
        return "its name is that of a secret"
    return ""
