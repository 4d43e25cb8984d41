"""Which settings the runs of a group have: axes, zips, explicit points, and the recipe's rules.

A group is a section of a config file, made by `scaling.sweep.designs.group`:

    base      an ordinary run config
    recipe    name in scaling.recipes.recipe.RECIPES, or "": what follows from size and budget
    axes      {axis: values}; nested like the config (axes.optim.peak_lr)
    zipped    names of axes that advance together; the others form a product
    points    explicit list of {axis: value}; each is combined with every point of the axes
    where     conditions that a point must meet, on axes and on its cost: "tokens_per_param >= 5"
    trunk     runs of different length share a trunk (scaling.sweep.branching)
    law, fit_where, holdout, title    see scaling.sweep.definition.Group

An axis is a field of the run config by its dotted path; `budget`, which is train.duration; or, with
a recipe, one of its dials `width`, `depth` and `params`. What the recipe governs and the base
leaves open (None) is the recipe's; what the base says wins over it, and an axis over both.
"""

import dataclasses
import functools
import itertools
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from scaling.config import Kind, RunConfig
from scaling.errors import UserError, unknown
from scaling.recipes import recipe
from scaling.resolve import default_config

DIALS = ("width", "depth", "params")
BUDGET = "train.duration"
KEYS = (
    *("base", "recipe", "axes", "zipped", "points", "where", "trunk"),
    *("law", "fit_where", "holdout", "title"),
)
Point = dict[str, Any]  # {axis: value}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim.peak_lr": 0.01} of a nested mapping; empty sections vanish."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= flatten(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    out: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, field = path.split(".")
        here = out
        for section in sections:
            here = here.setdefault(section, {})
        here[field] = value
    return out


@functools.cache
def fields() -> dict[str, Any]:
    """{dotted path: default} of every field of a run config, options of all kinds included."""
    return flatten(default_config().to_dict())


@functools.cache
def _kinds() -> dict[str, tuple[str, ...]]:
    """{path of a section with a kind: names of its kinds}, such as "optim.schedule"."""

    def walk(cls: type, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        if issubclass(cls, Kind):
            yield path, cls.registry.names()
        for name, hint in typing.get_type_hints(cls).items():
            if dataclasses.is_dataclass(hint):
                yield from walk(hint, f"{path}.{name}" if path else name)

    return dict(walk(RunConfig, ""))


def n_points(group: Mapping[str, Any]) -> int:
    """How many points the group has before filters, counted without making them."""
    return math.prod(len(block) for block in _blocks(group))


def points(group: Mapping[str, Any]) -> Iterator[Point]:
    """Every point, the first axis slowest. Raises UserError for a bad axis."""
    for parts in itertools.product(*_blocks(group)):
        yield {name: value for part in parts for name, value in part.items()}


def _blocks(group: Mapping[str, Any]) -> list[list[Point]]:
    """What the product is taken over: explicit points, the zip, and every other axis alone."""
    axes = {name: _values(name, value) for name, value in flatten(group["axes"]).items()}
    listed = [flatten(_mapping(point)) for point in group["points"]]
    for name in dict.fromkeys([*axes, *(name for point in listed for name in point)]):
        _check_axis(name, group["recipe"])
    twice = next((name for point in listed for name in point if name in axes), None)
    if twice:
        raise UserError(f"axis {twice!r} is in axes and in points; leave it in one of them")
    blocks = [listed] if listed else []
    zipped = list(group["zipped"])
    for name in zipped:
        if name not in axes:
            raise unknown("zipped axis", name, axes)
    if zipped:
        lengths = {name: len(axes[name]) for name in zipped}
        if len(set(lengths.values())) > 1:
            raise UserError(f"zipped axes differ in length: {lengths}")
        rows = zip(*(axes[name] for name in zipped), strict=True)
        blocks.append([dict(zip(zipped, row, strict=True)) for row in rows])
    alone = sorted((name for name in axes if name not in zipped), key=_rank)
    return blocks + [[{name: value} for value in axes[name]] for name in alone]


def _rank(name: str) -> tuple[int, str]:
    """Sizes first, seeds last, whatever order a config or a flag named them in."""
    if name in DIALS:
        return DIALS.index(name), name
    return {"budget": 4, "seed": 5}.get(name, 3), name


def _values(name: str, values: Any) -> list[Any]:
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise UserError(f"axis {name!r} has no values")
    return values


def _mapping(point: Any) -> Mapping[str, Any]:
    if not isinstance(point, Mapping) or not point:
        raise UserError(f"points has {point!r}, which is not a mapping of axis to value")
    return point


def _check_axis(name: str, recipe_name: str) -> None:
    if name in DIALS and not recipe_name:
        raise UserError(f"axis {name!r} is a dial of a recipe; set recipe, or use model.{name}")
    known = ["budget", *(DIALS if recipe_name else ()), *fields()]
    if name not in known:
        raise unknown("axis", name, known)
    if name == BUDGET:
        raise UserError(f"axis {name!r} is called 'budget'")
    if name == "name":
        raise UserError("axis 'name' is a label: runs are named by their axes")


class Composer:
    """From points to the settings of runs. `base` is flat; None is what the recipe shall fill."""

    def __init__(self, group: Mapping[str, Any]):
        self.recipe = group["recipe"]
        self.base = {k: v for k, v in flatten(group["base"]).items() if v is not None}
        self._seq_len = fields()["data.seq_len"]
        self._name_keys = [f"{section}.name" for section in _kinds()]
        self._rules = functools.cache(self._rules_of)

    def changes(self, point: Point) -> dict[str, Any]:
        """{dotted path: value} of everything that the point adds to `base`."""
        set_here = {name: value for name, value in point.items() if name not in DIALS}
        if "budget" in set_here:
            set_here[BUDGET] = set_here.pop("budget")
        if not self.recipe:
            return set_here
        dials = tuple((name, point[name]) for name in DIALS if name in point)
        length = set_here.get(BUDGET, self.base.get(BUDGET, fields()[BUDGET]))
        seq_len = set_here.get("data.seq_len", self.base.get("data.seq_len", self._seq_len))
        names = tuple((k, set_here[k]) for k in self._name_keys if k in set_here)
        return self._rules(dials, str(length), seq_len, names) | set_here

    def _rules_of(self, dials: tuple, length: str, seq_len: int, names: tuple) -> dict[str, Any]:
        """What the recipe says and the base leaves open.

        Options of a kind (schedule.wsd.decay) that base or axis (`names`) have replaced by another
        are dropped.
        """
        said = flatten(
            recipe.settings(self.recipe, **dict(dials), duration=length, seq_len=seq_len)
        )
        chosen = said | self.base | dict(names)
        dropped = tuple(
            f"{section}.{name}."
            for section, kinds in _kinds().items()
            for name in kinds
            if name != chosen.get(f"{section}.name", name)
        )
        return {
            path: value
            for path, value in said.items()
            if path not in self.base and not path.startswith(dropped)
        }
