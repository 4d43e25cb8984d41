"""Every optimiser takes the steps of its paper, written once more in numpy and float64."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from scaling.config import OPTIMIZERS, ModelConfig, OptimConfig
from scaling.models.params import infos, param
from scaling.optim.build import make_optimizer

N_STEPS = 8
SHAPES = {"up": (24, 40), "down": (40, 24), "head": (24, 12), "gain": (24,)}
HIDDEN = ("up", "down")
MODEL = ModelConfig(width=24, depth=1)
# Up and down, as of a schedule: an average of rates and a rate of averages differ.
RATES = [0.01, 0.02, 0.04, 0.08, 0.04, 0.02, 0.01, 0.005]
R = np.random.default_rng(0)
START = {name: R.normal(size=shape) for name, shape in SHAPES.items()}
# Of another size and direction at every step, with a part that stays.
GRADS = [
    {name: 10.0 ** R.uniform(-2, 1) * (0.3 + R.normal(size=s)) for name, s in SHAPES.items()}
    for _ in range(N_STEPS)
]


class Net(nnx.Module):
    """A hidden matrix each way, a head and a gain."""

    def __init__(self, values):
        new = lambda name, axes, role: param(jnp.float32(values[name]), axes, role)  # noqa: E731
        self.up = new("up", ("embed", "mlp"), "mlp")
        self.down = new("down", ("mlp", "embed"), "mlp")
        self.head = new("head", ("embed", "vocab"), "head")
        self.gain = new("gain", (None,), "norm")


def ours(name, model=MODEL, grads=GRADS, rates=RATES, **options):
    """{parameter: its value after N_STEPS steps} of our optimiser."""
    params = Net(START)
    config = OptimConfig(name=name, options=OPTIMIZERS.load(name)(**options), clip_norm=0.0)
    optimizer = make_optimizer(config, model, infos(params))
    state = optimizer.init(params)
    step = jax.jit(lambda p, s, g, lr: optimizer.update(g, s, p, lr=lr))
    for grad, lr in zip(grads, rates, strict=True):
        updates, state = step(params, state, Net(grad), jnp.float32(lr))
        params = jax.tree.map(lambda p, u, lr=lr: p - lr * u, params, updates)
    return {key: np.asarray(getattr(params, key)[...], np.float64) for key in SHAPES}


def theirs(rules, grads=GRADS, rates=RATES):
    """The same by rules {parameter: rule(step from 1, gradient, parameter, memory, lr) -> what is
    subtracted}; `memory` is a dict of the rule's own."""
    params, memory = {k: v.copy() for k, v in START.items()}, {k: {} for k in SHAPES}
    for t, (grad, lr) in enumerate(zip(grads, rates, strict=True), 1):
        for key, rule in rules.items():
            params[key] -= rule(t, grad[key], params[key], memory[key], lr)
    return params


def distance(a, b, keys=SHAPES):
    """Of two results over how far the second went, the greatest of the parameters."""
    far = {k: np.linalg.norm(a[k] - b[k]) / np.linalg.norm(b[k] - START[k]) for k in keys}
    return max(far.values())


def adam(t, g, p, memory, lr, eps=1e-8, b1=0.9, b2=0.95):
    memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g * g
    return lr * memory["m"] / (1 - b1**t) / (np.sqrt(memory["v"] / (1 - b2**t)) + eps)


def lion(t, g, p, memory, lr, b1=0.9, b2=0.99):
    before = memory.get("m", np.zeros_like(g))
    memory["m"] = b2 * before + (1 - b2) * g
    return lr * np.sign(b1 * before + (1 - b1) * g)


def sgd(t, g, p, memory, lr, nesterov=False):
    memory["m"] = 0.9 * memory.get("m", 0.0) + g
    return lr * (g + 0.9 * memory["m"] if nesterov else memory["m"])


