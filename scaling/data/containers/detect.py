"""What a token file is: a container that says so itself, another format, or raw ids."""

from pathlib import Path

import numpy as np

from scaling.data.containers import raw
from scaling.data.containers.layout import Layout
from scaling.errors import UserError
from scaling.registry import Registry

# One file and one line per container, tried in this order: a function of the path and the first
# bytes that gives a Layout, or None for other files.
CONTAINERS = Registry(
    "token container",
    {
        "npy": "scaling.data.containers.npy:layout",
        "llm.c": "scaling.data.containers.llmc:layout",
        "lit-gpt": "scaling.data.containers.litgpt:layout",
        "megatron": "scaling.data.containers.megatron:layout",
    },
)
_HEAD = 4096


def layout_of(path: Path, dtype: str) -> Layout:
    """The layout of the tokens in `path`; `dtype` is "auto", or what the user says of raw files.

    Raises UserError when a header and `dtype` contradict each other, when the file is of a format
    that holds no tokens, and when raw ids are likely of another type than `dtype`.
    """
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    for name in CONTAINERS:
        layout = CONTAINERS.load(name)(path, head)
        if layout is None:
            continue
        if dtype != "auto" and np.dtype(dtype) != np.dtype(layout.dtype):
            raise UserError(
                f"data.tokens.dtype={dtype!r}, but {str(path)!r} is a {name} file of "
                f"{layout.dtype}; leave dtype at 'auto'"
            )
        return layout
    return raw.layout(path, head, dtype)
