"""Somebody's columns -> the columns of our records, units and conventions checked aloud.

A table made here has what a table of records has: run_id, name, status, n_params, n_tokens, flops,
loss, and dotted columns (params.total, config.lr); what nobody mapped is kept under "extra.", the
place of other people's facts in a record.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from scaling.analysis.tables.choose import require
from scaling.analysis.tables.foreign.proposal import proposal, quoted
from scaling.errors import UserError, unknown
from scaling.record import STATUSES, schema

NEEDED = ("n_params", "n_tokens", "loss")
_COUNTS = MappingProxyType({"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12})
_NATS_PER_BIT = float(np.log(2.0))
_STATUS = MappingProxyType(
    {status: status for status in STATUSES}
    | dict.fromkeys(("completed", "finished", "success", "done"), "complete")
    | dict.fromkeys(("crashed", "error", "failure"), "failed")
    | dict.fromkeys(("killed", "preempted", "preempting", "cancelled", "canceled"), "interrupted")
)


def to_records(
    raw: pd.DataFrame,
    mapping: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    *,
    source: str,
) -> tuple[pd.DataFrame, list[str]]:
    """The table in our columns and units (tokens, parameters, FLOPs, nats), and what was noticed.

    mapping: our name -> a column of `raw`; a column that has one of our names already needs none.
    units: our name -> K, M, B, T, bits, perplexity, PF-days or a factor. source: kept in
    extra.imported_from. Raises UserError for names that do not exist, for values that are no
    numbers, and when n_params, n_tokens or loss can neither be found nor computed.
    """
    if raw.empty:
        raise UserError(f"{source} holds no rows")
    mapping = _complete(raw, mapping)
    table = pd.DataFrame({ours: raw[theirs] for ours, theirs in mapping.items()})
    notices = [f"{ours} is column {theirs!r}" for ours, theirs in mapping.items() if ours != theirs]
    for name in _numeric(table):
        table[name] = _numbers(table[name])
    for name, unit in (units or {}).items():
        if name not in table:
            raise unknown("mapped column", name, table.columns)
        table[name] = _conversion(name, unit)(table[name])
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
        require(raw, [theirs])
    used = set(mapping.values())
    same = {c: c for c in map(str, raw.columns) if is_ours(c) and c not in used | mapping.keys()}
    return dict(mapping) | same


def _numeric(table: pd.DataFrame) -> list[str]:
    known = schema()["properties"]

    def is_number(name: str) -> bool:
        kind = known[name.partition(".")[0]].get("type", ())
        return bool({"number", "integer"} & set([kind] if isinstance(kind, str) else kind))

    prefixes = ("params.", "flops_by_convention.", "evals.")
    return [c for c in table if is_number(c) or c.startswith(prefixes)]


def _numbers(column: pd.Series) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce").astype(float)
    words = column.astype(str).str.strip().str.lower()
    bad = values.isna() & column.notna() & ~words.isin(("", "nan", "none", "null"))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise UserError(
            f"column {column.name!r}: {column.iloc[row]!r} in row {row + 1} is not a number; take "
            "units out of the cells and give them with --unit"
        )
    return values


def _conversion(name: str, unit: str) -> Callable[[pd.Series], pd.Series]:
    """From `unit` to ours. Raises UserError for a unit that means nothing for this column."""
    factors: dict[str, float] = {}
    if name.startswith(("n_params", "params.", "n_tokens", "n_steps", "flops")):
        factors |= _COUNTS
    if name.startswith("flops"):
        factors["PF-days"] = 1e15 * 86400
    if name.startswith(("loss", "evals.")):
        factors["bits"] = _NATS_PER_BIT
        if unit == "perplexity":
            return np.log
    try:
        factor = factors[unit] if unit in factors else float(unit)
    except ValueError:
        known = [*factors, "a number"] + ["perplexity"] * ("bits" in factors)
        raise unknown(f"unit of {name}", unit, known) from None
    if not (np.isfinite(factor) and factor > 0):
        raise UserError(f"--unit {name}={unit}: the factor must be positive and finite")
    return lambda values: values * factor


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
        bad = np.flatnonzero(~(table[name] > 0) & table["loss"].notna())
        if len(bad):
            raise UserError(
                f"{source}: {name} is missing or not positive in row {bad[0] + 1} "
                f"({table[name].iloc[bad[0]]!r}), which has a loss"
            )


def _label(table: pd.DataFrame, source: str) -> list[str]:
    """Status, run_id, name and origin of every row; modifies `table`."""
    notices = []
    if "status" in table:
        words = table["status"].astype(str).str.strip().str.lower()
        strange = words[~words.isin(list(_STATUS))]
        if len(strange):
            raise unknown("status", strange.iloc[0], _STATUS)
        table["status"] = words.map(dict(_STATUS))
    else:
        table["status"] = np.where(table["loss"].notna(), "complete", "interrupted")
    counts = table["status"].value_counts()
    if set(counts.index) != {"complete"}:
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        notices.append(f"{len(table)} rows: {kinds}; fits use the complete ones")
    numbers = [f"row-{i}" for i in range(1, len(table) + 1)]
    if "run_id" not in table:
        table["run_id"] = numbers
    elif table["run_id"].duplicated().any():
        notices.append(f"{table['run_id'].duplicated().sum()} rows repeat the run_id of another")
    if "name" not in table:
        table["name"] = table["run_id"].astype(str)
    table["extra.imported_from"] = source
    return notices


def _doubts(table: pd.DataFrame) -> list[str]:
    """Sentences about values that look like another unit."""
    notices = []
    for name, small in (("n_params", 1e4), ("n_tokens", 1e5)):
        middle = table[name].median()
        if middle < small:
            notices.append(
                f"{name} has a median of {middle:g}: if that is in millions, --unit {name}=M"
            )
    loss = table["loss"].dropna()
    if len(loss) and loss.max() > 15:
        notices.append(
            f"the largest loss is {loss.max():g}, more than nats per token can well be: "
            "--unit loss=bits or loss=perplexity?"
        )
    ratio = (table["flops"] / (6.0 * table["n_params"] * table["n_tokens"])).median()
    if not 1 / 3 <= ratio <= 3 and np.isfinite(ratio):
        notices.append(
            f"flops is {ratio:.3g} times 6 n_params n_tokens (median): check their units"
        )
    each = (table["n_tokens"] / table["n_params"]).median()
    if not 0.01 <= each <= 1e5 and np.isfinite(each):
        notices.append(f"{each:.3g} tokens a parameter (median): check units and --map")
    return notices
