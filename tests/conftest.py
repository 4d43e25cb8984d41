"""Eight fake CPU devices for every test, set before jax starts its backend."""

import os

# Most of a test's time is compilation; the code it makes need not be fast here.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.devices()  # From here on no code under test can ask for another number.


def pytest_collection_modifyitems(items):
    """Packages whose fixtures cost more than their tests stay in one process each."""
    for item in items:
        package = item.path.parent.name
        if package in ("report", "documents", "slurm"):
            item.add_marker(pytest.mark.xdist_group(package))
