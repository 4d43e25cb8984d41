"""Prompt forms: how an item becomes a context and the continuations that are compared.

The same items can be asked zero-shot with an instruction, few-shot with it, or with examples only;
with gold, random or abstract labels in the examples, which tells recognising a task from learning
it (Pan et al. 2023, "What in-context learning learns in-context"); directly or with a chain of
thought (Wei et al. 2022). Texts are str; `encode` of `choice_of` makes tokens of them.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scaling.doors.reading import loads
from scaling.errors import UserError, unknown
from scaling.probes.requests import Choice, Tokens

FORMS = ("prefix", "filled", "cloze")
LABELS = ("gold", "random", "abstract")
_FIELD = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True)
class Item:
    """fields fill the template; choices[gold] is its {answer}; reasoning its {reasoning}."""

    fields: Mapping[str, str]
    choices: tuple[str, ...]
    gold: int
    reasoning: str = ""


@dataclasses.dataclass(frozen=True)
class Template:
    """text: with {field} places and one {answer}; {reasoning}, if any, stands before it.

    form: what is compared between choices. "prefix": the choice, given all before {answer}.
    "filled": the whole text with the choice in its place. "cloze": what follows the choice, given
    all up to it (the partial evaluation of Trinh and Le 2018). Prefix and filled rank alike when
    the answer comes last.
    """

    text: str
    form: str = "prefix"

    def __post_init__(self):
        if self.form not in FORMS:
            raise unknown("template form", self.form, FORMS)
        if self.text.count("{answer}") != 1:
            raise UserError(f"template {self.text!r} needs {{answer}} exactly once")
        if self.form == "cloze" and self.text.endswith("{answer}"):
            raise UserError(f"template {self.text!r}: a cloze needs text after {{answer}}")

    def fill(self, item: Item, answer: str) -> tuple[str, str, str]:
        """(before, answer, after); a chain of thought counts as a part of the answer."""
        head, tail = self.text.split("{answer}")
        if "{reasoning}" in head:
            head, link = head.split("{reasoning}")
            answer = item.reasoning + _filled(link, item) + answer
        return _filled(head, item), answer, _filled(tail, item)


@dataclasses.dataclass(frozen=True)
class Prompt:
    """instruction: put first, or "". shots: examples from 0 up. labels: of the examples; abstract
    ones (`symbols`, in an order drawn for each prompt) rename the query's choices too. premise: the
    context without the question, such as "Answer:", for mutual-information scores."""

    template: Template
    instruction: str = ""
    shots: int = 0
    labels: str = "gold"
    separator: str = "\n"
    symbols: tuple[str, ...] = tuple("ABCDEFGH")
    premise: str = ""

    def __post_init__(self):
        if self.labels not in LABELS:
            raise unknown("kind of label", self.labels, LABELS)
        if self.shots < 0:
            raise UserError(f"shots={self.shots} must be zero or more")

    def render(self, item: Item, examples: Sequence[Item], rng: np.random.Generator) -> "Rendered":
        """`examples` are at least `shots`. Raises UserError."""
        if len(examples) < self.shots:
            raise UserError(f"shots={self.shots}, but there are only {len(examples)} examples")
        choices = item.choices
        if self.labels == "abstract":
            if len(choices) > len(self.symbols):
                raise UserError(f"{len(choices)} choices need as many symbols: {self.symbols}")
            choices = tuple(rng.permutation(self.symbols[: len(choices)]).tolist())
        blocks = [self.instruction] if self.instruction else []
        for example in examples[: self.shots]:
            names = choices if self.labels == "abstract" else example.choices
            label = int(rng.integers(len(names))) if self.labels == "random" else example.gold
            blocks.append("".join(self.template.fill(example, names[label])))
        lead = "".join(block + self.separator for block in blocks)
        parts = [self.template.fill(item, choice) for choice in choices]
        return Rendered(lead, tuple(parts), item.gold, self.template.form, self.premise)


@dataclasses.dataclass(frozen=True)
class Rendered:
    """lead: instruction and examples. parts: for every choice (before, answer, after). premise: as
    in `Prompt`."""

    lead: str
    parts: tuple[tuple[str, str, str], ...]
    gold: int
    form: str
    premise: str = ""

    def choice_of(self, encode: Callable[[str], Tokens], prefix: Tokens) -> Choice:
        """The multiple-choice request. `prefix`: tokens that begin every prompt (a separator).

        Raises UserError when what is compared tokenises to nothing.
        """
        before = self.parts[0][0]
        if self.form == "prefix":
            contexts = [self.lead + before] * len(self.parts)
            scored = [answer for _, answer, _ in self.parts]
        elif self.form == "filled":
            contexts = [self.lead] * len(self.parts)
            scored = ["".join(part) for part in self.parts]
        else:
            contexts = [self.lead + before + answer for _, answer, _ in self.parts]
            scored = [after for _, _, after in self.parts]
        tokens = tuple(tuple(encode(text)) for text in scored)
        for text, ids in zip(scored, tokens, strict=True):
            if not ids:
                raise UserError(f"the answer {text!r} tokenises to nothing")
        context = [*prefix, *encode(contexts[0])]
        n_bytes = tuple(len(text.encode()) for text in scored)
        n_characters = tuple(map(len, scored))
        alone = (*prefix, *encode(self.premise))
        several = None
        if self.form == "cloze":
            several = tuple((*prefix, *encode(text)) for text in contexts)
        return Choice(context, tokens, self.gold, n_bytes, alone, several, n_characters)


def read_items(path: str | pathlib.Path) -> list[Item]:
    """Items of a JSONL task: {"choices": [...], "gold": 0, "reasoning": "" (optional), FIELD: text}
    on every line. Raises UserError naming the line."""
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task file {path} cannot be read: {error}") from error
    items = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = loads(line, f"{path}:{number}")
            choices, gold = row.pop("choices"), row.pop("gold")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}:{number}: no item with choices and gold ({error})") from error
        fault = _fault(choices, gold, row)
        if fault:
            raise UserError(f"{path}:{number}: {fault}")
        reasoning = row.pop("reasoning", "")
        items.append(Item(row, tuple(choices), gold, reasoning))
    if not items:
        raise UserError(f"task file {path} is empty; write one JSON object a line")
    return items


def _fault(choices: Any, gold: Any, fields: Mapping[str, Any]) -> str | None:
    """What is wrong with an item, or None."""
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        return f"choices={choices!r} must be a list of texts"
    if len(choices) < 2 or len(set(choices)) < len(choices):
        return f"choices={choices!r} must be two or more different texts"
    if type(gold) is not int or not 0 <= gold < len(choices):
        return f"gold={gold!r} must be the number of a choice, 0 to {len(choices) - 1}"
    wrong = [name for name, value in fields.items() if not isinstance(value, str)]
    return f"field {wrong[0]!r} is {fields[wrong[0]]!r}, not text" if wrong else None


def _filled(text: str, item: Item) -> str:
    def value(match: re.Match) -> str:
        if match[1] not in item.fields:
            raise unknown("template field", match[1], item.fields)
        return item.fields[match[1]]

    return _FIELD.sub(value, text)
