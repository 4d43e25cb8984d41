"""`scaling train` as a user meets it: bad input is one line and exit status 2, before compute."""

import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from scaling.cli import main
from scaling.cli.flags import load_run_config
from scaling.run.record import read_metrics, read_record

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIG = f"--config={ROOT}/configs/tiny.py:small"
SMALL = [
    CONFIG,
    "--config.data.name=markov",
    "--config.data.seq_len=16",
    "--config.model.width=16",
    "--config.model.transformer.n_heads=2",
    "--config.model.depth=1",
    "--config.train.batch_size=8",
    "--config.train.duration=6 steps",
    "--config.eval.n_rows=8",
    "--config.eval.batch_size=8",
]

BAD = {
    "no config": ([], "--config=FILE is missing"),
    "no such file": (["--config=configs/tinny.py"], "tinny.py"),
    "misspelt key": ([CONFIG, "--config.model.dept=4"], "did you mean 'model.depth'"),
    "no such key": ([CONFIG, "--config.data.text.files=a"], "unknown config key 'data.text.files'"),
    "no such section": ([CONFIG, "--config.optin.name=lion"], "did you mean 'optim'"),
    "wrong type": ([CONFIG, "--config.model.depth=deep"], "depth"),
    "zero layers": ([CONFIG, "--config.model.depth=0"], "model.depth=0 is below"),
    "negative": ([CONFIG, "--config.model.width=-64"], "model.width=-64"),
    "not a number": ([CONFIG, "--config.optim.peak_lr=nan"], "optim.peak_lr=nan"),
    "infinite": ([CONFIG, "--config.optim.weight_decay=inf"], "optim.weight_decay=inf"),
    "absurd": ([CONFIG, "--config.model.depth=1000000"], "model.depth=1000000 is above"),
    "heads": (
        [CONFIG, "--config.model.transformer.n_heads=5"],
        "a multiple of model.transformer.n_heads=5",
    ),
    "kv heads": ([CONFIG, "--config.model.transformer.n_kv_heads=3"], "n_kv_heads=3"),
    "zero tokens": ([CONFIG, "--config.train.duration=0 tokens"], "trains on nothing"),
    "two durations": ([CONFIG, "--config.train.duration=5 steps 1e6 tokens"], "one number and one"),
    "endless": ([CONFIG, "--config.train.duration=1e30 steps"], "1e+30 steps'"),
    "seed": ([CONFIG, "--config.seed=99999999999999999999"], "seed=99999999999999999999"),
    "kernel": (
        [CONFIG, "--config.model.transformer.attention=cudnn", "--config.model.dtype=bfloat16"],
        "needs a GPU",
    ),
    "unknown unit": ([CONFIG, "--config.train.duration=5 step"], "did you mean 'steps'"),
    "choice": ([CONFIG, "--config.model.transformer.norm=rmsnrom"], "did you mean 'rmsnorm'"),
    "source": ([CONFIG, "--config.data.name=stdlb"], "did you mean 'stdlib'"),
    "optimiser": ([CONFIG, "--config.optim.name=adam"], "did you mean 'adamw'"),
    "schedule": ([CONFIG, "--config.optim.schedule.name=wds"], "did you mean 'wsd'"),
    "option of another kind": ([CONFIG, "--config.optim.lion.b1=0.5"], "optim.name='adamw'"),
    "microbatches": ([CONFIG, "--config.train.n_microbatches=3"], "n_microbatches=3"),
    "mesh size": ([CONFIG, "--mesh=data:3"], "cannot be split 3 ways"),
    "mesh devices": ([CONFIG, "--mesh=data:16"], "needs 16 devices"),
    "mesh axis": ([CONFIG, "--mesh=date:2"], "did you mean 'data'"),
    "warm-up": ([CONFIG, "--config.optim.schedule.warmup=500 steps"], "500"),
    "name with ..": ([CONFIG, "--config.name=../up"], "'../up'"),
    "name with newline": ([CONFIG, "--config.name=a\nb"], r"'a\nb'"),
    "name with $()": ([CONFIG, "--config.name=$(id)"], "'$(id)'"),
    "missing text": (
        [CONFIG, "--config.data.name=text", "--config.data.text.paths=('/nowhere/x.txt',)"],
        "x.txt",
    ),
    "flag": ([CONFIG, "--meshh=data:2"], "did you mean '--mesh'"),
    "flag of the wrong type": ([CONFIG, "--keep-last=few"], "'few'"),
    "nothing kept": ([CONFIG, "--keep-last=0"], "keep_last=0"),
    "never kept": ([CONFIG, "--keep-every=0"], "keep_every=0"),
    "saved all the time": ([CONFIG, "--checkpoint-every=0%"], "more than zero"),
    "no workdir": ([CONFIG, "--workdir="], "--workdir: it is empty"),
    "processes": ([CONFIG, "--distributed=localhost:9,2,2"], "indices of 2 processes"),
    "cadence": ([CONFIG, "--checkpoint-every=often"], "--checkpoint-every='often'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_status_2(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments, message = BAD[case]
    assert main(["train", f"--workdir={tmp_path / 'run'}", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_flags_set_fields_that_are_none(monkeypatch):
    monkeypatch.chdir(ROOT)
    own = "--config.model.transformer"
    config, rest = load_run_config([CONFIG, f"{own}.head_size=6", f"{own}.n_kv_heads=2"])
    found = config.model.options
    assert (found.head_size, found.n_kv_heads, rest) == (6, 2, [])


def test_an_unwritable_workdir_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", *SMALL, f"--workdir={tmp_path / 'file' / 'run'}"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_token_ids_beyond_the_vocabulary_are_refused(tmp_path, capsys):
    np.arange(5000, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    arguments = [
        CONFIG,
        "--config.data.name=tokens",
        f"--config.data.tokens.paths=('{tmp_path / 'ids.bin'}',)",
        "--config.data.tokens.vocab_size=256",
    ]
    assert main(["train", *arguments, f"--workdir={tmp_path / 'run'}"]) == 2
    assert "256" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["train", "plan", "show", "data", "fit", "laws", "predict"])
def test_help_has_examples(verb, capsys):
    try:
        status = main([verb, "--help"])
    except SystemExit as stop:
        status = stop.code
    assert status == 0
    assert f"scaling {verb}" in capsys.readouterr().out


def command(*arguments):
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(pathlib.Path.home()),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "scaling", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_processes_train_to_the_losses_of_one(tmp_path):
    """Over gloo on loopback, two devices each; rows are split by process."""
    port, runs = free_port(), []
    for index in range(2):
        runs.append(
            command(
                *SMALL,
                f"--workdir={tmp_path / 'two'}",
                "--mesh=data:2,fsdp:2",
                f"--distributed=127.0.0.1:{port},2,{index}",
                f"--cache-dir={tmp_path / 'cache'}",
                "--quiet",
            )
        )
    outputs = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    one = [*SMALL, f"--workdir={tmp_path / 'one'}", "--mesh=data:2,fsdp:2"]
    assert main(["train", *one, "--quiet"]) == 0
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name) if row["kind"] == "train"]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    records = [read_record(tmp_path / name) for name in ("one", "two")]
    assert records[0]["n_tokens"] == records[1]["n_tokens"]
    assert records[1]["hardware"]["n_processes"] == 2
