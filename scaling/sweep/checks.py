"""What speaks against a sweep before it is run: one sentence a warning."""

import collections
from collections.abc import Iterable
from typing import Any

from scaling.sweep.definition import Sweep
from scaling.sweep.designs import CHINCHILLA_RATIO

# A power law with exponent 0.3 falls by a third over this range; less drowns in noise.
MIN_RANGE = 4.0
MIN_SIZES = 3  # a parabola has three parameters, and so has L(N) = E + A / N^alpha
# Laws that look for the best size of each budget, so that every budget needs its own sizes.
_PER_BUDGET = ("isoflop", "isoflop_akima", "optimum")
_WITH_N, _WITH_D = ("n_params", "tokens_per_param"), ("n_tokens", "tokens_per_param")

Row = dict[str, Any]


def warnings(sweep: Sweep, rows: list[Row], device_bytes: int | None) -> list[str]:
    """Sentences about the rows of a plan. device_bytes: memory of a device, None when unknown."""
    found = [*_fit(rows, device_bytes), *_epochs(rows)]
    members = collections.defaultdict(list)
    groups = {run.run_id: run.groups for run in sweep.runs}
    budgets = {run.run_id: run.config.train.duration for run in sweep.runs}
    for row in rows:
        for group in groups[row["run_id"]]:
            members[group].append(row)
    for name, group in sweep.groups.items():
        by_budget = collections.defaultdict(list)
        for row in members[name]:
            by_budget[budgets[row["run_id"]]].append(row)
        about = [*_bracket(by_budget)]
        if group.law is not None:
            about += [*_sizes(group.law, by_budget), *_ranges(group.law, members[name])]
        found += [f"group {name!r}: {text}" for text in about]
    return found


def _fit(rows: list[Row], device_bytes: int | None) -> Iterable[str]:
    misfits = [row for row in rows if row["misfit"]]
    if misfits:
        yield f"{_count(misfits)} over the mesh does not divide: {misfits[0]['misfit']}"
    if device_bytes is None:
        return
    large = [row for row in rows if (row["bytes_per_device"] or 0) > device_bytes]
    if large:
        worst = max(large, key=lambda row: row["bytes_per_device"])
        yield (
            f"{_count(large)} does not fit: {worst['name']} needs about "
            f"{worst['bytes_per_device'] / 2**30:.3g} GiB a device of {device_bytes / 2**30:.3g} "
            "GiB; use fsdp in the mesh, more microbatches, or model.transformer.remat"
        )


def _epochs(rows: list[Row]) -> Iterable[str]:
    repeated = [row for row in rows if (row["epochs"] or 0) > 1]
    if repeated:
        most = max(row["epochs"] for row in repeated)
        yield (
            f"tokens repeat in {_count(repeated)}, up to {most:.3g} epochs: laws of unique tokens "
            "hold to about 4 (Muennighoff et al. 2023, arXiv 2305.16264)"
        )


def _bracket(by_budget: dict[Any, list[Row]]) -> Iterable[str]:
    """IsoFLOP grids whose expected optimum does not lie between their sizes."""
    for budget, rows in by_budget.items():
        if budget.unit != "flops" or len({row["n_params"] for row in rows}) < 2:
            continue
        ratios = [row["n_tokens"] / row["n_params"] for row in rows]
        if not min(ratios) < CHINCHILLA_RATIO < max(ratios):
            fix = "larger" if min(ratios) >= CHINCHILLA_RATIO else "smaller"
            yield (
                f"the grid at {budget.value:.3g} FLOPs has {min(ratios):.3g} to {max(ratios):.3g} "
                f"tokens per parameter and does not bracket the expected optimum (Chinchilla: D "
                f"about {CHINCHILLA_RATIO:.0f} N); add {fix} sizes"
            )


def _sizes(law: str, by_budget: dict[Any, list[Row]]) -> Iterable[str]:
    columns = _columns(law)
    if law not in _PER_BUDGET and not columns & set(_WITH_N):
        return
    counts = {budget: len({row["n_params"] for row in rows}) for budget, rows in by_budget.items()}
    if law in _PER_BUDGET:
        for budget, n in counts.items():
            if n < MIN_SIZES:
                yield f"only {n} sizes at {budget}; {law!r} needs {MIN_SIZES} at every budget"
    elif max(counts.values()) < MIN_SIZES:
        yield f"at most {max(counts.values())} sizes at one budget; {law!r} needs {MIN_SIZES}"


def _ranges(law: str, rows: list[Row]) -> Iterable[str]:
    columns = _columns(law)
    for needed, key, name in ((_WITH_N, "n_params", "N"), (_WITH_D, "n_tokens", "D")):
        values = [row[key] for row in rows]
        factor = max(values) / min(values)
        if columns & set(needed) and factor < MIN_RANGE:
            yield (
                f"{name} spans a factor {factor:.3g} ({min(values):.3g} to {max(values):.3g}), too "
                f"narrow for {law!r}: its exponent needs at least {MIN_RANGE:.0f}"
            )
    if law in _PER_BUDGET:
        flops = [row["flops"] for row in rows]
        if max(flops) / min(flops) < MIN_RANGE:
            yield (
                f"budgets span a factor {max(flops) / min(flops):.3g} of FLOPs, too narrow for "
                f"{law!r}: its exponents need at least {MIN_RANGE:.0f}"
            )


def _columns(law: str) -> set[str]:
    from scaling.analysis.laws import LAWS

    return {column.name for column in LAWS.load(law).columns}


def _count(rows: list[Row]) -> str:
    return "1 run" if len(rows) == 1 else f"each of {len(rows)} runs"
