"""A directory in which every printed command finds what it names: tables, sweeps, configs."""

import json
import pathlib
import re
import shutil

import numpy as np
import pandas as pd

from tests.documents.printed import ROOT
from tests.report.synthetic import (
    cipher_probe,
    loss_at,
    record_of,
    set_fields,
    write_run,
    write_sweep,
)

DOUBLING_SIZES = tuple(10_000 * 2**k for k in range(6))
DOUBLING_BUDGETS = tuple(500_000 * 2**k for k in range(6))
# On both sides of 1e21 FLOPs.
LARGE_SIZES = tuple(10**8 * 2**k for k in range(6))
LARGE_BUDGETS = tuple(10**10 * 2**k for k in range(6))
LADDER = '''"""Two tiny runs under the name that the documents use."""

from scaling.resolve import default_config
from scaling.sweep import designs


def get_config(variant=""):
    base = default_config()
    base.data.seq_len = 32
    group = designs.parametric(base, "one_depth", widths=(16, 32), budgets=("40 steps",))
    return designs.sweep("ladder", text=group)
'''
LEARNING_RATES = ((1e-3, 0.02), (2e-3, 0.0), (4e-3, 0.03))  # and how far above the best loss
MEASURED = {"n_params": "size", "n_tokens": "tokens", "loss": "val_loss"}


def start(place: pathlib.Path) -> None:
    """Fills `place` with what somebody has who has run nothing yet."""
    _configs(place)
    _tables(place)
    (place / "corpus").mkdir()
    _documents(place / "corpus" / "a.jsonl.zst")
    (place / "far/scratch").mkdir(parents=True)


def build(place: pathlib.Path) -> None:
    """And with what the writers of the library make of invented numbers."""
    start(place)
    for name in ("adamw", "muon", "quickstart", "parametric", "kaplan", "overtrain", "grid"):
        _sweep(place / "runs" / name, seed=len(name))
    # With sizes and budgets that double, 6ND takes few values: IsoFLOP curves.
    _sweep(place / "runs" / "isoflop", sizes=DOUBLING_SIZES, budgets=DOUBLING_BUDGETS)
    _sweep(place / "sweep", sizes=LARGE_SIZES, budgets=LARGE_BUDGETS)
    for name in ("sweeps/ladder", "sweeps/cipher", "runs/cipher"):
        _sweep(place / name)
    for number, name in enumerate(("tiny", "wide")):
        record = record_of(f"{number:016x}", name, 10_000, 1_000_000, 2.5)
        write_run(place / "runs" / name, record)
    _big_bench(place)
    _lm_eval(place / "lm_eval_results")


def _configs(place: pathlib.Path) -> None:
    (place / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.py"):
        (place / "configs" / path.name).symlink_to(path)
    (place / "configs" / "ladder.py").write_text(LADDER)
    (place / "ladder.py").write_text(LADDER)
    # Its batches are split over 256 devices.
    large = "base.train.batch_size = base.eval.batch_size = 1024"
    (place / "mine.py").write_text(LADDER.replace("    group", f"    {large}\n    group"))
    (place / "tests").symlink_to(ROOT / "tests")


def _tables(place: pathlib.Path) -> None:
    sizes, budgets = np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 5e10, 5)
    n, d = (v.ravel() for v in np.meshgrid(sizes, budgets))
    rng = np.random.default_rng(0)
    loss = loss_at(n, d) * np.exp(0.002 * rng.standard_normal(n.size))
    results = pd.DataFrame({"n_params": n, "n_tokens": d, "loss": loss, "flops": 6 * n * d})
    results = results.assign(**{theirs: results[ours] for ours, theirs in MEASURED.items()})
    results["run"] = [f"run-{i}" for i in range(n.size)]
    results["C"], results["n_no_embed"] = results["flops"] * 1e3, n * 0.9
    results["acc"] = np.round(0.25 + 0.7 / (1 + (2e8 / n) ** 2), 3)
    results.to_csv(place / "results.csv", index=False)
    old = results[["size", "tokens", "val_loss"]]
    old = old.assign(size_m=n / 1e6, n_tokens=d, ppl=np.exp(loss))
    old.to_csv(place / "old.csv", index=False)
    results[["n_params", "n_tokens", "loss"]].to_csv(place / "ladder.csv", index=False)
    sheet = {"Params (M)": n / 1e6, "Tokens, seen": d / 1e9, "Val Loss": loss, "State": "finished"}
    sheet |= {"Tokens (B)": d / 1e9, "lr": 1e-3}
    pd.DataFrame(sheet).to_csv(place / "sheet.csv", index=False, sep=";", decimal=",")
    bowl = [results.assign(lr=lr, batch=64, loss=loss * (1 + x)) for lr, x in LEARNING_RATES]
    pd.concat(bowl).to_csv(place / "lr_sweep.csv", index=False)
    _curves(place / "curves.jsonl")
    (place / "chart.csv").symlink_to(ROOT / "tests/data/cases/09-wandb-chart-csv/chart.csv")
    sizes = {"run": ["tiny-20m", "small-120m", "base-800m"], "n_params": [2e7, 1.2e8, 8e8]}
    pd.DataFrame(sizes).to_csv(place / "sizes.csv", index=False)


