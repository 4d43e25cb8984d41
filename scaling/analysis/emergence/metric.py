"""What a metric is and how many items it is the mean of: judged by its values, and stated.

A name alone says little: "acc" may be per cent, a log-probability or a mean over tasks. A share of
n right items is a whole number over n; with enough digits its values show it.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.analysis.tables.choose import require
from scaling.analysis.tables.names import quoted
from scaling.errors import UserError

_SHARE = re.compile(
    r"(^|_)(acc|accuracy|exact_match|exact_str_match|em|multiple_choice_grade|correct|"
    r"pass_(at_)?\d+)(_|$)"
)
_NO_SHARE = re.compile(r"^expected|(^|_)(stderr|logprob|brier|centered|normali[sz]ed)(_|$)")
_ENOUGH, _MOST = 3, 0.8  # values that can tell, and the part of them that must agree
_ALIKE = 0.1  # relative: item counts of rows this close are of one set


@dataclass(frozen=True)
class Kind:
    """share: whether the metric is a share of right items. said: on what grounds, for people."""

    share: bool
    said: str = ""


def kind_of_metric(metric: str, values: np.ndarray, n: np.ndarray, doubted: bool = True) -> Kind:
    """Of finite values [rows] with their item counts [rows] (NaN: unknown). Raises UserError for
    what looks like per cent, unless its unit was stated (`doubted` is then False)."""
    low, high = float(values.min()), float(values.max())
    shown = f"{metric} lies between {low:.4g} and {high:.4g}"
    named = named_share(metric)
    if low < 0 or high > 100:
        return Kind(False, f"{shown}: no share of right items, whatever its name" * named)
    if high > 1:
        if doubted and (named or whole_counts(values / 100, n)):
            flag = quoted(metric)
            raise UserError(
                f"{shown}: that looks like per cent; say --unit {flag}=percent, or {flag}=1 if it "
                "is right as it is"
            )
        return Kind(False)
    counted = whole_counts(values, n)
    if counted is False and named:
        return Kind(
            True,
            f"{metric} times its items is no whole number: a mean over tasks, or a wrong count? "
            "The items are taken as independent all the same",
        )
    if counted or (named and np.isfinite(n).all()):
        return Kind(True)
    if named:
        return Kind(True, f"{shown}: with that name it is taken for a share of right items")
    unknown = not np.isfinite(n).any() and not _NO_SHARE.search(_plain(metric))
    return Kind(False, f"{shown}: nothing says that it is a share of right items" * unknown)


def named_share(metric: str) -> bool:
    """Whether a metric bears a name of shares of right items."""
    plain = _plain(metric)
    return bool(_SHARE.search(plain)) and not _NO_SHARE.search(plain)


def _plain(metric: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", metric.lower()).strip("_")


def whole_counts(values: np.ndarray, n: np.ndarray) -> bool | None:
    """Whether values times items are whole numbers within what the digits of the values say; None
    where they say too little, or nothing is counted."""
    known = np.isfinite(n) & (n >= 2) & (values > 0) & (values < 1)
    if known.sum() < _ENOUGH:
        return None
    y, items = values[known], n[known]
    digits = next((k for k in range(13) if np.allclose(np.round(y, k), y, rtol=0, atol=1e-13)), 13)
    slack = items * (0.5 * 10.0**-digits if digits < 12 else 1e-7)
    telling = slack < 0.2
    if telling.sum() < _ENOUGH:
        return None
    off = np.abs(y * items - np.rint(y * items))[telling]
    share = float(np.mean(off <= slack[telling] + 1e-6))
    chance = float(np.mean(np.minimum(2 * slack[telling], 1.0)))
    if share >= _MOST and chance < 0.5:
        return True
    return False if share < _MOST else None


def item_counts(table: pd.DataFrame, metric: str, given: float | None) -> tuple[np.ndarray, str]:
    """Items behind each value [rows], NaN where unknown, and how they were found out when they
    stand in no column: `METRIC_n`, `given`, `n_items`, or the standard error of a share."""
    require(table, [metric])
    if f"{metric}_n" in table:
        return _floats(table[f"{metric}_n"]), ""
    if given is not None:
        return np.full(len(table), float(given)), ""
    if "n_items" in table and _floats(table["n_items"]).max(initial=0) > 0:
        return _floats(table["n_items"]), ""
    column = next((c for c in _error_columns(metric) if c in table), None)
    if column is None or not named_share(metric):
        return np.full(len(table), np.nan), ""
    n = from_errors(_floats(table[metric]), _floats(table[column]))
    if not np.isfinite(n).any():
        return n, ""
    return n, (
        f"items are counted from {column}: n = p (1 - p) / se^2 + 1, {np.nanmedian(n):.0f} (median)"
    )


def _error_columns(metric: str) -> list[str]:
    """acc,none -> acc_stderr,none; acc -> acc_stderr, acc_se."""
    stem, comma, rest = metric.partition(",")
    return [f"{stem}{end}{comma}{rest}" for end in ("_stderr", "_se", "_std_err", "_sem")]


def from_errors(p: np.ndarray, se: np.ndarray) -> np.ndarray:
    """Items [rows] from the standard errors of shares of right items, with the sample variance (n -
    1) that lm-eval's has. A share of 0 or 1 says nothing: it gets the count of the others where
    they agree."""
    inside = (p > 0) & (p < 1) & (se > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.where(inside, np.rint(p * (1 - p) / se**2 + 1), np.nan)
    if inside.any():
        middle = np.nanmedian(n)
        if np.all(np.abs(n[inside] / middle - 1) <= _ALIKE):
            n = np.where((p == 0) | (p == 1), middle, n)
    return n


def _floats(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
