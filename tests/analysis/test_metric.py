"""What a metric is and how many items stand behind it, told by its values."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.emergence import analyse
from scaling.analysis.emergence.metric import from_errors, item_counts, kind_of_metric, named_share
from scaling.cli import main
from scaling.errors import UserError

CASE = Path(__file__).parent.parent / "data" / "cases" / "12-percent-accuracy"
UNKNOWN = np.full(8, np.nan)


def shares(n, k=8, seed=0):
    """Shares of n right items, with all their digits."""
    return np.random.default_rng(seed).integers(1, n, k) / n


@pytest.mark.parametrize(
    ("table", "options"),
    [("fraction", []), ("percent_sign", []), ("percent", ["--unit", "acc=percent"])],
)
def test_per_cent_and_fractions_have_one_onset(table, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["emergence", str(CASE / f"{table}.csv"), "--metric", "acc", "--chance", "0.25"]
    assert main([*argv, *options, "--draws", "50"]) == 0
    (found,) = json.loads(Path("emergence.json").read_text())["conditions"].values()
    assert found["onset"]["x"] == pytest.approx(4.1e8)
    assert found["levels"][0]["mean"] == pytest.approx(0.255)


def test_what_looks_like_per_cent_is_refused_with_the_flag(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["emergence", str(CASE / "percent.csv"), "--metric", "acc", "--chance", "0.25"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert "acc lies between 25.5 and 82.4: that looks like per cent" in said
    assert "--unit acc=percent" in said
    assert not list(tmp_path.iterdir())


def test_a_score_of_any_name_is_told_by_its_values():
    n = np.full(8, 997.0)
    y = shares(997)
    assert kind_of_metric("acc", y, n).share
    assert kind_of_metric("quality", y, n).share  # whole numbers over 997
    assert not kind_of_metric("quality", np.random.default_rng(1).random(8), n).share
    assert not kind_of_metric("brier", np.random.default_rng(1).random(8), UNKNOWN).share
    assert not kind_of_metric("logprob", -y, n).share
    assert not kind_of_metric("bleu", 50 * np.random.default_rng(1).random(8), n).share
    with pytest.raises(UserError, match=r"quality lies between .* looks like per cent"):
        kind_of_metric("quality", 100 * y, n)
    assert not kind_of_metric("quality", 100 * y, n, doubted=False).share


def test_grounds_are_stated_where_the_values_do_not_show_it():
    y = shares(1000)
    assert kind_of_metric("acc", y, np.full(8, 1000.0)).said == ""
    assert "with that name it is taken for a share" in kind_of_metric("acc", y, UNKNOWN).said
    assert "nothing says that it is a share" in kind_of_metric("quality", y, UNKNOWN).said
    odd = kind_of_metric("acc", np.random.default_rng(2).random(8), np.full(8, 1000.0))
    assert odd.share
    assert "no whole number" in odd.said
    below = kind_of_metric("acc", y - 0.5, UNKNOWN)
    assert not below.share
    assert "no share of right items" in below.said


@pytest.mark.parametrize(
    ("name", "is_share"),
    [
        ("acc", True), ("acc,none", True), ("acc_norm,none", True), ("persian_qa_acc", True),
        ("exact_match,strict-match", True), ("pass@1", True), ("acc_stderr,none", False),
        ("expected_exact_match", False), ("logprob_per_token", False), ("p_right", False),
        ("brier_score", False), ("bleu", False), ("accident", False),
    ],
)  # fmt: skip
def test_names_of_shares(name, is_share):
    assert named_share(name) == is_share


def test_items_follow_from_standard_errors():
    """From lm-eval's definition: the deviation with n - 1, over sqrt(n)."""
    rng = np.random.default_rng(0)
    items = [rng.random(n) < p for n, p in ((400, 0.3), (1319, 0.62), (50, 0.9))]
    p = np.array([i.mean() for i in items])
    se = np.array([i.std(ddof=1) / np.sqrt(len(i)) for i in items])
    np.testing.assert_array_equal(from_errors(p, se), [400, 1319, 50])
    alike = from_errors(np.array([0.3, 0.4, 0.0]), np.array([0.0145, 0.0155, 0.0]))
    assert alike[2] == pytest.approx(1000, rel=0.01)  # none right: as many items as the others
    assert np.isnan(from_errors(np.array([0.3, 0.4, 0.0]), np.array([0.01, 0.05, 0.0])))[2]


def test_counts_come_from_the_nearest_column():
    table = pd.DataFrame({"acc": [0.3, 0.5], "acc_stderr": [0.0145, 0.0158]})
    n, said = item_counts(table, "acc", None)
    np.testing.assert_allclose(n, 1000, rtol=0.01)
    assert "items are counted from acc_stderr" in said
    assert item_counts(table, "acc", 77)[0].tolist() == [77, 77]
    assert item_counts(table.assign(n_items=5), "acc", None)[0].tolist() == [5, 5]
    assert item_counts(table.assign(acc_n=6, n_items=5), "acc", 77)[0].tolist() == [6, 6]


def test_what_is_missing_for_a_test_is_said():
    table = pd.DataFrame({"n_params": np.geomspace(1e7, 1e9, 6), "acc": np.linspace(0.3, 0.6, 6)})
    found = analyse(table, "acc", chance=0.25, draws=50)
    said = "\n".join(found.warnings)
    assert "--n-items 1000" in said
    assert "acc_stderr" in said
    table.loc[2, "n_params"] = np.nan
    found = analyse(table, "acc", chance=0.25, n_items=100, draws=50)
    assert any("1 of 6 rows have no n_params and are left out" in w for w in found.warnings)
