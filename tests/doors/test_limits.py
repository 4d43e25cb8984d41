"""Values too large for the machine are refused with the estimate, before anything of that size."""

import pathlib
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from scaling.analysis.bootstrap import Bootstrap
from scaling.cli import main
from scaling.config import OptimConfig
from scaling.doors import limits
from scaling.doors.limits import bytes_text, check_path, refuse_beyond, refuse_too_many
from scaling.durations import Rates
from scaling.errors import UserError
from scaling.optim.schedules import learning_rates
from scaling.sharding import make_mesh, parse_mesh
from scaling.training.prepare import RunArgs, refuse_what_cannot_fit
from tests.helpers import small_config

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = f"--config={ROOT}/configs/tiny.py:small"
GIB = 2**30

# What is asked for -> words of the refusal: the field with its value, the estimate.
TOO_LARGE = {
    "--config.model.width=1000000": ("model.width=1000000", "TiB for weights and gradients"),
    "--config.model.transformer.head_size=2147483648": (
        "head_size=2147483648",
        "TiB for weights",
    ),
    "--config.model.depth=10000 --config.model.width=65536": ("model.depth=10000", "PiB"),
    "--config.train.batch_size=10000000 --config.data.seq_len=1024": (
        "train.batch_size=10000000, data.seq_len=1024",
        "TiB for the rows of one dispatch",
    ),
    "--config.eval.batch_size=2147483648": ("eval.batch_size=2147483648", "TiB for the rows"),
    "--mesh=data:100000000000": ("--mesh=data:100000000000", "1,048,576 devices"),
    f"--mesh=data:{'9' * 5000}": ("--mesh=data:999", "1,048,576 devices"),
    "--mesh=data:1000,fsdp:1000,tensor:1000": ("--mesh=", "1,048,576 devices"),
    "--mesh=data:1e11": ("--mesh=data:1e11", "AXIS:SIZE"),
    "--workdir=" + "n" * 256: ("--workdir: a name of 256 bytes", "255 is the most"),
    "--workdir=" + "ü" * 128: ("--workdir: a name of 256 bytes", "255 is the most"),
    "--workdir=" + "/deep" * 900: ("--workdir: a path of 4500 bytes", "4095 is the most"),
}


@pytest.mark.parametrize("flags", TOO_LARGE, ids=lambda text: text[:40])
def test_train_refuses_before_anything_is_allocated(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, since = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    workdir = [] if "--workdir" in flags else ["--workdir=run"]
    words = [f"--{word}" for word in flags.split("--") if word]
    words = [word.strip() for word in words]
    assert main(["train", CONFIG, *workdir, *words]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    for word in TOO_LARGE[flags]:
        assert word in said
    assert time.monotonic() - since < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIB / 2**10
    assert not list(tmp_path.iterdir())


def test_the_rates_of_nine_hundred_million_steps(monkeypatch):
    """6.6 GiB of float64, four times over while they are made."""
    monkeypatch.setattr("scaling.optim.schedules.memory_bytes", lambda: 64 * GIB)
    rates = Rates(1000, None, 500, 3e4)
    with pytest.raises(UserError, match=r"train\.duration: .*900,000,000 steps .*23\.47 GiB .*16"):
        learning_rates(OptimConfig(), 900_000_000, rates)
    assert len(learning_rates(OptimConfig(), 1_000_000, rates)) == 1_000_000


def test_what_fits_is_not_refused(monkeypatch):
    mesh = make_mesh(parse_mesh("data:2"))
    config = small_config()
    refuse_what_cannot_fit(config, mesh)
    monkeypatch.setattr("scaling.training.prepare.memory_bytes", lambda: 100_000)
    with pytest.raises(UserError, match=r"model\.width=32.* for weights and gradients alone"):
        refuse_what_cannot_fit(config, mesh)
    refuse_what_cannot_fit(config, mesh, n_processes=100)


@pytest.mark.parametrize("n", [limits.MOST_FITS + 1, 10**9])
def test_resamples_and_starts_nobody_waits_for(n):
    with pytest.raises(UserError, match=rf"--bootstrap: {n:,} draws .*at least .*B of their"):
        Bootstrap(n)
    with pytest.raises(UserError, match=rf"--starts: {n:,} starts .*10,000,000 is the most"):
        refuse_too_many("--starts", n, "starts")
    assert Bootstrap(limits.MOST_FITS).n == limits.MOST_FITS


def test_fit_refuses_a_thousand_million_draws(tmp_path, capsys):
    r = np.random.default_rng(0)
    rows = [f"{n:g},{d:g},{1.7 + n**-0.3 + d**-0.3 + 1e-3 * r.normal():.5f}"
            for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9, 1e10)]  # fmt: skip
    table = tmp_path / "t.csv"
    table.write_text("n_params,n_tokens,loss\n" + "\n".join(rows) + "\n")
    for flag in ("--bootstrap", "--starts"):
        assert main(["fit", str(table), "--law", "chinchilla", flag, "1000000000"]) == 2
        assert f"{flag}: 1,000,000,000 " in capsys.readouterr().err


def test_a_mesh_of_many_cpu_devices_starts_no_backend_of_that_size(tmp_path):
    """Its own process: devices are counted once, before the backend starts."""
    argv = [sys.executable, "-m", "scaling", "train", CONFIG, f"--workdir={tmp_path / 'run'}"]
    argv += ["--mesh=data:1048576", "--config.train.batch_size=1048576"]
    argv += ["--config.eval.batch_size=1048576", "--config.train.steps_per_dispatch=1"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr[-500:]
    assert "--mesh=data:1048576,fsdp:1,tensor:1 needs 1048576 devices" in done.stderr


def test_a_path_is_measured_in_bytes():
    check_path("a" * 255, "--out")
    check_path("ü" * 127, "--out")
    with pytest.raises(UserError, match="--out: a name of 256 bytes"):
        check_path("x/" + "ü" * 128 + "/y", "--out")
    with pytest.raises(UserError, match="NUL"):
        check_path("a\0b", "--out")
    with pytest.raises(UserError, match="--workdir"):
        RunArgs(pathlib.Path("a" * 256))


def test_sizes_are_said_in_units_of_1024():
    texts = {0: "0 B", 1023: "1,023 B", 1024: "1.00 KiB", 1.5 * GIB: "1.50 GiB"}
    assert {n: bytes_text(n) for n in texts} == texts
    assert bytes_text(3 * 2.0**60) == "3.00 EiB"
    refuse_beyond(10, 10, "x=1", "of it")
    with pytest.raises(UserError, match="x=1 needs at least 11 B of it; there are 10 B"):
        refuse_beyond(10, 11, "x=1", "of it")
