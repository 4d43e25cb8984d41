"""What a scaling law is to the fit engine: names, bounds, starts and one prediction in jax.numpy.

A law is one small final class in `scaling/analysis/laws/`, instantiated once, named on one line of
the registry there. It implements `log_predict` (or `predict`, when the target may be zero or
negative) and nothing else is required; every hook below has a default that does the usual thing.

Resampling is done with weights, never by copying rows, so `x` may be any pytree of arrays: a law
of whole curves packs the learning-rate history of every run into it (see `prepare`).
"""

import abc
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

Theta = dict[str, Any]  # parameter name -> value in its natural (untransformed) units
X = Any  # pytree of float64 arrays made by `Law.prepare`


@dataclass(frozen=True)
class Transform:
    """The coordinate z in which a parameter is searched: z = forward(value), value = inverse(z),
    d value / d z = slope(value). In numpy, but for `traced_inverse`: the inverse inside compiled
    programs. (Eager jax operations would each be compiled for every shape.)"""

    forward: Callable
    inverse: Callable
    slope: Callable
    traced_inverse: Callable


TRANSFORMS = MappingProxyType(
    {
        "identity": Transform(lambda v: v, lambda z: z, np.ones_like, lambda z: z),
        "log": Transform(np.log, np.exp, lambda v: v, jnp.exp),
    }
)


@dataclass(frozen=True)
class Param:
    """One free constant of a law.

    `lower`/`upper` are bounds in natural units; an optimum on one of them is reported as
    `at_bound`. They are limits of meaning, unless `widest` says how far they give way when the
    data ask for more. `transform="log"` (strictly positive bounds) searches ln(value). `grid`
    holds the starting values in natural units; the starts of a law are the product of its grids.
    """

    name: str
    lower: float
    upper: float
    transform: str = "identity"
    grid: tuple[float, ...] = ()
    doc: str = ""
    widest: tuple[float, float] | None = None

    def __post_init__(self):
        assert self.transform in TRANSFORMS, self
        assert self.widest is None or self.widest[0] <= self.lower < self.upper <= self.widest[1]
        assert self.lower < self.upper, self
        assert self.transform != "log" or self.lower > 0, f"{self.name}: log needs lower > 0"
        assert all(self.lower <= g <= self.upper for g in self.grid), f"{self.name}: grid outside"


@dataclass(frozen=True)
class Column:
    """A column that a law reads. `positive=False` allows zero and negative values;
    `numeric=False` (a run name, a router type) skips the conversion to float. `span`: where values
    can lie, to which predictions and their intervals are cut."""

    name: str
    unit: str
    doc: str = ""
    positive: bool = True
    numeric: bool = True
    span: tuple[float, float] = (-math.inf, math.inf)


N_PARAMS = Column("n_params", "parameters", "parameter count, in whichever convention you fit")
N_TOKENS = Column("n_tokens", "tokens", "training tokens")
FLOPS = Column("flops", "FLOPs", "training compute")
LOSS = Column("loss", "nats/token", "evaluation loss")


