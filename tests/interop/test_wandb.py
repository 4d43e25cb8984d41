"""W&B projects become tables: through the real client where it is installed, and without it."""

import http.server
import importlib.util
import json
import pathlib
import sys
import threading
import types

import numpy as np
import pytest

from scaling.analysis.tables.read import as_table
from scaling.cli import main
from scaling.errors import UserError
from scaling.interop.columns import to_records
from scaling.interop.wandb import default_mapping, read_project

ANSWERS = json.loads(
    (pathlib.Path(__file__).parents[1] / "data" / "wandb_answers" / "answers.json").read_text()
)
MAP = "n_params=config.model.params,n_tokens=summary.tokens,loss=summary.val/loss"


class _Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = json.loads(body) if self.path == "/graphql" else {"query": ""}
        variables = query.get("variables") or {}
        if "Runs(" in query["query"]:
            known = (variables["entity"], variables["project"]) == ("lab", "ladder")
            answer = ANSWERS["runs"][variables["cursor"] or ""] if known else ANSWERS["unknown"]
        else:
            answer = ANSWERS["viewer"]
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def real(monkeypatch, tmp_path):
    """The installed client, whose server is this process."""
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is not installed: pip install 'scaling[wandb]'")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    import wandb

    yield
    wandb.teardown()
    server.shutdown()
    server.server_close()


@pytest.fixture
def stand_in(monkeypatch):
    """A module with as much of `wandb.Api` as is used, over the same answers."""

    def run(node):
        config = {k: v["value"] for k, v in json.loads(node["config"]).items() if k[0] != "_"}
        return types.SimpleNamespace(
            id=node["name"],
            name=node["displayName"],
            state=node["state"],
            group=node["group"],
            job_type=node["jobType"],
            tags=node["tags"],
            created_at=node["createdAt"],
            config=config,
            summary_metrics=json.loads(node["summaryMetrics"]),
        )

    class Api:
        def __init__(self, timeout):
            assert timeout > 0

        def runs(self, path, per_page, lazy):
            if path != "lab/ladder":
                raise ValueError("Could not find project " + path.partition("/")[2])
            pages = ANSWERS["runs"].values()
            return [run(e["node"]) for p in pages for e in p["data"]["project"]["runs"]["edges"]]

    fake = types.ModuleType("wandb")
    fake.__spec__, fake.Api = types.SimpleNamespace(name="wandb"), Api
    monkeypatch.setitem(sys.modules, "wandb", fake)


@pytest.fixture(params=["stand_in", "real"])
def wandb(request):
    return request.getfixturevalue(request.param)


def test_a_project_becomes_a_table_that_is_fitted(wandb, tmp_path, capsys):
    out = tmp_path / "ladder.csv"
    argv = ["import", "wandb", "--entity", "lab", "--project", "ladder", "--map", MAP]
    assert main([*argv, "--out", str(out)]) == 0
    table, notices = as_table(out)
    assert len(table) == 5
    assert notices == ["2 of 7 runs left out: 1 failed, 1 running"]
    n, d = table.n_params, table.n_tokens
    np.testing.assert_allclose(table.loss, 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28, atol=1e-4)
    assert table["config.lr"].notna().all()  # where a record of ours has it too
    assert table["extra.tags"].iloc[1] == "ladder,long"
    text = out.read_text() + capsys.readouterr().err
    assert "not-a-real-key" not in text


def test_an_unknown_project_is_one_sentence(wandb):
    with pytest.raises(UserError, match=r"lab/lader.*Could not find project lader") as caught:
        read_project("lab", "lader")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_asked_for_by_name(stand_in):
    raw = read_project("lab", "ladder")
    with pytest.raises(UserError, match=r"n_params=config\.model\.params.*loss=summary\.val/loss"):
        to_records(raw, default_mapping(raw), source="wandb:lab/ladder")


def test_what_our_mirror_sends_needs_no_map(stand_in):
    raw = read_project("lab", "ladder")
    summary = {"n_params": "config.model.params", "n_tokens": "summary.tokens"}
    ours = {f"summary.{k}": raw[v] for k, v in summary.items()}
    raw = raw.assign(**ours, **{"summary.params/total": 1.0, "summary.loss": 3.0})
    table, _ = to_records(raw, default_mapping(raw), source="wandb:lab/ladder")
    assert {"params.total", "n_params", "n_tokens", "loss", "run_id", "status"} <= set(table)


def test_without_wandb_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install"):
        read_project("lab", "ladder")
