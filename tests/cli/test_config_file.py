"""A config file that does something wrong: one line with its place, whatever the verb."""

import pytest

from scaling.cli import main
from scaling.cli.config_file import load_config_file

VERBS = {
    "train": ["--workdir=out"],
    "plan": [],
    "sweep": ["--out=out"],
    "data": None,
}
BROKEN = {
    "raises": ("def get_config():\n    x = {}\n    return x['lr']\n", "{}:3: KeyError: 'lr'"),
    "syntax": ("import os\ndef get_config(:\n", "{}:2: SyntaxError: invalid syntax"),
    "import": ("\nimport no_such_module\n", "{}:2: ModuleNotFoundError: No module"),
    "exits": ("import sys\nsys.exit(0)\n", "{}:2: SystemExit: 0"),
    "no function": ("x = 1\n", "{}: it has no function get_config()"),
    "no callable": ("get_config = 3\n", "{}: it has no function get_config()"),
    "returns none": ("def get_config():\n    pass\n", "{}: get_config() returned NoneType"),
    "recursion": ("def get_config():\n    return get_config()\n", "{}:2: RecursionError"),
    "two lines": ("def get_config():\n    raise ValueError('a\\nb')\n", "{}:2: ValueError: a b"),
    "in a helper": (
        "from scaling.recipes.recipe import settings\ndef get_config():\n    settings('none')\n",
        "{}:3: ",
    ),
    "escape": ("def get_config():\n    raise OSError('\\x1b[31m')\n", "OSError: \\x1b[31m"),
    "secret": ("def get_config():\n    raise OSError('password=abc')\n", "OSError: password=[re"),
    "an argument": ("def get_config(a, b):\n    pass\n", "TypeError: get_config() missing 2"),
    "NUL": ("\0", "source code string cannot contain null bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("verb", VERBS)
def test_a_broken_config_is_one_line(verb, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, said = BROKEN[name]
    (tmp_path / "c.py").write_text(text)
    words = ["data", "stats"] if verb == "data" else [verb, *VERBS[verb]]
    assert main([*words, "--config=c.py"]) == 2
    err = capsys.readouterr().err
    assert said.format("c.py") in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main([*words, "--config=c.py", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert said.format("c.py") in err.splitlines()[-1]


def test_a_variant_that_nobody_takes_is_refused(tmp_path, capsys):
    path = tmp_path / "c.py"
    path.write_text("def get_config():\n    pass\n")
    assert main(["plan", f"--config={path}:small"]) == 2
    assert "takes no variant; leave out ':small'" in capsys.readouterr().err


def test_a_config_may_import_its_neighbours_and_leaves_the_path_as_it_was(tmp_path, monkeypatch):
    import sys

    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour_of_c.py").write_text("WIDTH = 16\n")
    (tmp_path / "c.py").write_text(
        "import neighbour_of_c\nfrom scaling.resolve import default_config\n"
        "def get_config(variant='x'):\n    c = default_config()\n"
        "    c.model.width, c.name = neighbour_of_c.WIDTH, variant\n    return c\n"
    )
    before = list(sys.path)
    assert load_config_file(tmp_path / "c.py", None).name == "x"
    found = load_config_file(tmp_path / "c.py", "y")
    assert (found.model.width, found.name) == (16, "y")
    assert sys.path == before
