"""A second table beside the first: the sizes of runs that the first only names."""

from pathlib import Path

import pandas as pd

from scaling.analysis.tables.read import read
from scaling.errors import UserError

_SHOWN = 3


def joined(table: pd.DataFrame, path: str | Path | None) -> tuple[pd.DataFrame, list[str]]:
    """`table` with the columns of the table in `path`, matched on the columns of names that both
    have (run, model, ...); values that the first has already stay. Rows without a partner stay too,
    and are said. None changes nothing.

    Raises UserError where no column of names is in both, a name stands twice in the second, or no
    row has a partner."""
    if path is None:
        return table, []
    other, notices = read(path)
    keys = [c for c in other if c in table and not pd.api.types.is_numeric_dtype(other[c])]
    if not keys:
        raise UserError(
            f"--join {path}: no column of names is in both tables; this one has "
            f"{', '.join(map(str, other.columns))}, the first {', '.join(map(str, table.columns))}"
        )
    twice = other[other.duplicated(keys)]
    if len(twice):
        name = ", ".join(f"{key}={twice[key].iloc[0]}" for key in keys)
        raise UserError(f"--join {path}: {name} stands there more than once")
    added = other.set_index([other[key].astype(str).str.strip() for key in keys]).drop(columns=keys)
    names = pd.MultiIndex.from_arrays([table[key].astype(str).str.strip() for key in keys])
    if len(keys) == 1:
        names = names.get_level_values(0)
    partner = names.isin(added.index)
    if not partner.any():
        raise UserError(
            f"--join {path}: none of its {len(other)} rows has the {', '.join(keys)} of a row of "
            f"the first table ({_some(names)}; there: {_some(added.index)})"
        )
    beside = added.reindex(names).set_axis(table.index)
    filled = {c: table[c].where(table[c].notna(), beside[c]) for c in added if c in table}
    out = table.assign(**({c: beside[c] for c in added} | filled))
    notices.append(f"{', '.join(map(str, added))} of {partner.sum()} rows come from {path}")
    if not partner.all():
        notices.append(f"{(~partner).sum()} rows are not in {path}: {_some(names[~partner])}")
    return out, notices


def _some(names: pd.Index) -> str:
    names = names.unique()
    return ", ".join(map(str, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)