def _curves(path: pathlib.Path) -> None:
    """Three published loss curves, every fourth row of each."""
    folder = ROOT / "tests/data/published/multi_power_law_100m"
    schedules = pd.read_csv(folder / "schedules.csv").set_index("curve")["schedule"]
    names = ("cosine_24000", "constant_24000", "wsdcon_9")
    curves = [pd.read_csv(folder / f"{name}.csv")[::4].assign(curve=name) for name in names]
    table = pd.concat(curves)
    table.assign(schedule=table["curve"].map(schedules)).to_json(path, orient="records", lines=True)


def _big_bench(place: pathlib.Path) -> None:
    """Score files of one task, in BIG-bench's own shape, for six models."""
    folder = place / "BIG-bench/bigbench/benchmark_tasks/arithmetic/results"
    folder.mkdir(parents=True)
    for k in range(6):
        model = {"model_family": "BIG-G T=0", "model_name": f"m{k}", "total_params": 10 ** (7 + k)}
        model["non_embedding_params"] = model["total_params"]
        score = {"score_dict": {"exact_str_match": 0.15 * k}, "number_of_shots": 2}
        score |= {"preferred_score": "exact_str_match", "low_score": 0.0, "high_score": 1.0}
        score["subtask_description"] = "arithmetic"
        found = {"task": {"task_name": "arithmetic"}, "model": model, "scores": [score]}
        (folder / f"scores_BIG-G_m{k}.json").write_text(json.dumps(found))


def _lm_eval(folder: pathlib.Path) -> None:
    """The results of eight models, in lm-eval's own files, under the name of a task of theirs."""
    shutil.copytree(ROOT / "tests/data/cases/11-lm-eval-json/results", folder)
    for path in folder.glob("*/*.json"):
        path.write_text(path.read_text().replace("toy_mc", "arc_easy"))


def _sweep(path: pathlib.Path, **options) -> None:
    write_sweep(path, probes=True, noise=0.002, **options)
    for record in sorted(path.glob("runs/*/record.json")):
        found = json.loads(record.read_text())
        n, d = found["n_params"], found["n_tokens"]
        probe = cipher_probe(n, found["n_steps"], d)
        for group in probe["cipher"]["groups"]:
            group["metrics"]["exact_match"] = group["metrics"]["accuracy"]
        set_fields(path, found["run_id"], probes=probe)


def _documents(path: pathlib.Path) -> None:
    import zstandard

    lines = [json.dumps({"text": f"document {i} " * 40}) for i in range(300)]
    path.write_bytes(zstandard.compress("\n".join(lines).encode()))


def train(run) -> None:
    """Replaces the runs that probes are asked of by real ones, very small; `run` is the command."""
    for name in ("runs/cipher", "sweeps/cipher", "sweeps/ladder", "runs/text"):
        shutil.rmtree(name, ignore_errors=True)
    cipher = ("train", "--config=configs/emergence_cipher.py:run", "--workdir=runs/cipher")
    small = ("width=16", "n_heads=2", "depth=1")
    few = ("--config.train.batch_size=8", "--config.train.duration=1000 steps")
    text = ("train", "--config=configs/tiny.py:small", "--workdir=runs/text")
    commands = [
        (*cipher, *(f"--config.model.{s}" for s in small), *few),
        (*text, "--config.train.duration=4 steps"),
        ("sweep", "--config=configs/emergence_cipher.py:tiny", "--out=sweeps/cipher"),
        ("sweep", "--config=configs/ladder.py", "--out=sweeps/ladder", "--prepare"),
        ("sweep", "--config=configs/ladder.py", "--out=far/bucket/ladder", "--prepare"),
    ]
    for command in commands:
        assert run(*command) == 0, command
    questions = [
        {"question": f"{i} and {i} is", "choices": [str(2 * i), str(3 * i)], "gold": 0}
        for i in range(1, 40)
    ]
    pathlib.Path("q.jsonl").write_text("\n".join(map(json.dumps, questions)))


def with_a_run_of(argv: list[str]) -> list[str]:
    """The command with the run_id of a run that is there, in place of the printed one."""
    runs = json.loads(pathlib.Path(argv[1], "sweep.json").read_text())["runs"]
    return [re.sub("^--run-id=.*", f"--run-id={runs[0]['run_id']}", word) for word in argv]
