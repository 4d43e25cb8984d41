"""The rules by which values are stored, on programs small enough to count by hand."""

import jax
import jax.numpy as jnp
import pytest

from scaling.cost.liveness import peak

N = 64
SQUARE = 4 * N * N


def peak_bytes(function, n_arguments=1, in_place=0):
    arguments = [jax.ShapeDtypeStruct((N, N), jnp.float32)] * n_arguments
    return peak(jax.make_jaxpr(function)(*arguments), in_place=in_place).n_bytes


def test_elementwise_chains_are_computed_where_they_are_used():
    assert peak_bytes(lambda x: jnp.sum((x * 2 + 1) * x - 3)) == 4
    assert peak_bytes(lambda x: (x * 2 + 1) * x) == SQUARE
    assert peak_bytes(lambda x: (x * 2 + 1) * x, in_place=1) == 0


def test_products_read_and_write_buffers():
    # x @ y, then its square: operand and result.
    assert peak_bytes(lambda x, y: (x @ y) @ y, n_arguments=2) == 2 * SQUARE
    # The operand of the second product is computed over the result of the first.
    assert peak_bytes(lambda x, y: jnp.abs(x @ y) @ y, n_arguments=2) == 2 * SQUARE
    assert peak_bytes(lambda x, y: jnp.abs(x @ y), n_arguments=2) == SQUARE
    # An operand has to be in memory even if it is cheap to compute.
    assert peak_bytes(lambda x, y: (x * 2) @ y, n_arguments=2) == 2 * SQUARE


def test_expensive_values_are_kept_when_used_twice():
    def used_twice(x):
        e = jnp.exp(x)
        return jnp.sum(e, 0), jnp.sum(e, 1)

    assert peak_bytes(used_twice) == SQUARE + 2 * 4 * N
    assert peak_bytes(lambda x: jnp.sum(jnp.exp(x))) == 4


def test_residuals_live_until_the_backward_pass():
    def loss(x, depth):
        for _ in range(depth):
            x = jnp.tanh(x @ x)
        return jnp.sum(x)

    two, five = (peak_bytes(jax.grad(lambda x, d=d: loss(x, d))) for d in (2, 5))
    assert five - two == 3 * SQUARE


@pytest.mark.parametrize("unroll", [1, 6])
def test_a_loop_stacks_what_the_backward_pass_needs(unroll):
    def loss(x, length):
        def layer(c, _):
            return jnp.tanh(c @ x), None

        return jnp.sum(jax.lax.scan(layer, x, length=length, unroll=min(unroll, length))[0])

    short, long = (peak_bytes(jax.grad(lambda x, n=n: loss(x, n))) for n in (3, 6))
    # Each layer keeps what goes into its product, which is what came out of the tanh before. A
    # real loop stacks all that jax asks for: the derivative of tanh wants y and 1 - y besides.
    assert long - short == 3 * SQUARE * (1 if unroll == 6 else 3)


def test_remat_keeps_only_what_goes_in():
    def loss(x, remat):
        def layer(c, _):
            return jnp.tanh(jnp.tanh(c @ x) @ x), None

        body = jax.checkpoint(layer, prevent_cse=False) if remat else layer
        return jnp.sum(jax.lax.scan(body, x, length=20)[0])

    plain, saved = (peak_bytes(jax.grad(lambda x, r=r: loss(x, r))) for r in (False, True))
    assert saved < plain / 3


def test_buffers_at_the_worst_moment_add_up():
    found = peak(jax.make_jaxpr(lambda x: jnp.sum(jnp.tanh(x @ x) @ x))(jnp.ones((N, N))))
    assert sum(b.n_bytes for b in found.buffers) == found.n_bytes
    assert {b.shape for b in found.buffers} == {(N, N)}
