"""Every command that we print runs, in a directory that holds what it names.

Those that train, compile or draw a page are slow; runs are cut to some steps, and a sweep is
prepared, which checks all of it. What needs a cluster, a cloud or a network must get as far as to
say that it is not there.
"""

import re

import pytest

from scaling.cli import main
from tests.documents import world
from tests.documents.printed import Printed, printed

# What a command needs that is not here, by what it names, and the word that must then be said.
ELSEWHERE = {
    r"--launcher=slurm": "sbatch",
    r"--launcher=skypilot": "sky",
    r"^import wandb": "wandb",
    r"--distributed=": "distributed",
}
SHORT = ("--config.train.duration=4 steps", "--config.eval.n_rows=8", "--quiet")
COMMANDS = printed()
QUICK = ("laws", "fit", "predict", "optimal", "compare", "emergence", "show", "status", "runs")


def is_quick(command: Printed) -> bool:
    if "--bootstrap" in command.argv:  # thousands of fits
        return False
    return command.argv[0] in QUICK or command.argv[:2] == ("import", "csv")


def marked(command: Printed):
    return pytest.param(command, id=str(command), marks=[] if is_quick(command) else [SLOW])


SLOW = pytest.mark.slow


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
def test_a_printed_command_runs(command, request, monkeypatch, capsys):
    on_checkpoints = command.argv[0] in ("probe", "run")
    monkeypatch.chdir(request.getfixturevalue("trained" if on_checkpoints else "place"))
    argv = [word.replace("=/", "=far/") for word in command.argv]
    text = " ".join(argv)
    missing = [word for what, word in ELSEWHERE.items() if re.search(what, text)]
    if argv[0] == "train":
        argv += SHORT
    if argv[0] == "sweep" and not {"--help", "--dry-run", "--prepare"} & set(argv):
        argv += [] if missing else ["--prepare"]
    if argv[0] == "run":
        argv = world.with_a_run_of(argv)
    status = run(*argv)
    said = capsys.readouterr().err
    if missing and status:
        assert status == 2
        assert missing[0] in said
    else:
        assert status == 0, said
