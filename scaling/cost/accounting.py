"""What a model is made of and what a token costs: every convention of N and C in one place.

D width, L layers, T predictions per row, V vocabulary, H query heads, G key/value heads, K head
size, F hidden size of the MLP. FLOPs are per predicted token; a multiply-add is two.

Every formula takes (model, vocab_size, seq_len) and is exact in integers up to the last division,
so that two runs of one shape get one number on any machine. `scaling.cost.compiler` is the referee.
"""

import collections
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from scaling.config import ModelConfig
from scaling.models.params import ROLES
from scaling.registry import Registry

# What "N" leaves out when it is called non-embedding (Kaplan et al. 2020, section 1.3): vocabulary
# and positions, on the way in and on the way out.
VOCABULARY_ROLES = ("embedding", "position", "head")

CONVENTIONS = Registry(
    "FLOP convention",
    {
        "kaplan_6n": "scaling.cost.accounting:kaplan_6n",
        "6n_total": "scaling.cost.accounting:six_n_total",
        "chinchilla": "scaling.cost.accounting:chinchilla",
        "matmul": "scaling.cost.accounting:matmul",
        "causal": "scaling.cost.accounting:causal",
        "compiler": "scaling.cost.compiler:flops_per_token",
    },
)
# The conventions that are formulas: no tracing, no compiler.
CLOSED_FORMS = tuple(name for name in CONVENTIONS if name != "compiler")
# Of `flops` in a record and of durations given in flops.
DEFAULT_CONVENTION = "chinchilla"
# Of utilisation: products that no device runs must not count as achieved.
UTILISATION_CONVENTION = "matmul"
# Of `n_params` in a record and of durations given in tokens per parameter.
DEFAULT_N = "total"


class TokenCost(NamedTuple):
    """FLOPs of one token: of a forward pass, and of a whole training step."""

    forward: float
    training: float


class Sizes(NamedTuple):
    """A model's sizes with every "derive it" resolved."""

    D: int
    L: int
    H: int
    G: int
    K: int
    F: int
    n_mlp_matrices: int


def sizes(model: ModelConfig) -> Sizes:
    """The sizes of the transformer that `model` describes."""
    assert model.name == "transformer", f"no closed form for model {model.name!r}"
    return Sizes(
        D=model.width,
        L=model.depth,
        H=model.n_heads,
        G=model.n_kv_heads or model.n_heads,
        K=model.head_size or model.width // model.n_heads,
        F=round(model.mlp_ratio * model.width),
        n_mlp_matrices=3 if model.activation == "swiglu" else 2,
    )


def param_counts(model: ModelConfig, vocab_size: int, seq_len: int) -> dict[str, int]:
    """Parameters by role, and "total" and "non_embedding", in closed form.

    A tied head has none of its own. Norms have a gain and no bias.
    """
    s = sizes(model)
    per_layer_gains = 2 * s.D + (2 * s.K if model.qk_norm else 0)
    counts = {
        "embedding": vocab_size * s.D,
        "position": seq_len * s.D if model.position == "learned" else 0,
        "attention": s.L * 2 * s.D * s.K * (s.H + s.G),
        "mlp": s.L * s.n_mlp_matrices * s.D * s.F,
        "norm": s.L * per_layer_gains + s.D,
        "head": 0 if model.tied else s.D * vocab_size,
    }
    return with_sums(counts)


def param_counts_of(params: Any, infos: Any) -> dict[str, int]:
    """The same from a model itself, concrete or abstract, and its pytree of ParamInfo."""
    counts: dict[str, int] = collections.Counter()
    for array, info in zip(jax.tree.leaves(params), jax.tree.leaves(infos), strict=True):
        counts[info.role] += math.prod(array.shape)
    return with_sums(counts)


def with_sums(by_role: Mapping[str, int]) -> dict[str, int]:
    """Every role of ROLES (0 if absent), "total", and "non_embedding" (see VOCABULARY_ROLES)."""
    counts = {role: by_role.get(role, 0) for role in ROLES}
    total = sum(counts.values())
    vocabulary = sum(counts[role] for role in VOCABULARY_ROLES)
    return {**counts, "total": total, "non_embedding": total - vocabulary}


def flops(
    model: ModelConfig, convention: str, n_tokens: float, *, vocab_size: int, seq_len: int
) -> float:
    """Training FLOPs of `n_tokens` predicted tokens. Raises UserError for an unknown convention."""
    return token_cost(model, convention, vocab_size, seq_len).training * n_tokens


