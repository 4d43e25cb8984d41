"""What a format is: a test that is quick and sure, and a reader."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Format:
    """recognise: whether a source (a Path, or a table as it was read) is of this format; it never
    raises. read: the table, and sentences on what was made of it; raises UserError."""

    name: str
    recognise: Callable[[Any], bool]
    read: Callable[[Any], tuple[pd.DataFrame, list[str]]]
