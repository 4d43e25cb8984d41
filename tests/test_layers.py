"""Imports point downwards only, start-up stays light, and every file has a size one can read."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAX_LINES = 400

# module (or package) -> layer; the longest matching prefix counts. Imports may go to the same
# layer or below.
LAYERS = {
    "scaling": 0,
    "scaling.__version__": 0,
    "scaling.__main__": 5,
    "scaling.errors": 0,
    "scaling.registry": 0,
    "scaling.files": 0,
    "scaling.outputs": 0,
    "scaling.reading": 0,
    "scaling.shapes": 0,
    "scaling.terminal": 0,
    "scaling.limits": 0,
    "scaling.redact": 0,
    "scaling.spreadsheet": 0,
    "scaling.durations": 0,
    "scaling.config": 0,
    "scaling.resolve": 0,
    "scaling.sharding": 0,
    "scaling.models": 1,
    "scaling.objectives": 1,
    "scaling.data": 1,
    "scaling.optim": 1,
    "scaling.recipe": 1,
    "scaling.accounting": 1,
    "scaling.compiler": 1,
    "scaling.hardware": 1,
    "scaling.liveness": 1,
    "scaling.state": 2,
    "scaling.step": 2,
    "scaling.probes": 2,
    "scaling.build": 2,
    "scaling.memory": 2,
    "scaling.evaluate": 3,
    "scaling.interrupt": 3,
    "scaling.environment": 3,
    "scaling.doctor": 3,
    "scaling.lease": 3,
    "scaling.record": 3,
    "scaling.branch": 3,
    "scaling.checkpoint": 3,
    "scaling.manifest": 3,
    "scaling.metrics": 3,
    "scaling.mirror": 3,
    "scaling.prepare": 3,
    "scaling.programs": 3,
    "scaling.probing": 3,
    "scaling.reprobe": 3,
    "scaling.lm_eval_model": 4,
    "scaling.progress": 3,
    "scaling.train": 3,
    "scaling.sweep": 4,
    "scaling.importers": 4,
    "scaling.report": 4,
    "scaling.cli": 5,
    "launch": 5,
}
# Analysis stands beside the tower: it may use these and itself.
ANALYSIS_MAY_USE = (
    "scaling.limits",
    "scaling.analysis",
    "scaling.errors",
    "scaling.registry",
    "scaling.files",
    "scaling.spreadsheet",
    "scaling.outputs",
    "scaling.reading",
    "scaling.shapes",
    "scaling.__version__",
)
ANALYSIS_FOREIGN = ("flax", "optax", "orbax", "grain", "wandb", "ml_collections", "absl")


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


def layer(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in LAYERS and (prefix != "scaling" or length == len(parts)):
            return LAYERS[prefix]
    raise AssertionError(f"{name} has no layer; add it to LAYERS in {__file__}")


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda v: str(v))
def test_imports_point_downwards(name, path):
    for target in imports(path):
        if name.startswith("scaling.analysis"):
            assert target.split(".")[0] not in ANALYSIS_FOREIGN, f"{name} imports {target}"
            if target.startswith("scaling"):
                assert target.startswith(ANALYSIS_MAY_USE), f"{name} imports {target}"
        elif target.startswith("scaling.analysis"):
            assert layer(name) >= 4, f"{name} imports {target}"
        elif target.startswith(("scaling.", "launch")):
            assert layer(target) <= layer(name), f"{name} imports {target}, which lies above it"


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
