"""Foreign columns become ours, with units and conventions, or a sentence that says why not."""

import math

import numpy as np
import pandas as pd
import pytest

from scaling.analysis.fit import fit
from scaling.analysis.tables.read import as_table
from scaling.cli import main
from scaling.errors import UserError
from scaling.interop.columns import NEEDED, is_ours, to_records
from scaling.run.record import STATUSES

MAP = {"n_params": "size", "n_tokens": "tokens", "loss": "val"}


def foreign(n=12, **columns):
    """Points on L = 1.7 + 400 / N^0.34 + 400 / D^0.28, in the words of another lab."""
    size = np.repeat(np.geomspace(1e7, 1e9, 4), n // 4)
    tokens = np.tile(np.geomspace(1e9, 3e10, n // 4), 4)
    loss = 1.7 + 400 / size**0.34 + 400 / tokens**0.28
    return pd.DataFrame({"size": size, "tokens": tokens, "val": loss, "lr": 1e-3}).assign(**columns)


def test_what_is_written_is_fitted(tmp_path):
    source, out = tmp_path / "old.csv", tmp_path / "table.csv"
    foreign(24).to_csv(source, index=False)
    pairs = ",".join(f"{ours}={theirs}" for ours, theirs in MAP.items())
    assert main(["import", "csv", str(source), "--map", pairs, "--out", str(out)]) == 0
    table, notices = as_table(out)
    assert len(table) == 24
    assert notices == []
    result = fit("chinchilla", table, starts=20, profile=False)
    assert result.params["E"].value == pytest.approx(1.7, rel=1e-3)
    assert list(table["extra.lr"].unique()) == [1e-3]


@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ({"n_params": "M"}, {"size": 1e-6}),
        ({"n_tokens": "B"}, {"tokens": 1e-9}),
        ({"n_tokens": "250"}, {"tokens": 1 / 250}),
        ({"loss": "bits"}, {"val": 1 / math.log(2)}),
    ],
)
def test_units_are_undone(units, scale):
    plain, _ = to_records(foreign(), MAP, source="t")
    scaled = foreign()
    for column, factor in scale.items():
        scaled[column] *= factor
    again, _ = to_records(scaled, MAP, units, source="t")
    pd.testing.assert_frame_equal(plain, again)


def test_perplexity_and_pf_days():
    raw = foreign().assign(
        val=lambda t: np.exp(t.val), c=lambda t: t["size"] * t.tokens * 6 / 8.64e19
    )
    mapping = {**MAP, "flops": "c"}
    table, notices = to_records(
        raw, mapping, {"loss": "perplexity", "flops": "PF-days"}, source="t"
    )
    plain, _ = to_records(foreign(), MAP, source="t")
    np.testing.assert_allclose(table.loss, plain.loss)
    np.testing.assert_allclose(table.flops, plain.flops)
    assert not any("check their units" in n for n in notices)


@pytest.mark.parametrize("missing", ["n_params", "n_tokens", "flops"])
def test_the_third_of_n_d_c_follows(missing):
    full, _ = to_records(foreign(), MAP, source="t")
    given = full.drop(columns=[missing])
    table, notices = to_records(given, {}, source="t")
    np.testing.assert_allclose(table[missing], full[missing])
    assert any(n.startswith(f"{missing} is computed") for n in notices)


def test_a_convention_of_n_is_named():
    table, notices = to_records(
        foreign(), {**MAP, "params.non_embedding": "size"} | {"n_params": "size"}, source="t"
    )
    assert any("all parameters" in n for n in notices)
    kaplan = {"params.non_embedding": "size", "n_tokens": "tokens", "loss": "val"}
    table, notices = to_records(foreign(), kaplan, source="t")
    assert (table.n_params == table["params.non_embedding"]).all()
    assert any("it is params.non_embedding" in n for n in notices)


def test_unmapped_columns_are_named_and_kept():
    table, notices = to_records(foreign(loss=9.0, host="n1"), MAP, source="t")
    assert "not mapped, kept under extra.: lr, loss, host" in notices
    assert (table["extra.loss"] == 9.0).all()
    assert table.loss.max() < 9.0


def test_every_column_has_a_place_in_a_record():
    table, _ = to_records(foreign(host="n1"), MAP, source="t")
    assert [c for c in table if not is_ours(c)] == []
    assert set(NEEDED) <= set(table)


@pytest.mark.parametrize("status", [*STATUSES, "finished", "Crashed", "killed"])
def test_states_are_told_apart(status):
    table, _ = to_records(foreign(status=["finished"] * 11 + [status]), MAP, source="t")
    assert set(table.status) <= set(STATUSES)
    assert (table.status.iloc[-1] == "complete") == (status in ("complete", "finished"))


@pytest.mark.parametrize(
    ("column", "factor", "words"),
    [
        ("size", 1e-6, "--unit n_params=M"),
        ("tokens", 1e-9, "--unit n_tokens=B"),
        ("val", 20.0, "loss=perplexity"),
    ],
)
def test_values_of_another_unit_are_refused_unless_it_is_stated(column, factor, words):
    raw = foreign()
    raw[column] *= factor
    with pytest.raises(UserError, match=words):
        to_records(raw, MAP, source="t")
    ours = {theirs: ours for ours, theirs in MAP.items()}[column]
    right = {"n_params": "1", "n_tokens": "1"} if ours != "loss" else {"loss": "nats"}
    to_records(raw, MAP, right, source="t")


def test_state_of_weights_and_biases_is_the_status():
    table, notices = to_records(foreign(State=["finished"] * 11 + ["crashed"]), MAP, source="t")
    assert table["status"].tolist() == ["complete"] * 11 + ["failed"]
    assert "status is column 'State'" in notices


@pytest.mark.parametrize(
    ("change", "mapping", "units", "words"),
    [
        ({}, {**MAP, "n_params": "sise"}, {}, "did you mean 'size'"),
        ({}, {**MAP, "n_parms": "lr"}, {}, "did you mean 'n_params'"),
        ({}, {"n_params": "size", "loss": "val"}, {}, "n_tokens=tokens"),
        ({}, MAP, {"n_params": "bits"}, "unknown unit of n_params"),
        ({}, MAP, {"n_params": "-3"}, "factor must be positive"),
        ({}, MAP, {"lr": "K"}, "unknown mapped column"),
        ({"size": ["ten", *[1e7] * 11]}, MAP, {}, "'ten' in row 1"),
        ({"tokens": [0.0, *[1e9] * 11]}, MAP, {}, "not positive in row 1"),
        ({"status": "sleeping"}, MAP, {}, "sleeping"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(change, mapping, units, words):
    with pytest.raises(UserError, match=words) as caught:
        to_records(foreign(**change), mapping, units, source="t")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "argv",
    [
        ["csv", "{dir}/none.csv", "--out", "{dir}/t.csv"],
        ["csv", "{dir}/old.csv", "--out", "{dir}/t.xlsx"],
        ["csv", "{dir}/old.csv", "--out", "{dir}/nowhere/t.csv"],
        ["csv", "{dir}/old.csv", "--map", "n_params", "--out", "{dir}/t.csv"],
        ["csv", "{dir}/old.csv", "--map", "loss=a,loss=b", "--out", "{dir}/t.csv"],
    ],
)
def test_a_refused_import_writes_nothing(tmp_path, argv, capsys):
    foreign().to_csv(tmp_path / "old.csv", index=False)
    assert main(["import", *(a.format(dir=tmp_path) for a in argv)]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["old.csv"]
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_parquet_takes_mixed_columns(tmp_path):
    foreign(config=[1, "two"] * 6).to_json(tmp_path / "old.jsonl", orient="records", lines=True)
    pairs = ",".join(f"{ours}={theirs}" for ours, theirs in MAP.items())
    out = tmp_path / "t.parquet"
    assert (
        main(["import", "csv", str(tmp_path / "old.jsonl"), "--map", pairs, "--out", str(out)]) == 0
    )
    assert len(as_table(out)[0]) == 12
