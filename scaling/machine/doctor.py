"""What this machine has for a sweep, what is missing, and what to do about it."""

import dataclasses
import importlib.metadata
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterable

from scaling.data.cache import cache_root
from scaling.machine.environment import hardware, versions

LOW_DISK_BYTES = 5e9  # a sweep of small models writes about a gigabyte of checkpoints
SUPPORTED_PYTHON = ((3, 11), (3, 14))  # from, up to but not including
_EXTRAS = {"altair": "report", "vl-convert-python": "report", "pyarrow": "data"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line. state: "ok", "absent" (optional and not there), "warn", or "problem" (runs will
    not start). advice: what to do, empty when nothing."""

    name: str
    state: str
    found: str
    advice: str = ""


def examine(
    cache_dir: pathlib.Path | None = None,
    workdir: pathlib.Path = pathlib.Path(),
    *,
    measure: bool = True,
) -> list[Finding]:
    """All findings. measure: also the matmul rate, about a second, from the cache if it is there.
    Starts the jax backend; writes nothing but the measured rate."""
    checks: list[Callable[[], Iterable[Finding]]] = [
        _python,
        _packages,
        lambda: _devices(cache_dir, measure),
        _load,
        lambda: _cache(cache_root(cache_dir)),
        lambda: _disk(workdir),
        _engines,
        _tracking,
    ]
    return [finding for check in checks for finding in check()]


def _python() -> Iterable[Finding]:
    low, beyond = SUPPORTED_PYTHON
    found = versions()["python"]
    if low <= sys.version_info[:2] < beyond:
        yield Finding("python", "ok", found)
    else:
        wanted = f"{low[0]}.{low[1]} to {beyond[0]}.{beyond[1] - 1}"
        yield Finding("python", "warn", found, f"the tests run on {wanted}")


def _packages() -> Iterable[Finding]:
    known = versions()
    known.pop("python")
    missing = [name for name, version in known.items() if version is None]
    told = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    if missing:
        yield Finding("packages", "problem", told, f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", "ok", told)
    for package, extra in _EXTRAS.items():
        version = _version(package)
        if version is None:
            yield Finding(package, "absent", "not installed", f"pip install 'scaling[{extra}]'")
        else:
            yield Finding(package, "ok", version)


def _devices(cache_dir: pathlib.Path | None, measure: bool) -> Iterable[Finding]:
    try:
        facts = hardware()
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        yield Finding("devices", "problem", text, "unset JAX_PLATFORMS, or install that jax plugin")
        return
    kind, n = facts["device_kind"], facts["n_devices"]
    told = f"{n} x {kind}; {facts['host_cpu']}, {facts['host_cores']} cores"
    if facts["platform"] == "cpu" and any(pathlib.Path("/dev").glob("nvidia[0-9]*")):
        advice = "an NVIDIA device is there but jax does not use it: pip install -U 'jax[cuda13]'"
        yield Finding("devices", "warn", told, advice)
    else:
        yield Finding("devices", "ok", told)
    if measure:
        yield _rate(kind, n, cache_dir)


def _rate(kind: str, n: int, cache_dir: pathlib.Path | None) -> Finding:
    from scaling.machine.hardware import measured_matmul_rate, peak_rate

    peak = peak_rate(kind)
    dtype = "float32" if peak is None else "bfloat16"
    rate = measured_matmul_rate(dtype, cache_dir)
    told = f"{rate / 1e12:.3g} TFLOP/s in {dtype}, all devices together"
    if peak is None:
        return Finding("matmul rate", "ok", told)
    share = rate / (peak * n)
    told += f", {share:.0%} of the maker's peak"
    advice = "" if share > 0.5 else "is another program on the device, or its power limited?"
    return Finding("matmul rate", "ok" if share > 0.5 else "warn", told, advice)


def _load() -> Iterable[Finding]:
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    told = f"{load:.1f} on {cores} cores"
    if load > 0.5 * cores:
        yield Finding("load", "warn", told, "the machine is busy: times and rates will be worse")
    else:
        yield Finding("load", "ok", told)


def _cache(root: pathlib.Path) -> Iterable[Finding]:
    compiled = root / "xla"
    files = [p for p in compiled.rglob("*") if p.is_file()] if compiled.is_dir() else []
    size = sum(p.stat().st_size for p in files)
    place = next(p for p in (compiled, *compiled.parents) if p.exists())
    told = f"{compiled}: {len(files)} files, {size / 1e6:.0f} MB"
    if os.access(place, os.W_OK):
        yield Finding("compile cache", "ok", told)
    else:
        advice = "not writable: every run compiles anew; set SCALING_CACHE to a directory that is"
        yield Finding("compile cache", "warn", told, advice)


def _disk(workdir: pathlib.Path) -> Iterable[Finding]:
    free = shutil.disk_usage(workdir).free
    told = f"{free / 1e9:.0f} GB free in {workdir.resolve()}"
    if free < LOW_DISK_BYTES:
        yield Finding("disk", "warn", told, "checkpoints may not fit; choose another --out")
    else:
        yield Finding("disk", "ok", told)


def _engines() -> Iterable[Finding]:
    sbatch, submitit = shutil.which("sbatch"), _version("submitit")
    if sbatch is None:
        yield Finding("Slurm", "absent", "no sbatch on PATH", "run sweeps with the local launcher")
    elif submitit is None:
        advice = "pip install 'scaling[launch]' to launch with it"
        yield Finding("Slurm", "absent", f"{sbatch}, but no submitit", advice)
    else:
        yield Finding("Slurm", "ok", f"{sbatch}, submitit {submitit}")
    sky = _version("skypilot")
    if sky is None:
        yield Finding("SkyPilot", "absent", "not installed", "pip install skypilot, for clouds")
    else:
        yield Finding("SkyPilot", "ok", sky, "`sky check` says which clouds answer")


def _tracking() -> Iterable[Finding]:
    from scaling.run.mirror import has_key

    version = _version("wandb")
    if version is None:
        yield Finding("W&B", "absent", "not installed", "pip install 'scaling[wandb]' for --wandb")
    elif has_key():
        yield Finding("W&B", "ok", f"{version}, with an API key")
    else:
        advice = "runs are mirrored offline; `wandb login`, or `wandb sync` them later"
        yield Finding("W&B", "ok", f"{version}, no API key", advice)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
