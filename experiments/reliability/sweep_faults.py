"""Does a sweep survive what machines do to it, with every run accounted for exactly once?

python -m experiments.reliability.sweep_faults                 all faults, some minutes
python -m experiments.reliability.sweep_faults --only=kills    one of them

Hypothesis: yes. A sweep of 12 runs (nine plain ones, a trunk with its branch, one that diverges)
is done once undisturbed and once under each fault, by real `scaling sweep` commands:

    kills      SIGKILL of random workers and, every third time, of the launcher, which is then
               started again; Ctrl-C to the launcher now and then
    launchers  two launchers at once on one directory: the second is refused
    disk       the disk is full for one run (a small tmpfs; needs root)
    fails      one run cannot write its checkpoints, however often it is tried
    clock      the clock jumps by a year, there and back, while runs train
    wandb      Weights & Biases cannot be reached

Afterwards, once the cause is gone and the same command has run again: `scaling runs` has each of
the 12 runs exactly once, each has one record and nobody holds its directory, and every record and
every row of the metrics equals those of the undisturbed sweep but for clocks and attempts.

Verdict: yes, under all of them. Orbax measures its time limits with the wall clock, so a clock that
jumps ahead during a save fails that save; the attempt counts as failed and the next one goes on. An
unreachable W&B costs a run about ten seconds, and nothing else.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from experiments.reliability.kill_resume import compare_json, constant
from scaling.errors import unknown
from scaling.run.lease import seems_held
from scaling.run.record import read_metrics, read_record
from scaling.sweep import read_sweep

CONFIG = """\
from scaling.resolve import default_config
from scaling.sweep import designs

def get_config(variant=""):
    base = default_config()
    base.model.depth, base.model.width, base.model.transformer.n_heads = 1, 16, 2
    base.data.name, base.data.seq_len = "markov", 32
    base.train.batch_size, base.train.steps_per_dispatch = 8, 10
    base.train.duration = "{steps} steps"
    base.eval.n_rows = base.eval.batch_size = 8
    plain = designs.seeds(base, 9)
    wild = base.copy_and_resolve_references()
    # Far above what any such model starts at: the loss of step one already counts as diverged.
    wild.train.max_loss = 0.5
    tree = base.copy_and_resolve_references()
    tree.optim.schedule.name, tree.optim.schedule.warmup = "wsd", "10 steps"
    lengths = ("{steps} steps", "{short} steps")
    branches = designs.group(tree, axes={{"budget": lengths}}, trunk=True)
    return designs.sweep(
        "faults", plain=plain, wild=designs.seeds(wild, 1), tree=branches
    )
