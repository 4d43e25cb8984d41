"""`scaling plan`: the numbers, the speed, and what it says to bad input."""

import json

import pytest

from scaling import cli

TINY = "--config=configs/tiny.py"
MARKOV = [TINY, "--config.data.name=markov"]
LLAMA_8B = [
    TINY,
    "--config.model.depth=32",
    "--config.model.width=4096",
    "--config.model.transformer.n_heads=32",
    "--config.model.transformer.n_kv_heads=8",
    "--config.model.transformer.mlp_ratio=3.5",
    "--config.model.transformer.activation=swiglu",
    "--config.model.dtype=bfloat16",
    "--config.model.transformer.remat=block",
    "--config.data.seq_len=8192",
    "--config.train.batch_size=256",
    "--config.eval.batch_size=256",
    "--vocab-size=128256",
    "--mesh=data:64,fsdp:4",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))


def facts(capsys, *argv):
    assert cli.main(["plan", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_adds_up(capsys):
    found = facts(capsys, *MARKOV, "--mesh=data:8,fsdp:4", "--config.train.duration=1M tokens")
    params = found["params"]
    roles = ("embedding", "position", "attention", "mlp", "norm", "head")
    assert params["total"] == sum(params[role] for role in roles)
    assert found["n_devices"] == 32
    assert found["steps"] == 245  # 1e6 / (32 * 128), rounded up
    assert found["tokens"] == 245 * 32 * 128
    for name, cost in found["flops_per_token"].items():
        assert found["flops"][name] == pytest.approx(cost["training"] * found["tokens"])
    memory = found["bytes_per_device"]
    assert memory.pop("total") == sum(memory.values())
    assert all(row["divides"] for row in found["axes"])


def test_a_duration_in_flops_is_met_in_the_default_convention(capsys):
    found = facts(capsys, *MARKOV, "--config.train.duration=1e12 flops")
    step = found["flops"]["chinchilla"] / found["steps"]
    assert 1e12 <= found["flops"]["chinchilla"] < 1e12 + step


def test_8b_on_256_devices(capsys):
    found = facts(capsys, *LLAMA_8B)
    # Llama 3 8B has 8.03 billion parameters (Dubey et al. 2024, arXiv 2407.21783, table 3).
    assert found["params"]["total"] == 8_030_261_248
    memory = found["bytes_per_device"]
    # float32, in 4 pieces; two moments for AdamW.
    assert memory["parameters"] == pytest.approx(8_030_261_248, rel=1e-3)
    assert memory["optimizer"] == pytest.approx(2 * 8_030_261_248, rel=1e-3)
    # One row each: no buffer may hold the rows of other devices.
    assert memory["activations"] < 256 * 8192 * 4096 * 4


def test_table(capsys):
    assert cli.main(["plan", *MARKOV, "--mesh=data:2,fsdp:2", "--compiler"]) == 0
    out = capsys.readouterr().out
    for word in ("attention", "chinchilla", "compiler", "optimizer", "logits", "MLP hidden size"):
        assert word in out


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["plan", "--help"])
    assert "scaling plan --config=configs/tiny.py --mesh=data:8,fsdp:4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--mesh=data:x"], "'data:x' is not AXIS:SIZE"),
        (["--mesh=data:0"], "'data:0' is not AXIS:SIZE"),
        (["--mesh=dat:8"], "did you mean 'data'"),
        (["--mesh=data:2,data:4"], "given twice"),
        (["--vocab-size=0"], "--vocab-size=0"),
        (["--config.model.dpeth=4"], "depth"),
        (["--config.train.duration=1 lightyear"], "lightyear"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, argv, message):
    assert cli.main(["plan", *MARKOV, *argv]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not captured.out


def test_a_misfit_is_priced_and_named(capsys):
    assert cli.main(["plan", *MARKOV, "--mesh=tensor:3"]) == 2
    captured = capsys.readouterr()
    assert "does not divide" in captured.out
    assert "model.transformer.n_heads=4 cannot be split 3 ways" in captured.err


def test_cudnn_cannot_be_planned_on_a_cpu(capsys):
    cudnn = ["--config.model.transformer.attention=cudnn", "--config.model.dtype=bfloat16"]
    assert cli.main(["plan", *MARKOV, *cudnn]) == 2
    assert "'xla' gives an upper bound of the memory" in capsys.readouterr().err


def test_missing_config(capsys):
    assert cli.main(["plan"]) == 2
    assert "--config=FILE is missing" in capsys.readouterr().err
