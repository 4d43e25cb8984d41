"""How many bytes a program keeps alive at its worst moment, from its jaxpr alone.

A jaxpr lists every intermediate value, but a compiler does not store them all: chains of
element-wise operations are fused into what consumes them. The rules here are those that XLA's
fusion passes share on all backends:

- products, gathers, scatters, sorts, collectives and loops read and write real buffers;
- a reduction writes a buffer and computes what it reads on the fly;
- any other value is computed where it is used, unless it is used in several places and is
  expensive (exp, tanh, division, ...) or reads several arrays;
- reshapes are free.

A value that is not stored keeps alive what it is computed from. Sizes are per device: under
explicit axes every value's type says how it is split; inside `auto_axes`, where the compiler
decides, a result is taken to be split as far as what it is computed from.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.sharding import AxisType

# Names of jax primitives.
_EXPENSIVE = {"exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "div", "rem", "pow"}
_EXPENSIVE |= {"sqrt", "rsqrt", "cbrt", "sin", "cos", "tan", "atan2", "erf", "erf_inv"}
_REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"}
_REDUCTIONS |= {"argmax", "argmin"}
_HARD = {"dot_general", "ragged_dot", "conv_general_dilated", "triangular_solve", "cholesky"}
_HARD |= {"gather", "scatter", "scatter-add", "dynamic_update_slice", "sort", "top_k"}
_HARD |= {"cumsum", "cumprod", "cumlogsumexp", "custom_call", "reshard"}
_HARD |= {"all_gather", "psum", "psum_invariant", "reduce_scatter", "all_to_all", "ppermute"}
_HARD |= {"scan", "while", "cond"}
_FREE = {"reshape", "squeeze", "expand_dims", "copy", "stop_gradient", "optimization_barrier"}
_FREE |= {"pvary", "pcast"}
_LOOPS = ("scan", "while", "cond")


@dataclasses.dataclass(frozen=True)
class Buffer:
    """A stored value: bytes per device, and its shape, over all devices that it is split over by
    its type: inside a `shard_map`, over one device of the mapped axes."""

    n_bytes: int
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Peak:
    """Bytes per device alive at the worst moment, and the buffers they consist of."""

    n_bytes: int
    buffers: tuple[Buffer, ...]


def peak(program: ClosedJaxpr, *, in_place: int = 0) -> Peak:
    """The worst moment of `program`, not counting its arguments.

    The first `in_place` results overwrite donated arguments and cost nothing of their own.
    """
    return _peak(program.jaxpr, in_place)


@dataclasses.dataclass
class _Op:
    name: str
    reads: list[int]
    writes: list[int]
    transient: Peak


class _Values:
    """Every value of a flattened program: what it is, and which value it is a view of."""

    def __init__(self):
        self.buffers: list[Buffer] = []
        # Rows of a stack that an unrolled loop has written.
        self.pieces: dict[int, list[int]] = {}
        # In how many pieces each value is.
        self.ways: list[float] = []
        self._of: dict[Any, int] = {}

    def new(self, aval: Any, like: Sequence[int] = ()) -> int:
        """A value of this type. Where the compiler lays it out, it is split as far as `like`."""
        # Random keys have no itemsize, and no size worth counting.
        size = math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 0)
        if _is_laid_out(aval):
            n_bytes = size * math.prod(_piece(aval)) // max(1, math.prod(aval.shape))
        else:
            n_bytes = math.ceil(size / max((self.ways[v] for v in like), default=1))
        self.buffers.append(Buffer(n_bytes, tuple(aval.shape)))
        self.ways.append(size / n_bytes if n_bytes else 1)
        return len(self.buffers) - 1

    def bind(self, var: Any, value: int) -> None:
        self._of[var] = value

    def get(self, var: Any) -> int:
        return self._of[var]


def _is_laid_out(aval: Any) -> bool:
    """Whether the type says how the value is split; inside a `shard_map` it is a device's own."""
    mesh = aval.sharding.mesh
    return not mesh.empty and AxisType.Auto not in mesh.axis_types


