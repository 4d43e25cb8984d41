"""The run directory: whole files, rewound rows, honest gaps, one schema."""

import copy
import json
import os
import resource

import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.machine.environment import environment
from scaling.run import record as record_module
from scaling.run.lease import Lease, LeaseLost
from scaling.run.record import (
    RunDir,
    jsonable,
    read_config,
    read_metrics,
    read_record,
    read_status,
    schema,
)
from tests.helpers import probe_result

RUN_ID = "0123456789abcdef"


@pytest.fixture
def lease(tmp_path):
    with Lease(tmp_path) as lease:
        yield lease


@pytest.fixture
def run(tmp_path, lease):
    run = RunDir(tmp_path, lease)
    yield run
    run.close()


@pytest.fixture(scope="module")
def facts():
    return environment()


@pytest.fixture
def complete(facts):
    """Everything `write_record` needs for a complete run."""
    groups = ("embedding", "position", "attention", "mlp", "head", "norm", "total", "non_embedding")
    return {
        "run_id": RUN_ID,
        "name": "tiny",
        "config": {"seed": 0, "data": {"api_key": "hunter2"}},
        "status": "complete",
        "params": dict.fromkeys(groups, 10),
        "n_params": 10,
        "n_tokens": 4096,
        "n_steps": 2,
        "flops": 1e9,
        "flops_by_convention": {"kaplan": 1e9, "compiler": None},
        "loss": np.float32(2.5),
        "loss_smoothed": 2.6,
        "evals": {
            "val": {
                "loss": 2.5,
                "n_tokens": 1024,
                "bits_per_byte": 3.6,
                "entropy": 2.4,
                "ece": 0.01,
                "loss_per_position": np.array([3.0, np.nan]),
                "icl_score": -0.2,
            }
        },
        "probes": {"copy": probe_result("copy")},
        "seeds": {"params": 0, "data": 0},
        "data": {"fingerprint": "ab", "entropy_rate": None},
        **facts,
        "wall_time_s": 3.0,
        "compile_time_s": 1.0,
        "time_s": dict.fromkeys(("steps", "compile", "eval", "data", "checkpoint"), 0.5),
        "n_skipped_updates": 0,
        "divergence": None,
        "warnings": [],
        "parent": None,
        "created": record_module.now(),
        "finished": record_module.now(),
    }


def test_record_round_trip(tmp_path, run, lease, complete):
    written = run.write_record(complete)
    read = read_record(tmp_path)
    assert read == written
    assert read["loss"] == 2.5
    assert read["attempts"] == lease.token
    assert read["config"]["data"]["api_key"] == "[redacted]"
    assert read["evals"]["val"]["loss_per_position"] == [3.0, None]
    assert read["nonfinite"] == ["evals.val.loss_per_position.1"]


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "finished"),
        ("run_id", "../../etc"),
        ("n_tokens", 1.5),
        ("n_tokens", -1),
        ("n_params", None),
        ("loss", float("nan")),
        ("loss", "2.5"),
        ("evals", {}),
        ("evals.val", {"loss": 2.5}),
        ("probes.copy", {"accuracy": 0.5}),
        ("params.total", -3),
        ("params", {"total": 3}),
        ("divergence", {"reason": "loss is not finite"}),
        ("divergence", {"reason": "loss is not finite", "step": 3}),
        ("hardware", {"platform": "cpu"}),
        ("surprise", 1),
    ],
)
def test_faulty_complete_record_is_kept_but_not_as_the_record(tmp_path, run, complete, path, value):
    broken = copy.deepcopy(complete)
    *parents, last = path.split(".")
    target = broken
    for key in parents:
        target = target[key]
    target[last] = value
    with pytest.raises(ValueError, match=path.split(".")[0]):
        run.write_record(broken)
    assert not (tmp_path / "record.json").exists()
    assert json.loads((tmp_path / "record.invalid.json").read_text())["run_id"]


@pytest.mark.parametrize("field", [f for f in schema()["required"] if f != "nonfinite"])
def test_every_required_field_is_required(run, complete, field):
    if field in ("schema_version", "attempts"):
        pytest.skip("filled in by write_record")
    del complete[field]
    with pytest.raises(ValueError, match=field):
        run.write_record(complete)


def test_diverged_run_has_a_reason_and_may_have_no_loss(run, complete):
    complete |= {"status": "diverged", "loss": float("inf"), "evals": {}}
    with pytest.raises(ValueError, match="divergence"):
        run.write_record(complete)
    written = run.write_record(complete | {"divergence": {"reason": "loss inf", "step": 7}})
    assert written["loss"] is None
    assert "loss" in written["nonfinite"]


def test_config_is_written_once_and_then_checked(tmp_path, run):
    config = {"name": "a", "optim": {"peak_lr": 1e-3}, "data": {"hf_token": "x" * 20}}
    run.write_config(config, RUN_ID)
    run.write_config(config, RUN_ID)
    assert read_config(tmp_path)["config"]["data"]["hf_token"] == "[redacted]"
    with pytest.raises(UserError, match=r"optim.peak_lr: 0.001 -> 0.002"):
        run.write_config(config | {"optim": {"peak_lr": 2e-3}}, "1" * 16)
    # The label is not part of the identity.
    run.write_config(config | {"name": "b"}, RUN_ID)
    stored = read_config(tmp_path)
    assert (stored["run_id"], stored["config"]["name"]) == (RUN_ID, "b")


