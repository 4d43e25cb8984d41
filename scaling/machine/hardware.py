"""How fast this machine multiplies: measured, and promised.

A share of the measured rate says how well the program is written; a share of the promised peak
(MFU) can be compared between laboratories.
"""

import contextlib
import hashlib
import json
import pathlib
import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scaling.data.cache import cache_root
from scaling.doors.files import dump, write_atomic
from scaling.doors.reading import NUMBER, read_json
from scaling.errors import UserError

# Dense bfloat16 FLOP/s of one jax device, by `device_kind`. TPU v5e and v6e were read from Google's
# pages "peak compute per chip"; TPU v4, v5p and A100 from pages that quote the makers; H100 and
# H200 are half of the data sheets' figure with sparsity, from memory. No name was seen here.
PEAK_BFLOAT16 = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H100 PCIe": 756.5e12,
    "NVIDIA H200": 989.4e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}

# Memory of the same devices, by their data sheets, from memory: what a program gets is less.
_GB = 10**9
DEVICE_BYTES = {
    "NVIDIA A100-SXM4-40GB": 40 * _GB,
    "NVIDIA A100-SXM4-80GB": 80 * _GB,
    "NVIDIA A100-PCIE-40GB": 40 * _GB,
    "NVIDIA A100 80GB PCIe": 80 * _GB,
    "NVIDIA H100 80GB HBM3": 80 * _GB,
    "NVIDIA H100 PCIe": 80 * _GB,
    "NVIDIA H200": 141 * _GB,
    "TPU v4": 32 * _GB,
    "TPU v5 lite": 16 * _GB,
    "TPU v5": 95 * _GB,
    "TPU v5p": 95 * _GB,
    "TPU v6 lite": 32 * _GB,
}

_SIDES = (512, 1024, 2048, 4096, 8192, 16384)
_ENOUGH_SECONDS = 0.02  # of one product: dispatch then costs next to nothing
_ROUNDS = 5
_MEASUREMENTS, _STEADY, _PAUSE_SECONDS = 6, 0.97, 0.05


def peak_rate(device_kind: str) -> float | None:
    """Promised dense bfloat16 FLOP/s of one device, or None for hardware that is not listed."""
    return PEAK_BFLOAT16.get(device_kind)


def measured_matmul_rate(dtype: str, cache_dir: pathlib.Path | None = None) -> float:
    """FLOP/s of large square products on all local devices at once; about a second.

    Measured once per kind and number of devices, dtype and jax version, and kept in the user's
    cache directory until a run turns out faster (`discard_matmul_rate`). The best of several
    rounds: noise only ever slows down.
    """
    path, machine = _cache_file(dtype, cache_dir)
    try:
        return float(read_json(path, {"flops_per_s": NUMBER})["flops_per_s"])
    except UserError:
        pass  # Not measured yet, or damaged: measure.
    rate = _measure_until_steady(jax.local_devices(), dtype)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, dump({"machine": machine, "flops_per_s": rate}), durable=False)
    except OSError:
        pass  # A cache that cannot be written costs a second next time.
    return rate


def discard_matmul_rate(dtype: str, cache_dir: pathlib.Path | None = None) -> None:
    """Forgets the rate: the machine was busy when it was measured. The next call measures anew."""
    with contextlib.suppress(OSError):
        _cache_file(dtype, cache_dir)[0].unlink()


def _cache_file(dtype: str, cache_dir: pathlib.Path | None) -> tuple[pathlib.Path, list]:
    devices = jax.local_devices()
    machine = [devices[0].device_kind, len(devices), str(jnp.dtype(dtype)), jax.__version__]
    key = hashlib.sha256(json.dumps([*machine, _host()]).encode()).hexdigest()[:16]
    return cache_root(cache_dir) / "hardware" / f"matmul-{key}.json", machine


def _measure_until_steady(devices: list[jax.Device], dtype: str) -> float:
    """The best of several measurements: until the two best agree, so that one disturbed by other
    work is not believed, but six at most, so that a machine that is always busy answers too."""
    rates: list[float] = []
    while len(rates) < _MEASUREMENTS:
        rates.append(_measure(devices, dtype))
        best = sorted(rates)[-2:]
        if len(best) == 2 and best[0] > _STEADY * best[1]:
            break
        time.sleep(_PAUSE_SECONDS)
    return max(rates)


def _measure(devices: list[jax.Device], dtype: str) -> float:
    mesh = jax.make_mesh((len(devices),), ("d",), (jax.sharding.AxisType.Auto,), devices=devices)
    layout = NamedSharding(mesh, P("d"))

    def fill(side: int) -> jax.Array:
        ones = jax.jit(lambda: jnp.ones((len(devices), side, side), dtype), out_shardings=layout)
        return ones()

    product = jax.jit(lambda x: jax.lax.batch_matmul(x, x), out_shardings=layout)
    best = 0.0
    # A mesh of its own: the caller may be inside the mesh of a run.
    with jax.set_mesh(mesh):
        for side in _SIDES:
            x = fill(side)
            product(x).block_until_ready()
            seconds = min(_timed(product, x) for _ in range(_ROUNDS))
            best = max(best, 2.0 * len(devices) * side**3 / seconds)
            if seconds >= _ENOUGH_SECONDS:
                break
    return best


def _timed(product, x: jax.Array) -> float:
    start = time.perf_counter()
    product(x).block_until_ready()
    return time.perf_counter() - start


def _host() -> str:
    """CPUs all call themselves "cpu"; the model name tells them apart."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")