def newton_schulz(x):
    """Of an (in, out) matrix, as Jordan's zeropower_via_newtonschulz5."""
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (np.linalg.norm(wide) + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


def muon(t, g, p, memory, lr, form):
    """Jordan's `muon_update`, or with Nadam's two corrections (Dozat 2016, algorithm 8)."""
    beta = 0.95
    m = memory["m"] = beta * memory.get("m", 0.0) + (1 - beta) * g
    if form == "nadam":
        g, m = g / (1 - beta**t), m / (1 - beta ** (t + 1))
    ahead = m if form == "plain" else (1 - beta) * g + beta * m
    return lr * max(1.0, g.shape[1] / g.shape[0]) ** 0.5 * newton_schulz(ahead)


def adafactor(t, g, p, memory, lr, factored=True, momentum=0.0, relative=False):
    """Algorithm 4 of Shazeer and Stern, its momentum as in transformers' Adafactor."""
    beta2, square = 1 - t**-0.8, g * g + 1e-30
    if factored and g.ndim == 2:
        row = memory["r"] = beta2 * memory.get("r", 0.0) + (1 - beta2) * square.mean(1)
        column = memory["c"] = beta2 * memory.get("c", 0.0) + (1 - beta2) * square.mean(0)
        second = np.outer(row, column) / row.mean()
    else:
        second = memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * square
    u = g / np.sqrt(second)
    u = u / max(1.0, np.sqrt(np.mean(u * u)))
    u = u * lr * (max(1e-3, np.sqrt(np.mean(p * p))) if relative else 1.0)
    if momentum:
        u = memory["m"] = momentum * memory.get("m", 0.0) + (1 - momentum) * u
    return u


def muon_rules(form):
    hidden = dict.fromkeys(HIDDEN, functools.partial(muon, form=form))
    return dict.fromkeys(SHAPES, adam) | hidden


FACTORED = {"factor_from": 2}
RELATIVE = {"momentum": 0.9, "parameter_scale": True}
CASES = {
    "adamw": ({}, dict.fromkeys(SHAPES, adam)),
    "lion": ({}, dict.fromkeys(SHAPES, lion)),
    "sgd": ({}, dict.fromkeys(SHAPES, sgd)),
    "sgd nesterov": (
        {"nesterov": True},
        dict.fromkeys(SHAPES, functools.partial(sgd, nesterov=True)),
    ),
    "muon": ({}, muon_rules("nadam")),
    "muon original": ({"debias": False}, muon_rules("jordan")),
    "muon plain": ({"nesterov": False}, muon_rules("plain")),
    "muon plain original": ({"nesterov": False, "debias": False}, muon_rules("plain")),
    "adafactor": (FACTORED, dict.fromkeys(SHAPES, adafactor)),
    "adafactor whole": ({}, dict.fromkeys(SHAPES, functools.partial(adafactor, factored=False))),
    "adafactor momentum": (
        FACTORED | {"momentum": 0.9},
        dict.fromkeys(SHAPES, functools.partial(adafactor, momentum=0.9)),
    ),
    "adafactor relative": (
        FACTORED | RELATIVE,
        dict.fromkeys(SHAPES, functools.partial(adafactor, momentum=0.9, relative=True)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_takes_the_steps_of_its_paper(case):
    options, rules = CASES[case]
    # Newton-Schulz amplifies rounding; everything else is float32 to a few bits.
    close = 1e-4 if "muon" in case else 1e-5
    assert distance(ours(case.split()[0], **options), theirs(rules)) < close


def test_every_optimiser_has_a_reference():
    assert {case.split()[0] for case in CASES} == set(OPTIMIZERS)


def test_jordans_muon_is_another_one_while_the_average_fills():
    assert distance(theirs(muon_rules("jordan")), theirs(muon_rules("nadam")), HIDDEN) > 0.01


@pytest.mark.parametrize("relative", [False, True])
def test_adafactor_with_momentum_is_optax_adafactor(relative):
    rates = jnp.array(RATES)
    optimizer = optax.adafactor(
        lambda step: rates[step],
        min_dim_size_to_factor=2,
        momentum=0.9,
        multiply_by_parameter_scale=relative,
    )
    params = {name: jnp.float32(value) for name, value in START.items()}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for grad in GRADS:
        grad = {name: jnp.float32(value) for name, value in grad.items()}
        updates, state = update(grad, state, params)
        params = optax.apply_updates(params, updates)
    found = ours("adafactor", **FACTORED, momentum=0.9, parameter_scale=relative)
    assert distance(found, {name: np.asarray(p) for name, p in params.items()}) < 1e-5


def test_adafactors_rate_stands_inside_the_average():
    """Outside it, where SGD has it, the parameters end elsewhere: .7 of the way off here."""
    at_one = functools.partial(adafactor, momentum=0.9)
    outside = lambda t, g, p, memory, lr: lr * at_one(t, g, p, memory, 1.0)  # noqa: E731
    found = ours("adafactor", **FACTORED, momentum=0.9)
    assert distance(found, theirs(dict.fromkeys(SHAPES, outside))) > 0.5


def test_a_rate_of_zero_changes_nothing_and_harms_nothing():
    rates = [0.0, *RATES[1:-1], 0.0]
    found = ours("adafactor", **FACTORED, momentum=0.9, rates=rates)
    last = theirs(
        dict.fromkeys(SHAPES, functools.partial(adafactor, momentum=0.9)), GRADS[:-1], rates[:-1]
    )
    assert distance(found, last) < 1e-5


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_adams_epsilon_falls_with_the_gradients_under_mup(alpha):
    """CompleteP, table 1: eps / m, and inside a block eps / (m l^alpha); rates 1 / m, l^(a - 1)."""
    model = dataclasses.replace(
        MODEL, depth=3, parametrization="mup", base_width=6, base_depth=1, depth_alpha=alpha
    )
    m, length, eps = 4.0, 3.0, 0.5
    hidden = functools.partial(adam, eps=eps / (m * length**alpha))
    factor = length ** (alpha - 1) / m
    rules = dict.fromkeys(SHAPES, functools.partial(adam, eps=eps / m))
    rules |= dict.fromkeys(HIDDEN, lambda *args: factor * hidden(*args))
    assert distance(ours("adamw", model, eps=eps), theirs(rules)) < 1e-5
    # At the base size nothing changes, to the bit.
    base = dataclasses.replace(model, base_width=24, base_depth=3)
    plain = ours("adamw", eps=eps)
    assert all(np.array_equal(plain[k], v) for k, v in ours("adamw", base, eps=eps).items())
