"""What every registered probe promises. A new one adds its case to `worlds.py`."""

import functools
import json

import numpy as np
import pytest

from scaling.config import PROBES, DataConfig, ProbeConfig
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.schedule import means_of, run_probe
from scaling.probes.scorer import ScoredModel
from scaling.run.record import schema
from tests.probes.models import Predictor, uniform
from tests.probes.worlds import CASES

EVERY = pytest.mark.parametrize("name", list(PROBES))
HARD = ("accuracy", "exact_match")


@functools.cache
def case_of(name):
    return CASES[name]()


def ask(name, model, seed=0):
    config = ProbeConfig(name=name, options=case_of(name).probe, seed=seed)
    return run_probe(name, config, model, 7, 99)


def guessing(name, mesh):
    target = case_of(name).target
    return ScoredModel(uniform(target.vocab_size), mesh, target)


@EVERY
def test_results_keep_the_schema_and_come_again(name, in_mesh):
    import jsonschema

    result = ask(name, guessing(name, in_mesh))
    jsonschema.validate(result, {**schema()["$defs"]["probe"], "$defs": schema()["$defs"]})
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert ask(name, guessing(name, in_mesh)) == result
    assert ask(name, guessing(name, in_mesh), seed=1) != result
    keys = [json.dumps(group["keys"], sort_keys=True) for group in result["groups"]]
    assert len(set(keys)) == len(keys), "two groups with the same keys"
    assert all(np.isfinite(v) for v in means_of(result).values())


@EVERY
def test_hard_and_soft_metrics_side_by_side(name, in_mesh):
    for group in ask(name, guessing(name, in_mesh))["groups"]:
        metrics = group["metrics"]
        if group["keys"].get("condition") == "head":
            continue  # A head answers nothing.
        assert set(metrics) & set(HARD)
        assert {"logprob_per_token", "expected_exact_match", "edit_distance"} <= set(metrics)
        assert group.get("ceiling_of", "accuracy") in metrics
        for hard in set(metrics) & set(HARD):
            assert metrics[hard]["sum"] == metrics[hard]["sum_sq"], "0 or 1 for every item"


@EVERY
def test_a_uniform_model_is_at_chance(name, in_mesh):
    for group in ask(name, guessing(name, in_mesh))["groups"]:
        if group["chance"] is None or group["ceiling_of"] != "accuracy":
            continue
        got = group["metrics"]["accuracy"]["sum"] / group["n"]
        error = (group["chance"] * (1 - group["chance"]) / group["n"]) ** 0.5
        assert abs(got - group["chance"]) < 4.5 * error, group["keys"]


@EVERY
def test_the_oracle_reaches_the_ceiling(name):
    case = case_of(name)
    reached = 0
    for predict, chooses in case.oracles.values():
        for group in ask(name, Predictor(predict, case.target))["groups"]:
            if group["ceiling"] is None or not chooses(group["keys"]):
                continue
            got = group["metrics"][group["ceiling_of"]]["sum"] / group["n"]
            error = (group["ceiling"] * (1 - group["ceiling"]) / group["n"]) ** 0.5
            assert abs(got - group["ceiling"]) <= 4.5 * error + 1e-9, group["keys"]
            assert group["chance"] is None or group["ceiling"] >= group["chance"] - 1e-9
            reached += 1
    assert reached or not case.oracles


@EVERY
def test_another_world_is_refused(name):
    case = case_of(name)
    other = Target(DataConfig(name="hmm"), 3, 16)
    with pytest.raises(UserError, match=case.target.data.name):
        case.probe.check(other)
    case.probe.check(case.target)
