"""`scaling data`, from the command line's side."""

import json

import pytest

from scaling.cli import main
from scaling.cli.data import printable

CONFIG = """
from scaling.resolve import default_config
def get_config():
    c = default_config()
    c.data.name = "text"
    c.data.text.paths = ({paths!r},)
    c.data.seq_len = 40
    c.train.batch_size = 3
    return c
"""


@pytest.fixture
def config(tmp_path, corpus_dir, monkeypatch) -> str:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "small.py"
    path.write_text(CONFIG.format(paths=str(corpus_dir / "*.txt")))
    return f"--config={path}"


def test_show_prints_the_examples_of_a_step(config, capsys):
    assert main(["data", "show", config, "--step", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("step 2, row 0: row ")
    assert sum(line.startswith("step 2, row") for line in lines) == 3
    assert any(".txt at token" in line for line in lines)


def test_show_limits_rows(config, capsys):
    assert main(["data", "show", config, "--step=2", "--rows=1"]) == 0
    assert capsys.readouterr().out.count("step 2, row") == 1


def test_stats_as_text_and_json(config, capsys):
    assert main(["data", "stats", config, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["source"] == "text"
    assert sum(stats["documents"].values()) == 40
    assert main(["data", "stats", config]) == 0
    assert stats["content_hash"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "--step", "-1"], "--step=-1 is before the first step"),
        (["show", "--step", "x"], "'x' is not a whole number"),
        (["show"], "--step"),
        (["show", "--step", "1", "--rows", "0"], "--rows=0 must be 1 or more"),
        (["stats", "--config.data.name=txt"], "did you mean 'text'"),
        (["stats", "--config.data.text.paths=('/nowhere/a',)"], "'/nowhere' does not exist"),
        (["shwo"], "did you mean 'show'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(argv, message, config, capsys):
    assert main(["data", argv[0], config, *argv[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_help_has_examples(capsys):
    for argv in (["data"], ["data", "--help"], ["data", "show", "--help"]):
        assert main(argv) == 0
        assert "examples:" in capsys.readouterr().out


def test_control_characters_are_escaped():
    assert printable("a\x1b[31m\n\x07é\u202e\\n") == "a\\x1b[31m\\n\\x07é\\u202e\\\\n"