class Law(abc.ABC):
    """A scaling law. Subclasses are final and stateless; the class attributes are the contract.

    Required: `name`, `formula`, `paper`, `columns`, `params`, and `log_predict` or `predict`.
    """

    name: str
    formula: str  # one line of text, as printed by `scaling laws`
    paper: str  # authors, year, equation
    columns: tuple[Column, ...]  # what `log_predict` reads
    params: tuple[Param, ...]
    target: Column = LOSS  # what it predicts

    # The loss and Huber width used unless the caller says otherwise. "log_huber" and "log_mse" act
    # on ln(target) - log_predict, "mse" and "huber" on target - predict.
    loss: str = "log_huber"
    delta: float = 1e-3
    # Parameters (identity transform, unbounded in effect) in which the prediction is linear, and
    # in which space: the engine solves for them exactly when the loss is a square in that space,
    # and starts from that solution otherwise. Their grids are not used and may be empty.
    linear: tuple[str, ...] = ()
    linear_space: str = "log"  # "log": log_predict is linear in them; "linear": predict is
    # The column that says which rows belong together (one training run, one curve), or None.
    cluster: str | None = None
    # Ways to weigh what `reduce` makes of the runs, the default first; `weighted` switches.
    weightings: tuple[str, ...] = ()
    # Derived quantities that are fractions: their intervals stay inside 0 to 1.
    fractions: tuple[str, ...] = ()
    # Sentences printed beside every result, such as a known bias of the method.
    notes: tuple[str, ...] = ()
    # Results in the literature, {source: parameter values}: shown beside a fit, never used by it.
    published: Mapping[str, Mapping[str, float]] = MappingProxyType({})

    @abc.abstractmethod
    def example(self) -> tuple[Mapping[str, float], pd.DataFrame]:
        """A truth and a table of `input_columns` on which it can be recovered. The target column
        may be missing: it is then `predict(truth, prepare(table))`. Every law is tested on it."""

    def log_predict(self, theta: Theta, x: X) -> jax.Array:
        """ln of the predicted target, float64 [rows]. Overflow-safe: log-sum-exp, expm1."""
        return jnp.log(self.predict(theta, x))

    def predict(self, theta: Theta, x: X) -> jax.Array:
        """The predicted target, float64 [rows]. Override instead of `log_predict` (never both)
        when the target may be zero or negative."""
        return jnp.exp(self.log_predict(theta, x))

    def prepare(self, table: pd.DataFrame) -> X:
        """The arrays that the prediction reads, from a validated table. `log_predict` must return
        one value for each row of `table`, in order; the arrays themselves may have any shape, so a
        law of whole curves groups by run here and packs the histories."""
        return {
            c.name: table[c.name].to_numpy(np.float64 if c.numeric else None) for c in self.columns
        }

    def reduce(self, table: pd.DataFrame) -> pd.DataFrame:
        """Turns a table of runs into the table that is fitted. The identity for most laws;
        approaches 1 and 2 return one row per budget with the target in it, and may add a column
        `weight`. It is repeated on every bootstrap resample of the runs. Raises UserError when the
        table cannot be reduced (one budget only). It may set `.attrs["warnings"]`: list of str."""
        return table

    def weighted(self, how: str) -> "Law":
        """The same law with another of its `weightings`."""
        raise NotImplementedError(f"{self.name} has no weightings")

    @property
    def input_columns(self) -> tuple[Column, ...]:
        """What the table must hold *before* `reduce`. Override together with `reduce`."""
        return (*self.columns, self.target)

    def starts(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """Start values {name: [starts]} in natural units: the product of the grids of all
        non-linear parameters. Override for starts that depend on the data."""
        free = [p for p in self.params if p.name not in self.linear]
        points = np.array(list(itertools.product(*(p.grid for p in free))), np.float64)
        points = points.reshape(-1, len(free))
        return {p.name: points[:, i] for i, p in enumerate(free)}

    def remarks(self, table: pd.DataFrame) -> list[str]:
        """Sentences about this table, made once per fit on the whole table (before `reduce`) and
        printed with the notes: the bias of a method on this very design, for example."""
        return []

    def derived(self, theta: Theta) -> Theta:
        """Quantities worth an interval of their own, such as a = beta/(alpha+beta). In jnp."""
        return {}

    def optimal(self, theta: Theta, flops: jax.Array) -> Theta | None:
        """Compute-optimal {"n_params": ..., "n_tokens": ...} for a budget in FLOPs, in jnp so that
        it can be differentiated, or None when the law says nothing about allocation."""
        return None


def factorial(**columns) -> pd.DataFrame:
    """Every combination of the given column values, one row each."""
    rows = itertools.product(*(np.asarray(values).tolist() for values in columns.values()))
    return pd.DataFrame(list(rows), columns=list(columns))


def log_sum_exp(*terms: jax.Array) -> jax.Array:
    """ln sum_i exp(terms_i), elementwise over broadcast arrays: no stack, no overflow."""
    top = terms[0]
    for term in terms[1:]:
        top = jnp.maximum(top, term)
    top = jax.lax.stop_gradient(top)
    return top + jnp.log(sum(jnp.exp(term - top) for term in terms))


def power_allocation(A, alpha, B, beta, flops) -> Theta:
    """argmin of A N^-alpha + B D^-beta on flops = 6 N D: N* = G (C/6)^a, D* = (C/6)^b / G with
    G = (alpha A / (beta B))^(1/(alpha+beta)), a = beta/(alpha+beta), b = alpha/(alpha+beta).
    Hoffmann et al. 2022 (arXiv:2203.15556), eq. 4. Shapes broadcast."""
    total = alpha + beta
    log_g = (jnp.log(alpha) + jnp.log(A) - jnp.log(beta) - jnp.log(B)) / total
    log_c = jnp.log(flops / 6.0)
    log_n = log_g + beta / total * log_c
    return {"n_params": jnp.exp(log_n), "n_tokens": jnp.exp(log_c - log_n)}


def numeric_allocation(law: Law, theta: Theta, flops: jax.Array, **fixed) -> Theta:
    """argmin over N of the predicted target on flops = 6 N D, by a scan of ln N and a golden
    section; `fixed` holds further columns. `flops` is a scalar. For laws without a closed form."""

    def value(log_n):
        log_d = jnp.log(flops / 6.0) - log_n
        x = {"n_params": jnp.exp(log_n), "n_tokens": jnp.exp(log_d)}
        x |= {k: jnp.full_like(log_n, v) for k, v in fixed.items()}
        return law.log_predict(theta, x)

    half = jnp.log(flops / 6.0) / 2
    grid = half + jnp.linspace(-0.9, 0.9, 181) * half
    centre = grid[jnp.argmin(value(grid))]
    step = grid[1] - grid[0]
    golden = (5**0.5 - 1) / 2

    def narrow(_, ends):
        low, high = ends
        left, right = high - golden * (high - low), low + golden * (high - low)
        first, second = value(jnp.stack([left, right]))
        keep_left = first < second
        return jnp.where(keep_left, low, left), jnp.where(keep_left, right, high)

    low, high = jax.lax.fori_loop(0, 45, narrow, (centre - step, centre + step))
    log_n = (low + high) / 2
    return {"n_params": jnp.exp(log_n), "n_tokens": jnp.exp(jnp.log(flops / 6.0) - log_n)}
