"""What a data source hands to the pipeline.

A source is a frozen dataclass whose fields are its options, registered in `scaling.config.SOURCES`,
with one method:

    open(data: DataConfig, *, seed: int, cache: Path) -> OpenSource

`seed` is the seed of the run; only endless sources need it (for their training rows). Shapes:
R rows asked for, T = data.seq_len predictions a row.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a piece of a row comes from; `offset` counts tokens from the document's start."""

    document: str
    offset: int


class Rows(Protocol):
    """One split. Row i is a pure function of i; objects are picklable for loader workers."""

    n_rows: int | None
    """Rows of one epoch; None when endless."""

    def gather(self, ids_R: np.ndarray) -> dict[str, np.ndarray]:
        """tokens, targets (R, T) int32, weights (R, T) float32, and when data.documents is
        "masked" segments, positions (R, T) int32."""
        ...

    def n_bytes(self, ids_R: np.ndarray) -> int | None:
        """Bytes of UTF-8 that the targets of these rows stand for; None when unknown."""
        ...

    def places(self, row: int) -> list[Place]:
        """The documents that the row crosses, in order."""
        ...


@dataclasses.dataclass(frozen=True)
class OpenSource:
    """An opened source. Entropies are in nats per token.

    content_hash: sha256 (hex) of the content. facts: JSON-ready counts for `scaling data stats`.
    entropy_rate: of the endless process. row_entropy: mean entropy of the T targets of a row given
    the row so far, the least loss that any model can reach. entropy_bounds: a certain interval
    around entropy_rate, or the same number twice. warnings: what a reader of a record of a run on
    the source should know, one sentence each.
    """

    train: Rows
    validation: Rows
    vocab_size: int
    content_hash: str
    decode: Callable[[np.ndarray], str]
    facts: dict[str, Any]
    entropy_rate: float | None = None
    row_entropy: float | None = None
    entropy_bounds: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


def show_ids(tokens: np.ndarray) -> str:
    """The text form of tokens that stand for nothing but themselves."""
    return " ".join(str(token) for token in tokens)
