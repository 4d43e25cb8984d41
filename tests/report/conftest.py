"""One full report, made once: it costs some seconds of fitting."""

import contextlib
import io
import json
import types

import pytest

from scaling.cli import main
from scaling.report.write import write_report
from tests.report import hostile
from tests.report.synthetic import set_fields, write_sweep

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>alert(1)</script>"
ENTROPY = 0.8
DIVERGED, MISSING = 5, 7


@pytest.fixture(scope="session")
def full_sweep(tmp_path_factory):
    """20 runs with hostile names, one diverged, one missing, probes, a known entropy."""
    group = {"law": "chinchilla", "fit_where": ["n_tokens > 5e5"], "title": f"Text {HOSTILE}"}
    path = write_sweep(
        tmp_path_factory.mktemp("sweep") / "a",
        noise=0.001,
        probes=True,
        row_entropy=ENTROPY,
        groups={"text <b>": group | {"holdout": "largest n_tokens"}},
        names={0: HOSTILE, 1: "@accent", 2: "$(touch x)\n\u202e" + "x" * 300},
        missing=(MISSING,),
    )
    reason = {"reason": f"loss above its mean {HOSTILE}", "step": 12}
    set_fields(path, f"{DIVERGED:016x}", status="diverged", loss=None, divergence=reason)
    return path


@pytest.fixture(scope="session")
def hostile_sweep(tmp_path_factory):
    """A sweep in which every text of every record, probe and group is hostile."""
    return hostile.write_sweep(tmp_path_factory.mktemp("hostile") / "s")


@pytest.fixture(scope="session")
def hostile_report(hostile_sweep):
    """Its page, as the command makes it, and what the command said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert main(["report", str(hostile_sweep), "--quiet"]) == 0
    page = hostile_sweep / "report" / "report.html"
    return types.SimpleNamespace(page=page, said=said.getvalue())


@pytest.fixture(scope="session")
def report(full_sweep):
    return write_report(full_sweep, quiet=True)


@pytest.fixture(scope="session")
def facts(report):
    return json.loads(report.page.with_name("report.json").read_text())


@pytest.fixture(scope="session")
def html(report):
    return report.page.read_text()
