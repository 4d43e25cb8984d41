"""Ready-made designs: each makes a group of a sweep in one line of a config file.

    def get_config(variant=""):
        base = default_config()
        base.data.seq_len = 128
        text = designs.parametric(
            base, "one_depth", widths=(8, 16, 32, 64), budgets=("1M tokens", "2M tokens")
        )
        return designs.sweep("mine", text=text)

A size is one dial of the recipe: `widths`, `depths` or `params`. Everything in a group can be set
from the command line: --config.groups.text.base.optim.peak_lr=0.01.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from ml_collections import config_dict

from scaling.errors import UserError
from scaling.recipes import recipe as recipes
from scaling.sweep import axes as axis_rules

# Hoffmann et al. 2022 (arXiv 2203.15556), table 3: about 20 tokens per parameter are optimal.
CHINCHILLA_RATIO = 20.0


def sweep(name: str, **groups: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config of a sweep with these groups."""
    return ml_collections.ConfigDict({"name": name, "groups": groups})


def group(
    base: ml_collections.ConfigDict | Mapping[str, Any],
    recipe: str = "",
    *,
    axes: Mapping[str, Sequence] | None = None,
    zipped: Sequence[str] = (),
    points: Sequence[Mapping[str, Any]] = (),
    where: Sequence[str] = (),
    trunk: bool = False,
    law: str | None = None,
    fit_where: Sequence[str] = (),
    holdout: str | None = None,
    title: str = "",
) -> ml_collections.ConfigDict:
    """Any group; `scaling.sweep.axes` says what the arguments mean.

    What the recipe governs and `base` leaves at its default is opened for the recipe; set later
    (by a flag, say), it wins over the recipe.
    """
    base = ml_collections.ConfigDict(base)
    flat = axis_rules.flatten(base.to_dict())
    if recipe:
        governed = axis_rules.flatten(recipes.governed(recipe)).keys() - {"train.duration"}
        _open(base, [p for p in governed if p in flat and flat[p] == axis_rules.fields()[p]])
    if trunk and flat.get("eval.every") == axis_rules.fields()["eval.every"]:
        # A share of the run depends on its length, which branches must not.
        base.eval.every = "100%"
    return ml_collections.ConfigDict(
        {
            "base": base,
            "recipe": recipe,
            "axes": axis_rules.nest({k: tuple(v) for k, v in (axes or {}).items()}),
            "zipped": tuple(zipped),
            "points": tuple(dict(point) for point in points),
            "where": tuple(where),
            "trunk": trunk,
            "law": law if law is not None else config_dict.placeholder(str),
            "fit_where": tuple(fit_where),
            "holdout": holdout if holdout is not None else config_dict.placeholder(str),
            "title": title,
        }
    )


def parametric(base: Any, recipe: str, *, budgets: Sequence[str], seeds=(0,), **rest: Any) -> Any:
    """Every size at every budget, for a law of N and D (Hoffmann et al. 2022, arXiv 2203.15556,
    section 3.3: approach 3). Sizes and what `group` takes go into `rest`."""
    sizes, rest = _sizes(rest)
    axes = {**sizes, "budget": budgets, "seed": seeds}
    return group(base, recipe, axes=axes, **{"law": "chinchilla", **rest})


def isoflop(
    base: Any,
    recipe: str,
    *,
    flops: Sequence[float],
    n_sizes: int = 7,
    span: float = 4.0,
    ratio: float = CHINCHILLA_RATIO,
    seeds=(0,),
    **rest: Any,
) -> Any:
    """`n_sizes` sizes per FLOP budget, from 1/span to span times the expected optimum
    (Hoffmann et al. 2022, arXiv 2203.15556, section 3.2: approach 2).

    Expected is D = ratio N, so N = sqrt(C / (6 ratio)). A budget of FLOPs buys each size its own
    number of tokens, in the record's convention, which counts the vocabulary as well.
    """
    if n_sizes < 2 or span <= 1:
        raise UserError(f"an IsoFLOP grid needs n_sizes > 1 and span > 1; got {n_sizes}, {span}")
    steps = [span ** (2 * i / (n_sizes - 1) - 1) for i in range(n_sizes)]
    points = [
        {"params": round((c / (6 * ratio)) ** 0.5 * step), "budget": f"{c:.4g} flops"}
        for c in flops
        for step in steps
    ]
    return group(base, recipe, points=points, axes={"seed": seeds}, **{"law": "isoflop", **rest})


def kaplan(base: Any, recipe: str, *, budgets: Sequence[str], seeds=(0,), **rest: Any) -> Any:
    """One factor at a time: every size at the last budget, every budget at the last size
    (Kaplan et al. 2020, arXiv 2001.08361, section 3). Order both from small to large."""
    sizes, rest = _sizes(rest)
    ((dial, values),) = sizes.items()
    points = [{dial: value, "budget": budgets[-1]} for value in values]
    points += [{dial: values[-1], "budget": budget} for budget in budgets[:-1]]
    return group(base, recipe, points=points, axes={"seed": seeds}, **{"law": "kaplan", **rest})


def lr_batch(
    base: Any,
    recipe: str = "",
    *,
    peak_lrs: Sequence[float],
    batch_sizes: Sequence[int],
    axes: Mapping[str, Sequence] | None = None,
    **rest: Any,
) -> Any:
    """Learning rate times batch size; `axes` for sizes and budgets beside them."""
    grid = {"optim.peak_lr": peak_lrs, "train.batch_size": batch_sizes}
    return group(base, recipe, axes={**(axes or {}), **grid}, **rest)


def seeds(base: Any, n: int, **rest: Any) -> Any:
    """The same run from `n` seeds: how much of a difference is luck."""
    return group(base, axes={"seed": range(n)}, **rest)


def _sizes(rest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes the one dial out of keyword arguments: ({"width": values}, the others)."""
    dials = {"widths": "width", "depths": "depth", "params": "params"}
    found = {dials[key]: values for key, values in rest.items() if key in dials}
    if len(found) != 1:
        raise UserError(f"a design needs exactly one of {', '.join(dials)}; got {list(found)}")
    return found, {key: value for key, value in rest.items() if key not in dials}


def _open(base: ml_collections.ConfigDict, paths: Sequence[str]) -> None:
    """Replaces fields by placeholders of their type, for the recipe or a flag to fill."""
    for path in paths:
        *sections, field = path.split(".")
        here = base
        for section in sections:
            here = here[section]
        kind = type(axis_rules.fields()[path])
        if kind is not type(None):  # That is a placeholder already.
            del here[field]
            here[field] = config_dict.placeholder(kind)
