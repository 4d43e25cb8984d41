"""The request types of the evaluation world, for any number of items of any length.

`loglikelihood`, `rolling_loglikelihood` and `multiple_choice` here, `generate_until` in
`scaling.probes.generate`: the names and meanings of the EleutherAI evaluation harness (Gao et al.,
lm-eval 0.4). Texts are token sequences. Shapes: N items, C choices, V vocabulary.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scaling.errors import UserError
from scaling.probes.scorer import ScoredModel, width

Tokens = Sequence[int]
SCORINGS = ("plain", "bytes", "characters", "mutual")

_NEEDS = {"bytes": "n_bytes", "characters": "n_characters", "mutual": "unconditional"}


@dataclasses.dataclass(frozen=True)
class Score:
    """Of one continuation: logp its log-probability in nats, n_tokens its length, is_greedy
    whether every token of it is the likeliest, guess the likeliest token at each place (given the
    right ones before it)."""

    logp: float
    n_tokens: int
    is_greedy: bool
    guess: tuple[int, ...]


def loglikelihood(model: ScoredModel, requests: Sequence[tuple[Tokens, Tokens]]) -> list[Score]:
    """log P(continuation | context) of every (context, continuation).

    Raises UserError when a context or continuation is empty or both do not fit the model.
    """
    _check(model, requests)
    out: list[Score | None] = [None] * len(requests)
    for chosen, T in _by_width([len(c) + len(a) - 1 for c, a in requests]):
        rows = np.zeros((len(chosen), T + 1), np.int32)
        for row, i in zip(rows, chosen, strict=True):
            both = [*requests[i][0], *requests[i][1]]
            row[: len(both)] = both
        logp, guess = model.token_scores(rows)
        for row, i in enumerate(chosen):
            context, continuation = requests[i]
            part = slice(len(context) - 1, len(context) + len(continuation) - 1)
            likeliest = tuple(guess[row, part].tolist())
            total = float(logp[row, part].sum(dtype=np.float64))
            is_greedy = likeliest == tuple(continuation)
            out[i] = Score(total, len(continuation), is_greedy, likeliest)
    return out


def rolling_loglikelihood(
    model: ScoredModel, documents: Sequence[Tokens], prefix: int
) -> list[Score]:
    """log P(document), as lm-eval cuts it (`get_rolling_token_windows` with context_len 1).

    Each token is predicted in one window of at most seq_len. The first of a document is predicted
    from `prefix`, the first of the next window from the token before it; the last window, which
    has fewer tokens left, reaches back over as many as fit.
    """
    T = model.target.seq_len
    requests, owner = [], []
    for number, document in enumerate(documents):
        if len(document) == 0:
            raise UserError(f"document {number} is empty: it has no likelihood")
        for at in range(0, len(document), T):
            end = min(at + T, len(document))
            context = document[end - T - 1 : at] if at else [prefix]
            requests.append((context, document[at:end]))
            owner.append(number)
    scores = loglikelihood(model, requests)
    parts: list[list[Score]] = [[] for _ in documents]
    for number, score in zip(owner, scores, strict=True):
        parts[number].append(score)
    return [
        Score(
            sum(s.logp for s in part),
            sum(s.n_tokens for s in part),
            all(s.is_greedy for s in part),
            tuple(token for s in part for token in s.guess),
        )
        for part in parts
    ]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A question: `choices[gold]` should follow `context`.

    n_bytes, n_characters: of every choice's text, for the scorings of these names. unconditional:
    the context without the question ("Answer:"), for scoring "mutual". contexts: one context a
    choice instead of a common one, where the choice stands before the end (Trinh and Le 2018);
    `choices` is then what follows.
    """

    context: Tokens
    choices: tuple[Tokens, ...]
    gold: int
    n_bytes: tuple[int, ...] | None = None
    unconditional: Tokens | None = None
    contexts: tuple[Tokens, ...] | None = None
    n_characters: tuple[int, ...] | None = None


