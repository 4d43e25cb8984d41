"""Tables that mix what no one law describes: data sources, tokenizers, groups, architectures.

Two worlds of data have two floors; one fit to both has neither, and its R^2 says so to nobody who
does not look. A column is named when its name says that its values are worlds apart, or when it
explains what the law leaves over.
"""

import numpy as np
import pandas as pd
from scipy import special

from scaling.analysis.law import Law
from scaling.analysis.tables.kinds import MIXED, is_setting, kind_of

_SIZES = ("n_params", "n_params_dense", "n_tokens", "flops", "loss", "x")
_LEVELS = 20  # distinct values beyond which a column is no grouping
_FEW = 4  # values of a number that may stand for kinds: 0 and 1
_EXPLAINED, _LEVEL = 0.25, 1e-4  # of the residual variance, and how unlikely by chance


def mixed(law: Law, table: pd.DataFrame, residuals: np.ndarray) -> list[str]:
    """Sentences about columns of the fitted table that tell kinds of rows apart.

    residuals: float64 [rows], of the fit of all of them."""
    read = [c.name for c in law.input_columns]
    inputs = [name for name in read if name != law.target.name]
    found: dict[tuple, list[str]] = {}
    for name in table.columns:
        if name in read or not is_setting(table, name):
            continue
        codes = pd.factorize(table[name], use_na_sentinel=False)[0]
        n_levels = codes.max() + 1
        if not 2 <= n_levels <= min(_LEVELS, len(table) // 3):
            continue
        known = kind_of(name) in MIXED
        if name == "group" and _one_group(table[name]):
            continue
        if not known and _is_a_dial(table, name, n_levels):
            continue
        if _names_an_input(table, inputs, codes, known):
            continue
        if known or _explained(residuals, codes) is not None:
            found.setdefault(tuple(codes), []).append(name)
    return [_sentence(table, names, residuals, np.array(codes)) for codes, names in found.items()]


def _one_group(column: pd.Series) -> bool:
    """Whether all rows are of one group of a sweep: "text" and "luck+text" are both of text."""
    return bool(set.intersection(*(set(str(names).split("+")) for names in column.unique())))


def _is_a_dial(table: pd.DataFrame, name: str, n_levels: int) -> bool:
    """A hyperparameter, or a number of many values: the business of `design`."""
    numeric = pd.api.types.is_numeric_dtype(table[name])
    return kind_of(name) is not None or (numeric and n_levels > _FEW)


def _names_an_input(table: pd.DataFrame, inputs: list[str], codes: np.ndarray, known: bool) -> bool:
    """Whether the column only says again what an input of the law says: 1B for 1e9 parameters. A
    world may have sizes of its own (its vocabulary), so there every level must be one size."""
    for name in inputs:
        values = table[name]
        by_input = pd.Series(codes).groupby(values.to_numpy()).nunique().max() == 1
        by_level = values.groupby(codes).nunique().max() == 1
        if by_input and (by_level or not known or name not in _SIZES):
            return True
    return False


def _explained(residuals: np.ndarray, codes: np.ndarray) -> float | None:
    """The share of the residual variance between the levels, where it is large and no chance
    (one-way F test); else None."""
    n, levels = len(residuals), codes.max() + 1
    total = np.sum((residuals - residuals.mean()) ** 2)
    if not np.isfinite(total) or total <= 0 or n <= levels:
        return None
    counts = np.bincount(codes)
    means = np.bincount(codes, residuals) / counts
    between = np.sum(counts * (means - residuals.mean()) ** 2)
    share = float(between / total)
    f = (between / (levels - 1)) / max((total - between) / (n - levels), 1e-300)
    p = special.fdtrc(levels - 1, n - levels, f)
    return share if share >= _EXPLAINED and p < _LEVEL else None


def _sentence(
    table: pd.DataFrame, names: list[str], residuals: np.ndarray, codes: np.ndarray
) -> str:
    name = names[0]
    values = table[name].value_counts(dropna=False)
    shown = ", ".join(map(_short, values.index[:4])) + ", ..." * (len(values) > 4)
    also = f" (and so {', '.join(names[1:4])})" if len(names) > 1 else ""
    share = _explained(residuals, codes)
    effect = (
        "one law is fitted to all of them"
        if share is None
        else f"it explains {100 * share:.0f} % of what the law leaves over"
    )
    return (
        f"column {name!r}{also} has {len(values)} values ({shown}) and {effect}; "
        f"--where '{name}={_short(values.index[0])}' fits one"
    )


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
