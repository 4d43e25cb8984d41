"""lit-gpt's packed files: magic LITPKDS, uint64 version 1, uint8 type, uint64 tokens in a chunk."""

import struct
from pathlib import Path

from scaling.data.containers.layout import Layout, check_size
from scaling.errors import UserError

MAGIC = b"LITPKDS"
DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
_HEADER = struct.Struct("<7sQBQ")


def layout(path: Path, head: bytes) -> Layout | None:
    """None without the magic. Raises UserError for another version or type, and a wrong count."""
    if not head.startswith(MAGIC):
        return None
    if len(head) < _HEADER.size:
        raise UserError(f"{str(path)!r} is truncated in its lit-gpt header")
    _, version, code, count = _HEADER.unpack_from(head)
    if version != 1 or code not in DTYPES:
        raise UserError(
            f"{str(path)!r}: a lit-gpt file of version {version}, type {code}; this reader knows "
            f"version 1 and types {sorted(DTYPES)}"
        )
    out = Layout("lit-gpt", DTYPES[code], count, _HEADER.size)
    check_size(path, out, "its lit-gpt header")
    return out