def _piece(aval: Any) -> tuple[int, ...]:
    """The shape of one device's part."""
    sharding = aval.sharding
    # Not by `shard_shape`, which refuses a mesh with mapped axes. Specs may end early.
    parts = [*sharding.spec, *(None,) * len(aval.shape)]
    names = [(part,) if isinstance(part, str) else part or () for part in parts]
    ways = [math.prod(sharding.mesh.shape[n] for n in axes) for axes in names]
    return tuple(size // n for size, n in zip(aval.shape, ways, strict=False))


def _peak(jaxpr: Jaxpr, in_place: int) -> Peak:
    values, ops = _Values(), []
    arguments = [values.new(v.aval) for v in (*jaxpr.constvars, *jaxpr.invars)]
    for var, value in zip((*jaxpr.constvars, *jaxpr.invars), arguments, strict=True):
        values.bind(var, value)
    _flatten(jaxpr, values, ops)
    results = [None if isinstance(v, Literal) else values.get(v) for v in jaxpr.outvars]
    free = {*arguments, *(r for r in results[:in_place] if r is not None)}
    return _sweep(values, ops, free, [r for r in results if r is not None])


def _flatten(jaxpr: Jaxpr, values: _Values, ops: list[_Op]) -> None:
    """Appends the operations of `jaxpr`, calls and unrolled loops spelled out."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        reads = [
            values.new(v.aval) if isinstance(v, Literal) else values.get(v) for v in eqn.invars
        ]
        if name == "scan" and eqn.params["unroll"] >= eqn.params["length"]:
            _unrolled(eqn, reads, values, ops)
        elif inner is not None and name not in _LOOPS:
            _bind(eqn.outvars, _call(inner, reads, values, ops), values)
        elif name in _FREE or (name == "reshard" and _same_pieces(eqn)):
            _bind(eqn.outvars, reads, values)
        else:
            # A scatter's result is laid out as what it is added to.
            like = reads[:1] if name.startswith("scatter") else reads
            writes = [values.new(v.aval, like) for v in eqn.outvars]
            _bind(eqn.outvars, writes, values)
            # Scalars weigh nothing, and leave one large operand where there is only one.
            large = [r for r, v in zip(reads, eqn.invars, strict=True) if v.aval.shape]
            ops.append(_Op(name, large, writes, _transient(eqn)))


def _bind(variables: Sequence[Any], numbers: Sequence[int], values: _Values) -> None:
    for var, number in zip(variables, numbers, strict=True):
        values.bind(var, number)


def _call(inner: Any, reads: Sequence[int], values: _Values, ops: list[_Op]) -> list[int]:
    """Spells out one call; returns the values of its results."""
    body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    _bind(body.constvars, [values.new(v.aval) for v in body.constvars], values)
    _bind(body.invars, reads, values)
    _flatten(body, values, ops)
    return [values.new(v.aval) if isinstance(v, Literal) else values.get(v) for v in body.outvars]


def _unrolled(eqn: Any, reads: list[int], values: _Values, ops: list[_Op]) -> None:
    """A loop without a loop: what one iteration stacks and another unstacks is never stacked."""
    body = eqn.params["jaxpr"].jaxpr
    length, n_consts = eqn.params["length"], eqn.params["num_consts"]
    n_fixed = n_consts + eqn.params["num_carry"]
    consts, carry, stacks = reads[:n_consts], reads[n_consts:n_fixed], reads[n_fixed:]
    rows: list[list[int]] = [[] for _ in stacks]
    for stack, row, var in zip(stacks, rows, body.invars[n_fixed:], strict=True):
        pieces = values.pieces.get(stack)
        for i in range(length):
            if pieces:
                row.append(pieces[i])
            else:
                row.append(values.new(var.aval))
                ops.append(_Op("slice", [stack], [row[-1]], _NOTHING))
    stacked: list[list[int]] = [[] for _ in body.outvars[len(carry) :]]
    for i in range(length)[:: -1 if eqn.params["reverse"] else 1]:
        outs = _call(body, [*consts, *carry, *(row[i] for row in rows)], values, ops)
        carry = outs[: len(carry)]
        for pieces, out in zip(stacked, outs[len(carry) :], strict=True):
            pieces.append(out)
    _bind(eqn.outvars[: len(carry)], carry, values)
    for var, pieces in zip(eqn.outvars[len(carry) :], stacked, strict=True):
        whole = values.new(var.aval)
        values.bind(var, whole)
        values.pieces[whole] = pieces[::-1] if eqn.params["reverse"] else pieces
        ops.append(_Op("stack", pieces, [whole], _NOTHING))


def _same_pieces(eqn: Any) -> bool:
    """Every device already has the piece it is asked for, or the compiler sees to it."""
    if not all(_is_laid_out(v.aval) for v in (eqn.invars[0], eqn.outvars[0])):
        return True
    return _piece(eqn.invars[0].aval) == _piece(eqn.outvars[0].aval)


_NOTHING = Peak(0, ())


def _transient(eqn: Any) -> Peak:
    """What a loop needs inside, besides what it reads and returns."""
    name = eqn.primitive.name
    if name == "scan":
        body, skip = eqn.params["jaxpr"].jaxpr, eqn.params["num_consts"] + eqn.params["num_carry"]
        return _loop_peak(body, body.invars[skip:], eqn.params["num_carry"])
    if name == "while":
        body = eqn.params["body_jaxpr"].jaxpr
        return _loop_peak(body, (), len(body.outvars))
    if name == "cond":
        return max((_peak(b.jaxpr, 0) for b in eqn.params["branches"]), key=lambda p: p.n_bytes)
    return _NOTHING


def _loop_peak(body: Jaxpr, sliced: Iterable[Any], n_carry: int) -> Peak:
    """One iteration: `sliced` arguments are cut out of a stack, and results are put into one."""
    values, ops = _Values(), []
    arguments = {var: values.new(var.aval) for var in (*body.constvars, *body.invars)}
    free = set(arguments.values())
    for var, number in arguments.items():
        values.bind(var, number)
    for var in sliced:
        values.bind(var, values.new(var.aval))
        ops.append(_Op("slice", [arguments[var]], [values.get(var)], _NOTHING))
    _flatten(body, values, ops)
    results = [values.get(v) for v in body.outvars if not isinstance(v, Literal)]
    # The carry is overwritten; stacks are written row by row by whatever computes the row.
    stacked = [values.get(v) for v in body.outvars[n_carry:] if not isinstance(v, Literal)]
    free |= {number for number in results if number not in stacked}
    ops.append(_Op("reduce_sum", stacked, [], _NOTHING))
    return _sweep(values, ops, free, [r for r in results if r not in stacked])


def _sweep(values: _Values, ops: list[_Op], free: set[int], results: list[int]) -> Peak:
    stored, last_use = _stored(ops, results)
    spans = []
    for k, op in enumerate(ops):
        for value in op.writes:
            if value in stored and value not in free and values.buffers[value].n_bytes:
                spans.append([k, last_use.get(value, k), values.buffers[value]])
    ending: dict[int, list[list]] = {}
    for span in spans:
        ending.setdefault(span[1], []).append(span)
    for start, _, buffer in spans:
        if ops[start].name in _HARD:
            continue
        # Element by element, a result may overwrite an operand that nobody needs any more.
        for other in ending.get(start, ()):
            if other[0] < start and other[2].n_bytes == buffer.n_bytes:
                other[1] -= 1
                ending[start].remove(other)
                break
    inner = {k: op.transient for k, op in enumerate(ops) if op.transient.n_bytes}
    whole = [[k, k, Buffer(t.n_bytes, ())] for k, t in inner.items()]
    worst, n_bytes = _worst_moment([*spans, *whole])
    buffers = [buffer for start, end, buffer in spans if start <= worst <= end]
    if worst in inner:
        buffers += inner[worst].buffers
    return Peak(n_bytes, tuple(buffers))


def _worst_moment(spans: list[list]) -> tuple[int, int]:
    """(operation, bytes) at which most bytes are alive."""
    change: dict[int, int] = {}
    for start, end, buffer in spans:
        change[start] = change.get(start, 0) + buffer.n_bytes
        change[end + 1] = change.get(end + 1, 0) - buffer.n_bytes
    now, worst = 0, (-1, 0)
    for k in sorted(change):
        now += change[k]
        if now > worst[1]:
            worst = (k, now)
    return worst


def _stored(ops: list[_Op], results: list[int]) -> tuple[set[int], dict[int, int]]:
    """The values that get a buffer, and the last operation that reads each value."""
    end = len(ops)
    stored, used_in = set(results), {r: {end} for r in results}
    for k in range(len(ops) - 1, -1, -1):
        op = ops[k]
        if op.name in _HARD:
            stored.update(op.writes)
            stored.update(op.reads)
            places = {k}
        elif op.name in _REDUCTIONS:
            stored.update(op.writes)
            places = {k}
        else:
            places = set().union(*(used_in.get(w, ()) for w in op.writes))
            if len(places) > 1 and (op.name in _EXPENSIVE or len(op.reads) > 1):
                stored.update(op.writes)
            if stored.intersection(op.writes):
                places = {k}
        for read in op.reads:
            used_in.setdefault(read, set()).update(places)
    return stored, {value: max(places) for value, places in used_in.items() if places}
