"""Batched damped Gauss-Newton / Newton on many starts or resamples at once, in float64.

Each start takes majorised Gauss-Newton steps (iteratively reweighted least squares with
Levenberg-Marquardt damping), which never lose their way far from the optimum, and exact Newton
steps once progress slows, which finish in a handful. Starts run in blocks that fit the cache; a
start that has converged is frozen, and between rounds the unfinished ones are packed together so
that nobody waits for the slowest.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import Law
from scaling.analysis.objective import Evaluation, Loss, make_evaluate, make_project

_BLOCK_BYTES = 5e5  # working set of one block of starts: the cache of one core, roughly
_MAX_BLOCK = 128
_FEW = 8  # up to this many starts run in one small block
_TOLERANCE = 1e-13  # converged: the predicted decrease is below this fraction of the objective
_EXACT = 1e-22  # per unit of weight: residuals of 1e-11 are rounding, not misfit
_SAME_OBJECTIVE = 1e-6  # relative: two optima this close in objective are equally good
_GIVE_UP = 1.0  # damping at which exact Newton steps give way to Gauss-Newton ones
_STALLED = 1e9  # damping beyond which no step is worth taking
_ROUND = 8  # iterations between two packings
_LAST = 16  # of the field that are never dropped
_PATIENCE = 60  # iterations after which the field of starts is halved every round
_LEAST_ROWS, _OCTAVES = 16, 1024  # tables are padded to powers of two up to here, then finer


@dataclass(frozen=True)
class Problem:
    """The data of a fit, in the space of its loss. `x` is shared by all starts, or, with
    `batched`, has a leading axis of resamples. `t` and `w` are [n] or [S, n]."""

    law: Law
    loss: Loss
    delta: float
    x: Any
    t: np.ndarray
    w: np.ndarray
    batched: bool = False

    @property
    def n(self) -> int:
        return self.t.shape[-1]


@dataclass
class Solution:
    """One row per start: z [S, P], objective f [S], converged [S], iterations [S], dropped [S]."""

    z: np.ndarray
    f: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray
    dropped: np.ndarray

    @property
    def best(self) -> tuple[np.ndarray, float]:
        """The lowest place [P] and its objective."""
        i = int(np.argmin(self.f))
        return self.z[i], float(self.f[i])

    def at_best(self, best: float) -> int:
        """How many starts converged to an optimum as good as the objective `best`."""
        good = self.f <= best + _SAME_OBJECTIVE * abs(best) + 1e-18
        return int((self.converged & good).sum())

    def counts(self, best: float) -> dict[str, int]:
        """What a Fit says of its starts: n, converged, at_best, dropped."""
        counts = {"n": len(self.f), "converged": int(self.converged.sum())}
        return counts | {"at_best": self.at_best(best), "dropped": int(self.dropped.sum())}


def _per_start(flag, like):
    return flag.reshape(flag.shape + (1,) * (like.ndim - 1))


def _propose(z, ev, lam, newton, lo, hi):
    """The damped step [S, P] and the decrease [S] that the model promises."""
    blocked = ((z <= lo) & (ev.g > 0)) | ((z >= hi) & (ev.g < 0))
    g = jnp.where(blocked, 0.0, ev.g)
    diag = jnp.einsum("sii->si", ev.K)
    scale = jnp.sqrt(jnp.maximum(diag, 1e-30 * diag.max(1, keepdims=True) + 1e-300))
    M = jnp.where(newton[:, None, None], ev.H, ev.K) / (scale[:, :, None] * scale[:, None, :])
    either = blocked[:, :, None] | blocked[:, None, :]
    eye = jnp.eye(z.shape[1], dtype=z.dtype)
    M = jnp.where(either, 0.0, M) + eye * (lam[:, None] + blocked)[:, None, :]
    factor = jnp.linalg.cholesky(M)  # NaN where the exact Hessian is not positive definite
    step = -jax.vmap(jax.scipy.linalg.cho_solve, ((0, None), 0))((factor, True), g / scale)
    return step / scale, -0.5 * jnp.sum(g * step / scale, 1)


@functools.cache
def _compiler_options() -> Mapping[str, Any]:
    """What lets XLA compile the kernel on a CPU in half the time; it runs as fast. Nothing where
    this XLA does not know it: it is no promise of jax."""
    options = {"xla_cpu_use_fusion_emitters": False}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


@functools.lru_cache(maxsize=64)
def _make_kernel(law: Law, loss: Loss, batched: bool):
    """Jitted kernel over one block of starts; compiled once per law, loss and shape."""
    evaluate = jax.vmap(make_evaluate(law, loss), (0, 0 if batched else None, 0, 0, None))
    square = not loss.huber and bool(law.linear) and loss.log == (law.linear_space == "log")
    project = jax.vmap(make_project(law, loss), (0, 0 if batched else None, 0, 0, 0, 0))

    @functools.partial(jax.jit, compiler_options=_compiler_options())
    def kernel(z, lam, newton, x, t, w, lo, hi, delta, iterations, begin):
        if law.linear:
            z = jnp.where(begin, project(z, x, t, w, lo, hi), z)
        size, eye = z.shape[0], jnp.broadcast_to(jnp.eye(z.shape[1]), (*z.shape, z.shape[1]))
        exact = _EXACT * jnp.sum(w, 1)
        # Before the first iteration nothing is known: a zero gradient proposes z itself, and any
        # finite objective is an improvement. (One copy of the law to compile instead of two.)
        ev = Evaluation(jnp.full(size, jnp.inf), jnp.zeros_like(z), eye, eye)

        def unfinished(state):
            return (state[0] < iterations) & ~jnp.all(state[5])

        def body(state):
            i, z, ev, lam, newton, done, count = state
            step, promise = _propose(z, ev, lam, newton, lo, hi)
            candidate = jnp.clip(z + step, lo, hi)
            if square:
                candidate = project(candidate, x, t, w, lo, hi)
            new = evaluate(candidate, x, t, w, delta)
            better = (new.f < ev.f) & ~done
            small = promise <= _TOLERANCE * ev.f + exact
            slow = (new.f > 0.9 * ev.f) & jnp.isfinite(ev.f)
            finished = done | (small & (lam < 1e-2) & jnp.isfinite(ev.f)) | (lam > _STALLED)
            z = jnp.where(better[:, None], candidate, z)
            lam = jnp.where(better, jnp.maximum(lam / 6, 1e-12), lam * 4)
            newton = jnp.where(better, newton | slow, newton & (lam < _GIVE_UP))
            ev = jax.tree.map(lambda a, b: jnp.where(_per_start(better, a), a, b), new, ev)
            return i + 1, z, ev, lam, newton, finished, count + ~done

        count = jnp.zeros(size, jnp.int32)
        state = (0, z, ev, lam, newton, jnp.zeros(size, bool), count)
        _, z, ev, lam, newton, done, count = jax.lax.while_loop(unfinished, body, state)
        return z, ev.f, lam, newton, done, count

    return kernel


def padded(problem: Problem) -> Problem:
    """The same problem with rows of weight zero up to one of a few lengths. Every length is
    compiled anew, which takes longer than to fit hundreds of rows: the tables of one study, whole
    and without what is held out, share a program. Laws whose arrays are not one value a row are
    returned as they are."""
    step = 2 ** math.ceil(math.log2(max(problem.n, _LEAST_ROWS)))
    step = step if problem.n <= _OCTAVES else step // 8
    short, axis = -problem.n % step, 1 if problem.batched else 0
    leaves = jax.tree.leaves(problem.x)
    if not short or any(v.ndim <= axis or v.shape[axis] != problem.n for v in leaves):
        return problem

    def pad(v: np.ndarray, axis: int = -1) -> np.ndarray:
        first = np.take(v, [0], axis)  # a row that the law can be computed on
        return np.concatenate([v, np.repeat(first, short, axis)], axis)

    w = np.concatenate([problem.w, np.zeros((*problem.w.shape[:-1], short))], -1)
    x = jax.tree.map(lambda v: pad(v, axis), problem.x)
    return replace(problem, x=x, t=pad(problem.t), w=w)


def block_size(problem: Problem, n_params: int, starts: int) -> int:
    """Starts per block, a power of two, so that the Jacobians of a block stay in the cache. A
    handful of starts gets a small block, and a law that reads more than one value a row counts."""
    leaves = [np.size(v) // (len(v) if problem.batched else 1) for v in jax.tree.leaves(problem.x)]
    values = max(problem.n, *leaves)
    fit = _BLOCK_BYTES / (8 * max(values, 1) * (n_params + 3))
    most = _MAX_BLOCK if starts > _FEW else _FEW
    return int(2 ** np.clip(np.floor(np.log2(max(fit, 1))), 0, np.log2(most)))


def solve(
    problem: Problem,
    z0: np.ndarray,
    lo: np.ndarray,
    hi: np.ndarray,
    *,
    max_iterations: int = 300,
    keep: int | None = None,
    near: bool = False,
) -> Solution:
    """Minimises from every row of z0 [S, P] within [lo, hi] ([P] or [S, P]; equal bounds pin).

    `keep`: after each round only this many of the unfinished starts (or a third of them, whichever
    is more) go on, the lowest first; late rounds halve it. The rest are marked dropped. None runs
    all to the end. `near`: the starts are close to their optima, so begin with Newton steps.
    """
    size, problem = len(z0), padded(problem)
    lo, hi = np.broadcast_to(lo, z0.shape), np.broadcast_to(hi, z0.shape)
    out = Solution(
        np.clip(z0, lo, hi).astype(np.float64),
        np.full(size, np.inf),
        np.zeros(size, bool),
        np.zeros(size, int),
        np.zeros(size, bool),
    )
    lam, newton = np.full(size, 1e-6 if near else 1e-2), np.full(size, near)
    active, used = np.arange(size), 0
    while len(active) and used < max_iterations:
        done = _round(problem, out, lam, newton, lo, hi, active, begin=used == 0)
        used += _ROUND
        active = active[~done]
        if keep is not None and used >= _PATIENCE:
            keep = max(keep // 2, _LAST)
        if keep is not None and len(active) > keep:
            order = active[np.argsort(out.f[active], kind="stable")]
            stay = max(keep, len(active) // 3 if used < _PATIENCE else 0)
            out.dropped[order[stay:]] = True
            active = np.sort(order[:stay])
    return out


def _round(problem, out, lam, newton, lo, hi, active, begin) -> np.ndarray:
    """Advances the active starts by one round, in place. Returns which of them are finished."""
    kernel = _make_kernel(problem.law, problem.loss, problem.batched)
    block = block_size(problem, lo.shape[1], len(out.f))
    done = np.zeros(len(active), bool)
    pending = []
    with jax.enable_x64(True):
        for at in range(0, len(active), block):
            rows = np.resize(active[at : at + block], block)  # a short last block repeats its rows
            t, w = (
                np.broadcast_to(v, (len(out.f), problem.n))[rows] for v in (problem.t, problem.w)
            )
            x = jax.tree.map(lambda v: v[rows], problem.x) if problem.batched else problem.x  # noqa: B023
            args = (out.z[rows], lam[rows], newton[rows], x, t, w, lo[rows], hi[rows])
            pending.append((at, kernel(*args, problem.delta, _ROUND + 1, begin)))
        for at, result in pending:
            rows = active[at : at + block]
            z, f, lam_, newton_, done_, count = (np.asarray(v)[: len(rows)] for v in result)
            out.z[rows], out.f[rows], lam[rows], newton[rows] = z, f, lam_, newton_
            out.iterations[rows] += count
            out.converged[rows] = done_ & np.isfinite(f) & (lam_ <= _STALLED)
            done[at : at + block] = done_
    return done
