"""The same numbers from lm-eval and from our harness, on a local task without a network."""

import json

import numpy as np
import pytest

from scaling.core.build import make_program
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.generate import generate_until
from scaling.probes.prompts import Prompt, Template, read_items
from scaling.probes.requests import loglikelihood, multiple_choice
from scaling.probes.scorer import ScoredModel
from scaling.sharding import use_mesh
from tests.helpers import small_config

lm_eval = pytest.importorskip("lm_eval")
pytestmark = pytest.mark.slow  # lm-eval alone takes ten seconds to import.

SAME = {"plain": "acc", "bytes": "acc_bytes", "characters": "acc_norm"}


@pytest.fixture(scope="module")
def byte_model(mesh):
    config = small_config(data={"name": "stdlib", "seq_len": 64})
    with use_mesh(mesh):
        params = make_program(config, 256, mesh).init(1).params
    return ScoredModel(params, mesh, Target(config.data, 256, 64))


@pytest.fixture
def task_file(tmp_path):
    r = np.random.default_rng(0)
    rows = [
        {
            "q": f"item {i}",
            "choices": ["x" * int(n) for n in r.choice(9, 3, replace=False) + 1],
            "gold": int(r.integers(3)),
        }
        for i in range(30)
    ]
    # Where bytes and characters of the choices disagree about their lengths.
    for row in rows[::2]:
        row["choices"][0] = "é" * (len(row["choices"][1]) + 1)
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_multiple_choice_agrees(byte_model, task_file, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval.api.task import ConfigurableTask

    from scaling.interop.lm_eval import ByteLM

    task = ConfigurableTask(
        config={
            "task": "local",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(task_file)}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "Q: {{q}}\nA:",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold",
            "target_delimiter": "",
            "metric_list": [{"metric": name} for name in ("acc", "acc_bytes", "acc_norm")],
        }
    )
    theirs = lm_eval.simple_evaluate(
        model=ByteLM(byte_model), tasks=[task], bootstrap_iters=0, log_samples=False
    )["results"]["local"]
    prompt = Prompt(Template("Q: {q}\nA:{answer}"))
    items = read_items(task_file)
    choices = [
        prompt.render(item, [], np.random.default_rng(0)).choice_of(lambda t: [*t.encode()], [0])
        for item in items
    ]
    with use_mesh(byte_model.mesh):
        for scoring, name in SAME.items():
            scores = multiple_choice(byte_model, choices, scoring)
            right = [s.argmax() == item.gold for s, item in zip(scores, items, strict=True)]
            assert theirs[f"{name},none"] == pytest.approx(np.mean(right)), name


TEXTS = (
    "the quick brown fox " * 23,
    "short",
    "x" * 64,
    "y" * 65,
    "z" * 128,
    "z" * 129,
    "é" * 40,
    "",
)


def test_rolling_is_what_lm_evals_own_windows_give(byte_model):
    """Cut by lm-eval (as its HFLM does: context_len 1), scored by our model in one request each."""
    from lm_eval.api.instance import Instance
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    from scaling.interop.lm_eval import ByteLM

    windows = [
        [make_disjoint_window(w) for w in get_rolling_token_windows([*text.encode()], 0, 64, 1)]
        for text in TEXTS
    ]
    with use_mesh(byte_model.mesh):
        theirs = [sum(s.logp for s in loglikelihood(byte_model, pairs)) for pairs in windows]
    instances = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in TEXTS]
    ours = ByteLM(byte_model).loglikelihood_rolling(instances)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def generate(model, text, **how):
    from lm_eval.api.instance import Instance

    from scaling.interop.lm_eval import ByteLM

    instances = [Instance("generate_until", {}, (text, how), k) for k in range(2)]
    return ByteLM(model).generate_until(instances)


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens"])
def test_the_length_of_a_generation_has_all_its_names(byte_model, name):
    with use_mesh(byte_model.mesh):
        (expected,) = generate_until(byte_model, [[0, *b"hello"]], max_tokens=40)
    text = bytes(expected).decode("utf-8", "replace")
    assert generate(byte_model, "hello", **{name: 40}) == [text.split("\0")[0]] * 2


def test_a_generation_ends_where_it_is_told(byte_model):
    whole, _ = generate(byte_model, "hello", max_gen_toks=40)
    stop = whole[9:11]
    assert generate(byte_model, "hello", max_gen_toks=40, until=stop)[0] == whole.split(stop)[0]


def test_draws_of_one_question_differ_and_come_again(byte_model):
    hot = {"max_gen_toks": 20, "do_sample": True, "temperature": 1.0}
    first, second = generate(byte_model, "hello", **hot)
    assert first != second
    assert generate(byte_model, "hello", **hot) == [first, second]
    # As lm-eval reads it: without do_sample a temperature asks for sampling, with False not.
    assert generate(byte_model, "hello", max_gen_toks=20, temperature=1.0) == [first, second]
    cold = generate(byte_model, "hello", max_gen_toks=20, do_sample=False, temperature=1.0)
    assert cold == generate(byte_model, "hello", max_gen_toks=20)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "max_gen_toks=256 leaves no room"),
        ({"max_gen_toks": 64}, "max_gen_toks=64 leaves no room"),
        ({"max_gen_toks": 0}, "max_tokens=0"),
        ({"max_gen_toks": "few"}, "few"),
        ({"max_gen_toks": 5, "temperature": float("nan"), "do_sample": True}, "temperature=nan"),
        ({"max_gen_toks": 5, "temperature": 1e-38}, "temperature=1e-38"),
        ({"max_gen_toks": 5, "num_beams": 4}, "num_beams=4 is not known"),
    ],
)
def test_generations_that_cannot_be_met(byte_model, how, message):
    with pytest.raises(UserError, match=message):
        generate(byte_model, "hello", **how)
