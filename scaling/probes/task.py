"""A multiple-choice task from a file, in any prompt form: for models of text.

The file has a JSON object a line, {"choices": [...], "gold": 0, FIELD: text, ...}; see
`scaling.probes.prompts` for templates, labels and forms. Examples of an item are other items of the
file, drawn from the probe's seed, the first k of them the same for every number of shots k.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from scaling.config import option
from scaling.errors import UserError
from scaling.probes.base import Target, check_shots
from scaling.probes.metrics import choice_metrics, edit_distance
from scaling.probes.prompts import FORMS, LABELS, Item, Prompt, Template, read_items
from scaling.probes.requests import SCORINGS, Choice, Tokens, loglikelihood, multiple_choice
from scaling.probes.result import Cell, ProbeResult, make_cell
from scaling.probes.scorer import ScoredModel


@dataclasses.dataclass(frozen=True)
class TaskProbe:
    """One group for each number of shots; chance is one in the number of choices.

    accuracy, p_right and brier are of the choices under `scoring`; exact_match (greedy decoding
    writes the right choice) and the other metrics are of the right choice alone.
    """

    file: str = option("", "task file, JSONL")
    template: str = option("{question} {answer}", "fields of the items, and {answer}")
    form: str = option("prefix", "what is compared between choices", choices=FORMS)
    instruction: str = option("", "put before everything")
    shots: tuple[int, ...] = option((0,), "examples before the question")
    labels: str = option("gold", "of the examples", choices=LABELS)
    scoring: str = option(
        "plain", "of the choices; lm-eval's acc_norm is characters", choices=SCORINGS
    )
    premise: str = option("", 'context without the question, for scoring "mutual": "Answer:"')

    def check(self, target: Target) -> None:
        """Raises UserError when the file, the template or the length of a prompt is at fault."""
        check_shots("task", self.shots)
        items = read_items(self.file)
        most = max(self.shots, default=0)
        if most >= len(items):
            raise UserError(f"probe task: shots={most} of {len(items)} items in {self.file}")
        encode = _encoder(target)
        prompt, rng = self._prompt(most), np.random.default_rng(0)
        longest = sorted(items, key=lambda item: len(str(item.fields)), reverse=True)
        for number, item in enumerate(items):
            examples = [other for other in longest[: most + 1] if other is not item]
            choice = prompt.render(item, examples, rng).choice_of(*encode)
            contexts = choice.contexts or [choice.context] * len(choice.choices)
            n = max(len(c) + len(a) for c, a in zip(contexts, choice.choices, strict=True)) - 1
            if n > target.seq_len:
                raise UserError(
                    f"probe task: item {number} of {self.file} after {most} long examples is {n} "
                    f"tokens, more than data.seq_len={target.seq_len}; take fewer shots"
                )

    def __call__(self, model: ScoredModel, key: int) -> ProbeResult:
        items, encode = read_items(self.file), _encoder(model.target)
        return ProbeResult(tuple(self._group(model, items, s, key, encode) for s in self.shots))

    def _prompt(self, shots: int) -> Prompt:
        template = Template(self.template, self.form)
        return Prompt(template, self.instruction, shots, self.labels, premise=self.premise)

    def _group(self, model: ScoredModel, items: list[Item], shots: int, key: int, encode) -> Cell:
        prompt, asked = self._prompt(shots), []
        for number, item in enumerate(items):
            rng = np.random.default_rng([key, number])
            others = rng.permutation(len(items) - 1)[:shots]
            examples = [items[k + (k >= number)] for k in others]
            asked.append(prompt.render(item, examples, rng).choice_of(*encode))
        scores = multiple_choice(model, asked, self.scoring)
        widest = max(map(len, scores))
        logp_NC = np.stack(
            [np.pad(s, (0, widest - len(s)), constant_values=-np.inf) for s in scores]
        )
        values = choice_metrics(logp_NC, np.array([choice.gold for choice in asked]))
        return make_cell(
            {"form": self.form, "labels": self.labels, "scoring": self.scoring, "shots": shots},
            values | _answers(model, asked),
            chance=float(np.mean([1 / len(s) for s in scores])),
        )


def _answers(model: ScoredModel, asked: list[Choice]) -> dict[str, np.ndarray]:
    """Metrics of the right choice, which may have another length in every item."""
    gold = [choice.choices[choice.gold] for choice in asked]
    contexts = [c.contexts[c.gold] if c.contexts else c.context for c in asked]
    scores = loglikelihood(model, list(zip(contexts, gold, strict=True)))
    logp, n = np.array([s.logp for s in scores]), np.array([s.n_tokens for s in scores])
    rows = np.arange(n.max()) < n[:, None]
    guess_NA, gold_NA = np.zeros(rows.shape, np.int64), np.zeros(rows.shape, np.int64)
    guess_NA[rows] = np.concatenate([s.guess for s in scores])
    gold_NA[rows] = np.concatenate(gold)
    return {
        "exact_match": np.array([float(s.is_greedy) for s in scores]),
        "expected_exact_match": np.exp(logp),
        "logprob_per_token": logp / n,
        "edit_distance": edit_distance(guess_NA, gold_NA, rows),
    }


def _encoder(target: Target) -> tuple[Callable[[str], Tokens], Tokens]:
    """(encode, tokens that begin every prompt) of the text that the run was trained on."""
    if not hasattr(target.data.options, "encoder"):
        raise UserError(
            f"probe 'task' asks in words; this run was trained on {target.data.name!r}, and only "
            "data.name='stdlib' or 'text' is text"
        )
    encoder = target.data.options.encoder()

    def encode(text: str) -> Tokens:
        return encoder.encode([text.encode()])[0][0].tolist()

    return encode, () if encoder.separator is None else (encoder.separator,)
