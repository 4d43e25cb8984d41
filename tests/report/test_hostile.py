"""Names, errors and notes of other people, on the page and in a terminal: text, no more."""

import html.parser
import json
import unicodedata

import pytest

from scaling.cli import main
from tests.report.hostile import TEXT, record_of, shaped
from tests.report.synthetic import cipher_probe
from tests.report.synthetic import record_of as plain


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.events = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.events += [name for name, _ in attrs if name.startswith("on")]


def test_every_free_text_of_the_schema_is_filled():
    base = plain("0" * 16, "x", 100, 200, 2.0) | {"schema_version": 1, "attempts": 1}
    base |= {"probes": cipher_probe(100, 1, 200), "warnings": ["w"], "nonfinite": []}
    base |= {"parent": {"run_id": "0" * 16, "step": 1}}
    record = record_of(base)
    for path in ("name", "config.name", "data.fingerprint", "versions.python", "code.source_hash",
                 "code.commit", "hardware.host_cpu", "hardware.device_kind", "warnings.0",
                 "parent.run_id", "created", "finished", "error", "probes.cipher.label",
                 "probes.cipher.groups.0.keys.condition"):  # fmt: skip
        value = record
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        assert value == TEXT, path
    assert TEXT in record["evals"]
    assert TEXT in record["seeds"]


def test_the_page_has_the_tags_of_the_template_only(hostile_report):
    text = hostile_report.page.read_text()
    tags = Tags()
    tags.feed(text)
    assert not {"img", "b", "iframe", "object"} & set(tags.found)
    assert tags.found.count("script") == 3  # the charts, the page, and their data
    assert tags.events == []
    shown = text.split("<script")[0]
    strange = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}
    assert not strange


def test_the_numbers_are_json(hostile_report):
    facts = json.loads(hostile_report.page.with_name("report.json").read_text())
    assert facts["sections"]


@pytest.mark.parametrize("words", [["status", "--once"], ["runs"], ["show"]], ids=lambda w: w[0])
def test_nothing_acts_on_a_terminal(hostile_sweep, words, capsys):
    where = [str(hostile_sweep)]
    if words == ["show"]:
        where = sorted(map(str, hostile_sweep.glob("runs/*")))
    assert main([*words, *where]) == 0
    said = capsys.readouterr()
    assert not strange(said.out + said.err)
    assert "\\x1b[31mred" in said.out


def test_nothing_that_the_report_says_acts_on_a_terminal(hostile_report):
    assert not strange(hostile_report.said)


def strange(text):
    """Characters that a terminal may act on."""
    return {c for c in text if unicodedata.category(c)[0] == "C"} - {"\n"}


def test_a_shape_is_filled_where_it_asks_for_text():
    shape = {"a": str, "b?": (str, None), "c": [{"d": str}], "run_id": str, "n": int}
    value = {"a": "x", "b": None, "c": [{"d": "y"}], "run_id": "z", "n": 1}
    assert shaped(value, shape) == value | {"a": TEXT, "c": [{"d": TEXT}]}
