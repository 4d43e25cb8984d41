"""Every study in configs/ at every scale: it expands, fits its hardware, and can be fitted."""

import json
import pathlib

import pytest

from scaling import cli
from scaling.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
STUDIES = ("kaplan", "chinchilla_isoflop", "chinchilla_parametric", "overtrain", "lr_batch_grid")
HARDWARE = {
    # Bytes. The laptop's data would be there, but opening it for the first time takes seconds.
    "laptop": ["--vocab-size=256", "--device=NVIDIA H200"],
    "h200": ["--vocab-size=50304", "--device=NVIDIA H200", "--mesh=data:1"],
    "tpu": ["--vocab-size=50304", "--device=TPU v5 lite", "--mesh=fsdp:16"],
}


def facts_of(capsys, study, variant):
    config = f"--config={ROOT / 'configs' / study}.py:{variant}"
    assert cli.main(["plan", config, "--json", *HARDWARE[variant]]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("variant", HARDWARE)
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_has_nothing_to_warn_of(study, variant, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    facts = facts_of(capsys, study, variant)
    assert facts["warnings"] == []
    assert 9 <= facts["n_runs"] <= 48
    seconds = facts["totals"]["seconds"]
    assert seconds < {"laptop": 60, "h200": 36 * 3600, "tpu": 8 * 86400}[variant]
    text = (ROOT / "configs" / f"{study}.py").read_text()
    line = next(line for line in text.splitlines() if line.startswith(variant))
    assert f"{facts['n_runs']} runs;" in line


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_short_and_documented(study):
    text = (ROOT / "configs" / f"{study}.py").read_text()
    assert text.count("\n") < 80
    for word in (f"--config=configs/{study}.py", "laptop", "h200", "tpu", "Expected"):
        assert word in text


@pytest.mark.parametrize("variant", ["", "seeds", "tiny", "small", "h200", "tpu"])
def test_the_cipher_ladder_at_every_scale(variant, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(["plan", f"--config=configs/emergence_cipher.py:{variant}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["warnings"] == []
    assert facts["n_duplicates"] == 0
    assert cli.main(["plan", "--config=configs/emergence_cipher.py:tpv"]) == 2
    assert "did you mean 'tpu'" in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["", "small"])
def test_the_quickstart_has_nothing_to_warn_of(variant, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(["plan", f"--config=configs/quickstart.py:{variant}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["warnings"] == []
    assert set(facts["groups"]) == {"text", "truth", "cipher"}


CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "scales")


@pytest.mark.parametrize("config", CONFIGS)
def test_an_unknown_variant_is_named(config, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    known = "small" if config in ("tiny", "quickstart") else "h200"
    assert cli.main(["plan", f"--config=configs/{config}.py:{known}x"]) == 2
    error = capsys.readouterr().err
    assert f"unknown variant '{known}x'; did you mean '{known}'? known: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize("world", ["arithmetic", "chains", "induction"])
@pytest.mark.parametrize("variant", ["", "small", "h200"])
def test_a_world_at_every_scale(world, variant, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(["plan", f"--config=configs/{world}.py:{variant}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["warnings"], facts["n_duplicates"]) == ([], 0)
    assert f"{world}.py:h200" in (ROOT / "configs" / f"{world}.py").read_text()


def test_the_variants_share_their_base():
    from configs.scales import VARIANTS, base

    assert set(VARIANTS) == set(HARDWARE)
    assert base("")[1] == base("laptop")[1]
    with pytest.raises(UserError):
        base("pocket")
