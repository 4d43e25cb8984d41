"""Parameters and FLOPs: formulas against the model, the compiler and the papers."""

import itertools

import jax
import pytest

from experiments.replications.chinchilla_flops import appendix_f
from scaling.cost import accounting
from scaling.cost.accounting import (
    CONVENTIONS,
    TokenCost,
    param_counts,
    token_cost,
)
from scaling.errors import UserError
from scaling.models.base import abstract_model
from scaling.models.params import infos
from scaling.sharding import MESH_AXES, abstract_mesh, use_mesh
from tests.helpers import transformer, varied

BASE = transformer(depth=3, width=24, n_heads=4)
VARIANTS = {
    "base": {},
    "gqa": {"n_kv_heads": 2},
    "mqa": {"n_kv_heads": 1},
    "wide heads": {"head_size": 10},
    "narrow heads": {"head_size": 2, "n_kv_heads": 2, "qk_norm": True},
    "swiglu": {"activation": "swiglu", "mlp_ratio": 2.7},
    "relu2": {"activation": "relu2", "mlp_ratio": 0.3},
    "learned": {"position": "learned"},
    "sinusoidal": {"position": "sinusoidal"},
    "no positions": {"position": "none"},
    "layernorm": {"norm": "layernorm"},
    "qk norm": {"qk_norm": True},
    "tied": {"tied": True},
    "mup": {"parametrization": "mup", "zero_init_out": True},
    "all": {
        "n_kv_heads": 1,
        "head_size": 14,
        "activation": "swiglu",
        "position": "learned",
        "norm": "layernorm",
        "qk_norm": True,
        "tied": True,
        "logit_softcap": 30.0,
    },
}

# Hoffmann et al. 2022, table A4: D, F, K, H, L, and the ratio of exact FLOPs to 6ND.
TABLE_A4 = {
    "73M": (640, 2560, 64, 10, 10, 1.0250),
    "305M": (1024, 4096, 64, 16, 20, 1.1008),
    "552M": (1280, 5120, 128, 10, 24, 1.0829),
    "1.1B": (1792, 7168, 128, 14, 26, 1.0441),
    "1.6B": (2048, 8192, 128, 16, 28, 1.0329),
    "6.8B": (3584, 14336, 128, 28, 40, 0.9941),
}


def abstract_of(*sizes):
    with use_mesh(abstract_mesh(dict.fromkeys(MESH_AXES, 1))):
        return abstract_model(*sizes)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("depth", [1, 5])
def test_closed_form_counts_the_model(options, depth):
    model = varied(BASE, depth=depth, **options)
    abstract = abstract_of(model, 97, 11)
    counted = accounting.param_counts_of(abstract, infos(abstract))
    assert param_counts(model, 97, 11) == counted
    assert counted["total"] == sum(leaf.size for leaf in jax.tree.leaves(abstract))


def test_by_hand():
    # One layer, D 2, one head, F 8, V 5: attention 4 * 4, MLP 2 * 16, three gains of 2.
    model = transformer(depth=1, width=2, n_heads=1)
    assert param_counts(model, 5, 3) == {
        "embedding": 10,
        "position": 0,
        "attention": 16,
        "mlp": 32,
        "recurrent": 0,
        "norm": 6,
        "bias": 0,
        "head": 10,
        "total": 74,
        "non_embedding": 54,
    }
    # T 3: weights 2 * (16 + 32 + 10); logits and weighted sum 2 * 2 * 3 * 2.
    costs = {name: token_cost(model, name, 5, 3).forward for name in accounting.CLOSED_FORMS}
    assert costs == {
        "kaplan_6n": 2 * 54,
        "6n_total": 2 * 74,
        "chinchilla": 2 * 10 + 2 * (16 + 32) + 24 + 3 * 3 + 2 * 10,
        "matmul": 116 + 24,
        "causal": 116 + 12,
    }


