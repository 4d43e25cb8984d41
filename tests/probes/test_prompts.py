"""Prompt forms: what is shown, what is compared, and where two forms must agree."""

import dataclasses
import json

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.probes.prompts import Item, Prompt, Template, read_items
from scaling.probes.requests import loglikelihood, multiple_choice
from tests.probes.conftest import VOCAB
from tests.probes.worlds import CASES

ITEMS = [Item({"q": f"q{i}"}, ("yes", "no"), i % 2, f"because {i} ") for i in range(4)]


def encode(text):
    return [ord(c) % VOCAB for c in text]


def render(item=ITEMS[0], examples=ITEMS[1:], seed=0, **prompt):
    prompt = {"template": Template("Q {q} A {answer}")} | prompt
    return Prompt(**prompt).render(item, examples, np.random.default_rng(seed))


def context(**prompt):
    rendered = render(**prompt)
    return rendered.lead + rendered.parts[0][0]


def test_instruction_and_examples():
    assert context() == "Q q0 A "
    assert context(instruction="Answer.") == "Answer.\nQ q0 A "
    assert context(instruction="Answer.", shots=1) == "Answer.\nQ q1 A no\nQ q0 A "
    assert context(shots=2) == "Q q1 A no\nQ q2 A yes\nQ q0 A "


def test_labels_of_examples():
    assert context(shots=3, labels="gold") == "Q q1 A no\nQ q2 A yes\nQ q3 A no\nQ q0 A "
    random = {context(shots=3, labels="random", seed=s) for s in range(40)}
    assert len(random) == 8, "every pattern of labels"
    abstract = render(shots=3, labels="abstract", seed=1)
    names = [answer for _, answer, _ in abstract.parts]
    assert sorted(names) == ["A", "B"]
    assert abstract.lead == f"Q q1 A {names[1]}\nQ q2 A {names[0]}\nQ q3 A {names[1]}\n"


def test_chain_of_thought_is_part_of_the_answer():
    template = Template("Q {q} {reasoning}so {answer}.")
    rendered = render(template=template, shots=1)
    assert rendered.lead == "Q q1 because 1 so no.\n"
    assert rendered.parts[0] == ("Q q0 ", "because 0 so yes", ".")


def test_prefix_equals_filled_when_the_answer_comes_last(transformer, in_mesh):
    """log P(text) differs from log P(answer | before) by the same amount for every choice."""
    prefix, filled = (
        multiple_choice(
            transformer,
            [render(i, template=Template("{q}:{answer}", form)).choice_of(encode, [0])
             for i in ITEMS],
        )
        for form in ("prefix", "filled")
    )  # fmt: skip
    for a, b in zip(prefix, filled, strict=True):
        assert a[0] - a[1] == pytest.approx(b[0] - b[1], abs=1e-4)
        assert a[0] > b[0]


def test_filled_is_prefix_and_cloze_together(transformer, in_mesh):
    """The chain rule, where the answer stands in the middle."""
    scores = {}
    for form in ("prefix", "filled", "cloze"):
        template = Template("{q}:{answer}!?", form)
        choices = [render(template=template).choice_of(encode, [0])]
        scores[form] = multiple_choice(transformer, choices)[0]
    before = scores["filled"] - scores["prefix"] - scores["cloze"]
    assert before[0] == pytest.approx(before[1], abs=1e-4)


def test_items_of_a_task_file(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text('{"q": "2+2", "choices": ["4", "5"], "gold": 0}\n\n')
    assert read_items(path) == [Item({"q": "2+2"}, ("4", "5"), 0)]
    for text, message in (("", "is empty"), ('{"q": 1}', ":1: no item"), ("{", ":1: no item")):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_items(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"choices": ["a", "b", "a"], "gold": 0}, "different texts"),
        ({"choices": ["a"], "gold": 0}, "two or more"),
        ({"choices": "ab", "gold": 0}, "list of texts"),
        ({"choices": ["a", 1], "gold": 0}, "list of texts"),
        ({"choices": ["a", "b"], "gold": -1}, "0 to 1"),
        ({"choices": ["a", "b"], "gold": 2}, "0 to 1"),
        ({"choices": ["a", "b"], "gold": True}, "gold=True"),
        ({"choices": ["a", "b"], "gold": 0, "q": 3}, "'q' is 3, not text"),
    ],
)
def test_items_that_could_not_be_judged(tmp_path, line, message):
    path = tmp_path / "task.jsonl"
    path.write_text(json.dumps({"choices": ["x", "y"], "gold": 1}) + "\n" + json.dumps(line))
    with pytest.raises(UserError, match=f"task.jsonl:2: .*{message}"):
        read_items(path)


def test_the_premise_is_what_mutual_information_is_against(transformer, in_mesh):
    asked = [render(item, premise="A ").choice_of(encode, [0]) for item in ITEMS]
    assert asked[0].unconditional == (0, *encode("A "))
    scores = multiple_choice(transformer, asked, "mutual")
    plain = multiple_choice(transformer, asked)
    for got, given, choice in zip(scores, plain, asked, strict=True):
        alone = loglikelihood(transformer, [((0, *encode("A ")), c) for c in choice.choices])
        np.testing.assert_allclose(got, given - [s.logp for s in alone], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "{word}"}, "exactly once"),
        ({"template": "{name} {answer}"}, "unknown template field 'name'"),
        ({"shots": (9,)}, "more than data.seq_len=64; take fewer shots"),
        ({"shots": (50,)}, "shots=50 of 50 items"),
        ({"shots": (2, 2)}, "different numbers"),
    ],
)
def test_a_task_that_does_not_fit_is_refused_before_any_compute(options, message):
    case = CASES["task"]()
    with pytest.raises(UserError, match=message):
        dataclasses.replace(case.probe, **options).check(case.target)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Template("no place"), "exactly once"),
        (lambda: Template("{answer}", "fill"), "did you mean 'filled'"),
        (lambda: Template("{q} {answer}", "cloze"), "text after"),
        (lambda: render(template=Template("{p} {answer}")), "unknown template field 'p'"),
        (lambda: render(shots=9), "only 3 examples"),
        (lambda: render(labels="golden"), "did you mean 'gold'"),
        (lambda: render(Item({"q": ""}, ("",), 0)).choice_of(encode, [0]), "tokenises to nothing"),
    ],
)
def test_prompts_that_make_no_sense(call, message):
    with pytest.raises(UserError, match=message):
        call()
