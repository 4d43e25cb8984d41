"""The objective of a fit, its gradient and two curvatures, for one parameter vector.

Legend: S starts or resamples, P parameters, n rows. `z` [P] holds the search coordinates
(`Param.transform`), `t` [n] the target in the space of the loss, `w` [n] the weights. The
objective is a weighted *sum* over rows; its scale never depends on the number of points.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.analysis.law import TRANSFORMS, Law, Theta
from scaling.errors import unknown

_SHAPES = 128  # rows of parameters are padded to multiples of this


@dataclass(frozen=True)
class Loss:
    """`log`: residuals live in ln(target). `huber`: sum of w huber_delta(r), else of w r^2."""

    log: bool
    huber: bool


LOSSES = MappingProxyType(
    {
        "log_huber": Loss(log=True, huber=True),
        "log_mse": Loss(log=True, huber=False),
        "huber": Loss(log=False, huber=True),
        "mse": Loss(log=False, huber=False),
    }
)


def get_loss(name: str) -> Loss:
    """The loss called `name`. Raises UserError with the known names."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name]


class Evaluation(NamedTuple):
    """Objective, gradient [P], exact Hessian [P, P], and the positive semi-definite curvature
    [P, P]: Gauss-Newton with the majorising Huber weights."""

    f: jax.Array
    g: jax.Array
    H: jax.Array
    K: jax.Array


def theta_of(law: Law, z: jax.Array) -> Theta:
    """Search coordinates [..., P] -> {name: natural value [...]}, traced."""
    return {
        p.name: TRANSFORMS[p.transform].traced_inverse(z[..., i]) for i, p in enumerate(law.params)
    }


def values_of(law: Law, z: np.ndarray) -> dict[str, np.ndarray]:
    """`theta_of` in numpy. Values too large for a float become infinite."""
    with np.errstate(over="ignore"):
        return {
            p.name: TRANSFORMS[p.transform].inverse(z[..., i]) for i, p in enumerate(law.params)
        }


def z_of(law: Law, theta: Theta) -> np.ndarray:
    """{name: natural value [...]} -> search coordinates, float64 [..., P]."""
    columns = (np.asarray(theta[p.name], np.float64) for p in law.params)
    forward = (TRANSFORMS[p.transform].forward for p in law.params)
    return np.stack([f(c) for f, c in zip(forward, columns, strict=True)], -1)


def fitted(law: Law, loss: Loss, z: jax.Array, x) -> jax.Array:
    """The prediction [n] in the space of the loss."""
    theta = theta_of(law, z)
    return law.log_predict(theta, x) if loss.log else law.predict(theta, x)


def rho(loss: Loss, r: jax.Array, delta: jax.Array) -> jax.Array:
    """The loss of each residual (Huber 1964 for the robust ones: r^2/2 inside delta)."""
    if not loss.huber:
        return r * r
    a = jnp.abs(r)
    return jnp.where(a <= delta, 0.5 * r * r, delta * (a - 0.5 * delta))


def make_evaluate(law: Law, loss: Loss) -> Callable[..., Evaluation]:
    """evaluate(z [P], x, t [n], w [n], delta) -> Evaluation. Pure; vmap it over starts."""
    n_params = len(law.params)

    def evaluate(z, x, t, w, delta):
        def residual(z):
            return fitted(law, loss, z, x) - t

        r, push = jax.linearize(residual, z)
        J = jax.vmap(push)(jnp.eye(n_params, dtype=z.dtype))
        if loss.huber:
            inside = jnp.abs(r) <= delta
            psi = w * jnp.clip(r, -delta, delta)
            slope = w * inside
            majorant = w * jnp.where(inside, 1.0, delta / jnp.where(inside, 1.0, jnp.abs(r)))
        else:
            psi, slope, majorant = 2 * w * r, 2 * w, 2 * w

        def weighted_gradient(z):
            return jax.vjp(residual, z)[1](psi)[0]  # psi is held fixed: curvature of the law alone

        bend = jax.jacfwd(weighted_gradient)(z)
        return Evaluation(
            jnp.sum(w * rho(loss, r, delta)),
            J @ psi,
            (J * slope) @ J.T + bend,
            (J * majorant) @ J.T,
        )

    return evaluate


def make_project(law: Law, loss: Loss) -> Callable[..., jax.Array]:
    """project(z, x, t, w, lo, hi) -> z with the linear parameters at their weighted least-squares
    values given the others (variable projection, Golub & Pereyra 1973). A parameter with lo == hi
    stays where it is."""
    index = np.array([i for i, p in enumerate(law.params) if p.name in law.linear], int)
    log_space = law.linear_space == "log"

    def project(z, x, t, w, lo, hi):
        def prediction(c):
            theta = theta_of(law, z.at[index].set(c))
            return law.log_predict(theta, x) if log_space else law.predict(theta, x)

        target = t if loss.log == log_space else (jnp.log(t) if log_space else jnp.exp(t))
        c0 = jnp.where(lo[index] == hi[index], z[index], 0.0)
        base, push = jax.linearize(prediction, c0)
        free = lo[index] < hi[index]
        G = jax.vmap(push)(jnp.eye(len(index), dtype=z.dtype)) * free[:, None]
        scale = jnp.sqrt((w * G * G).sum(1)) + 1e-300
        G = G / scale[:, None]
        normal = (G * w) @ G.T + jnp.diag(jnp.where(free, 1e-14, 1.0))
        c = c0 + jnp.linalg.solve(normal, (G * w) @ (target - base)) / scale
        return jnp.clip(z.at[index].set(jnp.where(jnp.isfinite(c), c, 0.0)), lo, hi)

    return project


@functools.lru_cache(maxsize=64)
def make_fitted(law: Law, loss: Loss) -> Callable:
    """Jitted fitted(z [S, P], x) -> predictions [S, n] in the space of the loss."""
    return jax.jit(jax.vmap(lambda z, x: fitted(law, loss, z, x), (0, None)))


@functools.lru_cache(maxsize=64)
def make_jacobian(law: Law, loss: Loss) -> Callable:
    """Jitted jacobian(z [P], x) -> (predictions [n], d prediction / d z [n, P])."""

    def jacobian(z, x):
        return fitted(law, loss, z, x), jax.jacfwd(lambda z: fitted(law, loss, z, x))(z)

    return jax.jit(jacobian)


@functools.lru_cache(maxsize=64)
def _make_derived(law: Law) -> Callable:
    def derived(z):
        return law.derived(theta_of(law, z))

    return jax.jit(lambda z: (jax.vmap(derived)(z), jax.jacfwd(derived)(z[0])))


def derived_of(law: Law, z: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What `law` derives from each row of z [S, P], {name: [S]}, and its gradient at the first
    row, {name: [P]}."""
    if type(law).derived is Law.derived:
        return {}, {}
    with jax.enable_x64(True):
        values, slope = jax.tree.map(np.asarray, _make_derived(law)(padded_rows(z)))
    return {name: v[: len(z)] for name, v in values.items()}, slope


def padded_rows(z: np.ndarray) -> np.ndarray:
    """z [S, P] with its first row repeated up to a multiple of 128: every number of rows would be
    compiled anew."""
    return np.concatenate([z, np.repeat(z[:1], -len(z) % _SHAPES, axis=0)])
