import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaling.durations import Duration
from scaling.errors import UserError
from scaling.recipes import recipe
from scaling.resolve import default_config, resolve

NAMES = list(recipe.RECIPES)


def make(name, **dials):
    config = default_config()
    config.data.seq_len = 128
    return resolve(recipe.apply(config, name, **dials))


def count(config):
    return recipe.matrix_params(vars(config.model) | {"transformer": vars(config.model.options)})


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_gives_a_config_that_resolves(name):
    config = make(name, params=20e6, duration="20 tokens_per_param")
    assert config.model.width % config.model.options.head_size == 0
    assert config.model.options.n_heads * config.model.options.head_size == config.model.width
    assert str(config.train.duration) == "20 tokens_per_param"
    assert 0 < config.optim.peak_lr < 0.1


@settings(max_examples=30, deadline=None)
@given(exponent=st.floats(3.4, 7.0), name=st.sampled_from(["one_depth", "mup"]))
def test_parameter_target_takes_the_nearest_width(exponent, name):
    target = 10**exponent
    config = make(name, params=target)
    width = config.model.width
    distance = abs(math.log(count(config) / target))
    for other in (width - 8, width + 8):
        if other >= 8:
            assert distance <= abs(math.log(36 * other**2 / target)) + 1e-9
    # Neighbouring widths are 8 apart, N grows with their square, and the middle is the worst case.
    assert width == 8 or distance <= math.log(width / (width - 8))


@settings(max_examples=20, deadline=None)
@given(exponent=st.floats(7.0, 10.0))
def test_step_law_comes_within_a_tenth_of_the_target(exponent):
    config = make("step_law", params=10**exponent, duration="20 tokens_per_param")
    assert count(config) == pytest.approx(10**exponent, rel=0.1)
    # The aspect rule, with the slack that buys nearness.
    assert 64 / 1.6 < config.model.width / config.model.depth < 64 * 1.6


@pytest.mark.parametrize(("width", "n"), [(16, 9_216), (32, 36_864), (48, 82_944), (64, 147_456)])
def test_one_depth_is_the_ladder_of_the_quickstart(width, n):
    config = make("one_depth", width=width, duration="2M tokens")
    assert count(config) == n
    assert (config.model.depth, config.model.options.head_size) == (3, 8)
    assert config.optim.peak_lr == pytest.approx(0.02 * (32 / width) ** 0.25)
    assert config.train.batch_size * config.data.seq_len == 1024
    assert config.optim.name == "muon"
    assert str(config.optim.schedule.options.decay) == "25%"


def test_step_law_matches_hand_computed_values():
    # N = 12 * 512^2 * 8 = 25.2M with the SwiGLU hidden size of 1408 = 22 * 64 instead of 1365.3.
    config = make("step_law", width=512, duration="1B tokens")
    n = 8 * (4 * 512**2 + 3 * 512 * 1408)
    assert count(config) == n
    assert config.optim.peak_lr == pytest.approx(1.79 * n**-0.713 * 1e9**0.307)
    assert config.train.batch_size == round(0.58 * 1e9**0.571 / 128)
    assert config.optim.peak_lr * config.optim.schedule.final == pytest.approx(1e-5)


@given(value=st.floats(1e6, 1e12), n=st.integers(1, 10**9))
def test_token_budget_in_any_unit(value, n):
    assume(value / n > 1e-3)
    same = [
        Duration(value, "tokens"),
        Duration(value / n, "tokens_per_param"),
        Duration(value * 6 * n, "flops"),
    ]
    for length in same:
        assert recipe.total_tokens(length, n, "x") == pytest.approx(value)


def test_kaplan_learning_rate():
    config = make("kaplan", depth=12, duration="1B tokens")
    assert config.model.width == 768
    assert count(config) == 12 * 768**2 * 12
    assert config.optim.peak_lr == pytest.approx(0.003239 - 0.0001395 * math.log(84_934_656))


def test_mup_keeps_the_learning_rate():
    small, large = make("mup", width=32), make("mup", width=128)
    assert small.optim.peak_lr == large.optim.peak_lr
    assert large.model.parametrization == "mup"
    assert large.model.base_width == 32


def test_the_counts_are_those_of_the_model_itself():
    import jax
    from flax import nnx

    from scaling import sharding
    from scaling.models.params import infos

    for name, dials in [("one_depth", {"width": 24}), ("step_law", {"width": 128, "depth": None})]:
        model = recipe.RECIPES[name]().shape(dials["width"], *([3] if name == "step_law" else []))
        config = resolve({"model": model}).model
        with sharding.use_mesh(sharding.abstract_mesh(dict.fromkeys(sharding.MESH_AXES, 1))):
            built = jax.eval_shape(
                lambda c=config: c.options.build(
                    c, vocab_size=16, seq_len=8, rngs=nnx.Rngs(params=jax.random.key(0))
                )
            )
        pairs = zip(jax.tree.leaves(built), jax.tree.leaves(infos(built)), strict=True)
        assert recipe.matrix_params(model) == sum(a.size for a, info in pairs if info.is_hidden)


@pytest.mark.parametrize(
    ("name", "dials", "word"),
    [
        ("one_dept", {"width": 32}, "did you mean 'one_depth'"),
        ("one_depth", {}, "exactly one of width, depth, params; got none"),
        ("one_depth", {"width": 32, "params": 1e4}, "got width and params"),
        ("one_depth", {"width": 30}, "width=30 is not a multiple of its head size 8"),
        ("one_depth", {"width": 32.5}, "must be a whole number"),
        ("one_depth", {"width": -8}, "must be a positive number"),
        ("one_depth", {"params": math.nan}, "must be a positive number"),
        ("one_depth", {"params": 10}, "out of reach"),
        ("one_depth", {"depth": 4}, "set width or params"),
        ("step_law", {"width": 64, "duration": "1B tokens"}, "far below"),
        (
            "step_law",
            {"width": 512, "duration": "100 steps"},
            "give duration='100 steps' in tokens",
        ),
        ("kaplan", {"params": 1e13}, "no learning rate"),
        ("one_depth", {"width": 32, "duration": "5 hours"}, "unit in duration"),
    ],
)
def test_refuses(name, dials, word):
    with pytest.raises(UserError, match=word) as error:
        make(name, **dials)
    assert "\n" not in str(error.value)
