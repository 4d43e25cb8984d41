"""Eight fake CPU devices for every test, set before jax starts its backend."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Most of a test's time is compilation; the code it makes need not be fast here.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
# Programs are kept between runs, for the processes of a run too, in what `make clean` removes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "programs"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.devices()  # From here on no code under test can ask for another number.


def pytest_make_parametrize_id(config, val, argname):
    """Bytes do not name a test: a compressed file holds the second in which it was made, and two
    processes of a run would then disagree about which tests there are.
    """
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(tryfirst=True)  # before xdist writes the groups into the names of tests
def pytest_collection_modifyitems(items):
    """Packages whose fixtures cost more than their tests stay in one process each."""
    for item in items:
        package = item.path.parent.name
        if package in ("report", "slurm"):
            item.add_marker(pytest.mark.xdist_group(package))
