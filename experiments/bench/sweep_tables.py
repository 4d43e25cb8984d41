"""How long do a plan, `scaling status` and `scaling runs` take over a sweep of 10,000 runs?

python -m experiments.bench.sweep_tables

A plan expands and prices 10,000 runs. For the tables, one real record is copied into 10,000 run
directories, a tenth of which are made to be running, failed, interrupted, diverged or not started.
Whole commands are timed, interpreter included.
Targets: plan under 10 s, status under 2 s, table under 5 s.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from scaling.resolve import default_config, resolve, to_dict
from scaling.sweep import PlannedRun, Sweep, write_sweep
from scaling.sweep.definition import Group
from scaling.training.prepare import RunArgs
from scaling.training.train import train

TARGETS = {"plan": 10.0, "status": 2.0, "runs": 5.0}
MANY = """
from scaling.resolve import default_config
from scaling.sweep import designs

def get_config(variant=""):
    axes = {"width": range(8, 808, 8), "budget": [f"{k}e5 tokens" for k in range(1, N // 100 + 1)]}
    group = designs.group(default_config(), "one_depth", axes=axes, trunk=True, law="chinchilla")
    return designs.sweep("many", g=group)
"""
ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(argv: list[str] | None = None) -> int:
    """Prints the seconds of each command; 1 when one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    n = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary) / "sweep"
        build(out, n)
        many = pathlib.Path(temporary) / "many.py"
        many.write_text(MANY.replace("N //", f"{n} //"))
        commands = {
            "plan": ["plan", f"--config={many}"],
            "status": ["status", str(out)],
            "runs": ["runs", str(out), f"--csv={temporary}/runs.csv"],
        }
        missed = False
        for name, command in commands.items():
            start = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "scaling", *command],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            seconds = time.monotonic() - start
            missed |= seconds > TARGETS[name]
            line = next(line for line in done.stdout.splitlines() if f"{n:,} runs" in line)
            print(f"{name:<8} {seconds:5.2f} s (target {TARGETS[name]:.0f} s)  {line}")
    return int(missed)


def build(out: pathlib.Path, n: int) -> None:
    """A sweep directory of `n` runs: nine tenths complete, the others in every other state."""
    config = default_config()
    config.model.depth, config.model.width, config.model.transformer.n_heads = 1, 8, 1
    config.data.name, config.data.seq_len = "markov", 16
    config.train.batch_size, config.train.duration = 2, "2 steps"
    config.eval.n_rows = config.eval.batch_size = 2
    frozen = resolve(config)
    train(frozen, RunArgs(out / "model", quiet=True))
    record = json.loads((out / "model" / "record.json").read_text())
    status = json.loads((out / "model" / "status.json").read_text())
    cost = {"n_params": 1, "n_tokens": 1, "n_steps": 2, "flops": 1.0, "flops_own": 1.0}
    spec = PlannedRun("", "run", "g", {}, to_dict(frozen), cost)
    specs = [
        dataclasses.replace(spec, run_id=f"{i:016x}", name=f"run{i}", axes={"seed": i})
        for i in range(n)
    ]
    write_sweep(out, Sweep(name="many", groups={"g": Group()}, runs=tuple(specs)))
    for i, run in enumerate(specs):
        if i % 50 == 49:
            continue  # not started
        directory = out / "runs" / run.run_id
        directory.mkdir(parents=True)
        state = {9: "running", 19: "failed", 29: "interrupted", 39: "diverged"}.get(i % 50)
        (directory / "status.json").write_text(json.dumps({**status, "state": state or "complete"}))
        if state in (None, "diverged"):
            facts = {**record, "run_id": run.run_id, "status": state or "complete"}
            (directory / "record.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    sys.exit(main())
