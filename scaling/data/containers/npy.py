"""NumPy's .npy: the header says type and shape. Rows of a matrix follow one another."""

from pathlib import Path

import numpy as np

from scaling.data.containers.layout import Layout, check_size
from scaling.errors import UserError


def layout(path: Path, head: bytes) -> Layout | None:
    """None without the magic: files that are only named .npy (OLMo's) are raw. Raises UserError for
    anything but one or two dimensions of integers in C order."""
    if not head.startswith(b"\x93NUMPY"):
        return None
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{str(path)!r} is no readable .npy file (or truncated): {text}") from error
    if array.dtype.kind not in "ui":
        raise UserError(
            f"{str(path)!r} holds {array.dtype}, not integers; save the token ids as uint16 or "
            "uint32"
        )
    if array.ndim not in (1, 2) or not array.flags.c_contiguous:
        order = "" if array.flags.c_contiguous else " in Fortran order"
        raise UserError(
            f"{str(path)!r} has the shape {array.shape}{order}; save one stream of ids, or rows of "
            "them in C order"
        )
    dtype = array.dtype.name if array.dtype.isnative else array.dtype.str
    out = Layout("npy", dtype, array.size, array.offset)
    check_size(path, out, "its .npy header")
    return out
