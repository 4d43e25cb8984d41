"""Where the tokens of a file lie, and the check that there are as many as its header says."""

import dataclasses
from pathlib import Path

import numpy as np

from scaling.errors import UserError


@dataclasses.dataclass(frozen=True)
class Layout:
    """`size` integers of `dtype` after `offset` bytes. starts: (documents + 1,) token positions
    where the container knows them; doubt: why the file may be of another type, or ""."""

    container: str
    dtype: str
    size: int
    offset: int = 0
    starts: np.ndarray | None = None
    doubt: str = ""


def check_size(path: Path, layout: Layout, source: str) -> None:
    """Raises UserError when the file is shorter or longer than `source` (such as "its header")
    says."""
    n_bytes = path.stat().st_size - layout.offset
    item = np.dtype(layout.dtype).itemsize
    if n_bytes != layout.size * item:
        raise UserError(
            f"{str(path)!r} has {n_bytes / item:,.10g} tokens of {layout.dtype}, {source} says "
            f"{layout.size:,}: one of the two is truncated or of another file"
        )
