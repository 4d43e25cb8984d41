"""Every model with every objective: what `check` admits works in full, what it refuses says why."""

import itertools
import shutil

import jax
import pytest

from scaling import cli
from scaling.config import MODELS, OBJECTIVES, DataConfig
from scaling.core.build import make_program
from scaling.cost import accounting
from scaling.errors import UserError
from scaling.probes.base import Target
from scaling.resolve import resolve, to_dict
from scaling.run.record import read_metrics, read_record
from scaling.sharding import abstract_mesh, parse_mesh, use_mesh
from scaling.training.prepare import RunArgs
from scaling.training.train import train

PAIRS = list(itertools.product(MODELS, OBJECTIVES))
STEPS = 8
DATA = DataConfig(seq_len=16)
EXTRA = {name: OBJECTIVES.load(name)().extra_ids(DATA) for name in OBJECTIVES}


def settings(model, objective, **sections):
    return {
        "model": {"name": model, "width": 32, "depth": 2},
        "objective": {"name": objective},
        # What the objective adds makes 64, which the mesh divides.
        "data": {"name": "markov", "seq_len": 16, "markov": {"vocab_size": 64 - EXTRA[objective]}},
        "train": {"duration": f"{STEPS} steps", "batch_size": 16, "steps_per_dispatch": 2},
        "eval": {"every": "4 steps", "batch_size": 8, "n_rows": 16},
        "optim": {"name": "sgd", "peak_lr": 0.1},
    } | sections


def admitted(pair):
    try:
        resolve(settings(*pair))
    except UserError:
        return False
    return True


ADMITTED = [pair for pair in PAIRS if admitted(pair)]
REFUSED = [pair for pair in PAIRS if pair not in ADMITTED]


def names(pair):
    return "-".join(pair)


def args(workdir, mesh, **more):
    every = {"checkpoint_every": RunArgs.checkpoint_every.parse("4 steps", field="x")}
    return RunArgs(workdir=workdir, mesh=mesh, quiet=True, keep_last=9, **every, **more)


def rows_of(workdir):
    """Metrics without clocks."""
    return [{k: v for k, v in row.items() if k != "time"} for row in read_metrics(workdir)]


@pytest.fixture(scope="module", params=ADMITTED, ids=names)
def run(request, tmp_path_factory):
    """(config, workdir) of a run on eight devices."""
    workdir = tmp_path_factory.mktemp("pair") / "run"
    config = resolve(settings(*request.param))
    assert train(config, args(workdir, "data:2,fsdp:2,tensor:2")) == "complete"
    return config, workdir


def test_it_equals_one_device(run, tmp_path):
    config, workdir = run
    assert train(config, args(tmp_path / "one", "data:1")) == "complete"
    many, one = rows_of(workdir), rows_of(tmp_path / "one")
    assert [row["step"] for row in many] == [row["step"] for row in one]
    for a, b in zip(many, one, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert many[0]["loss"] != many[STEPS // 2]["loss"]


def test_it_resumes_bit_for_bit(run, tmp_path):
    config, workdir = run
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / "record.json").unlink()
    shutil.rmtree(copy / "checkpoints" / f"step_{STEPS:010d}")
    assert train(config, args(copy, "data:2,fsdp:2,tensor:2")) == "complete"
    assert rows_of(copy) == rows_of(workdir)


def test_it_is_priced(run):
    config, workdir = run
    record = read_record(workdir)
    with use_mesh(abstract_mesh(parse_mesh(""))):
        vocab_size = record["data"]["vocab_size"]
        program = make_program(config, vocab_size, abstract_mesh(parse_mesh("")))
    arrays = jax.tree.leaves(program.abstract_state.params)
    assert record["n_params"] == sum(a.size for a in arrays)
    assert record["n_tokens"] == STEPS * config.tokens_per_step
    assert record["data"]["vocab_size"] == 64
    # Wide, so that element-wise work, of which only the compiler knows, does not count.
    model = {"name": config.model.name, "width": 512, "depth": 2}
    wide = resolve(to_dict(config) | {"model": model, "data": {"name": "markov", "seq_len": 64}})
    matmul, compiler = (
        accounting.prediction_cost(wide, name, 2048) for name in ("matmul", "compiler")
    )
    assert matmul.forward == pytest.approx(compiler.forward, rel=0.05)
    # Gradients of a loop over positions are added up position by position.
    assert matmul.training == pytest.approx(compiler.training, rel=0.1)


def test_probes_ask_it_or_say_why_not(run):
    config, _ = run
    if config.objective.options.next_token:
        Target.of(config, 64)
        return
    with pytest.raises(UserError, match=rf"objective.name='{config.objective.name}'"):
        Target.of(config, 64)


@pytest.mark.parametrize("pair", REFUSED, ids=names)
def test_what_is_refused_is_refused_before_anything_is_written(pair, tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(
        "import json\nimport ml_collections\n"
        f"def get_config():\n    return ml_collections.ConfigDict({settings(*pair)!r})\n"
    )
    assert cli.main(["train", f"--config={path}", f"--workdir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert f"model.name={pair[0]!r}" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
