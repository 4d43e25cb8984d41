"""Generation with a cache is the full forward, token by token; rows do not see each other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import MODELS
from scaling.core.build import make_program
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.probes.generate import cut, generate_until
from scaling.probes.sampling import LEAST_TEMPERATURE, Sampling, choose, restrict
from scaling.probes.scorer import ScoredModel
from scaling.sharding import make_mesh, parse_mesh, place, use_mesh
from tests.helpers import small_config
from tests.probes.conftest import VOCAB


def some_prompts(lengths=(3, 7, 1, 5, 8, 6), seed=0):
    r = np.random.default_rng(seed)
    return [r.integers(0, VOCAB, n).tolist() for n in lengths]


def greedy_by_full_forward(model, prompt, n):
    tokens = list(prompt)
    for _ in range(n):
        logp = model.next_token(np.array([tokens]), np.array([[len(tokens) - 1]]))[0, 0]
        tokens.append(int(logp.argmax()))
    return tokens[len(prompt) :]


def test_greedy_with_cache_equals_full_forward(transformer, in_mesh):
    prompts = some_prompts((3, 12, 5))
    grown = generate_until(transformer, prompts, max_tokens=6)
    for prompt, continuation in zip(prompts, grown, strict=True):
        assert continuation == greedy_by_full_forward(transformer, prompt, 6)


GROWING = {name: {"name": name} for name in MODELS}
GROWING |= {p: {"n_heads": 4, "position": p} for p in ("learned", "sinusoidal")}


@pytest.mark.parametrize("mesh_text", ["data:1", "fsdp:2,tensor:2"])
@pytest.mark.parametrize("model", GROWING)
def test_logits_with_cache_equal_full_forward(mesh_text, model):
    """In two bites, the first padded on the left by another amount in every row."""
    if model not in MODELS and mesh_text != "data:1":
        pytest.skip("positions do not meet the mesh")
    config = small_config(model={"width": 16, **GROWING[model]})
    mesh = make_mesh(parse_mesh(mesh_text))
    with use_mesh(mesh):
        params = make_program(config, VOCAB, mesh).init(0).params
        tokens = np.random.default_rng(0).integers(0, VOCAB, (4, 10)).astype(np.int32)
        full = np.asarray(
            jax.jit(lambda m, rows: m(rows["tokens"]))(
                params, place(mesh, {"tokens": tokens}, "batch")
            )
        )
        pads = np.arange(4)
        left = np.zeros((4, 9), np.int32)
        for r, pad in enumerate(pads):
            left[r, pad:] = tokens[r, : 9 - pad]
        real = np.arange(9) >= pads[:, None]
        more = np.stack([tokens[r, 9 - pad : 10 - pad] for r, pad in enumerate(pads)])

        rows = {"left": left, "real": real, "more": more, "ones": np.ones((4, 1), bool)}

        @jax.jit
        def two_bites(model, rows):
            cache = model.new_cache(4, 16)
            first, cache = model.extend(rows["left"], rows["real"], cache)
            return first, model.extend(rows["more"], rows["ones"], cache)[0]

        a, b = two_bites(params, place(mesh, rows, "batch"))
        for r, pad in enumerate(pads):
            np.testing.assert_allclose(np.asarray(a)[r, pad:], full[r, : 9 - pad], atol=2e-5)
            np.testing.assert_allclose(np.asarray(b)[r, 0], full[r, 9 - pad], atol=2e-5)


def test_companions_change_no_continuation(transformer, in_mesh):
    prompts = some_prompts()
    how = Sampling(temperature=1.0, top_k=8, top_p=0.95)
    grown = generate_until(transformer, prompts, max_tokens=5, sampling=how, seed=4)
    alone = generate_until(transformer, prompts[:1], max_tokens=5, sampling=how, seed=4)
    assert alone[0] == grown[0]
    again = generate_until(transformer, prompts, max_tokens=5, sampling=how, seed=4)
    assert again == grown
    assert generate_until(transformer, prompts, max_tokens=5, sampling=how, seed=5) != grown


def test_stops_end_a_continuation(transformer, in_mesh):
    prompts = some_prompts()
    free = generate_until(transformer, prompts, max_tokens=8)
    stop = free[1][3]
    stopped = generate_until(transformer, prompts, max_tokens=8, until=[[stop]])
    pair = free[4][2:4]
    paired = generate_until(transformer, prompts, max_tokens=8, until=[pair])
    for whole, single, double in zip(free, stopped, paired, strict=True):
        assert single == cut(whole, [[stop]])
        assert double == cut(whole, [pair])
    assert cut([1, 2, 3, 2, 3], [[2, 3], [9]]) == [1]
    assert cut([1, 2], []) == [1, 2]


def test_sampling_restricts_to_the_likeliest():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    kept = lambda **how: np.isfinite(np.asarray(restrict(logits, Sampling(**how)))[0]).tolist()  # noqa: E731
    assert kept() == [True] * 4
    assert kept(top_k=2) == [True, True, False, False]
    assert kept(top_p=0.5) == [True, False, False, False]
    assert kept(top_p=0.6) == [True, True, False, False]
    assert kept(top_p=1e-6) == [True, False, False, False]
    assert kept(top_k=3, top_p=0.6) == [True, True, False, False]
    assert kept(top_k=9) == [True] * 4
    keys = jax.random.split(jax.random.key(0), 4000)
    many = jnp.tile(logits, (4000, 1))
    drawn = np.bincount(np.asarray(choose(many, keys, Sampling(temperature=1.0))), minlength=4)
    np.testing.assert_allclose(drawn / 4000, [0.5, 0.3, 0.15, 0.05], atol=0.035)
    cold = np.bincount(np.asarray(choose(many, keys, Sampling(temperature=0.5))), minlength=4)
    p = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    np.testing.assert_allclose(cold / 4000, p / p.sum(), atol=0.035)


@pytest.mark.parametrize("how", [{"top_k": 1}, {"top_p": 1e-9}, {"top_k": 3, "top_p": 1e-9}])
def test_one_token_kept_is_greedy_even_where_tokens_tie(how):
    logits = jnp.array([[0.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [0.5, -jnp.inf, 0.1, 0.5]])
    keys = jax.random.split(jax.random.key(1), 3)
    for temperature in (1e-3, 1.0, 50.0):
        chosen = choose(logits, keys, Sampling(temperature=temperature, **how))
        assert chosen.tolist() == choose(logits, keys, Sampling()).tolist() == [1, 0, 0]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf, 1e-38, 1e-5, 5e-324])
def test_temperatures_that_sample_nothing(value):
    with pytest.raises(UserError, match=f"temperature={value!r} must be 0 .* from 0.0001 on"):
        Sampling(temperature=value)


@pytest.mark.parametrize("value", [LEAST_TEMPERATURE, 1e38])
def test_the_extreme_temperatures_sample(value):
    logits = jnp.array([[1e30, -1e30, 0.0]])
    keys = jax.random.split(jax.random.key(1), 1)
    (chosen,) = choose(logits, keys, Sampling(temperature=value)).tolist()
    assert chosen == 0 or value > 1
    assert np.isfinite(np.asarray(logits / value)).all()


@pytest.mark.parametrize("how", [{"top_p": math.nan}, {"top_p": 0.0}, {"top_k": -1}])
def test_sets_that_hold_nothing(how):
    with pytest.raises(UserError, match=f"got top_k={how.get('top_k', 0)}"):
        Sampling(**how)


@pytest.mark.parametrize(
    ("prompts", "max_tokens", "message"),
    [([[1] * 20], 6, "do not fit"), ([[]], 3, "empty prompt"), ([[1]], 0, "at least 1")],
)
def test_requests_that_cannot_be_met(transformer, in_mesh, prompts, max_tokens, message):
    with pytest.raises(UserError, match=message):
        generate_until(transformer, prompts, max_tokens=max_tokens)
    with pytest.raises(UserError, match="no key-value cache"):
        generate_until(ScoredModel(lambda t: t, in_mesh, Target(None, 4, 8)), [[1]], max_tokens=1)
