"""Somebody's columns -> the columns of our records, units and conventions checked aloud.

A table made here has what a table of records has: run_id, name, status, n_params, n_tokens, flops,
loss, and dotted columns (params.total, config.lr); what nobody mapped is kept under "extra.", the
place of other people's facts in a record.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from scaling.analysis.tables import status, units
from scaling.analysis.tables.cells import missing, numbers, row_names
from scaling.analysis.tables.choose import rename, require
from scaling.analysis.tables.doubts import doubts
from scaling.analysis.tables.foreign.proposal import proposal
from scaling.analysis.tables.names import quoted
from scaling.analysis.tables.read import read
from scaling.errors import UserError, unknown
from scaling.run.record import schema

NEEDED = ("n_params", "n_tokens", "loss")


def to_records(
    raw: pd.DataFrame,
    mapping: Mapping[str, str],
    stated: Mapping[str, str] | None = None,
    *,
    source: str,
) -> tuple[pd.DataFrame, list[str]]:
    """The table in our columns and units (tokens, parameters, FLOPs, nats), and what was noticed.

    mapping: our name -> a column of `raw`; a column that has one of our names already needs none.
    stated: our name -> K, M, B, T, bits, perplexity, PF-days or a factor (--unit). source: kept
    in extra.imported_from. Raises UserError for names that do not exist, for values that are no
    numbers or cannot be in our units (see `doubts`), and when n_params, n_tokens or loss can
    neither be found nor computed.
    """
    raw, notices = read(raw)
    if raw.empty:
        raise UserError(f"{source} holds no rows")
    mapping = _complete(raw, mapping)
    for name in (stated or {}).keys() - mapping.keys():
        raise unknown("mapped column", name, mapping)
    found, more = rename(raw, mapping, stated)
    notices += [
        f"{ours} is column {theirs!r}" for ours, theirs in mapping.items() if ours != theirs
    ]
    notices += more
    table = found[list(mapping)]
    table = table.assign(**{name: _numbers(table[name]) for name in _numeric(table)})
    notices += _derive(table)
    _require(table, raw, source)
    notices += _label(table, source)
    notices += _doubts(table)
    rest = [c for c in raw if c not in mapping.values()]
    if rest:
        notices.append(f"not mapped, kept under extra.: {', '.join(map(str, rest))}")
    # In one go: hundreds of config columns are usual.
    return pd.concat([table, raw[rest].add_prefix("extra.")], axis=1), notices


def is_ours(name: str) -> bool:
    """Whether a table of records has, or may have, a column of this name."""
    known = schema()["properties"]
    top, dot, rest = name.partition(".")
    if top not in known:
        return False
    nested = known[top].get("type") == "object" or "oneOf" in known[top]
    return bool(rest) if nested else not dot


def _complete(raw: pd.DataFrame, mapping: Mapping[str, str]) -> dict[str, str]:
    """`mapping`, checked, and the columns of `raw` that bear our names already."""
    for ours, theirs in mapping.items():
        if not is_ours(ours):
            raise unknown("column of a record", ours, schema()["properties"])
        if theirs not in raw:
            require(raw, [theirs])
    used = set(mapping.values())
    same = {c: c for c in map(str, raw.columns) if is_ours(c) and c not in used | mapping.keys()}
    ended, _ = status.find(raw)
    if ended is not None and "status" not in mapping | same:
        same["status"] = ended
    return dict(mapping) | same


def _numeric(table: pd.DataFrame) -> list[str]:
    known = schema()["properties"]

    def is_number(name: str) -> bool:
        kind = known[name.partition(".")[0]].get("type", ())
        return bool({"number", "integer"} & set([kind] if isinstance(kind, str) else kind))

    prefixes = ("params.", "flops_by_convention.", "evals.")
    return [c for c in table if is_number(c) or c.startswith(prefixes)]


def _numbers(column: pd.Series) -> pd.Series:
    """What `rename` left as text is no number, or of a quantity that it does not know."""
    values, bad, _ = numbers(column)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise UserError(
            f"column {column.name!r}: {column.iloc[row]!r} in {row_names(column.index, bad)} is "
            "not a number; mend or empty the cell, or delete a row that is no run"
        )
    return pd.Series(values, index=column.index)


def _derive(table: pd.DataFrame) -> list[str]:
    """Fills in what follows from other columns, by the convention C = 6 N D."""
    notices = []

    def fill(name: str, values: pd.Series, how: str) -> None:
        table[name] = values
        notices.append(f"{name} is computed: {how}")

    if "n_params" in table and "params.total" not in table:
        notices.append(
            "n_params is taken to count all parameters; if it leaves embeddings out, say "
            "--map params.non_embedding=COLUMN instead"
        )
    for role in ("total", "non_embedding"):
        if "n_params" not in table and f"params.{role}" in table:
            fill("n_params", table[f"params.{role}"], f"it is params.{role}")
    has = {name for name in ("n_params", "n_tokens", "flops") if name in table}
    if has == {"n_params", "n_tokens"}:
        fill("flops", 6.0 * table.n_params * table.n_tokens, "6 n_params n_tokens")
    elif has == {"n_params", "flops"}:
        fill("n_tokens", table.flops / (6.0 * table.n_params), "flops / (6 n_params)")
    elif has == {"n_tokens", "flops"}:
        fill("n_params", table.flops / (6.0 * table.n_tokens), "flops / (6 n_tokens)")
    return notices


def _require(table: pd.DataFrame, raw: pd.DataFrame, source: str) -> None:
    missing = [name for name in NEEDED if name not in table]
    if missing:
        guess = proposal(raw.columns, missing)
        wanted = ",".join(f"{name}={quoted(guess.get(name, 'COLUMN'))}" for name in missing)
        columns = ", ".join(map(str, raw.columns))
        hint = raw.attrs.get("hint")
        raise UserError(
            f"{source}: say --map {wanted}; its columns are: {columns}" + (f"; {hint}" * bool(hint))
        )
    for name in ("n_params", "n_tokens"):
        bad = (~(table[name] > 0) & table["loss"].notna()).to_numpy(bool)
        if bad.any():
            raise UserError(
                f"{source}: {name} is missing or not positive in {row_names(table.index, bad)} "
                f"({table[name][bad].iloc[0]!r}), which has a loss"
            )


def _label(table: pd.DataFrame, source: str) -> list[str]:
    """Status, run_id, name and origin of every row; modifies `table`."""
    notices = []
    if "status" in table:
        status.find(table)  # raises for words that are none
        empty = missing(table["status"])
        words = table["status"].map(status.canonical)
        table["status"] = words.where(~empty, "interrupted").to_numpy()
        lost = ((words == "complete") & ~np.isfinite(table["loss"])).to_numpy(bool)
        if lost.any():
            notices.append(
                f"{lost.sum()} of {(words == 'complete').sum()} finished runs have no finite loss "
                f"({row_names(table.index, lost)})"
            )
    else:
        ended = np.isfinite(table["loss"])
        table["status"] = np.where(ended, "complete", "interrupted")
    counts = table["status"].value_counts()
    if set(counts.index) != {"complete"}:
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        notices.append(f"{len(table)} rows: {kinds}; fits use the complete ones")
    if "run_id" not in table:
        table["run_id"] = [f"row-{i + 1}" for i in table.index]
    elif table["run_id"].duplicated().any():
        notices.append(f"{table['run_id'].duplicated().sum()} rows repeat the run_id of another")
    if "name" not in table:
        table["name"] = table["run_id"].astype(str)
    table["extra.imported_from"] = source
    return notices


def _doubts(table: pd.DataFrame) -> list[str]:
    """What a fit would say of the rows that it would use."""
    columns = {name: quantity for name in table if (quantity := units.named(name))}
    used = table[(table["status"] == "complete") & np.isfinite(table["loss"])]
    return doubts(used, {k: columns[k] for k in ("n_params", "n_tokens", "loss") if k in columns})
