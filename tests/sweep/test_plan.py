"""`scaling plan` of a sweep: the numbers add up, memory is near the truth, faults are named."""

import json

import pytest

from scaling import cli
from scaling.cost.memory import device_memory
from scaling.sharding import parse_mesh
from scaling.sweep import designs, expand
from scaling.sweep import plan as plan_module
from scaling.sweep.costs import DataFacts, Pricer
from scaling.sweep.plan import Device, plan
from tests.sweep.examples import BUDGETS, base, quickstart

ONE = parse_mesh("")
MACHINE = Device("here", 1e12, 10**9, True)


def facts_of(*groups, mesh=ONE, machine=MACHINE, unique_tokens=None, **kwargs):
    named = {f"g{i}": group for i, group in enumerate(groups)}
    pricer = Pricer(**kwargs)
    sweep = expand(designs.sweep("s", **named), pricer=pricer)
    if unique_tokens:
        vocab_size = pricer.data(sweep.runs[0].config).vocab_size
        pricer.data = lambda _: DataFacts(vocab_size, unique_tokens)
    return plan(sweep, pricer, mesh, machine)


def small(**kwargs):
    sizes = {"widths": (16, 32, 64), "budgets": BUDGETS} | kwargs
    return designs.parametric(base(), "one_depth", **sizes)


def test_totals_add_up():
    facts = facts_of(small(trunk=True))
    rows, totals = facts["runs"], facts["totals"]
    assert len(rows) == 12
    assert totals["flops"] == pytest.approx(sum(row["flops"] for row in rows))
    own = sum(row["flops_own"] for row in rows)
    assert totals["flops_own"] == pytest.approx(own)
    # Budgets 1/2, 1, 2, 4 with 25 % decay: of 7.5 parts, 3/4 of 3.5 are shared.
    assert totals["saved"] == pytest.approx(0.75 * 3.5 / 7.5, rel=0.01)
    assert totals["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    for row in rows:
        assert row["n_steps"] * row["batch_size"] * 128 == row["n_tokens"]
    assert facts["warnings"] == []


def test_time_is_own_matmul_flops_over_the_rate():
    slow = facts_of(small(), machine=Device("a", 1e9, None, True))["totals"]["seconds"]
    fast = facts_of(small(), machine=Device("a", 4e9, None, True))["totals"]["seconds"]
    assert slow == pytest.approx(4 * fast)
    wide = facts_of(small(), mesh=parse_mesh("data:4"), machine=Device("a", 1e9, None, True))
    assert wide["totals"]["seconds"] == pytest.approx(fast)


def test_memory_is_that_of_the_traced_step_and_traced_once(monkeypatch):
    seen = []

    def traced(config, vocab_size, mesh):
        seen.append(config)
        return device_memory(config, vocab_size, mesh)

    monkeypatch.setattr(plan_module, "device_memory", traced)
    facts = facts_of(small(widths=(16, 32), budgets=("1M tokens", "2M tokens", "3M tokens")))
    assert len(facts["runs"]) == 6
    assert len(seen) == 2
    by_params = {run["n_params"]: run["bytes_per_device"] for run in facts["runs"]}
    assert len(by_params) == len(set(by_params.values())) == 2


def warned(*groups, **kwargs):
    return "; ".join(facts_of(*groups, **kwargs)["warnings"])


def test_warnings_about_the_device():
    assert "does not fit" not in warned(small())
    tight = Device("small", 1e12, 20 * 2**20, True)
    assert "does not fit: g0-width64" in warned(small(), machine=tight)
    text = warned(small(), mesh=parse_mesh("tensor:4"))
    misfit = "over the mesh does not divide: model.transformer.n_heads=2 cannot be split 4 ways"
    assert misfit in text


def test_warnings_about_the_design():
    isoflop = designs.isoflop(base(), "one_depth", flops=(3e11, 3e12))
    assert warned(isoflop) == ""
    few = designs.isoflop(base(), "one_depth", flops=(3e11, 3e12), n_sizes=2)
    assert "only 2 sizes at 3" in warned(few)
    near = designs.isoflop(base(), "one_depth", flops=(1e12, 2e12))
    assert "budgets span a factor 2 of FLOPs, too narrow for 'isoflop'" in warned(near)
    small_only = designs.isoflop(base(), "one_depth", flops=(3e11, 3e12), ratio=300.0, span=2.0)
    text = warned(small_only)
    assert "does not bracket the expected optimum (Chinchilla: D about 20 N)" in text
    assert "add larger sizes" in text
    assert "at most 2 sizes at one budget" in warned(small(widths=(16, 64)))
    assert "N spans a factor 2.1 (" in warned(small(widths=(16, 24)))
    assert "D spans a factor 2" in warned(small(budgets=("1M tokens", "2M tokens")))
    # Without a law nothing is to be fitted.
    assert warned(designs.seeds(base(), 3)) == ""


def test_repeated_tokens():
    text = warned(small(), unique_tokens=1_600_000)
    assert "tokens repeat in each of 6 runs, up to 2.5 epochs" in text


def run_cli(capsys, tmp_path, *argv, variant="quickstart"):
    file = tmp_path / "config.py"
    file.write_text(f"from tests.sweep.examples import {variant} as found\n"
                    "def get_config(_=''):\n    return found()\n")  # fmt: skip
    status = cli.main(["plan", f"--config={file}", *argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))


def test_the_verb_prints_every_run_and_writes_nothing(capsys, tmp_path):
    status, out, _ = run_cli(capsys, tmp_path, "--device=NVIDIA H200")
    assert status == 0
    sweep = expand(quickstart())
    for run in sweep.runs:
        assert run.name in out
    assert "branching saves 35%" in out
    assert "NVIDIA H200" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.py"]


def test_json_of_the_verb(capsys, tmp_path):
    status, out, _ = run_cli(
        capsys, tmp_path, "--json", "--device=TPU v5p", "--config.groups.text.axes.width=(16,32)"
    )
    assert status == 0
    facts = json.loads(out)
    assert facts["n_runs"] == len(facts["runs"]) == 8
    assert facts["device"]["name"] == "TPU v5p"
    assert any("at most 2 sizes" in text for text in facts["warnings"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--device=H200"], "did you mean 'NVIDIA H200'"),
        (["--config.groups.text.base.optim.peek_lr=1"], "peak_lr"),
        (["--config.groups.text.axes.width=()"], "axis 'width' has no values"),
        (["--config.groups.text.recipe=one"], "did you mean 'one_depth'"),
        (["--mesh=tensor:3", "--device=TPU v4"], "cannot be split 3 ways"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, tmp_path, argv, message):
    status, _, err = run_cli(capsys, tmp_path, *argv)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