"""
N_RUNS = 12
DIVERGED = 1
ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 300.0
# The clock of Python code, a year ahead for two of every three seconds.
JUMPING_CLOCK = """\
import time
_real = time.time
time.time = lambda: _real() + (365 * 86400.0 if int(_real()) % 3 else 0.0)
"""


class Bench:
    """One directory with the config, the undisturbed sweep and the disturbed ones."""

    def __init__(self, directory: pathlib.Path, steps: int, seed: int):
        self.directory, self.rng = directory, random.Random(seed)
        self.config = directory / "faults.py"
        self.config.write_text(CONFIG.format(steps=steps, short=steps // 2))

    def launch(self, out: pathlib.Path, *options: str, **environment: str) -> subprocess.Popen:
        """`scaling sweep`, its output in a file beside `out`."""
        command = [
            *(sys.executable, "-m", "scaling", "sweep", f"--config={self.config}"),
            *(f"--out={out}", f"--cache-dir={self.directory / 'cache'}", "--checkpoint-every=10%"),
            # Somebody may edit the tree meanwhile.
            *("--keep-code", *options),
        ]
        with open(f"{out}.txt", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=os.environ | environment
            )

    def finish(self, process: subprocess.Popen, *expected: int) -> int:
        """Waits for a launcher; its exit status, which must be one of `expected`."""
        status = process.wait(TIMEOUT)
        if status not in expected:
            raise RuntimeError(f"{process.args} ended with status {status}; see {self.directory}")
        return status

    def whole(self, out: pathlib.Path, *options: str, **environment: str) -> None:
        """A sweep from beginning to end."""
        self.finish(self.launch(out, *options, **environment), 0)

    def path(self, name: str) -> pathlib.Path:
        return self.directory / name


def kills(bench: Bench, out: pathlib.Path) -> str:
    """Random moments until the sweep is done."""
    counts: collections.Counter = collections.Counter()
    launcher = bench.launch(out)
    while True:
        try:
            status = launcher.wait(bench.rng.uniform(0.5, 3.0))
        except subprocess.TimeoutExpired:
            status = None
        if status == 0:
            return ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        if status is not None:
            if status not in (1, 75, -signal.SIGKILL):
                raise RuntimeError(f"the launcher ended with status {status}; see {out}.txt")
            launcher = bench.launch(out)
            continue
        # Enough of a mess: let it end.
        if sum(counts.values()) >= 12:
            continue
        workers = _workers(launcher.pid)
        kind = bench.rng.choice(("worker", "worker", "launcher", "Ctrl-C"))
        if kind == "worker" and workers:
            os.kill(bench.rng.choice(workers), signal.SIGKILL)
            counts["workers killed"] += 1
        elif kind == "launcher":
            launcher.kill()
            counts["launchers killed"] += 1
        elif kind == "Ctrl-C" and workers:
            launcher.send_signal(signal.SIGINT)
            counts["Ctrl-C"] += 1


def launchers(bench: Bench, out: pathlib.Path) -> str:
    """The second, third and fourth launcher must be refused, and must not disturb the first."""
    first = bench.launch(out)
    _wait_for(first, lambda: (out / "runs").is_dir())
    refused = [bench.finish(bench.launch(out), 2) for _ in range(3)]
    bench.finish(first, 0)
    return f"{len(refused)} launchers refused"


def disk(bench: Bench, out: pathlib.Path) -> str:
    """One run lives on a file system that is nearly full; later somebody makes room."""
    victim = _victim(bench, out)
    victim.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(victim)], check=True)
    try:
        bench.finish(bench.launch(out), 1)
        failures = _failures(out, victim.name)
        subprocess.run(["mount", "-o", "remount,size=16m", str(victim)], check=True)
        bench.whole(out)
        # What is compared must outlive the mount.
        subprocess.run(["cp", "-a", str(victim), f"{victim}.copy"], check=True)
    finally:
        subprocess.run(["umount", str(victim)], check=True)
    victim.rmdir()
    os.rename(f"{victim}.copy", victim)
    return f"{failures} attempts failed, then room was made"


def fails(bench: Bench, out: pathlib.Path) -> str:
    """A file lies where the checkpoints should go."""
    victim = _victim(bench, out)
    victim.mkdir(parents=True)
    (victim / "checkpoints").write_text("in the way")
    bench.finish(bench.launch(out), 1)
    failures = _failures(out, victim.name)
    done = sum(p.exists() for p in (out / "runs").glob("*/record.json"))
    if (failures, done) != (3, N_RUNS - 1):
        raise RuntimeError(f"{failures} attempts and {done} records, not 3 and {N_RUNS - 1}")
    (victim / "checkpoints").unlink()
    bench.whole(out)
    return f"{failures} attempts failed, the others unharmed, then mended"


def clock(bench: Bench, out: pathlib.Path) -> str:
    """sitecustomize is imported by every Python process of the sweep."""
    site = bench.path("site")
    site.mkdir()
    (site / "sitecustomize.py").write_text(JUMPING_CLOCK)
    bench.whole(out, PYTHONPATH=str(site))
    times = [
        row["time"]
        for run in (out / "runs").iterdir()
        for row in read_metrics(run)
        if "time" in row
    ]
    jumps = sum(t > time.time() + 1e6 for t in times)
    if not 0 < jumps < len(times):
        raise RuntimeError(f"the clock did not jump: {jumps} of {len(times)} rows")
    return f"{jumps} of {len(times)} rows a year ahead"


def wandb(bench: Bench, out: pathlib.Path) -> str:
    """Nothing listens at the address."""
    bench.whole(out, "--wandb=faults", WANDB_BASE_URL="http://127.0.0.1:9", WANDB_API_KEY="0" * 40)
    return "every run mirrored to nobody"


FAULTS: dict[str, Callable[[Bench, pathlib.Path], str]] = {
    f.__name__: f for f in (kills, launchers, disk, fails, clock, wandb)
}


def main(argv: list[str] | None = None) -> int:
    """Prints one row a fault; 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", help=f"of {', '.join(FAULTS)}; repeat for more")
    parser.add_argument("--steps", type=int, default=1000, help="of the longest runs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--directory", type=pathlib.Path, help="kept; default: a temporary one")
    arguments = parser.parse_args(argv)
    for name in arguments.only or ():
        if name not in FAULTS:
            raise unknown("fault", name, FAULTS)
    chosen = arguments.only or list(FAULTS)
    bad = 0
    print(f"{'fault':<10} {'seconds':>7} {'attempts':>8}  {'verdict':<22} what happened")
    with tempfile.TemporaryDirectory() as temporary:
        directory = (arguments.directory or pathlib.Path(temporary)).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        bench = Bench(directory, arguments.steps, arguments.seed)
        start = time.monotonic()
        bench.whole(bench.path("undisturbed"))
        print(f"{'none':<10} {time.monotonic() - start:7.0f} {N_RUNS:>8}", flush=True)
        for name in chosen:
            start, out = time.monotonic(), bench.path(name)
            done = FAULTS[name](bench, out)
            wrong = differences(bench.path("undisturbed"), out)
            bad += bool(wrong)
            attempts = sum(read_record(run)["attempts"] for run in (out / "runs").iterdir())
            verdict = f"{len(wrong)} differences" if wrong else "12 runs, all equal"
            seconds = time.monotonic() - start
            print(f"{name:<10} {seconds:7.0f} {attempts:>8}  {verdict:<22} {done}", flush=True)
            for line in wrong[:10]:
                print(f"  DIFFERS: {line}")
    return int(bool(bad))


