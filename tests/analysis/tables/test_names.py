"""Odd names in options: quoted, or plain where the columns that there are leave one reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.analysis.tables.choose import matches
from scaling.analysis.tables.names import assignments, conditions, listed, nearest, quoted, tidy
from scaling.analysis.tables.read import as_table
from scaling.errors import UserError
from tests.analysis.synthetic import sweep

ODD = ["params, total", "tokens=D", "loss (nats, val)", "a<b", 'say "x"', "it's", "Val Loss", "!"]
NAMES = st.text("ab,=<>!\"' ().%/é", min_size=1, max_size=12).map(tidy).filter(bool)


@given(NAMES, NAMES, st.text("ab,=<>\"' ", min_size=1, max_size=6).map(tidy).filter(bool))
def test_every_name_can_be_written_in_quotes(first, second, value):
    text = f"n_params={quoted(first)},loss={quoted(second)}"
    assert assignments([text], "--map") == {"n_params": first, "loss": second}
    assert conditions(f"{quoted(first)} < 3, {quoted(second)}!={quoted(value)}") == [
        (first, "<", "3"),
        (second, "!=", value),
    ]
    assert listed(f"{quoted(first)},{quoted(second)}", []) == [first, second]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_needs_no_quotes_where_it_is_a_column(name):
    text = f"n_params={name}, n_tokens = {name},loss={name}"
    assert set(assignments([text], "--map", columns=ODD).values()) == {name}
    assert conditions(f"{name}>=3,{name} != x, y", ODD) == [(name, ">=", "3"), (name, "!=", "x, y")]
    assert assignments([f"{name}=bits,loss=nats"], "--unit", names=ODD)[name] == "bits"
    assert listed(f"a,{name},b", [*ODD, "a", "b"]) == ["a", name, "b"]


def test_the_longest_name_wins():
    assert assignments(["x=a,b=c"], "--map", columns=["a", "a,b=c"]) == {"x": "a,b=c"}
    assert conditions("a<b<3", ["a", "a<b"]) == [("a<b", "<", "3")]
    assert conditions("loss (nats) < 3", ["loss"]) == [("loss (nats)", "<", "3")]


def test_values_may_hold_commas_where_nothing_else_fits():
    assert conditions("name=ladder-n20m,d1b,lr<1") == [
        ("name", "=", "ladder-n20m,d1b"),
        ("lr", "<", "1"),
    ]


@pytest.mark.parametrize("texts", [["E=1", "E=2"], ["E=1,E=2"], ["E=1,A=3", "E=1"]])
def test_a_name_given_twice_is_refused_with_both_values(texts):
    with pytest.raises(UserError, match="--pin: 'E' is given twice, as '1' and as"):
        assignments(texts, "--pin")


@pytest.mark.parametrize("text", ["", ",", "a", "a=", "=3"])
def test_other_forms_are_refused(text):
    with pytest.raises(UserError, match="--map"):
        assignments([text], "--map", columns=["x"])


def test_conditions_compare_numbers_as_cells_are_written():
    table, _ = as_table(sweep().assign(size=["20M", "1.4B"] * 18))
    assert matches(table, "n_params<1B").sum() == matches(table, "n_params<1e9").sum()
    assert matches(table, "size=1.4B").sum() == 18
    with pytest.raises(UserError, match="not a number in row 1, 2, 3, 4, 5 and 31 more"):
        matches(table, "run>3")


def test_spellings_that_may_be_meant():
    assert nearest("loss", ["LOSS", "lr"]) == "LOSS"
    assert nearest("val loss", ["Val_Loss (nats)", "train loss"]) == "Val_Loss (nats)"
    assert nearest("n_params", ["zebra"]) is None
