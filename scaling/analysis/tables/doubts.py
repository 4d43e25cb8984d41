"""Values that cannot be what their column claims: another unit, most of the time.

What cannot be is refused, with the flag that says what it is; what is only odd is said. A unit that
was stated (`--unit n_params=M`, `--unit loss=nats`) is not doubted, nor is what we recorded.
"""

import math
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from scaling.analysis.tables.cells import numbers, row_names
from scaling.analysis.tables.units import FLOPS, LOSS, PARAMS, SCORE, TOKENS, Quantity
from scaling.errors import UserError

_FEWEST = 1e3  # parameters of a model, tokens of a training
_FEW = {PARAMS: 1e4, TOKENS: 1e5}  # so that it is said
_MOST = {PARAMS: 1e13, TOKENS: 1e16}
_HIGHEST_LOSS = 15.0  # nats a token: guessing among three million words
_HIGH_MEDIAN = 9.5  # guessing by frequency alone comes to about 7.5
_ODD_MEDIAN = 7.0
_TOKENS_PER_PARAM = (1e-3, 1e5)
_ODD_TOKENS_PER_PARAM = (1e-2, 3e4)
_VOCABULARY = re.compile(r"(?:^|[^a-z])(?:n_?)?vocab(?:ulary)?(?:[_ ]?size)?$", re.IGNORECASE)
_FLOPS_RATIO, _ODD_FLOPS_RATIO = 30.0, 3.0


def doubts(table: pd.DataFrame, columns: Mapping[str, Quantity]) -> list[str]:
    """What is odd about the values of `columns` (numbers, finite). Raises UserError for what
    cannot be."""
    stated = table.attrs.get("units", {})
    notices = []
    for name, quantity in columns.items():
        values = table[name].to_numpy(np.float64)
        values_known = values[np.isfinite(values)]
        if name in stated or not len(values_known):
            continue
        if quantity in (PARAMS, TOKENS):
            notices += _count(name, values, quantity, table)
        if quantity.kind == "loss":
            notices += _loss(name, values, table, quantity)
        if quantity.kind == "fraction":
            _fraction(name, values, table)
    return notices + _together(table, columns, stated)


def _count(name: str, values: np.ndarray, quantity: Quantity, table: pd.DataFrame) -> list[str]:
    middle, what = float(np.nanmedian(values)), quantity.group
    low, high = values < _FEWEST, values > _MOST[quantity]
    if low.any() and middle < _FEWEST:
        guess = "B" if middle < 10 or quantity == TOKENS else "M"
        raise UserError(
            f"{name} is {middle:g} in the middle of the table, and no model has so few {what}: "
            f"say --unit {name}={guess} (K, M, B, T, log10), or --unit {name}=1 if it is right"
        )
    if low.any() or high.any():
        odd = low if low.any() else high
        raise UserError(
            f"{name} is {values[odd][0]:g} in {row_names(table.index, odd)} and {middle:g} in the "
            f"middle of the table: another unit than {what}? Mend the cells, or say "
            f"--unit {name}=M (K, B, T), or --unit {name}=1 if it is right"
        )
    if middle < _FEW[quantity]:
        return [
            f"{name} has a median of {middle:g}, few {what}: if that is in thousands or millions, "
            f"say --unit {name}=K (M, B)"
        ]
    return []


def _loss(name: str, values: np.ndarray, table: pd.DataFrame, quantity: Quantity) -> list[str]:
    middle, rows = float(np.nanmedian(values)), len(values)
    high = values > _HIGHEST_LOSS
    told = []
    if middle > _HIGH_MEDIAN or high.sum() * 10 > rows:
        much = (
            f"{name} is {middle:g} in the middle of the table and {np.nanmax(values):g} at most, "
            f"more than nats per token can be: "
        )
        if quantity != SCORE:
            raise UserError(
                f"{much}say --unit {name}=perplexity (or bits), or {name}=nats if it is right"
            )
        told.append(f"{much}if it is perplexity, --unit {name}=perplexity")
    elif high.any():
        told.append(
            f"{name} is {values[high][0]:g} in {row_names(table.index, high)}, worse than guessing "
            f"in nats per token: diverged? --where '{name}<{_HIGHEST_LOSS:g}' leaves it out"
        )
    elif middle > _ODD_MEDIAN:
        told.append(
            f"{name} is {middle:g} in the middle of the table, much for nats per token: if it is "
            f"perplexity, --unit {name}=perplexity"
        )
    return told + (_against_vocabulary(name, values, table) if quantity == LOSS else [])


