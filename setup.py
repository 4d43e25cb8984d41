"""Packaging. The ranges are what the code needs; tested versions are in constraints.txt."""

from setuptools import find_packages, setup

CORE = [
    "jax>=0.10",
    "flax>=0.12.8",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "grain>=0.2.18",
    "ml-collections>=1.1",
    "absl-py>=2.1",
    "etils[epath]>=1.13",
    "filelock>=3.15",
    "jsonschema>=4.20",
    "matplotlib>=3.9",
    "numpy>=2.0",
    "pandas>=2.2",
    "rich>=13",
    "scipy>=1.13",  # jax brings it anyway
]
EXTRAS = {
    "wandb": ["wandb>=0.21"],
    "cloud": ["skypilot>=0.14"],
    "report": ["altair>=6.0", "vl-convert-python>=1.9"],
    "data": ["pyarrow>=17", "tokenizers>=0.21", "zstandard>=0.23"],
    "eval": ["lm-eval>=0.4.13"],
    "bench": ["torch==2.13.0", "transformers>=5"],
    "dev": [
        "altair>=6.0",
        "hypothesis>=6.100",
        "pyarrow>=17",
        "pytest>=8",
        "pytest-xdist>=3.6",
        "ruff==0.17.5",
        "selenium>=4.30",
        "tokenizers>=0.21",
        "vl-convert-python>=1.9",
        "zstandard>=0.23",
    ],
}

setup(
    name="scaling",
    version="0.1.0",
    description="A scaling-law laboratory: train sweeps, fit laws, probe emergence. JAX/Flax.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["scaling", "scaling.*", "launch", "launch.*"]),
    package_data={"scaling": ["run/*.json", "analysis/data/*", "report/page.*"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["scaling = scaling.cli:main"]},
)
