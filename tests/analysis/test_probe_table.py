"""Probe results as tables: directories of runs, and the score files of BIG-bench."""

import json
import shutil

import pytest

from scaling.analysis.bigbench import load_scores
from scaling.analysis.emergence import analyse_groups
from scaling.analysis.probe_table import keys_of, load_probes, metrics_of
from scaling.errors import UserError


def group(shots, right, n=100):
    counts = {
        "accuracy": {"n": n, "sum": float(right), "sum_sq": float(right)},
        "logprob_per_token": {"n": n, "sum": -0.5 * n, "sum_sq": 0.3 * n},
    }
    facts = {"chance": 0.125, "ceiling": 0.9, "ceiling_of": "accuracy"}
    return {"keys": {"condition": "novel", "shots": shots}, "n": n, **facts, "metrics": counts}


def write_run(directory, run_id, *, status="complete", size=1000, seed=0, right=30):
    run = directory / "runs" / run_id
    (run / "probes" / "cipher").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    result = {"label": "cipher", "probe": "cipher", "step": 20, "n_tokens": 200}
    result["groups"] = [group(0, 12), group(15, right)]
    early = {**result, "step": 10, "n_tokens": 100, "groups": [group(0, 11), group(15, 13)]}
    for one in (early, result):
        path = run / "probes" / "cipher" / f"step_{one['step']:010d}.json"
        path.write_text(json.dumps(one))
    if status is not None:
        record = {"run_id": run_id, "name": "x", "status": status, "n_tokens": 200, "flops": 6e5}
        record |= {"n_params": size, "params": {"non_embedding": size - 100}, "loss": 2.0}
        record |= {"seeds": {"run": seed, "data": 0}, "probes": {"cipher": result}}
        (run / "record.json").write_text(json.dumps(record))
    return run


@pytest.fixture
def sweep(tmp_path):
    write_run(tmp_path, "a", seed=3)
    write_run(tmp_path, "b", size=2000)
    write_run(tmp_path, "c", status="diverged")
    write_run(tmp_path, "d", status=None)
    runs = [{"run_id": name, "group": "ladder"} for name in "abcd"]
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": runs}))
    return tmp_path


def test_a_sweep_is_one_row_a_run_and_condition(sweep):
    table = load_probes(sweep)
    assert len(table) == 4
    row = table[(table["run_id"] == "a") & (table["shots"] == 15)].iloc[0]
    assert (row["accuracy"], row["accuracy_n"], row["accuracy_sum_sq"]) == (0.3, 100, 30)
    assert row["logprob_per_token"] == -0.5
    facts = ["group", "seed", "n_params_non_embedding", "chance", "ceiling", "loss", "step"]
    assert row[facts].tolist() == ["ladder", 3, 900, 0.125, 0.9, 2.0, 20]
    assert metrics_of(table) == ["accuracy", "logprob_per_token"]
    assert keys_of(table) == ["label", "condition", "shots"]
    assert "1 diverged" in table.attrs["warnings"][0]
    assert "1 unfinished" in table.attrs["warnings"][0]


def test_steps_add_what_was_probed_on_the_way_once(sweep):
    table = load_probes(sweep, steps=True)
    assert not table.duplicated(["run_id", "step", "shots"]).any()
    early = table[(table["run_id"] == "a") & (table["step"] == 10)]
    assert early["n_tokens"].tolist() == [100, 100]
    assert early["flops"].tolist() == [3e5, 3e5]
    assert early["loss"].isna().all()
    assert set(table["run_id"]) == {"a", "b", "d"}  # of a diverged run nothing


def test_one_run_directory_is_enough(sweep):
    table = load_probes(sweep / "runs" / "a")
    assert table["run_id"].tolist() == ["a", "a"]
    assert table["group"].tolist() == ["ladder", "ladder"]


def test_what_scaling_probe_asked_afterwards_is_found(tmp_path):
    """Of a complete run: results at its last step, under labels that its record does not have."""
    run = write_run(tmp_path, "a")
    for step, n_tokens, right in ((10, 100, 20), (20, 200, 40)):
        later = {"label": "later", "probe": "task", "step": step, "n_tokens": n_tokens}
        path = run / "probes" / "later" / f"step_{step:010d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(later | {"groups": [group(0, right)]}))
    table = load_probes(run)
    assert table[table["label"] == "later"]["accuracy"].tolist() == [0.4]
    assert set(table["label"]) == {"cipher", "later"}
    steps = load_probes(run, steps=True)
    assert steps[steps["label"] == "later"]["step"].tolist() == [20, 10]
    record = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps(record | {"probes": {}, "n_tokens": 300}))
    with pytest.raises(UserError, match=r"4 of checkpoints are there: --steps"):
        load_probes(run)


