"""The config boundary: what goes in comes out, what is wrong is named."""

import dataclasses
import json

import pytest

from scaling import config as C
from scaling.errors import UserError
from scaling.registry import Registry
from scaling.resolve import default_config, resolve, run_id, to_dict

REGISTRIES = [C.MODELS, C.OBJECTIVES, C.OPTIMIZERS, C.SCHEDULES, C.SOURCES]
SECTION = {"optimizer": "optim", "data source": "data", "model": "model", "objective": "objective"}


def test_defaults_resolve_to_the_defaults():
    assert resolve(default_config()) == resolve({}) == C.RunConfig()


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_every_kind_survives_json(registry):
    for name in registry:
        section = SECTION.get(registry.kind)
        loose = {section: {"name": name}} if section else {"optim": {"schedule": {"name": name}}}
        config = resolve(loose)
        assert resolve(json.loads(json.dumps(to_dict(config)))) == config


def test_the_run_id_is_the_config_without_its_label():
    config = resolve({"name": "a"})
    assert run_id(config) == run_id(resolve({"name": "b"}))
    assert run_id(config) != run_id(resolve({"seed": 1}))
    assert run_id(config) != run_id(resolve({"optim": {"adamw": {"b1": 0.91}}}))
    # Equal lengths written in two ways are one run.
    assert run_id(resolve({"train": {"duration": "2M tokens"}})) == run_id(
        resolve({"train": {"duration": "2_000_000 tokens"}})
    )


def test_options_of_kinds_not_chosen_do_not_enter_the_run_id():
    assert "lion" not in to_dict(resolve(default_config()))["optim"]


@pytest.mark.parametrize(
    ("loose", "message"),
    [
        ({"modle": {}}, r"config key modle.*did you mean 'model'"),
        ({"model": {"dpeth": 3}}, r"config key model\.dpeth.*did you mean 'depth'"),
        ({"model": 3}, r"model=3 must be a section"),
        ({"model": {"depth": 2.5}}, r"model\.depth=2\.5 must be int"),
        ({"model": {"depth": True}}, r"model\.depth=True must be int"),
        ({"model": {"depth": None}}, r"model\.depth must be set"),
        ({"model": {"transformer": {"norm": 3}}}, r"model\.transformer\.norm=3 must be str"),
        ({"model": {"transformer": {"head_size": 3}}}, r"even head size"),
        ({"model": {"transformer": {"mlp_ratio": 0.01}, "width": 16}}, r"empty MLP"),
        ({"model": {"n_heads": 3}}, r"model\.n_heads.*did you mean 'transformer\.n_heads'"),
        (
            {"model": {"name": "lstm", "n_heads": 3}},
            r"model\.n_heads.*lstm\.forget_bias, lstm\.unroll",
        ),
        ({"optim": {"peak_lr": float("nan")}}, r"peak_lr=nan must be a finite number"),
        ({"train": {"duration": "50%"}}, r"cannot be a share of itself"),
        ({"eval": {"every": "0 steps"}}, r"eval\.every"),
        (
            {"optim": {"muon": {"momentum": 0.5}}},
            r"optim\.muon\.momentum is set, but optim\.name='adamw'",
        ),
    ],
)
def test_faults_are_named(loose, message):
    with pytest.raises(UserError, match=message):
        resolve(loose)


def test_every_field_says_what_it_is():
    for cls in (C.ModelConfig, C.DataConfig, C.OptimConfig, C.TrainConfig, C.EvalConfig):
        for field in dataclasses.fields(cls):
            if field.name not in ("name", "options", "schedule"):
                assert field.metadata.get("doc"), f"{cls.__name__}.{field.name}"


def test_registry_refuses_duplicates_and_lists_what_exists():
    registry = Registry("thing", {"one": "json:dumps"})
    assert registry.load("one") is json.dumps
    with pytest.raises(ValueError, match="already registered"):
        registry.add("one", "json:loads")
    with pytest.raises(ValueError, match="module:attribute"):
        registry.add("two", "json")
    with pytest.raises(UserError, match=r"unknown thing 'won'; did you mean 'one'\? known: one"):
        registry.load("won")


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_every_registered_name_can_be_imported(registry):
    for name in registry:
        assert registry.load(name).__doc__
