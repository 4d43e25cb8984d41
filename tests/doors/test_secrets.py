"""A secret in a config, a file name, an error or the tree is in no file that a sweep leaves."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from scaling.cli import main
from scaling.doors.files import check_orders, stored, write_json, write_orders
from scaling.errors import UserError
from scaling.run.record import read_record
from scaling.sweep import read_sweep, snapshot
from scaling.sweep.logs import redacted
from scaling.sweep.withheld import VARIABLE

ROOT = pathlib.Path(__file__).parents[2]
KEY, PASSWORD, TOKEN = "hf_" + "q7Z" * 10, "hunter2hunter2", "ghp_" + "Ab1" * 12
CONFIG = """\
from scaling.resolve import default_config, probe_section
from scaling.sweep import designs

def get_config():
    base = default_config()
    base.model.depth, base.model.width, base.model.transformer.n_heads = 1, 8, 1
    base.data.name, base.data.seq_len = "text", 32
    base.data.text.paths, base.data.text.delimiter = ({text!r},), "|"
    base.data.val_fraction = 0.3
    base.train.batch_size, base.train.steps_per_dispatch = 2, 4
    base.train.duration = "8 steps"
    base.eval.n_rows = base.eval.batch_size = 2
    base.probes.ask = probe_section(
        "task", file={task!r}, template="{{question}} password={password} {{answer}}", shots=(0,)
    )
    return designs.sweep("secrets", plain=designs.seeds(base, 1))
"""


def left(directory):
    """{file: content} of everything below, names included."""
    return {p: str(p).encode() + p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def assert_clean(directory, *secrets):
    bad = [
        (str(path.relative_to(directory)), secret)
        for path, content in left(directory).items()
        for secret in secrets
        if secret.encode() in content
    ]
    assert not bad


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(sweep directory, the command) of one run whose config and files are full of secrets."""
    top = tmp_path_factory.mktemp("secrets")
    folder = top / KEY
    folder.mkdir()
    text, task = folder / "text.txt", folder / f"{TOKEN}.jsonl"
    text.write_text("|".join(f"{i} the quick brown fox jumps over the lazy dog" for i in range(99)))
    item = {"question": "fox?", "choices": ["dog", "cat"], "gold": 0}
    task.write_text(json.dumps(item) + "\n")
    config = top / "config.py"
    config.write_text(CONFIG.format(text=str(text), task=str(task), password=PASSWORD))
    out = top / "out"
    command = [sys.executable, "-m", "scaling", "sweep", "--keep-code", f"--config={config}"]
    command += [f"--out={out}", "--workers=1"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "HF_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=top, env=env, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, config


def test_a_sweep_of_secrets_is_trained_and_none_is_left(swept):
    out, _ = swept
    planned = read_sweep(out).runs[0]
    record = read_record(out / "runs" / planned.run_id)
    assert record["status"] == "complete"
    assert record["probes"]["ask"]["groups"]
    assert "[redacted]" in json.dumps(record["config"])
    assert list((out / "runs" / planned.run_id / "checkpoints").glob("*/host.json"))
    assert_clean(out, KEY, PASSWORD, TOKEN)


def test_the_same_command_finds_it_done_and_nothing_changed(swept, capsys):
    out, config = swept
    before = (out / "sweep.json").read_bytes()
    assert main(["sweep", "--keep-code", f"--config={config}", f"--out={out}"]) == 0
    assert "1 of them done" in capsys.readouterr().out
    assert (out / "sweep.json").read_bytes() == before


def test_a_run_that_was_not_handed_its_secret_says_so(swept, monkeypatch):
    planned = read_sweep(swept[0]).runs[0]
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"data\.text\.paths.* held a secret.*scaling sweep"):
        _ = planned.config
    other = {"data.text.paths": {planned.run_id: ["other.txt"]}}
    monkeypatch.setenv(VARIABLE, json.dumps(other))
    with pytest.raises(UserError, match="held a secret"):
        _ = planned.config


