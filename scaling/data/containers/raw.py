"""Raw ids (nanoGPT's train.bin): nothing says their type, so the bytes must fit it."""

import os
from pathlib import Path

import numpy as np

from scaling.data.containers.evidence import likely_type
from scaling.data.containers.layout import Layout
from scaling.data.magic import binary_kind, looks_like_text
from scaling.errors import UserError

DTYPES = ("uint8", "uint16", "uint32", "int32", "int64", ">u2", ">u4", ">i8")
"""What `data.tokens.dtype` may be; those with > have the high byte first."""
_USUAL = "uint16"


def layout(path: Path, head: bytes, dtype: str) -> Layout:
    """Raises UserError for known formats that hold no ids, for text, for a size that is no multiple
    of the type's, and where "auto" is taken for uint16 and the bytes betray another type.

    A `dtype` of the user's is believed; what speaks against it is the layout's `doubt`.
    """
    size = path.stat().st_size
    _check_content(path, head, dtype)
    assumed = _USUAL if dtype == "auto" else dtype
    item = np.dtype(assumed).itemsize
    if size % item:
        raise UserError(
            f"{str(path)!r} has {size} bytes, not a multiple of the {item} of {assumed}: "
            "the file is truncated, or data.tokens.dtype is another"
        )
    doubt = ""
    if (likely := likely_type(path)) is not None:
        other, why = likely
        same = np.dtype(other).newbyteorder("=").itemsize == item
        if not (same and np.dtype(other).isnative == np.dtype(assumed).isnative):
            doubt = f"looks like {other}, not {assumed}: {why}"
            if dtype == "auto":
                raise UserError(
                    f"{str(path)!r} {doubt}; set data.tokens.dtype={other!r}, or {assumed!r} if it "
                    "is right"
                )
    return Layout("raw", assumed, size // item, doubt=doubt)


def _check_content(path: Path, head: bytes, dtype: str) -> None:
    with open(path, "rb") as stream:
        stream.seek(-min(1, path.stat().st_size), os.SEEK_END)
        last = stream.read(1)
    if (known := binary_kind(head, last)) is not None:
        name, remedy = known
        raise UserError(f"{str(path)!r} is {name}, not a file of token ids; {remedy}")
    if dtype != "uint8" and looks_like_text(head):
        raise UserError(
            f"{str(path)!r} is text, not token ids; read it with data.name='text', or set "
            "data.tokens.dtype='uint8' if its bytes are the tokens"
        )
