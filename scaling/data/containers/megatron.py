"""The Megatron-LM indexed data set: NAME.bin (token ids) beside NAME.idx (sizes and documents).

NAME.idx, little-endian: 9 bytes of magic, uint64 version 1, uint8 code of the integer type, uint64
number of sequences S, uint64 length of the document index D; then int32 sizes (S,), int64 byte
offsets into NAME.bin (S,), int64 first sequence of every document and S at the end (D,).
"""

import struct
from pathlib import Path

import numpy as np

from scaling.data.containers.layout import Layout, check_size
from scaling.errors import UserError

MAGIC = b"MMIDIDX\x00\x00"
DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
_HEADER = struct.Struct("<9sQBQQ")


def layout(path: Path, head: bytes) -> Layout | None:
    """None without an index beside the file. Raises UserError for a broken index, and where the two
    files do not fit together."""
    if path.suffix == ".idx" or not path.with_suffix(".idx").exists():
        return None
    dtype, starts = read_index(path.with_suffix(".idx"))
    out = Layout("megatron", dtype, int(starts[-1]), starts=starts)
    check_size(path, out, f"its index {path.with_suffix('.idx').name!r}")
    return out


def read_index(path: Path) -> tuple[str, np.ndarray]:
    """(integer type of NAME.bin, (documents + 1,) token positions where documents start).

    Raises UserError for another format, a truncated file, or an order that is not front to back.
    """
    content = path.read_bytes()
    if len(content) < _HEADER.size or not content.startswith(MAGIC):
        raise UserError(f"{str(path)!r} is not a Megatron index (it does not begin with MMIDIDX)")
    _, version, code, n_sequences, n_index = _HEADER.unpack_from(content)
    if version != 1 or code not in DTYPES:
        raise UserError(
            f"{str(path)!r}: version {version}, integer type {code}; "
            f"this reader knows version 1 and types {sorted(DTYPES)}"
        )
    need = _HEADER.size + 12 * n_sequences + 8 * n_index
    if len(content) < need:
        raise UserError(f"{str(path)!r} is truncated: {len(content)} bytes of {need}")
    sizes = np.frombuffer(content, "<i4", n_sequences, _HEADER.size).astype(np.int64)
    at = _HEADER.size + 4 * n_sequences
    pointers = np.frombuffer(content, "<i8", n_sequences, at)
    documents = np.frombuffer(content, "<i8", n_index, at + 8 * n_sequences)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    dtype = DTYPES[code]
    in_order = np.array_equal(pointers, starts[:-1] * np.dtype(dtype).itemsize)
    covers = n_index > 0 and documents[0] == 0 and documents[-1] == n_sequences
    if sizes.min(initial=0) < 0 or not in_order or not covers or (np.diff(documents) < 0).any():
        raise UserError(f"{str(path)!r}: sequences do not follow one another; rebuild the index")
    return dtype, starts[documents]
