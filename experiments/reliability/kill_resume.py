"""Does a run that is killed again and again end exactly where an unbroken one ends?

python -m experiments.reliability.kill_resume              25 kills, some minutes
python -m experiments.reliability.kill_resume --kills=4    the version that is a test

Hypothesis: yes, bit for bit. A real `scaling train` gets SIGKILL at random moments, in turn:
while steps run (at a random step), inside a save (a random time after its temporary directory
appears) and at start-up (a random time after launch: imports, restore, clean-up, compilation).
Compared with the same run left alone: every parameter and optimiser array, the state of the data
iterator, every row of the metrics (so also every batch: each row has the loss of its own batch)
and the numbers of the record.

Verdict: yes. 25 kills of a 1000-step run, 17 of which left a save unfinished: 37 arrays in each of
11 checkpoints, 1004 rows of metrics and the record are equal.
"""

import argparse
import collections
import itertools
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from scaling.errors import UserError
from scaling.run.record import read_metrics, read_record

RUN = (
    "--config=configs/tiny.py:small",
    "--config.model.depth=1",
    "--config.model.width=16",
    "--config.data.name=markov",
    "--config.data.seq_len=32",
    "--config.train.batch_size=8",
    "--config.train.steps_per_dispatch=5",
    "--config.eval.n_rows=16",
    "--config.eval.batch_size=16",
    "--checkpoint-every=10 steps",
    "--keep-every=100",
    "--quiet",
)
KINDS = ("running", "saving", "starting")
# What may differ: clocks, how often the command was started, edits of the source meanwhile.
VARYING = {
    *("time", "time_s", "wall_time_s", "compile_time_s", "created", "finished"),
    *("attempts", "code"),
}
TIMEOUT = 300.0
_POLL = 0.002