def token_cost(model: ModelConfig, convention: str, vocab_size: int, seq_len: int) -> TokenCost:
    """FLOPs of one token under a convention. Raises UserError when there is no such convention."""
    formula: Callable[[ModelConfig, int, int], TokenCost] = CONVENTIONS.load(convention)
    return formula(model, vocab_size, seq_len)


def flops_per_token(
    model: ModelConfig, vocab_size: int, seq_len: int, cache_dir: pathlib.Path | None = None
) -> dict[str, float]:
    """Training FLOPs of one token under every convention. cache_dir: of the compiler's counts."""
    sizes = (model, vocab_size, seq_len)
    found = {name: token_cost(model, name, *sizes[1:]).training for name in CLOSED_FORMS}
    return found | {"compiler": CONVENTIONS.load("compiler")(*sizes, cache_dir).training}


def _trained(forward: float) -> TokenCost:
    """The backward pass multiplies with both operands: twice the forward (Kaplan, section 2.1)."""
    return TokenCost(forward, 3 * forward)


def kaplan_6n(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """2N forward and 6N to train, N without vocabulary and positions (Kaplan et al. 2020, arXiv
    2001.08361, sections 1.3 and 2.1).

    Attention over the context is left out, as there. N has the gains of the norms in it, which the
    paper drops as sub-leading: less than 0.1 % from width 512 on.
    """
    return _trained(2.0 * param_counts(model, vocab_size, seq_len)["non_embedding"])


def six_n_total(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """2N forward and 6N to train, N all parameters (the C = 6ND of Hoffmann et al. 2022, arXiv
    2203.15556, section 3.3)."""
    return _trained(2.0 * param_counts(model, vocab_size, seq_len)["total"])


def chinchilla(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """Hoffmann et al. 2022, arXiv 2203.15556, appendix F, as printed: `chinchilla_terms`, summed.

    The look-up of the embedding counts as a product with a one-hot matrix, attention over the
    whole square, and the softmax as three operations per entry.

    Table A4 of the paper (ratio to 6ND for six models) does not come out of the printed formula.
    To four decimals it is: only the terms of the layers over 6N, so neither the embedding's nor
    the logits' FLOPs, with V = 32,000, T = 2,048 and an N of one vocabulary matrix, biases, norms
    with gain and bias, and Transformer-XL's relative positions (D^2 + 2D a layer);
    tests/cost/test_accounting.py has the sum. With both vocabulary terms in, the 73M model would
    stand at 1.58 instead of 1.03.
    """
    return _trained(sum(chinchilla_terms(model, vocab_size, seq_len).values()))


def chinchilla_terms(model: ModelConfig, vocab_size: int, seq_len: int) -> dict[str, float]:
    """The lines of appendix F as forward FLOPs per token, summed over layers.

    Fewer key/value heads and a third MLP matrix, which the paper does not have, count as what
    they are: products of their real sizes.
    """
    s, T = sizes(model), seq_len
    return {
        "embedding": 2.0 * vocab_size * s.D,
        "qkv": 2.0 * s.L * s.D * s.K * (s.H + 2 * s.G),
        "kq_logits": 2.0 * s.L * T * s.K * s.H,
        "softmax": 3.0 * s.L * T * s.H,
        "reduction": 2.0 * s.L * T * s.K * s.H,
        "projection": 2.0 * s.L * s.K * s.H * s.D,
        "dense": 2.0 * s.L * s.n_mlp_matrices * s.D * s.F,
        "logits": 2.0 * s.D * vocab_size,
    }


def matmul(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """The matrix products that are run, attention over the whole square (Chowdhery et al. 2022,
    arXiv 2204.02311, appendix B: 6N + 12LHQT).

    A look-up is no product; a head is one, tied or not. What a dense kernel computes, so the
    numerator of MFU; the compiler's count is this plus element-wise work.
    """
    return _trained(_weight_products(model, vocab_size) + _attention_products(model, seq_len))


def causal(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """`matmul` without the masked half of attention (Dao 2023, arXiv 2307.08691, section 4.1).

    Half, as there; the entries on and below the diagonal are (T + 1) / 2T of the square.
    """
    return _trained(_weight_products(model, vocab_size) + _attention_products(model, seq_len) / 2)


def _weight_products(model: ModelConfig, vocab_size: int) -> float:
    s = sizes(model)
    layer = 2 * s.D * s.K * (s.H + s.G) + s.n_mlp_matrices * s.D * s.F
    return 2.0 * (s.L * layer + s.D * vocab_size)


def _attention_products(model: ModelConfig, seq_len: int) -> float:
    """Logits and weighted sum: 2 products of T x K per head and query."""
    s = sizes(model)
    return 2.0 * s.L * 2 * seq_len * s.K * s.H
