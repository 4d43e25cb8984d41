"""Every file that we read back, broken in many ways: a verb goes on, or says one line; no more."""

import copy
import json
import random
import shutil

import pytest

from scaling.analysis.fit import fit
from scaling.cli import main
from tests.analysis.synthetic import sweep as table
from tests.report.synthetic import cipher_probe, write_sweep

MUTANTS = 14  # of a file, for each verb that reads it; another seed finds others
RUN = f"{0:016x}"
VERBS = {
    "show": lambda out: ["show", str(out / "runs" / RUN)],
    "show --json": lambda out: ["show", "--json", str(out / "runs" / RUN)],
    "status": lambda out: ["status", "--once", str(out)],
    "runs": lambda out: ["runs", str(out)],
    "emergence": lambda out: [
        *("emergence", str(out), "--steps", "--metric", "accuracy", "--draws", "5"),
        *("--plot", str(out / "e.svg"), "--json", str(out / "e.json")),
    ],
    "probe": lambda out: ["probe", str(out / "runs" / RUN), "--probe=cipher"],
}
READS = {
    f"runs/{RUN}/record.json": ("show", "show --json", "status", "runs", "emergence"),
    f"runs/{RUN}/config.json": ("show", "probe"),
    f"runs/{RUN}/status.json": ("show", "status", "runs"),
    f"runs/{RUN}/metrics.jsonl": ("show",),
    f"runs/{RUN}/lease/00000001": ("status", "runs"),
    f"runs/{RUN}/probes/cipher/step_0000000010.json": ("emergence",),
    "sweep.json": ("status", "runs", "emergence"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small sweep with every kind of file; the first run has no record, but all the rest."""
    out = write_sweep(
        tmp_path_factory.mktemp("whole") / "s", sizes=(9_216, 20_736), probes=True, curves=True
    )
    first = out / "runs" / RUN
    (first / "status.json").write_text(json.dumps({"state": "running", "step": 3, "host": "here"}))
    (first / "lease").mkdir(exist_ok=True)
    for path in (first / "lease").iterdir():
        path.unlink()
    (first / "lease" / "00000001").write_text(json.dumps({"host": "h", "pid": 3, "machine": "m"}))
    probes = first / "probes" / "cipher"
    probes.mkdir(parents=True)
    result = cipher_probe(9_216, 10, 1000)["cipher"]
    (probes / "step_0000000010.json").write_text(json.dumps(result))
    return out


def mutants(text, seed, n=MUTANTS):
    """(what was done, the broken text): cut, fields dropped, types swapped, values absurd."""
    rng = random.Random(seed)
    yield "empty", b""
    yield "deep", b'{"a":' * 10**5
    yield "not UTF-8", b"\xff\xfe" + text.encode()
    yield "a list", b"[1, 2]"
    yield "the empty object", b"{}"
    for _ in range(n // 3):
        at = rng.randrange(len(text))
        yield f"cut at {at}", text[:at].encode()
    lines = text.splitlines()
    value = json.loads(lines[0]) if len(lines) > 1 and lines[0].endswith("}") else json.loads(text)
    places = list(paths_of(value))
    strange = (None, "x", -1, 10**400, 1e308, True, [], {}, [[]], {"x": {"y": 1}}, "\ud800", 1.5)
    for _ in range(n):
        path, new = rng.choice(places), rng.choice((*strange, "drop"))
        yield f"{path} = {new!r}"[:100], json.dumps(changed(value, path, new)).encode()


def paths_of(value, at=()):
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner if isinstance(value, dict | list) else ():
        yield from paths_of(one, (*at, key)) if isinstance(one, dict | list) else [(*at, key)]


def changed(value, path, new):
    out = copy.deepcopy(value)
    here = out
    for key in path[:-1]:
        here = here[key]
    if isinstance(new, str) and new == "drop":
        del here[path[-1]]
    else:
        here[path[-1]] = new
    return out


def check(argv, what, capsys):
    """0 or one line and 2; whatever else is raised fails the test with its traceback."""
    try:
        status = main(argv)
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert status in (0, 2), (what, argv, status, said.err)
    if status == 2:
        assert said.err.count("\n") == 1, (what, argv, said.err)
        assert "Traceback" not in said.err


@pytest.mark.parametrize("name", READS, ids=lambda n: n.rpartition("/")[2])
def test_no_broken_file_ends_in_a_traceback(whole, tmp_path, name, capsys):
    out = tmp_path / "s"
    shutil.copytree(whole, out)
    path, text = out / name, (whole / name).read_text()
    if not name.endswith("record.json") and name.startswith("runs"):
        (out / "runs" / RUN / "record.json").unlink()
    for i, (what, data) in enumerate(mutants(text, seed=name)):
        path.write_bytes(data)
        verbs = READS[name]
        check(VERBS[verbs[i % len(verbs)]](out), f"{name}: {what}", capsys)
    path.unlink()
    path.mkdir()
    for verb in READS[name]:
        check(VERBS[verb](out), f"{name}: a directory", capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", READS, ids=lambda n: n.rpartition("/")[2])
def test_no_broken_file_ends_the_report_in_a_traceback(whole, tmp_path, name, capsys):
    """It reads them all, and takes seconds: some of the mutants only."""
    out = tmp_path / "s"
    shutil.copytree(whole, out)
    for what, data in list(mutants((whole / name).read_text(), seed=f"report {name}"))[::5]:
        (out / name).write_bytes(data)
        check(["report", "--quiet", str(out)], f"{name}: {what}", capsys)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "fit.json"
    fit("chinchilla", table(), starts=10, profile=False).to_json(path)
    return path


def test_no_broken_fit_ends_in_a_traceback(saved, tmp_path, capsys):
    path = tmp_path / "fit.json"
    verbs = (
        ["predict", str(path), "--n-params", "1e9", "--n-tokens", "2e10"],
        ["optimal", str(path), "--flops", "1e21"],
    )
    for i, (what, data) in enumerate(mutants(saved.read_text(), seed="fit", n=60)):
        path.write_bytes(data)
        check(verbs[i % 2], f"fit: {what}", capsys)


@pytest.mark.parametrize("verb", ["status", "runs"])
def test_one_bad_record_is_counted_and_the_rest_goes_on(whole, tmp_path, verb, capsys):
    out = tmp_path / "s"
    shutil.copytree(whole, out)
    (out / "runs" / RUN / "record.json").write_text('{"run_id":')
    assert main(VERBS[verb](out)) == 0
    said = capsys.readouterr().out
    assert "7 complete" in said
    assert "1 unreadable record" in said or "1 failed" in said