def main(argv: list[str] | None = None) -> int:
    """Prints one line per kill and the verdict; 0 when nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--steps", type=int, help="length of the run (default: 40 per kill)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--directory", type=pathlib.Path, help="kept; default: a temporary one")
    arguments = parser.parse_args(argv)
    if arguments.kills < 1:
        raise UserError(f"--kills={arguments.kills} must be at least 1")
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.directory or pathlib.Path(temporary)
        steps = arguments.steps or 40 * arguments.kills
        differences = experiment(directory, arguments.kills, steps, random.Random(arguments.seed))
    for line in differences:
        print(f"DIFFERS: {line}")
    print("verdict:", "not the same run" if differences else "the same, bit for bit")
    return int(bool(differences))


def experiment(
    directory: pathlib.Path, n_kills: int, n_steps: int, rng: random.Random
) -> list[str]:
    """Runs once unbroken and once with `n_kills` kills; returns what differs."""
    unbroken, killed = directory / "unbroken", directory / "killed"
    start = time.monotonic()
    process = _launch(unbroken, n_steps)
    _wait_for(process, lambda: _last_step(unbroken) > 0)
    startup = time.monotonic() - start
    _finish(process)
    deaths = collections.Counter()
    # Targets in order, so that every kill falls inside the run however fast the machine is.
    targets = sorted(rng.randrange(n_steps * 9 // 10) for _ in range(n_kills))
    for kind, target in zip(itertools.cycle(KINDS), targets, strict=False):
        inside = _kill_once(killed, n_steps, kind, target, rng, startup)
        deaths[kind] += 1
        deaths["inside a save"] += inside
        print(f"killed while {kind} near step {target}{', inside a save' * inside}", flush=True)
    _finish(_launch(killed, n_steps))
    print(", ".join(f"{n} {kind}" for kind, n in deaths.items()))
    return compare(unbroken, killed)


def _launch(workdir: pathlib.Path, n_steps: int) -> subprocess.Popen:
    workdir.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "scaling", "train", *RUN),
        f"--config.train.duration={n_steps} steps",
        f"--workdir={workdir}",
        f"--cache-dir={workdir.parent / 'cache'}",
    ]
    root = pathlib.Path(__file__).resolve().parents[2]
    with open(workdir / "log.txt", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=root)


def _finish(process: subprocess.Popen) -> None:
    status = process.wait(TIMEOUT)
    if status != 0:
        raise RuntimeError(f"{process.args} ended with status {status}; see log.txt in its workdir")


def _kill_once(
    workdir: pathlib.Path,
    n_steps: int,
    kind: str,
    target: int,
    rng: random.Random,
    startup: float,
) -> bool:
    """Starts the run, kills it at the moment wanted; whether it died with a save unfinished."""
    before, process = _last_step(workdir), _launch(workdir, n_steps)
    if kind == "starting":
        moment = time.monotonic() + rng.uniform(0, startup)
        _wait_for(process, lambda: time.monotonic() > moment or _last_step(workdir) > before)
    else:
        _wait_for(process, lambda: _last_step(workdir) >= target)
    if kind == "saving":
        _wait_for(process, lambda: _unfinished(workdir))
        # A small save takes about a tenth of a second.
        time.sleep(rng.uniform(0, 0.1))
    process.kill()
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"ended by itself with status {process.returncode}; see log.txt")
    # At start-up the leftovers of the kill before may still be there.
    return kind != "starting" and _unfinished(workdir)


def _wait_for(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if process.poll() is not None:
            raise RuntimeError(f"ended by itself with status {process.returncode}; see log.txt")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no progress for {TIMEOUT:.0f} s")
        time.sleep(_POLL)


def _last_step(workdir: pathlib.Path) -> int:
    try:
        tail = (workdir / "metrics.jsonl").read_bytes()[-4096:].splitlines()
    except FileNotFoundError:
        return -1
    for line in reversed(tail):
        try:
            return json.loads(line)["step"]
        except (ValueError, KeyError):
            continue
    return -1


def _unfinished(workdir: pathlib.Path) -> bool:
    return any((workdir / "checkpoints").glob("*.scaling-tmp"))


def compare(unbroken: pathlib.Path, killed: pathlib.Path) -> list[str]:
    """One line for everything in which two finished runs differ, VARYING left out."""
    out = compare_json("record", constant(read_record(unbroken)), constant(read_record(killed)))
    rows = [constant(read_metrics(workdir)) for workdir in (unbroken, killed)]
    if len(rows[0]) != len(rows[1]):
        out.append(f"metrics: {len(rows[0])} rows against {len(rows[1])}")
    for a, b in zip(*rows, strict=False):
        out += compare_json(f"metrics of step {a['step']}", a, b)
    steps = [_checkpoints(workdir) for workdir in (unbroken, killed)]
    if steps[0] != steps[1] or not steps[0]:
        return [*out, f"checkpoints: {steps[0]} against {steps[1]}"]
    for step in steps[0]:
        paths = [workdir / "checkpoints" / step for workdir in (unbroken, killed)]
        hosts = [constant(json.loads((path / "host.json").read_text())) for path in paths]
        out += compare_json(f"{step} host state", *hosts)
        out += _compare_arrays(step, *(_arrays(path) for path in paths))
    if _unfinished(killed):
        out.append("a temporary directory was left behind")
    return out


def _checkpoints(workdir: pathlib.Path) -> list[str]:
    return sorted(p.name for p in (workdir / "checkpoints").iterdir())


def _arrays(checkpoint: pathlib.Path) -> dict[str, np.ndarray]:
    import jax
    from orbax.checkpoint import v1 as ocp

    # Onto one device of this process, whatever the mesh of the run was.
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one)
        for name, leaf in ocp.metadata(checkpoint / "arrays").metadata.items()
    }
    return {name: np.asarray(a) for name, a in ocp.load(checkpoint / "arrays", abstract).items()}


def _compare_arrays(step: str, a: dict, b: dict) -> list[str]:
    if a.keys() != b.keys():
        return [f"{step}: leaves {sorted(a.keys() ^ b.keys())} are in one of them only"]
    return [
        f"{step}: {name}"
        for name in a
        if a[name].dtype != b[name].dtype or a[name].tobytes() != b[name].tobytes()
    ]


def compare_json(what: str, a: dict, b: dict) -> list[str]:
    """One line for every key in which two objects differ."""
    return [f"{what}: {key}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]


def constant(value):
    """`value` without VARYING keys, at every depth."""
    if isinstance(value, dict):
        return {k: constant(v) for k, v in value.items() if k not in VARYING}
    return [constant(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
