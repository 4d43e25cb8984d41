"""A model as probes see it: token log-probabilities in batches, sharded like training.

Requests of any number and length become rectangular batches: rows are padded on the right, which a
causal model cannot see, to one of a few lengths, and lengths are not mixed, so what an item shares
a batch with does not change its score. Shapes: N requests, B rows, T positions, V vocabulary, A
places looked at in a row.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scaling.models.base import ShowsAttention
from scaling.objectives.base import token_nll
from scaling.probes.base import Target
from scaling.sharding import constrain, place, process_rows, ways

_BY_POSITION = ("tokens", "targets")
_STEP = 8
# Enough to fill the device; little enough that short probes are not mostly padding.
_TOKENS_PER_BATCH = {"cpu": 1 << 13}
_TOKENS_ELSEWHERE = 1 << 18


@dataclasses.dataclass(frozen=True)
class ScoredModel:
    """params: a pytree that maps tokens (B, T) to float32 logits (B, T, V) when called.

    Use it inside `sharding.use_mesh(mesh)`. On several hosts every process asks the same and gets
    the same answers.
    """

    params: Any
    mesh: Mesh
    target: Target

    def token_scores(self, tokens_NT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(logp, guess), both (N, T - 1): log-probability in nats of token t + 1 given those up to
        t, and the most likely token there."""
        tokens = np.asarray(tokens_NT, np.int32)
        T = tokens.shape[1] - 1
        out = self._map(_token_scores, {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}, T)
        return out["logp"][:, :T], out["guess"][:, :T]

    def next_token(self, tokens_NT: np.ndarray, places_NA: np.ndarray) -> np.ndarray:
        """(N, A, V) log-probabilities in nats of the token after each of `places_NA`."""
        tokens = np.asarray(tokens_NT, np.int32)
        rows = {"tokens": tokens, "places": np.asarray(places_NA, np.int32)}
        return self._map(_next_token, rows, tokens.shape[1])["logp"]

    def attention_to(
        self, tokens_NT: np.ndarray, queries_A: np.ndarray, keys_A: np.ndarray
    ) -> np.ndarray | None:
        """(layers, heads, N): attention from query a to key a, mean over a; None where the model
        does not show its attention."""
        if not isinstance(self.params, ShowsAttention):
            return None
        tokens = np.asarray(tokens_NT, np.int32)
        T = tokens.shape[1]
        pairs = np.zeros((width(T), width(T)), np.float32)
        pairs[queries_A, keys_A] = 1.0 / len(queries_A)
        rows = {"tokens": tokens, "pairs": np.broadcast_to(pairs, (len(tokens), *pairs.shape))}
        return np.moveaxis(self._map(_attention_to, rows, T)["weights"], 0, 2)

    def _map(self, program: Callable, rows: dict[str, np.ndarray], T: int) -> dict[str, np.ndarray]:
        """Runs `program` over all rows, batch after batch."""
        n = len(rows["tokens"])
        padded = {name: _widen(a, T) if name in _BY_POSITION else a for name, a in rows.items()}
        parts = []
        for start, stop, batch in self._batches(padded, n, width(T)):
            out = program(self.params, batch)
            if jax.default_backend() == "cpu":
                # Independent programs in flight share too few threads to meet in a collective:
                # XLA waits for ever, then aborts. Elsewhere all are dispatched before any is read.
                jax.block_until_ready(out)
            parts.append((out, stop - start))
        fetched = [
            {name: array[:count] for name, array in jax.device_get(out).items()}
            for out, count in parts
        ]
        return {name: np.concatenate([part[name] for part in fetched]) for name in fetched[0]}

    def _batches(self, rows: dict[str, np.ndarray], n: int, T: int) -> Iterator[tuple]:
        size = batch_rows(n, T, self.mesh)
        mine = process_rows(self.mesh, (size, T))
        for start in range(0, n, size):
            stop = min(start + size, n)
            batch = {}
            for name, array in rows.items():
                missing = ((0, size - (stop - start)),) + ((0, 0),) * (array.ndim - 1)
                batch[name] = np.pad(array[start:stop], missing)[mine]
            yield start, stop, place(self.mesh, batch, "batch")


def batch_rows(n: int, T: int, mesh: Mesh) -> int:
    """Rows of a batch: a power of two times the ways that rows are split."""
    parts = ways("batch", mesh.shape)
    tokens = _TOKENS_PER_BATCH.get(jax.default_backend(), _TOKENS_ELSEWHERE)
    most = max(1, tokens // (T * parts)) * parts
    return min(most, parts * 2 ** math.ceil(math.log2(max(1, n / parts))))


def width(T: int) -> int:
    """Few lengths, few programs: the next multiple of 8, of 16 above 64, of 32 above 128, ..."""
    step = max(_STEP, 2 ** math.ceil(math.log2(max(1, T))) // 8)
    return -(-T // step) * step


def _widen(array: np.ndarray, T: int) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, width(T) - T)))


@jax.jit
def _token_scores(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    logits = constrain(params(batch["tokens"]), "batch", "seq", None)
    nll, _ = token_nll(logits, batch["targets"])
    guess = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    # Everywhere: any host may read all of them.
    return {"logp": constrain(-nll, None, None), "guess": constrain(guess, None, None)}


@jax.jit
def _next_token(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    logits = constrain(params(batch["tokens"]), "batch", "seq", None)
    # A product with unit vectors picks exactly, and unlike a gather keeps its layout.
    is_place = batch["places"][..., None] == jnp.arange(logits.shape[1])
    chosen = jnp.einsum(
        "bat,btv->bav", is_place.astype(jnp.float32), logits, precision=jax.lax.Precision.HIGHEST
    )
    return {"logp": constrain(jax.nn.log_softmax(chosen), None, None, None)}


@jax.jit
def _attention_to(params: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    weights = params.attention_weights(batch["tokens"])
    mean = jnp.einsum("lbhts,bts->blh", weights, batch["pairs"])
    return {"weights": constrain(mean, None, None, None)}