def test_nothing_probed_is_an_error_that_helps(tmp_path):
    run = write_run(tmp_path, "d", status=None)
    with pytest.raises(UserError, match=r"no probe results.*1 unfinished.*--steps"):
        load_probes(tmp_path)
    shutil.rmtree(run / "probes")
    with pytest.raises(UserError, match=r"no probe results.*1 unfinished.*scaling probe"):
        load_probes(tmp_path)
    (tmp_path / "runs" / "d" / "record.json").write_text("{torn")
    with pytest.raises(UserError, match=r"record\.json is not whole JSON"):
        load_probes(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_probes(tmp_path / "nowhere.csv")


def scores_file(place, size, exact, *, family="BIG-G T=0"):
    """One file as bigbench/evaluate_task.py writes it: the fields of ResultsFileData, ModelData
    and ScoreData, with the aggregate over subtasks that it appends. The values are made up."""
    model = {
        "model_family": family,
        "model_name": f"{size:.0e}",
        "total_params": 1.2 * size,
        "non_embedding_params": size,
        "flop_matched_non_embedding_params": size,
        "training_batch_size": 256,
        "training_steps": 500000,
        "description": "",
        "decoding_params": {},
        "additional_details": "",
    }
    fields = {"preferred_score": "exact_str_match", "low_score": 0.2, "high_score": 1.0}
    scores = [
        {
            "score_dict": {"exact_str_match": exact * (1 + shots) / 3, "bleu": 12.5},
            "number_of_shots": shots,
            "subtask_description": "arithmetic:2_digit_addition",
            **fields,
        }
        for shots in (0, 2)
    ]
    whole = {"exact_str_match": exact, "bleu": 12.5, "normalized_aggregate_score": 50.0}
    names = {"subtask_description": "arithmetic", "number_of_shots": 2}
    scores.append({"score_dict": whole, **fields, **names})
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"scores_{family}_{size:.0e}.json".replace(" ", "_")
    task = {"task_name": "arithmetic"}
    path.write_text(json.dumps({"scores": scores, "task": task, "model": model, "queries": None}))
    return path


def test_bigbench_scores_become_rows(tmp_path):
    path = scores_file(tmp_path / "arithmetic" / "results", 1e9, 0.6)
    for source in (path, tmp_path):
        table = load_scores(source)
        assert table["shots"].tolist() == [0, 2, 2]
        assert set(table["n_params"]) == {1.2e9}
        assert set(table["label"]) == {"arithmetic"}
        assert table["normalised"].iloc[1] == pytest.approx(50.0)
        assert table["exact_str_match"].tolist() == pytest.approx([0.2, 0.6, 0.6])
        assert load_probes(source)["run_id"].iloc[0] == "BIG-G T=0 1e+09"
    assert keys_of(table) == ["group", "label", "subtask", "shots"]
    assert {"exact_str_match", "bleu", "normalised"} <= set(metrics_of(table))
    assert not {"shots", "n_steps"} & set(metrics_of(table))


def test_bigbench_models_become_curves_one_a_subtask_family_and_shots(tmp_path):
    for k, exact in enumerate((0.2, 0.2, 0.25, 0.8)):
        scores_file(tmp_path, 1e8 * 8**k, exact)
        scores_file(tmp_path, 1e8 * 8**k, exact, family="BIG-G sparse")
    found = analyse_groups(load_probes(tmp_path), "exact_str_match", n_items=1000, draws=20)
    assert len(found) == 2 * 3
    name = "group=BIG-G T=0, subtask=arithmetic, shots=2"
    assert found[name].chance == 0.2
    assert found[name].onset.x == pytest.approx(1.2e8 * 8**2)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"model": {}, "scores": [{}]}',
        "{",
        '"x"',
        '{"model": {}, "task": {"task_name": "t"}, "scores": []}',
    ],
)
def test_other_json_is_refused(tmp_path, text):
    path = tmp_path / "scores_x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"scores_x\.json"):
        load_scores(path)
    with pytest.raises(UserError, match="no scores_"):
        load_scores([])
