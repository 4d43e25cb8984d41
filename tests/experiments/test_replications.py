"""Every published result that the project claims to reach, through the public entry points."""

import importlib
from pathlib import Path

import pytest

import experiments.replications
from experiments.replications.page import Page, Row, markdown

HERE = Path(experiments.replications.__file__).parent
FAST = (
    *("chinchilla_flops", "gadre", "porian", "routing"),
    *("ipa_bleu", "pythia_arithmetic", "pythia_controls", "wei_open_models"),
)
SLOW = ("chinchilla", "gemstones", "kaplan", "muennighoff", "multi_power", "olmo_ladder")


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_published_values_are_reached(name):
    page = importlib.import_module(f"experiments.replications.{name}").replicate()
    assert page.rows
    assert [row for row in page.rows if not row.holds] == []


def test_every_replication_has_a_page_that_says_so_and_a_place_in_the_index():
    modules = {p.stem for p in HERE.glob("*.py")} - {"__init__", "page"}
    assert modules == {*FAST, *SLOW}
    index = (HERE / "README.md").read_text()
    for name in modules:
        assert f"({name}.md)" in index
        assert (HERE / f"{name}.png").is_file()
        assert "**Verdict: reproduced**" in (HERE / f"{name}.md").read_text()


def test_a_row_holds_within_its_tolerance_only():
    assert Row("x", 1.0, 1.01, 0.02).holds
    assert not Row("x", 1.0, 0.97, 0.02).holds
    assert Row("objective", 1.0, 0.5, 0.0, at_most=True).holds
    assert not Row("objective", 1.0, 1.1, 0.05, at_most=True).holds
    assert not Row("x", 1.0, float("nan"), 0.02).holds


def test_a_page_that_differs_says_so():
    page = Page("T", "S", "P", [Row("x", 1.0, 2.0, 0.1)], [], lambda axes: None)
    text = markdown(page, "t", 1.0)
    assert "**Verdict: not reproduced** (0 of 1" in text
    assert "**differs**" in text