def test_training_is_three_forwards_and_scales_with_tokens():
    for name in accounting.CLOSED_FORMS:
        cost = token_cost(BASE, name, 64, 32)
        assert cost.training == 3 * cost.forward > 0


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_chinchilla_is_the_products_and_a_softmax_and_a_look_up(options):
    model = varied(BASE, **options)
    terms = appendix_f(model, 97, 11)
    products = token_cost(model, "matmul", 97, 11).forward
    assert sum(terms.values()) == products + terms["softmax"] + terms["embedding"]


def test_a_tied_head_still_multiplies():
    tied = varied(BASE, tied=True)
    for name in ("matmul", "causal", "chinchilla", "kaplan_6n"):
        assert token_cost(tied, name, 64, 32) == token_cost(BASE, name, 64, 32)


@pytest.mark.parametrize("name", TABLE_A4)
def test_chinchilla_table_a4(name):
    """The layers' terms of appendix F over 6N; see the docstring of `accounting.chinchilla`."""
    D, F, K, H, L, ratio = TABLE_A4[name]
    V, T = 32_000, 2_048
    model = transformer(depth=L, width=D, n_heads=H, head_size=K, mlp_ratio=F / D)
    terms = appendix_f(model, V, T)
    of_layers = sum(terms.values()) - terms["embedding"] - terms["logits"]
    # N of that re-derivation: Transformer-XL's relative positions and biases are not in our model.
    plain = param_counts(varied(model, norm="layernorm"), V, T)
    relative = D * D + 2 * D
    biases = L * (3 * D + D + F + D) + L * 2 * D + D
    N = plain["embedding"] + plain["non_embedding"] + L * relative + biases
    assert 3 * of_layers / (6 * N) == pytest.approx(ratio, abs=5e-5)


COMPILED = {
    "gelu": {},
    "swiglu gqa": {"activation": "swiglu", "n_kv_heads": 2, "position": "learned"},
    "tied mqa": {"tied": True, "n_kv_heads": 1, "activation": "relu2"},
    "wide heads, bfloat16": {"head_size": 256, "dtype": "bfloat16", "norm": "layernorm"},
}


@pytest.mark.parametrize("options", COMPILED.values(), ids=COMPILED)
def test_compiler_agrees_with_the_formula(options):
    # Wide enough that products are nearly all of the work.
    model = varied(transformer(depth=5, width=1024, n_heads=8), **options)
    formula = token_cost(model, "matmul", 2048, 256)
    measured = token_cost(model, "compiler", 2048, 256)
    assert measured.forward == pytest.approx(formula.forward, rel=0.02)
    assert measured.training == pytest.approx(formula.training, rel=0.02)
    assert measured.training > formula.training


def test_compiler_counts_recomputation():
    model = transformer(depth=4, width=512, n_heads=4)
    plain = token_cost(model, "compiler", 512, 128)
    block = token_cost(varied(model, remat="block"), "compiler", 512, 128)
    assert block.forward == pytest.approx(plain.forward)
    # Every product of a layer again, except its last one: no gradient needs that result.
    layers = token_cost(model, "matmul", 0, 128).forward
    down = appendix_f(model, 0, 128)["dense"] / 2
    assert block.training - plain.training == pytest.approx(layers - down, rel=0.02)


def test_extrapolated_depth_is_the_depth():
    """Two shallow models stand in for the deep one; lower the deep one itself and compare."""
    from scaling.cost import compiler

    model = transformer(depth=4, width=32, n_heads=2, layers="unroll", attention="xla")
    with use_mesh(compiler._mesh_of(jax.devices()[0])):
        loss, arguments = compiler._loss(model, 64, 16)
        direct = compiler._count(jax.value_and_grad(loss), *arguments) / 16
    assert compiler.flops_per_token(model, 64, 16).training == pytest.approx(direct, rel=1e-5)


def test_every_convention_gives_a_cost():
    for name, kind in itertools.product(CONVENTIONS, ("gelu", "swiglu")):
        cost = token_cost(varied(BASE, activation=kind), name, 64, 32)
        assert isinstance(cost, TokenCost)
        assert 0 < cost.forward < cost.training


def test_unknown_convention_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'chinchilla'"):
        token_cost(BASE, "chinchila", 64, 32)
