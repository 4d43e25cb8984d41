"""What a run ran on: versions, hardware, code. Facts for the record, none of them in the run_id."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import socket
import subprocess
from collections.abc import Iterable
from typing import Any

import scaling
from scaling.doors.reading import read_json
from scaling.doors.schemas import SNAPSHOT

# Beside a copy of the package: the facts of the tree it was copied from.
SNAPSHOT_FACTS = "scaling-snapshot.json"
_PACKAGES = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax": "orbax-checkpoint",
    "grain": "grain",
    "numpy": "numpy",
}


def environment() -> dict[str, Any]:
    """{"versions", "hardware", "code"}, JSON-ready. Starts the jax backend."""
    return {"versions": versions(), "hardware": hardware(), "code": code()}


def versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of what it computes with; None: not installed."""
    out: dict[str, str | None] = {
        "python": platform.python_version(),
        "scaling": scaling.__version__,
    }
    for name, distribution in _PACKAGES.items():
        try:
            out[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            out[name] = None
    return out


def hardware() -> dict[str, Any]:
    """Accelerators as jax sees them, and the host. Starts the jax backend."""
    import jax

    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "n_devices": jax.device_count(),
        "n_processes": jax.process_count(),
        "host": socket.gethostname(),
        "host_cpu": _cpu(),
        "host_cores": os.cpu_count(),
        "os": platform.platform(),
    }


def code() -> dict[str, Any]:
    """Which code ran: a hash of the package's sources, and the git commit when it is a checkout.

    commit, dirty and diff_hash are None outside git. dirty: tracked files differ from the commit;
    diff_hash then tells two such states apart. In a snapshot of the code that a sweep made they
    are those of the tree that was copied (`scaling.sweep.snapshot`).
    """
    package = pathlib.Path(scaling.__file__).parent
    out = {
        "source_hash": source_hash(package),
        "commit": None,
        "dirty": None,
        "diff_hash": None,
    }
    snapshot = package.parent / SNAPSHOT_FACTS
    if snapshot.is_file():
        copied = read_json(snapshot, SNAPSHOT)
        return out | {key: copied[key] for key in ("commit", "dirty", "diff_hash")}
    # An environment inside somebody's repository is not a checkout of this package.
    if git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return out
    commit, diff = git(package, "rev-parse", "HEAD"), git(package, "diff", "HEAD", "--", ".")
    if commit is not None and diff is not None:
        out |= {"commit": commit.decode().strip(), "dirty": bool(diff)}
        out["diff_hash"] = hashlib.sha256(diff).hexdigest()[:16] if diff else None
    return out


def source_hash(package: pathlib.Path, files: Iterable[pathlib.Path] | None = None) -> str:
    """16 hex digits of the hash of the Python files below `package` (or `files`), with names."""
    digest = hashlib.sha256()
    for path in sorted(p for p in files or package.rglob("*.py") if p.suffix == ".py"):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def git(where: pathlib.Path, *arguments: str) -> bytes | None:
    """What `git ARGUMENTS` prints in `where`; None when it fails or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            timeout=10,
            check=True,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _cpu() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