def multiple_choice(
    model: ScoredModel, items: Sequence[Choice], scoring: str = "plain"
) -> list[np.ndarray]:
    """For every item the scores (C,) of its choices, in nats; the greatest is the answer.

    plain: log P(choice | context), as lm-eval's acc. bytes: that over the bytes of the choice, as
    its acc_bytes. characters: over the characters, as its acc_norm. mutual: log P(choice | context)
    - log P(choice | unconditional) (Brown et al. 2020, section 2.4; Holtzman et al. 2021). Raises
    UserError.
    """
    if scoring not in SCORINGS:
        raise UserError(f"scoring={scoring!r} is none of {', '.join(SCORINGS)}")
    if not items:
        raise UserError("a multiple-choice task without items")
    needs = _NEEDS.get(scoring)
    if needs and any(getattr(item, needs) is None for item in items):
        raise UserError(f"scoring={scoring!r} needs {needs} for every item")
    for number, item in enumerate(items):
        if not 0 <= item.gold < len(item.choices):
            raise UserError(
                f"item {number}: gold={item.gold} is none of {len(item.choices)} choices"
            )
    scores = _choice_scores(model, items)
    if scoring in ("bytes", "characters"):
        lengths = [getattr(item, needs) for item in items]
        return [s / np.maximum(n, 1) for s, n in zip(scores, lengths, strict=True)]
    if scoring == "mutual":
        alone = [dataclasses.replace(i, context=i.unconditional, contexts=None) for i in items]
        prior = _choice_scores(model, alone)
        return [s - p for s, p in zip(scores, prior, strict=True)]
    return scores


def _choice_scores(model: ScoredModel, items: Sequence[Choice]) -> list[np.ndarray]:
    """Choices of one token after a common context cost one forward pass, not one each."""
    if all(i.contexts is None and all(len(c) == 1 for c in i.choices) for i in items):
        return _single_token_scores(model, items)
    requests = [
        (item.contexts[c] if item.contexts else item.context, choice)
        for item in items
        for c, choice in enumerate(item.choices)
    ]
    logp = np.array([score.logp for score in loglikelihood(model, requests)])
    return np.split(logp, np.cumsum([len(item.choices) for item in items])[:-1])


def _single_token_scores(model: ScoredModel, items: Sequence[Choice]) -> list[np.ndarray]:
    _check(model, [(item.context, item.choices[0]) for item in items])
    out: list[np.ndarray | None] = [None] * len(items)
    for chosen, T in _by_width([len(item.context) for item in items]):
        rows, places = np.zeros((len(chosen), T), np.int32), np.zeros((len(chosen), 1), np.int32)
        for row, i in enumerate(chosen):
            rows[row, : len(items[i].context)] = items[i].context
            places[row] = len(items[i].context) - 1
        logp = model.next_token(rows, places)[:, 0]
        for row, i in enumerate(chosen):
            out[i] = logp[row, [c[0] for c in items[i].choices]].astype(np.float64)
    return out


def _by_width(lengths: Sequence[int]):
    """(item numbers, padded length) for each of the few lengths that programs are made for."""
    widths = np.array([width(n) for n in lengths])
    for T in np.unique(widths):
        yield np.flatnonzero(widths == T), int(T)


def _check(model: ScoredModel, requests: Sequence[tuple[Tokens, Tokens]]) -> None:
    for number, (context, continuation) in enumerate(requests):
        if len(context) == 0:
            raise UserError(f"request {number}: the context is empty; begin with a separator token")
        if len(continuation) == 0:
            raise UserError(f"request {number}: the answer tokenises to nothing")
        if len(context) + len(continuation) - 1 > model.target.seq_len:
            raise UserError(
                f"request {number}: {len(context)} tokens of context and {len(continuation)} of "
                f"answer do not fit the model's {model.target.seq_len}; use fewer shots"
            )
