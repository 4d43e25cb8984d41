"""Units in cells, headers and options: converted where said, refused where only likely."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.analysis.laws import LAWS
from scaling.analysis.tables.cells import numbers
from scaling.analysis.tables.check import validate
from scaling.analysis.tables.read import as_table
from scaling.analysis.tables.units import FLOPS, FRACTION, LOSS, OTHER, PARAMS, PF_DAYS, of_header
from scaling.errors import UserError
from tests.analysis.synthetic import sweep

LN2 = math.log(2)
CHINCHILLA = LAWS.load("chinchilla")


def cells(*texts, quantity=PARAMS, decimal=""):
    values, bad, _ = numbers(pd.Series(texts, name="c", dtype=object), quantity, None, decimal)
    assert not bad.any(), texts
    return values.tolist()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("20M", 2e7), ("1.4B", 1.4e9), ("300B tokens", 3e11), ("1e9", 1e9), ("70b", 7e10)],
        *[("1_000_000", 1e6), ("1,000,000", 1e6), ("1 000 000", 1e6), ("1'000'000", 1e6)],
        *[("20\u202f000\u00a0000", 2e7), ("1.000.000", 1e6), ("125 m params", 1.25e8)],
        *[("1.2 × 10^9", 1.2e9), ("10⁹", 1e9), ("$2 \\times 10^{9}$", 2e9), ("**3k**", 3e3)],
        *[("1.3 T", 1.3e12), ("7 Mio.", None), ("5.", 5), ("+4e3", 4e3), ("'20000000", 2e7)],
        *[("1,5M", 1.5e6), ("1,234M", 1.234e9), ("1,234.5K", 1234500)],
    ],
)
def test_a_count_in_a_cell(text, value):
    assert cells(text) == [pytest.approx(7e6 if value is None else value, rel=1e-15)]


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        *[(FLOPS, "3e18 FLOPs", 3e18), (FLOPS, "2 EFLOPs", 2e18), (FLOPS, "1 PF-day", 8.64e19)],
        *[(FLOPS, "5 ZFLOP", 5e21), (PF_DAYS, "8.64e19 FLOPs", 1.0), (FLOPS, "1e3 PFLOPs", 1e18)],
        *[(FRACTION, "12%", 0.12), (FRACTION, "12,5 %", 0.125), (FRACTION, "0.12", 0.12)],
        *[(LOSS, "3.21 nats", 3.21), (LOSS, "2 bits", 2 * LN2), (LOSS, "20 ppl", math.log(20))],
        *[
            (LOSS, "3,210", 3.21),
            (LOSS, "−1.5", -1.5),
            (OTHER, "3,5", 3.5),
            (OTHER, "-inf", -np.inf),
        ],
    ],
)
def test_other_quantities_in_a_cell(quantity, text, value):
    assert cells(text, quantity=quantity) == [pytest.approx(value, rel=1e-15)]


@pytest.mark.parametrize(
    "text",
    [
        "Total",
        "1..2",
        "1,2,3",
        "1,00,000",
        "2024-01-02",
        "20 40",
        "3.2±.1",
        "~3",
        "5 bananas",
        "3 %",
    ],
)
def test_what_is_no_number(text):
    assert numbers(pd.Series([text]), PARAMS)[1].tolist() == [True]


def test_the_cells_of_a_column_decide_together():
    assert cells("1.000.000", "20.000") == [1e6, 2e4]
    assert cells("1,000,000", "20,000", "1,234") == [1e6, 2e4, 1234]
    assert cells("3,25", "1,234", quantity=OTHER) == [3.25, 1.234]
    assert cells("1,234", "2,345", quantity=OTHER, decimal=",") == [1.234, 2.345]
    with pytest.raises(UserError, match="may be a decimal"):
        cells("1,234", decimal="?")
    with pytest.raises(UserError, match=r"'1,234' may be a decimal or thousands"):
        cells("1,234", quantity=OTHER)
    with pytest.raises(UserError, match=r"row 1 \('1,5'\) and row 2 \('1.25'\)"):
        cells("1,5", "1.25", quantity=OTHER)


@given(st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-6))
def test_plain_floats_are_read_to_the_last_bit(value):
    assert cells(repr(value), "x" and repr(value), quantity=OTHER) == [value, value]


@given(st.integers(1000, 10**15), st.sampled_from([",", " ", "'", "_", "\u00a0"]))
def test_thousands_are_put_together(value, mark):
    assert cells(f"{value:,}".replace(",", mark)) == [value]


@pytest.mark.parametrize(
    ("quantity", "header", "two"),
    [
        *[(PARAMS, "Params (M)", 2e6), (PARAMS, "n_params_B", 2e9), (PARAMS, "Tokens [T]", 2e12)],
        *[(PARAMS, "size (millions)", 2e6), (PARAMS, "Parameter (Mio.)", 2e6)],
        *[
            (PARAMS, "#Params (10^6)", 2e6),
            (PARAMS, "Tokens (×10⁹)", 2e9),
            (PARAMS, "N / 1e6", 2e6),
        ],
        *[(PARAMS, "tokens in billions", 2e9), (PARAMS, "millions_of_tokens", 2e6)],
        *[(PARAMS, "Params (non-embedding, M)", 2e6), (PARAMS, "log10(N)", 100)],
        *[(PARAMS, "params_total", 2), (PARAMS, "Model Size", 2), (PARAMS, "tokens/param", 2)],
        *[(FLOPS, "GFLOPs", 2e9), (FLOPS, "train_pflops", 2e15), (FLOPS, "PF-days", 2 * 8.64e19)],
        *[(FLOPS, "compute (10^18 FLOPs)", 2e18), (FLOPS, "Compute in PetaFLOPs", 2e15)],
        *[(FLOPS, "petaflop/s-days", 2 * 8.64e19), (FLOPS, "FLOPs", 2), (FLOPS, "C", 2)],
        *[(PF_DAYS, "PF-days", 2), (PF_DAYS, "EFLOPs", 2e18 / 8.64e19)],
        *[(LOSS, "val_ppl", LN2), (LOSS, "Val Perplexity", LN2), (LOSS, "log_ppl", 2)],
        *[(LOSS, "loss (bits)", 2 * LN2), (LOSS, "val_bpb", 2), (LOSS, "c4_bits_per_byte", 2)],
        *[(LOSS, "bits per token", 2 * LN2), (LOSS, "val/loss", 2), (LOSS, "loss (nats, val)", 2)],
        *[(FRACTION, "acc (%)", 0.02), (FRACTION, "error_pct", 0.02), (FRACTION, "acc", 2)],
    ],
)
def test_units_in_headers(quantity, header, two):
    unit = of_header(header, quantity)
    assert (2 if unit is None else unit.convert(np.float64(2))) == pytest.approx(two, rel=1e-14)


def test_a_logarithm_or_a_rate_that_a_header_leaves_open_is_refused():
    with pytest.raises(UserError, match="log10 or ln"):
        of_header("log_params", PARAMS)
    with pytest.raises(UserError, match="rate"):
        of_header("TFLOP/s", FLOPS)


def scaled(**factors):
    table = sweep()
    return table.assign(**{name: table[name] * factor for name, factor in factors.items()})


@pytest.mark.parametrize("law", ["chinchilla", "kaplan", "gadre"])
def test_other_quantities_than_nats_are_kept_and_told(law):
    table = sweep().rename(columns={"loss": "val_bpb"}).assign(tokens_per_param=20.0)
    renamed, notices = as_table(table, {"loss": "val_bpb"})
    assert "bits per byte, not nats per token" in notices[0]
    np.testing.assert_array_equal(validate(LAWS.load(law), renamed)[0]["loss"], table["val_bpb"])


@pytest.mark.parametrize(
    ("factors", "flag"),
    [
        ({"n_params": 1e-6, "flops": 0}, "n_params=M"),
        ({"n_params": 1e-9, "flops": 0}, "n_params=B"),
        ({"n_params": 1e-6, "n_tokens": 1e-6, "flops": 0}, "n_params=M"),
        ({"n_tokens": 1e-9, "flops": 0}, "n_tokens=B"),
        ({"n_tokens": 1e-6, "flops": 0}, "n_tokens=M"),
        ({"flops": 1e-15}, "flops=PFLOPs"),
        ({"flops": 1 / 8.64e19}, "flops=PFLOPs"),
        ({"loss": 5.0}, "loss=perplexity"),
    ],
)
def test_values_that_cannot_be_are_refused_with_a_flag(factors, flag):
    table = scaled(**factors)
    table = table.drop(columns="flops") if factors.get("flops") == 0 else table
    with pytest.raises(UserError, match=flag):
        validate(CHINCHILLA, as_table(table)[0])


@pytest.mark.parametrize(
    ("factors", "units"),
    [
        ({"n_params": 1e-6, "n_tokens": 1e-9}, {"n_params": "M", "n_tokens": "B"}),
        ({"n_params": 1e-3}, {"n_params": "K"}),
        ({"flops": 1e-15}, {"flops": "PFLOPs"}),
        ({"flops": 1 / 8.64e19}, {"flops": "PF-days"}),
        ({"loss": 1 / LN2}, {"loss": "bits"}),
        ({"n_tokens": 1 / 250}, {"n_tokens": "250"}),
    ],
)
def test_stated_units_are_converted_once_and_told(factors, units):
    table, notices = as_table(scaled(**factors), units=units)
    assert len(notices) == len(units)
    for _ in range(2):  # the door may be passed again
        pd.testing.assert_frame_equal(table, sweep(), check_exact=False, rtol=1e-12)
        validate(CHINCHILLA, table)
        table, _ = as_table(table, units=units)


def test_what_is_insisted_on_is_believed():
    for factors, units in (
        ({"loss": 5.0}, {"loss": "nats"}),
        ({"n_params": 1e-6, "flops": 1e-6}, {"n_params": "1", "n_tokens": "1"}),
        ({"flops": 1e-6}, {"flops": "FLOPs"}),
    ):
        with pytest.raises(UserError):
            validate(CHINCHILLA, as_table(scaled(**factors))[0])
        table, notices = as_table(scaled(**factors), units=units)
        assert notices == []
        validate(CHINCHILLA, table)


def test_losses_above_the_vocabulary_are_refused_and_single_ones_said():
    table = sweep().assign(vocab_size=8.0)  # ln 8 = 2.08
    with pytest.raises(UserError, match=r"above ln vocab_size = 2\.08"):
        validate(CHINCHILLA, table)
    _, notices = validate(CHINCHILLA, sweep().assign(vocab_size=25))
    assert "diverged?" in " ".join(notices)
    _, notices = validate(CHINCHILLA, sweep().assign(vocab_size=50_000, vocab_params=3))
    assert notices == []
    high = sweep()
    high.loc[4, "loss"] = 400.0
    assert "row 5, worse than guessing" in " ".join(validate(CHINCHILLA, high)[1])


def test_fractions_above_one_are_refused_unless_per_cent_is_said():
    sigmoid = LAWS.load("sigmoid")
    table = pd.DataFrame({"loss": np.linspace(1, 3, 9), "accuracy": np.linspace(90, 30, 9)})
    with pytest.raises(UserError, match="--unit accuracy=percent"):
        validate(sigmoid, as_table(table)[0])
    kept, _ = validate(sigmoid, as_table(table, units={"accuracy": "percent"})[0])
    np.testing.assert_allclose(kept["accuracy"], table["accuracy"] / 100)


def test_mixed_units_name_the_rows():
    table = sweep()
    table.loc[[3, 7], "n_params"] = [125.0, 350.0]
    with pytest.raises(UserError, match="row 4, 8"):
        validate(CHINCHILLA, table)


def test_a_column_cannot_be_two_things():
    with pytest.raises(UserError, match="both column 'size'"):
        as_table(sweep().assign(size=1e8), {"n_params": "size", "n_tokens": "size"})
