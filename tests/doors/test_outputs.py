"""What the user names to be written is written to: a file whole, and never a device replaced."""

import ast
import os
import pathlib
import socket
import stat
import subprocess
import sys
import threading

import pytest

from scaling.cli import main
from scaling.doors.outputs import check_output, write_output
from scaling.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
# Who replaces files itself: the writers of directories of ours, whose names nobody chooses.
_OWN_FILES = {"files.py", "outputs.py", "record.py", "checkpoint.py", "lease.py", "cache.py"}
_OWN_FILES |= {"snapshot.py"}


def test_nothing_else_renames_over_a_file():
    found = []
    for path in [*ROOT.glob("scaling/**/*.py"), *ROOT.glob("launch/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                moves = node.value.id == "os" and node.attr in ("replace", "rename")
                if moves and path.name not in _OWN_FILES:
                    found.append(f"{path.name}:{node.lineno}")
    assert not found, f"use scaling.doors.outputs: {found}"


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "x.json"
    write_output(path, "old")
    path.chmod(0o600)
    write_output(path, b"new \xc3\xa9")
    assert path.read_text(encoding="utf-8") == "new é"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    for name, target in (("a", "far/there"), ("b", "far/not-yet"), ("c", "a")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "far" / "there").write_text("old")
    write_output(tmp_path / "c", "new")
    write_output(tmp_path / "b", "first")
    assert all((tmp_path / name).is_symlink() for name in "abc")
    assert (tmp_path / "far" / "there").read_text() == "new"
    assert (tmp_path / "far" / "not-yet").read_text() == "first"


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_output(pipe, "x" * 100_000)
    reader.join(10)
    assert read == ["x" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_says_that_it_is_full_and_stays(tmp_path):
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    for path in (link, "/dev/full"):
        with pytest.raises(UserError, match=r"--json='.*full' cannot be written: No space left"):
            write_output(path, "x", "--json")
        assert stat.S_ISCHR(os.stat(path).st_mode)
    assert link.is_symlink()
    write_output("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_socket_is_refused_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("here")
        with pytest.raises(UserError, match="cannot be written"):
            write_output("here", "x")
        assert stat.S_ISSOCK(os.stat("here").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_stdout_prints_after_what_was_printed(tmp_path, name):
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "from scaling.doors.outputs import write_output; print('before');"
        f"write_output({name!r}, 'json\\n'); print('after')"
    )
    words = [sys.executable, "-c", code]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("before\njson\nafter\n", "")
    with open(tmp_path / "out.txt", "w") as file:
        subprocess.run(words, cwd=tmp_path, env=env, stdout=file, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\njson\nafter\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "--csv is empty; name a file"),
        (".", "is a directory"),
        ("new/", "is a directory"),
        ("nowhere/x.csv", "no such directory: '.*nowhere'"),
        ("a\0b", "NUL byte"),
        ("x" * 300, "255 bytes is the most"),
        ("/dev/fd/999", "cannot be written"),
        ("file/x.csv", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path, monkeypatch, name, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"^--csv.*{said}|^{said}"):
        check_output(name, "--csv")
    with pytest.raises(UserError):
        write_output(name, "x", "--csv")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


FLAGS = {
    "fit": ("--json", "--plot"),
    "compare": ("--plot",),
    "emergence": ("--json", "--plot"),
    "runs": ("--csv", "--parquet"),
}


@pytest.mark.parametrize(("verb", "flag"), [(v, f) for v, flags in FLAGS.items() for f in flags])
@pytest.mark.parametrize("name", ["", ".", "nowhere/x.svg"])
def test_every_verb_refuses_before_it_reads(verb, flag, name, tmp_path, monkeypatch, capsys):
    """Before the data too: there are none here, and it is the output that is complained of."""
    monkeypatch.chdir(tmp_path)
    words = [verb, "missing.csv", f"{flag}={name}"]
    assert main([*words, *(["--laws", "chinchilla,kaplan"] if verb == "compare" else [])]) == 2
    assert flag in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