def differences(undisturbed: pathlib.Path, out: pathlib.Path) -> list[str]:
    """What is not accounted for, or not equal."""
    wrong, specs = [], read_sweep(undisturbed).runs
    table = out / "table.csv"
    command = [sys.executable, "-m", "scaling", "runs", str(out), f"--csv={table}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    if sorted(row["run_id"] for row in rows) != sorted(spec.run_id for spec in specs):
        wrong.append(f"{len(rows)} rows, not each of the {len(specs)} runs once")
    found = collections.Counter(row["status"] for row in rows)
    if found != {"complete": N_RUNS - DIVERGED, "diverged": DIVERGED}:
        wrong.append(f"states: {dict(found)}")
    if len(list((out / "runs").iterdir())) != N_RUNS:
        wrong.append("a directory too many or too few under runs/")
    for spec in specs:
        pair = [where / "runs" / spec.run_id for where in (undisturbed, out)]
        if seems_held(pair[1]):
            wrong.append(f"{spec.run_id}: a process still holds it")
        if not (pair[1] / "record.json").exists():
            wrong.append(f"{spec.run_id}: no record")
            continue
        # wandb's own directory and its warnings are not part of the result.
        records = [constant(read_record(run)) for run in pair]
        wrong += compare_json(f"{spec.run_id} record", *records)
        metrics = [constant(read_metrics(run)) for run in pair]
        if metrics[0] != metrics[1]:
            wrong.append(f"{spec.run_id}: metrics ({len(metrics[0])}, {len(metrics[1])} rows)")
    return wrong


def _victim(bench: Bench, out: pathlib.Path) -> pathlib.Path:
    """Directory of one plain run of the sweep, before it has begun."""
    specs = read_sweep(bench.path("undisturbed")).runs
    run_id = next(spec.run_id for spec in specs if spec.group == "plain")
    # Begun and stopped: a sweep directory with nothing done yet.
    process = bench.launch(out)
    _wait_for(process, lambda: (out / "launch" / "settings.json").exists())
    process.send_signal(signal.SIGTERM)
    bench.finish(process, 75, -signal.SIGTERM)
    victim = out / "runs" / run_id
    if victim.exists():
        raise RuntimeError(f"{victim} began before it could be disturbed")
    return victim


def _failures(out: pathlib.Path, run_id: str) -> int:
    rows = (out / "launch" / "failures.jsonl").read_text().splitlines()
    return sum(json.loads(row)["run_id"] == run_id for row in rows)


def _workers(launcher: int) -> list[int]:
    """Process numbers of the launcher's children."""
    path = pathlib.Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def _wait_for(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args}: ended with {process.returncode}, or no progress")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
