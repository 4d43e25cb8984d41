"""The LSTM against the equations in numpy, and against torch where that is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.core.build import make_program
from scaling.sharding import make_mesh, parse_mesh, use_mesh
from tests.helpers import small_config

V, T, D = 11, 9, 16


def built(**model):
    """(config, parameters) of a fresh LSTM on one device."""
    config = small_config(model={"name": "lstm", "width": D, "depth": 2, **model})
    mesh = make_mesh(parse_mesh(""))
    with use_mesh(mesh):
        return config, make_program(config, V, mesh).init(0).params, mesh


def logits_of(params, mesh, tokens, **more):
    with use_mesh(mesh):
        return np.asarray(params(jnp.asarray(tokens), **more))


def tokens_of(rows, seed=0):
    return np.random.default_rng(seed).integers(0, V, (rows, T)).astype(np.int32)


def gates(weight):
    """(in, D * 4) as stored -> the four (in, D) of input, forget, cell, output."""
    return np.moveaxis(np.asarray(weight, np.float64).reshape(-1, D, 4), 2, 0)


def by_the_equations(params, tokens):
    """Logits of Hochreiter & Schmidhuber's cell with a forget gate, position by position."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    x = np.asarray(params.embedding[...], np.float64)[tokens]
    layers = params.layers
    for n in range(2):
        W, U = gates(layers.input[...][n]), gates(layers.recurrent[...][n])
        b = gates(layers.bias[...][n])[:, 0]
        h, c, out = np.zeros((len(tokens), D)), np.zeros((len(tokens), D)), []
        for t in range(tokens.shape[1]):
            i, f, g, o = (x[:, t] @ W[k] + h @ U[k] + b[k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
        x = np.stack(out, axis=1)
    head = params.embedding[...].T if params.config.tied else params.head[...]
    return x @ np.asarray(head, np.float64)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("unroll", [1, 4, 100])
def test_it_follows_the_equations(tied, unroll):
    _, params, mesh = built(tied=tied, lstm={"unroll": unroll})
    tokens = tokens_of(3)
    np.testing.assert_allclose(
        logits_of(params, mesh, tokens), by_the_equations(params, tokens), atol=1e-5
    )


def test_it_equals_torch_with_the_same_weights():
    torch = pytest.importorskip("torch")
    _, params, mesh = built()
    theirs = torch.nn.LSTM(D, D, num_layers=2, batch_first=True)
    for n in range(2):
        for name, weight in (("ih", params.layers.input), ("hh", params.layers.recurrent)):
            stacked = np.concatenate(gates(weight[...][n]), axis=1).T
            getattr(theirs, f"weight_{name}_l{n}").data = torch.tensor(stacked, dtype=torch.float32)
        bias = gates(params.layers.bias[...][n]).reshape(-1)
        getattr(theirs, f"bias_ih_l{n}").data = torch.tensor(bias, dtype=torch.float32)
        getattr(theirs, f"bias_hh_l{n}").data.zero_()
    tokens = tokens_of(4)
    x = torch.tensor(np.asarray(params.embedding[...])[tokens])
    with torch.no_grad():
        out = theirs(x)[0].numpy() @ np.asarray(params.head[...])
    np.testing.assert_allclose(logits_of(params, mesh, tokens), out, atol=2e-5)


def test_documents_in_a_row_start_from_nothing():
    _, params, mesh = built()
    tokens = tokens_of(1)
    segments = jnp.asarray([[0] * 4 + [1] * (T - 4)])
    packed = logits_of(params, mesh, tokens, segments_BT=segments)
    alone = [logits_of(params, mesh, part) for part in (tokens[:, :4], tokens[:, 4:])]
    np.testing.assert_allclose(packed, np.concatenate(alone, axis=1), atol=1e-6)


def test_the_forget_gate_begins_open():
    _, params, _ = built(lstm={"forget_bias": 2.0})
    bias = np.asarray(params.layers.bias[...]).reshape(2, D, 4)
    assert (bias[..., 1] == 2.0).all()
    assert (bias[..., [0, 2, 3]] == 0).all()


def test_what_is_to_come_changes_nothing():
    _, params, mesh = built()
    tokens = tokens_of(2)
    other = tokens.copy()
    other[:, 5:] = (other[:, 5:] + 1) % V
    a, b = logits_of(params, mesh, tokens), logits_of(params, mesh, other)
    np.testing.assert_array_equal(a[:, :5], b[:, :5])
    assert np.abs(a[:, 5:] - b[:, 5:]).max() > 1e-3
    assert jax.tree.leaves(params)
