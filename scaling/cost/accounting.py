"""What a model is made of and what a token costs: every convention of N and C in one place.

Counts come from the model's own parameters, or from a closed form of them that its architecture
has; FLOPs from its matrices and from what it does between positions (`scaling.models.base`). FLOPs
are per token that is read; a multiply-add is two.

Every formula takes (model, vocab_size, seq_len) and is exact in integers up to the last division,
so that two runs of one shape get one number on any machine. `scaling.cost.compiler` is the referee.
"""

import collections
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from scaling.config import ModelConfig, RunConfig
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
# The conventions that are formulas of counts: no compiler.
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


def param_counts(model: ModelConfig, vocab_size: int, seq_len: int) -> dict[str, int]:
    """Parameters by role, and "total" and "non_embedding"."""
    return with_sums(model.options.param_counts(model, vocab_size, seq_len))


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


def token_cost(
    model: ModelConfig,
    convention: str,
    vocab_size: int,
    seq_len: int,
    cache_dir: pathlib.Path | None = None,
) -> TokenCost:
    """FLOPs of one position that a model reads, or predicts as a language model, under a
    convention. cache_dir: of the compiler's counts. Raises UserError for no such convention."""
    formula: Callable[..., TokenCost] = CONVENTIONS.load(convention)
    sizes = (model, vocab_size, seq_len)
    return formula(*sizes) if convention in CLOSED_FORMS else formula(*sizes, cache_dir)


def prediction_cost(
    config: RunConfig, convention: str, vocab_size: int, cache_dir: pathlib.Path | None = None
) -> TokenCost:
    """FLOPs of one prediction of a run: of all that its objective reads to make it. Arguments and
    errors are those of `token_cost`."""
    cost = token_cost(config.model, convention, vocab_size, config.data.seq_len, cache_dir)
    return TokenCost(*config.objective.options.flops(*cost, config.data))


def flops_per_token(
    config: RunConfig, vocab_size: int, cache_dir: pathlib.Path | None = None
) -> dict[str, float]:
    """Training FLOPs of one prediction under every convention."""
    return {
        name: prediction_cost(config, name, vocab_size, cache_dir).training for name in CONVENTIONS
    }


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
    """Hoffmann et al. 2022, arXiv 2203.15556, appendix F, as printed.

    The look-up of the embedding counts as a product with a one-hot matrix, attention over the
    whole square, and the softmax as three operations per entry. What the paper does not have
    (fewer key/value heads, a third MLP matrix, other models) counts as products of real sizes.

    Table A4 of the paper (ratio to 6ND for six models) does not come out of the printed formula.
    To four decimals it is: only the terms of the layers over 6N, so neither the embedding's nor
    the logits' FLOPs, with V = 32,000, T = 2,048 and an N of one vocabulary matrix, biases, norms
    with gain and bias, and Transformer-XL's relative positions (D^2 + 2D a layer);
    tests/cost/test_accounting.py has the sum. With both vocabulary terms in, the 73M model would
    stand at 1.58 instead of 1.03.
    """
    matrices = model.options.matrix_cost(model, vocab_size, seq_len)
    mixing = model.options.mixing(model, seq_len)
    weights = 2.0 * (matrices.products + matrices.embedding)
    return _trained(weights + mixing.products + mixing.elementwise)


def matmul(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """The matrix products that are run, attention over the whole square (Chowdhery et al. 2022,
    arXiv 2204.02311, appendix B: 6N + 12LHQT).

    A look-up is no product; a head is one, tied or not. What a dense kernel computes, so the
    numerator of MFU; the compiler's count is this plus element-wise work.
    """
    matrices = model.options.matrix_cost(model, vocab_size, seq_len)
    return _trained(2.0 * matrices.products + model.options.mixing(model, seq_len).products)


def causal(model: ModelConfig, vocab_size: int, seq_len: int) -> TokenCost:
    """`matmul` without what a causal mask throws away (Dao 2023, arXiv 2307.08691, section 4.1)."""
    matrices = model.options.matrix_cost(model, vocab_size, seq_len)
    return _trained(2.0 * matrices.products + model.options.mixing(model, seq_len).unmasked)