def test_config_that_differs_in_a_redacted_value_only_is_still_refused(run):
    run.write_config({"name": "a", "password": "x"}, RUN_ID)
    with pytest.raises(UserError, match="run_id"):
        run.write_config({"name": "a", "password": "y"}, "1" * 16)


def test_metrics_flag_what_is_not_finite(tmp_path, run):
    run.rewind(-1)
    run.metrics(
        {
            "step": 1,
            "loss": float("nan"),
            "eval": {"val": {"loss": jnp.float32(jnp.inf), "curve": [1.0, -np.inf]}},
            "ok": np.float32(0.5),
            "half": jnp.bfloat16(1.5),
        }
    )
    line = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in line
    assert "Infinity" not in line
    assert read_metrics(tmp_path) == [
        {
            "step": 1,
            "loss": None,
            "eval": {"val": {"loss": None, "curve": [1.0, None]}},
            "ok": 0.5,
            "half": 1.5,
            "nonfinite": ["loss", "eval.val.loss", "eval.val.curve.1"],
        }
    ]


def test_rewind_replaces_re_run_steps(tmp_path, run, lease):
    run.rewind(-1)
    for step in range(1, 7):
        run.metrics({"step": step, "loss": float(step)})
    again = RunDir(tmp_path, lease)
    again.rewind(3)
    again.metrics({"step": 4, "loss": 40.0})
    assert [(r["step"], r["loss"]) for r in read_metrics(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
        (4, 40.0),
    ]
    # The first holder's handle belongs to the file that was replaced.
    run.metrics({"step": 7, "loss": 7.0})
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2, 3, 4]
    again.close()


@pytest.mark.parametrize(
    "torn", ['{"step": 3, "lo', '{"step": 3', "\x00\x00\x00", "{}", "3", '{"step": "3"}\n']
)
def test_torn_lines_are_left_out_and_mended(tmp_path, run, torn):
    run.rewind(-1)
    run.metrics({"step": 1})
    run.metrics({"step": 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2]
    run.rewind(2)
    run.metrics({"step": 3})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_full_disk_leaves_whole_lines(tmp_path, run):
    run.rewind(-1)
    run.metrics({"step": 1, "text": "x" * 100})
    size = (tmp_path / "metrics.jsonl").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The next line fits only in part.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.metrics({"step": 2, "text": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "metrics.jsonl").stat().st_size == size
    run.metrics({"step": 2})
    assert [r["step"] for r in read_metrics(tmp_path)] == [1, 2]


def test_rows_need_a_step_and_a_rewind(run):
    with pytest.raises(AssertionError, match="rewind"):
        run.metrics({"step": 1})
    run.rewind(-1)
    with pytest.raises(TypeError, match="step"):
        run.metrics({"loss": 1.0})
    with pytest.raises(TypeError, match="object"):
        run.metrics({"step": 1, "x": object()})


def test_status_file(tmp_path, run, lease):
    run.write_status("running", step=3, loss=float("nan"), tokens_per_s=1e5, error=None)
    status = read_status(tmp_path)
    assert (status["state"], status["step"], status["loss"]) == ("running", 3, None)
    assert status["nonfinite"] == ["loss"]
    assert (status["attempt"], status["pid"]) == (lease.token, os.getpid())


def test_a_process_that_lost_its_lease_writes_nothing(tmp_path, run, complete):
    run.rewind(-1)
    run.metrics({"step": 1})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    (tmp_path / "lease" / "00000099").write_text("{}")
    for write in (
        lambda: run.metrics({"step": 2}),
        lambda: run.write_config({"name": "a"}, RUN_ID),
        lambda: run.write_status("running"),
        lambda: run.write_record(complete),
        lambda: run.rewind(0),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("reader", [read_record, read_config, read_metrics, read_status])
def test_reading_what_is_not_a_run_is_bad_input(tmp_path, reader):
    with pytest.raises(UserError, match="does not exist"):
        reader(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": 1}', "\x00"])
def test_reading_a_broken_record_is_bad_input(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UserError, match=r"record\.json"):
        read_record(tmp_path)


def test_jsonable_types():
    value = {"a": np.int64(3), "b": jnp.arange(2), "c": np.bool_(True), 4: (None, "x")}
    assert jsonable(value) == {"a": 3, "b": [0, 1], "c": True, "4": [None, "x"]}
    assert jsonable(jnp.ones(2, jnp.bfloat16)) == [1.0, 1.0]


def test_environment_has_the_facts(facts):
    assert facts["versions"]["jax"]
    assert facts["hardware"]["n_devices"] == 8
    assert len(facts["code"]["source_hash"]) == 16
    json.dumps(facts, allow_nan=False)
