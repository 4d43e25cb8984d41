"""A mesh, and small models on it."""

import jax
import pytest

from scaling.core.build import make_program
from scaling.probes.base import Target
from scaling.probes.scorer import ScoredModel
from scaling.sharding import make_mesh, parse_mesh, use_mesh
from tests.helpers import small_config

VOCAB = 16
# Another shape of batch adds in another order: float32 rounding of log-probabilities in the tens.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="session")
def mesh():
    return make_mesh(parse_mesh("data:2"))


@pytest.fixture
def in_mesh(mesh):
    with use_mesh(mesh):
        yield mesh


@pytest.fixture(scope="session")
def transformer(mesh):
    """An untrained transformer of 2 layers on the mesh, of VOCAB symbols and 24 positions."""
    config = small_config(
        model={"width": 16, "n_heads": 4, "n_kv_heads": 2, "qk_norm": True},
        data={"seq_len": 24},
    )
    with use_mesh(mesh):
        params = make_program(config, VOCAB, mesh).init(3).params
        # Away from zero, so that predictions differ from place to place.
        params = jax.tree.map(lambda p: p * 3, params)
    return ScoredModel(params, mesh, Target(config.data, VOCAB, 24))
