"""Every field of a config, given every kind of nonsense, is named by what refuses it."""

import dataclasses
import typing

import pytest

from scaling import config as C
from scaling.durations import Duration
from scaling.errors import UserError
from scaling.resolve import resolve

NONSENSE = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": -float("inf"),
    "-1": -1,
    "0": 0,
    "half": 0.5,
    "1e30": 1e30,
    "1e-300": 1e-300,
    "2**31": 2**31,
    "400 digits": 10**400,
    "True": True,
    "empty text": "",
    "text": "abc",
    "two lines": "a\nb",
    "NUL": "\0",
    "bytes": b"x",
    "None": None,
    "empty list": [],
    "list": [1],
    "list of texts": ["a"],
    "nested list": [[1]],
    "empty section": {},
    "section": {"a": 1},
    "section with odd keys": {1: 2, "a\nb": 3},
    "object": object(),
}


def fields(cls, path=(), chosen=()):
    """(path, sections that must be named so that the field counts) of every field there is."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name == "options":
            continue
        here, kind = (*path, field.name), hints[field.name]
        yield here, chosen
        if dataclasses.is_dataclass(kind) and kind is not Duration:
            yield from fields(kind, here, chosen)
        elif typing.get_origin(kind) is dict:
            for name in C.PROBES:
                yield from fields(typing.get_args(kind)[1], (*here, name), chosen)
    if not issubclass(cls, C.Kind):
        return
    for name in cls.registry if "probes" not in path else [path[-1]]:
        options = C.options_class(cls.registry, name)
        for field in dataclasses.fields(options) if options else ():
            yield (*path, name, field.name), (*chosen, (path, name))


FIELDS = {".".join(path): (path, chosen) for path, chosen in fields(C.RunConfig)}


def loose(path, value, chosen):
    """A config with this one value, and the kind chosen whose option it is."""
    out = {}
    for section, name in (*chosen, (path[:-1], None)):
        at = out
        for key in section:
            at = at.setdefault(key, {})
        if name is not None:
            at["name"] = name
    at[path[-1]] = value
    return out


@pytest.mark.parametrize("name", FIELDS)
def test_every_refusal_names_the_field_on_one_line(name):
    path, chosen = FIELDS[name]
    refused = 0
    for label, value in NONSENSE.items():
        try:
            resolve(loose(path, value, chosen))
        except UserError as error:
            said = str(error)
            assert name in said, (label, said)
            assert said.isprintable(), (label, said)
            assert len(said) < 500, (label, said)
            refused += 1
    # Some nonsense is sense for some field, most of it for none.
    assert refused >= 12


@pytest.mark.parametrize("config", [None, 3, "text", [1], {1: 2}, {"a\nb": 1}, {"probes": {1: {}}}])
def test_a_config_that_is_none(config):
    with pytest.raises(UserError) as caught:
        resolve(config)
    assert str(caught.value).isprintable()
    assert any(word in str(caught.value) for word in ("config", "probes"))