def _against_vocabulary(name: str, values: np.ndarray, table: pd.DataFrame) -> list[str]:
    """ln V is the loss of guessing among the V tokens of a vocabulary."""
    for column in (c for c in table if _VOCABULARY.search(str(c))):
        sizes, bad, _ = numbers(table[column])
        if bad.any() or not (np.isfinite(sizes) & (sizes >= 2) & (sizes <= 2e6)).all():
            continue
        above = values > 1.02 * np.log(sizes)
        if above.sum() * 2 > len(values):
            bound = math.log(float(np.median(sizes)))
            raise UserError(
                f"{name} is above ln {column} = {bound:.3g}, the loss of guessing, in "
                f"{row_names(table.index, above)}: say --unit {name}=bits or "
                f"--unit {name}=perplexity, or --unit {name}=nats if it is right"
            )
        if above.any():
            return [
                f"{name} is above ln {column}, the loss of guessing, in "
                f"{row_names(table.index, above)}: diverged?"
            ]
    return []


def _fraction(name: str, values: np.ndarray, table: pd.DataFrame) -> None:
    odd = (values > 1 + 1e-9) | (values < -1)
    if odd.any():
        raise UserError(
            f"{name} is {values[odd][0]:g} in {row_names(table.index, odd)}, and a fraction is at "
            f"most 1: say --unit {name}=percent, or --unit {name}=fraction if it is right"
        )


def _together(
    table: pd.DataFrame, columns: Mapping[str, Quantity], stated: Mapping[str, str]
) -> list[str]:
    """Tokens for parameters, and FLOPs for both (C = 6 N D)."""
    if not {"n_params", "n_tokens"} <= set(table.columns):
        return []
    n, d = (_values(table, name) for name in ("n_params", "n_tokens"))
    each = _median(d / n)
    notices = []
    both = columns.keys() & {"n_params", "n_tokens"}
    if len(both) == 2 and not both <= stated.keys() and math.isfinite(each):
        told = f"n_tokens is {each:.3g} times n_params (median)"
        if not _TOKENS_PER_PARAM[0] <= each <= _TOKENS_PER_PARAM[1]:
            raise UserError(
                f"{told}, which no training is: say --unit n_params=M or --unit n_tokens=B "
                "(K, M, B, T), check --map, or say --unit n_params=1,n_tokens=1 if it is right"
            )
        if not _ODD_TOKENS_PER_PARAM[0] <= each <= _ODD_TOKENS_PER_PARAM[1]:
            notices.append(f"{told}: check units and --map")
    if "flops" in table and "flops" not in stated:
        notices += _flops(table, _median(_values(table, "flops") / (6 * n * d)), columns)
    return notices


def _flops(table: pd.DataFrame, ratio: float, columns: Mapping[str, Quantity]) -> list[str]:
    if not (math.isfinite(ratio) and ratio > 0):
        return []
    if 1 / _ODD_FLOPS_RATIO <= ratio <= _ODD_FLOPS_RATIO:
        return []
    told = f"flops is {ratio:.3g} times 6 n_params n_tokens (median)"
    # Of many experts a token uses few, and the count of parameters may be of all of them.
    sparse = any(word in str(c).lower() for c in table for word in ("expert", "moe", "active"))
    read = sum(q in (PARAMS, TOKENS, FLOPS) for q in columns.values()) >= 2
    far = not 1 / _FLOPS_RATIO <= ratio <= _FLOPS_RATIO
    if far and read and not (sparse and 1e-3 < ratio < 1):
        raise UserError(
            f"{told}: one of the three is in another unit; say which, as in --unit flops=PFLOPs, "
            "n_params=M or n_tokens=B, or flops=FLOPs if all are right (of one device of many?)"
        )
    return [f"{told}: check their units"]


def _values(table: pd.DataFrame, name: str) -> np.ndarray:
    values, bad, _ = numbers(table[name])
    values[bad | ~(values > 0)] = np.nan
    return values


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
