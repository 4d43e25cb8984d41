"""Imports point downwards only, start-up stays light, and every file has a size one can read."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAX_LINES = 400

# The rooms of the house from the ground up. A room may use those on floors below its own, and
# itself; rooms on one floor do not know each other.
FLOORS = (
    {"scaling", "scaling.errors"},
    {"scaling.registry", "scaling.durations", "scaling.doors"},
    {"scaling.sharding", "scaling.config", "scaling.recipes", "scaling.analysis"},
    {"scaling.resolve", "scaling.models", "scaling.objectives"},
    {"scaling.optim", "scaling.data"},
    {"scaling.core", "scaling.run"},
    {"scaling.probes", "scaling.cost", "scaling.machine"},
    {"scaling.training"},
    {"scaling.sweep", "scaling.interop"},
    {"scaling.report", "launch"},
    {"scaling.cli"},
    {"scaling.__main__"},
)
# Analysis reads tables and records: never models, training or launchers, nor from rooms above it.
ANALYSIS_FOREIGN = ("flax", "optax", "orbax", "grain", "wandb", "ml_collections", "absl")
READS_ANALYSIS = {"scaling.sweep", "scaling.interop", "scaling.report", "scaling.cli"}


def modules():
    for path in sorted([*ROOT.glob("scaling/**/*.py"), *ROOT.glob("launch/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name):
    """scaling.run.lease -> scaling.run; launch.slurm -> launch; scaling.__version__ -> scaling."""
    if name == "scaling.__version__":
        return "scaling"
    return "launch" if name.split(".")[0] == "launch" else ".".join(name.split(".")[:2])


def floor(name):
    for number, rooms in enumerate(FLOORS):
        if room(name) in rooms:
            return number
    raise AssertionError(f"{room(name)} stands on no floor; add it to FLOORS in {__file__}")


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda v: str(v))
def test_imports_point_downwards(name, path):
    for target in imports(path):
        if name.startswith("scaling.analysis"):
            assert target.split(".")[0] not in ANALYSIS_FOREIGN, f"{name} imports {target}"
        if not target.startswith(("scaling", "launch")) or room(target) == room(name):
            continue
        assert floor(target) < floor(name), f"{name} imports {target}, which does not lie below it"
        if room(target) == "scaling.analysis":
            assert room(name) in READS_ANALYSIS, f"{name} imports {target}"


def test_no_two_files_import_each_other():
    """No circle of files, however long: what is left after taking away, again and again, files
    that import none of the rest."""
    files = dict(modules())
    found = {name: set(imports(path)) for name, path in files.items()}
    needs = {
        name: {t for t in targets | {t.rpartition(".")[0] for t in targets} if t in files}
        for name, targets in found.items()
    }
    packages = {name for name, path in files.items() if path.name == "__init__.py"}
    left = {name: targets - packages - {name} for name, targets in needs.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_files_fit_a_reader():
    files = [p for top in ("scaling", "launch", "configs", "experiments", "tests")
             for p in ROOT.glob(f"{top}/**/*.py")]  # fmt: skip
    long = {
        str(p.relative_to(ROOT)): n for p in files if (n := p.read_text().count("\n")) > MAX_LINES
    }
    assert not long, f"over {MAX_LINES} lines: {long}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_loads_no_array_library(arguments):
    code = (
        "import sys, scaling.cli; status = scaling.cli.main(sys.argv[1:]);"
        "heavy = {'jax', 'flax', 'numpy', 'pandas', 'absl'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
