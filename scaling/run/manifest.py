"""The manifest of a checkpoint directory: what it holds, checksummed, itself included.

Orbax notices many kinds of damage but not all (a flipped bit inside uncompressed array data is
restored as it is), and it cannot tell damage from a wrong request. The manifest can.
"""

import concurrent.futures
import json
import pathlib
import zlib

import jax

from scaling.doors.files import write_atomic
from scaling.doors.reading import NUMBER, read_json
from scaling.errors import UserError

_NAME = "manifest.json"
_FORMAT = 1
_SHAPE = {
    "manifest": {
        "format": int,
        "fingerprint": dict,
        "leaves": {str: str},
        "files": {str: [NUMBER]},
    },
    "crc32": int,
}
_BLOCK = 1 << 22  # bytes read at once


def write_manifest(
    path: pathlib.Path, step: int, fingerprint: dict, leaves: dict[str, str]
) -> None:
    """Describes all files now in `path`. leaves: {leaf path: "float32[8, 8]"}."""
    names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    manifest = {
        "format": _FORMAT,
        "step": step,
        "fingerprint": fingerprint,
        "leaves": leaves,
        "files": _checksums(path, names),
    }
    # The fingerprint comes redacted, and names of leaves and files must come back as they are.
    write_atomic(
        path / _NAME, json.dumps({"manifest": manifest, "crc32": _own_checksum(manifest)}, indent=1)
    )


def read_manifest(path: pathlib.Path) -> dict:
    """{"step", "fingerprint", "leaves", "files"} of a directory without `damage`."""
    return read_json(path / _NAME, _SHAPE)["manifest"]


def damage(path: pathlib.Path) -> str | None:
    """What is wrong with a checkpoint directory; None when it agrees with its manifest.

    Each process of the run reads its share of the files, so the answers differ between hosts.
    Raises UserError when permission is missing or the format is not ours: that is no damage.
    """
    try:
        stored = read_json(path / _NAME, _SHAPE)
    except UserError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return str(error)
    manifest = stored["manifest"]
    if stored["crc32"] != _own_checksum(manifest):
        return f"{_NAME}: checksum differs"
    if manifest["format"] != _FORMAT:
        raise UserError(f"checkpoint {path}: format {manifest['format']} is not known here")
    mine = sorted(manifest["files"])[jax.process_index() :: jax.process_count()]
    try:
        found = _checksums(path, mine)
    except PermissionError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error}") from error
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    bad = next((name for name in mine if found[name] != manifest["files"][name]), None)
    return None if bad is None else f"{bad}: [bytes, CRC-32] differ from the manifest"


def _checksums(path: pathlib.Path, names: list[str]) -> dict[str, list[int]]:
    """{name: [bytes, CRC-32]}; zlib lets go of the interpreter lock, so threads help."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return dict(zip(names, pool.map(lambda name: _checksum(path / name), names), strict=True))


def _checksum(path: pathlib.Path) -> list[int]:
    size = crc = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def _own_checksum(manifest: dict) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
