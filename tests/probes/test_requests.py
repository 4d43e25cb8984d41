"""The request types agree with each other and with the chain rule."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.probes.requests import Choice, loglikelihood, multiple_choice, rolling_loglikelihood
from tests.probes.conftest import CLOSE, VOCAB


def tokens(n, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, n).tolist()


def test_loglikelihood_is_the_sum_of_its_tokens(transformer, in_mesh):
    context, answer = tokens(5), tokens(4, 1)
    whole = loglikelihood(transformer, [(context, answer)])[0]
    steps = [(context + answer[:i], answer[i : i + 1]) for i in range(4)]
    parts = loglikelihood(transformer, steps)
    assert whole.logp == pytest.approx(sum(p.logp for p in parts), abs=1e-4)
    assert whole.n_tokens == 4
    assert whole.is_greedy == all(p.is_greedy for p in parts)


def test_greedy_is_what_would_be_generated(transformer, in_mesh):
    context = tokens(6)
    scores = loglikelihood(transformer, [(context, [v]) for v in range(VOCAB)])
    assert sum(s.is_greedy for s in scores) == 1
    assert sum(np.exp(s.logp) for s in scores) == pytest.approx(1.0, rel=1e-5)


def test_order_and_companions_do_not_matter(transformer, in_mesh):
    requests = [(tokens(1 + i % 9, i), tokens(1 + i % 4, 50 + i)) for i in range(20)]
    together = [s.logp for s in loglikelihood(transformer, requests)]
    backwards = [s.logp for s in loglikelihood(transformer, requests[::-1])][::-1]
    np.testing.assert_allclose(backwards, together, **CLOSE)
    alone = loglikelihood(transformer, requests[7:8])[0].logp
    assert alone == pytest.approx(together[7], rel=1e-5)


@pytest.mark.parametrize("length", [1, 23, 24, 25, 48, 60])
def test_rolling_gives_the_last_window_all_the_context_that_fits(transformer, in_mesh, length):
    """Token by token, from lm-eval's description of its windows: tests/probes/test_lm_eval.py
    compares with its code. Every window of T = 24 predictions ends at a multiple of T, or at the
    end of the document, and is given the T tokens before its last one."""
    document, T = tokens(length), 24
    (score,) = rolling_loglikelihood(transformer, [document], prefix=0)
    padded, places = np.zeros((length, T), np.int32), np.zeros((length, 1), np.int32)
    for at in range(length):
        end = min((at // T + 1) * T, length)
        seen = document[end - 1 - T : at] if at >= T else [0, *document[:at]]
        padded[at, : len(seen)] = seen
        places[at] = len(seen) - 1
    logp = transformer.next_token(padded, places)[:, 0]
    expected = logp[np.arange(length), document].sum(dtype=np.float64)
    assert score.logp == pytest.approx(expected, rel=1e-5)
    assert score.n_tokens == length


def test_one_pass_for_single_tokens_equals_one_each(transformer, in_mesh):
    items = [Choice(tokens(3 + i, i), ((1,), (4,), (7,)), 0) for i in range(9)]
    fast = multiple_choice(transformer, items)
    # A longer choice anywhere takes the general way.
    slow = multiple_choice(transformer, [*items, Choice([1], ((1, 2), (3,)), 0)])[:-1]
    np.testing.assert_allclose(np.array(fast), np.array(slow), **CLOSE)


def test_scorings(transformer, in_mesh):
    lengths = {"n_bytes": (2, 8), "n_characters": (1, 3)}
    item = Choice(tokens(4), ((1, 2), (3, 4)), 1, unconditional=[5], **lengths)
    (plain,) = multiple_choice(transformer, [item])
    (per_byte,) = multiple_choice(transformer, [item], "bytes")
    np.testing.assert_allclose(per_byte, plain / [2, 8])
    (per_character,) = multiple_choice(transformer, [item], "characters")
    np.testing.assert_allclose(per_character, plain / [1, 3])
    (mutual,) = multiple_choice(transformer, [item], "mutual")
    prior = [s.logp for s in loglikelihood(transformer, [([5], [1, 2]), ([5], [3, 4])])]
    np.testing.assert_allclose(mutual, plain - prior, **CLOSE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: loglikelihood(m, [([1], [])]), "tokenises to nothing"),
        (lambda m: loglikelihood(m, [([], [1])]), "context is empty"),
        (lambda m: loglikelihood(m, [([1] * 20, [1] * 9)]), "fewer shots"),
        (lambda m: rolling_loglikelihood(m, [[]], 0), "empty"),
        (lambda m: multiple_choice(m, []), "without items"),
        (lambda m: multiple_choice(m, [Choice([1], ((1,),), 1)]), "gold=1"),
        (lambda m: multiple_choice(m, [Choice([1], ((1,),), 0)], "bytes"), "needs n_bytes"),
        (lambda m: multiple_choice(m, [Choice([1], ((1,),), 0)], "acc"), "none of"),
    ],
)
def test_requests_that_make_no_sense(transformer, in_mesh, call, message):
    with pytest.raises(UserError, match=message):
        call(transformer)
