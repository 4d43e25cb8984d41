"""Every command that we print runs, in a directory that holds what it names.

Those that train, compile or draw a page are slow; runs are cut to some steps, and a sweep is
prepared, which checks all of it. What needs a cluster, a cloud or a network must get as far as to
say that it is not there.
"""

import re
import subprocess
import sys

import jax
import pytest

from scaling.cli import main
from scaling.errors import UserError
from tests.documents import world
from tests.documents.printed import Printed, printed

# What a command needs that is not here, by what it names, and what must then be said.
ELSEWHERE = {
    r"--launcher=slurm": "sbatch|Slurm does not answer",
    r"--launcher=skypilot": "sky",
    r"^import wandb": "wandb",
    r"--distributed=": "asked for the other hosts",
    r":(h200|tpu)\b": r"data\.tokens\.paths: the glob 'data/train-\*\.bin' matches no file",
}
SHORT = ("--config.train.duration=4 steps", "--config.eval.n_rows=8", "--quiet")
COMMANDS = printed()
QUICK = ("laws", "fit", "predict", "optimal", "compare", "emergence", "show", "status", "runs")


def is_quick(command: Printed) -> bool:
    if "--bootstrap" in command.argv:  # thousands of fits
        return False
    return command.argv[0] in QUICK or command.argv[:2] == ("import", "csv")


def asks_checkpoints(command: Printed) -> bool:
    return command.argv[0] in ("probe", "run")


def marked(command: Printed):
    marks = [] if is_quick(command) else [pytest.mark.slow]
    if asks_checkpoints(command):  # they are trained once
        marks.append(pytest.mark.xdist_group("trained"))
    return pytest.param(command, id=str(command), marks=marks)


@pytest.fixture
def fresh(tmp_path):
    """A place in which nothing has been run: for what trains, and for what only reads configs."""
    world.start(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    here = tmp_path_factory.mktemp("documents")
    world.build(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert run("fit", "results.csv", "--no-profile", "--json", "fit.json") == 0
    return here


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same place for commands that want real checkpoints."""
    here = tmp_path_factory.mktemp("trained")
    world.build(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        world.train(run)
    return here


def run(*argv: str) -> int:
    """The exit status; --help leaves by SystemExit."""
    try:
        return main(list(argv))
    except SystemExit as left:
        return left.code


def test_commands_are_found():
    assert len(COMMANDS) > 100
    assert {c.argv[0] for c in COMMANDS} > {"train", "sweep", "fit", "compare", "import", "probe"}


@pytest.mark.parametrize("command", map(marked, COMMANDS))
def test_a_printed_command_runs(command, request, monkeypatch, capfd):
    where = place_of(command)
    monkeypatch.chdir(request.getfixturevalue(where))
    monkeypatch.setattr(jax.distributed, "initialize", nobody_else)
    argv = [re.sub("(^|=)/", r"\1far/", word) for word in command.argv]
    text = " ".join(argv)
    missing = [said for what, said in ELSEWHERE.items() if re.search(what, text)]
    if argv[0] == "train":
        argv += SHORT
    if argv[0] == "sweep" and not re.search("--help|--dry-run|--prepare|--launcher", text):
        argv.append("--prepare")
    status = in_a_process(world.with_a_run_of(argv)) if argv[0] == "run" else run(*argv)
    said = capfd.readouterr().err
    if missing and status:
        assert status == 2
        assert re.search("|".join(missing), said), said
    else:
        assert status == 0, said


def place_of(command: Printed) -> str:
    if asks_checkpoints(command):
        return "trained"
    return "fresh" if command.argv[0] in ("train", "sweep", "plan", "data", "doctor") else "place"


def nobody_else(*_, **__):
    raise UserError("asked for the other hosts")


def in_a_process(argv: list[str]) -> int:
    """Of a verb that gives its process to another program."""
    return subprocess.run([sys.executable, "-m", "scaling", *argv], check=False).returncode
