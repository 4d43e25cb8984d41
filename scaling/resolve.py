"""The one boundary between loose config (ConfigDict, JSON, flags) and frozen dataclasses.

`default_config()` gives a config file every field with its default, so that a flag can override
any of them; `resolve()` checks types, ranges and names, and reports the first fault as one line.
"""

import dataclasses
import functools
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from scaling.config import Kind, ProbeConfig, RunConfig, options_class
from scaling.durations import Duration
from scaling.errors import UserError, shown, unknown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def run_id(config: RunConfig) -> str:
    """16 hex digits of the hash of everything that determines the numbers (not the label)."""
    return run_id_of(to_dict(config))


def run_id_of(settings: Mapping[str, Any]) -> str:
    """`run_id` of a config that has the form of `to_dict` already."""
    text = json.dumps(without_observers(settings), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(config: RunConfig) -> dict[str, Any]:
    """`to_dict` without label and probes, which change no number: what makes runs the same run."""
    return without_observers(to_dict(config))


def without_observers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `to_dict` without what only names or watches the run."""
    return {key: value for key, value in config.items() if key not in ("name", "probes")}


def probe_section(name: str, **settings: Any) -> dict[str, Any]:
    """Every field of a probe at its default, for `config.probes[label]`; `settings` are fields of
    ProbeConfig (every, seed) or options of the probe. Raises UserError."""
    loose = {"name": name}
    common = {field.name for field in dataclasses.fields(ProbeConfig)} - {"options"}
    loose |= {key: value for key, value in settings.items() if key in common}
    options = {key: value for key, value in settings.items() if key not in common}
    if options:
        loose[name] = options
    return to_dict(_build(ProbeConfig, loose, f"probes.{name}"))


def default_config() -> ml_collections.ConfigDict:
    """Every field of RunConfig at its default, with a sub-section of options for every kind."""
    return ml_collections.ConfigDict(_defaults(RunConfig), convert_dict=True)


def resolve(config: ml_collections.ConfigDict | Mapping[str, Any]) -> RunConfig:
    """Checks a loose config and freezes it. Raises UserError naming the field and the fix."""
    loose = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    resolved = _build(RunConfig, loose, "")
    if not _NAME.fullmatch(resolved.name):
        raise UserError(
            f"name={resolved.name!r} must be 1 to 100 letters, digits, '.', '_' or '-', "
            "and start with a letter or digit"
        )
    _check_shapes(resolved)
    return resolved


def to_dict(section: Any) -> dict[str, Any]:
    """A plain, JSON-ready dict; `resolve(to_dict(c)) == c`. Only the chosen kind's options."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if field.name == "options" and isinstance(section, Kind):
            if value is not None:
                out[section.name] = to_dict(value)
        elif isinstance(value, Duration):
            out[field.name] = str(value)
        elif dataclasses.is_dataclass(value):
            out[field.name] = to_dict(value)
        elif isinstance(value, dict):
            out[field.name] = {label: to_dict(item) for label, item in value.items()}
        else:
            out[field.name] = list(value) if isinstance(value, tuple) else value
    return out


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _defaults(cls: type) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name == "options" and issubclass(cls, Kind):
            continue
        kind, optional = _strip_none(_hints(cls)[field.name])
        if typing.get_origin(kind) is dict:
            out[field.name] = {}
        elif dataclasses.is_dataclass(kind) and kind is not Duration:
            out[field.name] = _defaults(kind)
        elif field.default is None and optional:
            # A placeholder lets a flag set the field later, with the right type.
            out[field.name] = config_dict.placeholder(str if kind is Duration else kind)
        else:
            out[field.name] = str(field.default) if kind is Duration else field.default
    if issubclass(cls, Kind):
        for name in cls.registry:
            choice = options_class(cls.registry, name)
            if choice is not None and dataclasses.fields(choice):
                out[name] = _defaults(choice)
    return out


def _strip_none(hint: Any) -> tuple[Any, bool]:
    """(type, whether None is allowed) of an annotation such as `int | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        assert len(kinds) == 1, hint
        return kinds[0], True
    return hint, False


def _build(cls: type, loose: Mapping[str, Any], path: str) -> Any:
    if not isinstance(loose, Mapping):
        raise UserError(
            f"{path or 'config'}={shown(loose)} must be a section with keys, not a single value"
        )
    loose = dict(loose)
    values: dict[str, Any] = {}
    if issubclass(cls, Kind):
        values["options"] = _build_options(cls, loose, path)
    known = [f.name for f in dataclasses.fields(cls) if f.name not in values]
    prefix = f"{path}." if path else ""
    for key in loose:
        if key not in known:
            where = f"{prefix}{key}"
            where = where if where.isprintable() else repr(where)
            options = values.get("options")
            own = dataclasses.fields(options) if options is not None else ()
            name = loose.get("name", getattr(cls, "name", ""))
            raise unknown(f"config key {where}:", key, [*known, *(f"{name}.{f.name}" for f in own)])
    for field in dataclasses.fields(cls):
        if field.name in loose:
            hint = _hints(cls)[field.name]
            values[field.name] = _convert(loose[field.name], hint, field, f"{prefix}{field.name}")
    return cls(**values)


def _build_options(cls: type, loose: dict[str, Any], path: str) -> Any:
    """Takes the option sub-sections out of `loose`; refuses settings of a kind not chosen."""
    default = next(f.default for f in dataclasses.fields(cls) if f.name == "name")
    chosen = loose.get("name", default)
    if not isinstance(chosen, str) or chosen not in cls.registry.names():
        raise unknown(f"{path}.name:", chosen, cls.registry.names())
    result_class = options_class(cls.registry, chosen)
    result = result_class() if result_class else None
    for name in [key for key in loose if key in cls.registry.names()]:
        section, choice = loose.pop(name), options_class(cls.registry, name)
        if choice is None:
            raise UserError(f"{path}.{name} has no options")
        built = _build(choice, section, f"{path}.{name}")
        if name == chosen:
            result = built
        elif built != choice():
            # A stored config gives the whole section: name what was changed in it.
            plain = choice()
            fields = [key for key in section if getattr(built, key, None) != getattr(plain, key)]
            raise UserError(
                f"{path}.{name}.{fields[0]} is set, but {path}.name={chosen!r}; "
                f"set {path}.name={name!r} or leave {path}.{name} alone"
            )
    return result


def _convert(value: Any, hint: Any, field: dataclasses.Field, path: str) -> Any:
    kind, optional = _strip_none(hint)
    if value is None:
        if optional:
            return None
        raise UserError(f"{path} must be set; it is None")
    if kind is Duration:
        return Duration.parse(value, field=path)
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path)
    if typing.get_origin(kind) is dict:
        return _labelled(value, typing.get_args(kind)[1], path)
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise UserError(f"{path}={shown(value)} must be a list of {item.__name__}")
        return tuple(_scalar(v, item, f"{path}[{i}]") for i, v in enumerate(value))
    result = _scalar(value, kind, path)
    _check_range(result, field, path)
    return result


def _labelled(value: Any, kind: type, path: str) -> dict[str, Any]:
    """Sections by label; a section without a name is the kind that its label names."""
    if not isinstance(value, Mapping):
        raise UserError(f"{path}={shown(value)} must be sections by label")
    out = {}
    for label, section in value.items():
        if not isinstance(label, str) or not _NAME.fullmatch(label):
            raise UserError(
                f"{path}: label {shown(label)} must be letters, digits, '.', '_' or '-'"
            )
        named = {"name": label, **section} if isinstance(section, Mapping) else section
        out[label] = _build(kind, named, f"{path}.{label}")
    return out


def _scalar(value: Any, kind: type, path: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not _is_finite(value):
            raise UserError(f"{path}={shown(value)} must be a finite number")
        if kind is float or float(value).is_integer():
            return kind(value)
    raise UserError(f"{path}={shown(value)} must be {kind.__name__}, not {type(value).__name__}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _check_range(value: Any, field: dataclasses.Field, path: str) -> None:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise unknown(f"{path}:", value, choices)
    if low is not None and value < low:
        raise UserError(f"{path}={value!r} is below the least sensible value {low!r}")
    if high is not None and value > high:
        raise UserError(f"{path}={value!r} is above the greatest sensible value {high!r}")


def _check_shapes(config: RunConfig) -> None:
    """Faults that lie between fields."""
    train, evaluation = config.train, config.eval
    config.model.options.check(config.model)
    config.objective.options.check(config.model, config.data)
    if train.batch_size % train.n_microbatches:
        raise UserError(
            f"train.batch_size={train.batch_size} is not a multiple of "
            f"train.n_microbatches={train.n_microbatches}"
        )
    if train.duration.value == 0:
        raise UserError(f"train.duration='{train.duration}' trains on nothing; give more than zero")
    if train.duration.unit == "%":
        raise UserError(f"train.duration='{train.duration}' cannot be a share of itself")
    if evaluation.every.value == 0:
        raise UserError("eval.every must be more than zero; '100%' evaluates at the end only")