@pytest.mark.parametrize("options", [["--prepare"], ["--launcher=skypilot"]])
def test_where_secrets_cannot_be_handed_over_the_sweep_is_refused(
    swept, tmp_path, options, monkeypatch, capsys
):
    from launch.skypilot import SkyPilot

    monkeypatch.setattr(SkyPilot, "check", lambda self, runs: ["fine"])
    out = tmp_path / "out"
    assert main(["sweep", f"--config={swept[1]}", f"--out={out}", *options]) == 2
    said = capsys.readouterr().err
    assert "looks like a secret" in said
    assert KEY not in said
    assert not out.exists()


def test_what_is_acted_on_later_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "orders.json"
    with pytest.raises(UserError, match=r"cwd is '/data/\[redacted\]/x' once redacted"):
        write_orders(path, {"runs": ["a"], "cwd": f"/data/{KEY}/x"})
    assert not path.exists()
    check_orders(path, {"runs": ["a"], "commands": [["python", "-m", "scaling"]]})


def test_written_json_holds_no_secret_whoever_writes_it(tmp_path):
    write_json(tmp_path / "x.json", {"note": f"see https://me:{PASSWORD}@host", TOKEN: 1})
    assert_clean(tmp_path, PASSWORD, TOKEN)
    value = {"a": (1, 2), "b": {"c": "plain"}, 3: None}
    assert stored(value) == {"a": [1, 2], "b": {"c": "plain"}, "3": None}


def test_logs_of_jobs_hold_no_secret(tmp_path, capfd):
    def job():
        print("one", end=" ")
        print(f"line with {KEY}")
        print("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----")
        raise RuntimeError(f"cannot open s3://me:{PASSWORD}@host")

    with pytest.raises(SystemExit), redacted():
        job()
    said = capfd.readouterr()
    for secret in (KEY, PASSWORD, "MIIEpAIBAAKCAQEA"):
        assert secret not in said.out + said.err
    assert said.out.startswith("one line with [redacted]\n")
    assert "RuntimeError" in said.err


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A checkout of a package with secrets lying about, some of them in git."""
    root = tmp_path / "tree"
    for name, text in {
        "scaling/__init__.py": "x = 1\n",
        "scaling/data/tokens.py": "",
        "scaling/schema.json": "{}",
        "configs/tiny.py": "lr = 1\n",
        "configs/secrets.yaml": f"key: {KEY}",
        "configs/.hidden.py": f"key = '{KEY}'",
        "launch/__init__.py": "",
        "setup.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

    git("init")
    git("remote", "add", "origin", f"https://me:{PASSWORD}@host/x.git")
    git("add", "-A")
    git("commit", "-m", "one")
    new = {
        "configs/.env": KEY,
        "configs/credentials.json": KEY,
        "configs/id_rsa": KEY,
        "configs/server.pem": KEY,
        "configs/token_hf.txt": KEY,
        "configs/mine.py": f"api_key = '{PASSWORD}'\nlr = 2\n",
        "configs/notes.txt": "not ours",
        "scaling/.netrc": KEY,
        "scaling/new.py": "",
    }
    for name, text in new.items():
        (root / name).write_text(text)
    (root / "scaling/__init__.py").write_text(f"x = 2\npassword = '{PASSWORD}'\n")
    import scaling

    monkeypatch.setattr(scaling, "__file__", str(root / "scaling" / "__init__.py"))
    return root


def test_the_snapshot_takes_code_and_leaves_secrets(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    snapshot.take(out)
    names = {p.relative_to(out / "code").as_posix() for p in (out / "code").rglob("*.*")}
    copied = {n for n in names if not n.startswith("scaling-snapshot")}
    assert copied == {
        *("scaling/__init__.py", "scaling/data/tokens.py", "scaling/schema.json", "scaling/new.py"),
        *("configs/tiny.py", "configs/mine.py", "launch/__init__.py", "setup.py"),
    }
    facts = snapshot.facts(out)
    said = {line.partition(":")[0] for line in facts["left_out"]}
    assert said == {
        "configs/.hidden.py",
        *("configs/.env", "configs/credentials.json", "configs/id_rsa", "configs/server.pem"),
        *("configs/token_hf.txt", "configs/notes.txt", "configs/secrets.yaml", "scaling/.netrc"),
    }
    assert "+x = 2" in facts["diff"]
    (out / "code" / "scaling" / "__init__.py").unlink()  # code runs as it is
    assert_clean(out, KEY, PASSWORD)
