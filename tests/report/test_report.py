"""The report finds the truth behind the runs, and says what is missing instead of failing."""

import html.parser
import json
import re
import xml.etree.ElementTree as ET

import altair as alt
import pytest

from scaling.analysis.fitted import Fit
from scaling.cli import main
from scaling.errors import UserError
from scaling.report.write import write_report
from tests.report.conftest import DIVERGED, ENTROPY, HOSTILE
from tests.report.synthetic import TRUTH, write_sweep

LIMIT_BYTES = 3_000_000


def section(facts, start):
    """The facts of the one section whose key begins with `start`."""
    (found,) = [v for k, v in facts["sections"].items() if k.startswith(start)]
    return found


class Elements(html.parser.HTMLParser):
    """Every start tag with its attributes, and the text outside scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text.append(data)


def test_the_law_behind_the_runs_is_found(facts):
    params = section(facts, "law-")["fit"]["params"]
    for name in ("alpha", "beta"):
        low, high = params[name]["ci95"]
        assert low <= TRUTH[name] <= high
        assert params[name]["value"] == pytest.approx(TRUTH[name], abs=0.08)


def test_held_out_runs_are_predicted_without_having_been_fitted(facts):
    checks = section(facts, "heldout-")["checks"]
    judged = [check for check in checks if "missing" not in check]
    assert len(judged) == 2
    for check in judged:
        assert check["n_fitted"] + check["n_held_out"] == 13  # of 20, with fit_where and two lost
        assert check["max_abs_error"] < 0.01
        assert len(check["runs"]) == check["n_held_out"]


def test_a_check_without_a_unique_law_is_not_judged(facts):
    """Without the largest budget two are left, and two token counts fix no power law."""
    (check,) = [c for c in section(facts, "heldout-")["checks"] if "missing" in c]
    assert check["held_out"] == "the largest n_tokens"
    assert "do not determine the law" in check["missing"]


def test_the_entropy_of_the_source_is_told_beside_the_fitted_loss(facts):
    entropy = section(facts, "entropy-")
    assert entropy["truth"] == ENTROPY
    assert entropy["fitted"] == pytest.approx(ENTROPY, abs=0.15)


def test_the_optimal_allocation_is_that_of_the_truth(facts):
    best = section(facts, "allocation-")["optimal"][0]
    ratio = (TRUTH["alpha"] * TRUTH["A"] / (TRUTH["beta"] * TRUTH["B"])) ** (
        1 / (TRUTH["alpha"] + TRUTH["beta"])
    )
    a = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])
    assert best["n_params"] == pytest.approx(ratio * (best["flops"] / 6) ** a, rel=0.2)


def test_an_ability_appears_where_it_does(facts):
    (ability,) = section(facts, "emergence")["abilities"]
    assert set(ability["curves"]) == {"known", "novel"}
    assert ability["curves"]["known"]["onset"]["x"] == pytest.approx(9216)
    assert ability["curves"]["novel"]["onset"]["x"] == pytest.approx(20_736)
    assert ability["curves"]["novel"]["ceiling"] == pytest.approx(0.95)


def test_time_is_split_and_nothing_is_counted_twice(facts):
    runs = section(facts, "runs")
    assert runs["statuses"] == {"complete": 18, "diverged": 1, "pending": 1}
    assert runs["time_s"]["steps"] == pytest.approx(19 * 7.0)
    assert runs["time_s"]["analysis"] > 0


def test_diverged_runs_are_listed_with_their_reason(facts):
    (bad,) = section(facts, "trouble")["runs"]
    assert bad["run_id"] == f"{DIVERGED:016x}"
    assert HOSTILE in bad["note"]


def test_text_of_runs_stays_text(html):
    page = Elements(html)
    scripts = [a for tag, a in page.tags if tag == "script"]
    assert [a.get("type") for a in scripts] == ["application/json", None, None]
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "b")]
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert HOSTILE in "".join(page.text)


def test_formulas_among_words_have_raised_exponents(html):
    abstract = re.search(r'<div class="abstract".*?</div>', html, re.DOTALL)[0]
    assert "N<sup>−α</sup>" in abstract
    assert "N^" not in abstract


def test_the_page_needs_nothing_outside_itself(html):
    assert len(html.encode()) < LIMIT_BYTES
    page = Elements(html)
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            address = attrs.get(name) or "#"
            assert address.startswith(("#", "data:,")), (tag, attrs)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html
    assert "unsafe-eval" not in html.split("</head>")[0]


def test_every_chart_is_vega_lite(html):
    """The report leaves this out, for speed."""
    data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)[1]
    specs = [figure["spec"] for figure in json.loads(data)["figures"].values()]
    assert len(specs) >= 10
    for spec in specs:
        alt.Chart.from_dict(spec)  # raises where the schema is not met


def test_every_figure_can_be_read_without_seeing_it(html):
    page = Elements(html)
    charts = [a for tag, a in page.tags if a.get("class") == "chart"]
    assert len(charts) >= 10
    assert all(len(a["aria-label"]) > 40 and a["role"] == "img" for a in charts)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for tag, a in page.tags if tag == "a"]
    assert set(targets) <= set(ids)


def test_paper_figures_and_fits_are_written(report):
    out = report.page.parent
    assert {p.name for p in out.iterdir()} == set(report.files)
    for name in report.files:
        if name.endswith(".svg"):
            ET.parse(out / name)
    (fit,) = out.glob("fit-*.json")
    assert Fit.from_json(fit).predict({"n_params": [1e5], "n_tokens": [4e6]})["predicted"][0] > 1


@pytest.mark.slow
def test_a_second_report_replaces_the_first(report, full_sweep, tmp_path):
    """Figures and fits are the same bytes; only the seconds of the analysis differ."""
    again = write_report(full_sweep, tmp_path / "other", quiet=True)
    for name in report.files:
        if name.startswith("fit-") or name.endswith(".svg"):
            assert (tmp_path / "other" / name).read_bytes() == (
                report.page.parent / name
            ).read_bytes()
    assert again.files == report.files


@pytest.mark.parametrize("missing", [range(20), range(2, 20)])
def test_half_a_sweep_is_half_a_page(tmp_path, missing):
    path = write_sweep(tmp_path / "s", missing=tuple(missing))
    report = write_report(path, quiet=True)
    text = "".join(Elements(report.page.read_text()).text)
    assert "No law yet" in text
    facts = json.loads(report.page.with_name("report.json").read_text())
    assert section(facts, "runs")["statuses"]["pending"] == len(missing)


def test_runs_without_a_sweep_json_are_one_group(tmp_path):
    path = write_sweep(tmp_path / "s", missing=range(1, 20), sweep_json=False)
    report = write_report(path, tmp_path / "out", quiet=True)
    assert "1 run (1 complete)" in report.lines[0]


def test_broken_records_are_told_and_do_not_stop_the_page(tmp_path):
    path = write_sweep(tmp_path / "s", missing=range(3, 20))
    run = path / "runs" / f"{0:016x}"
    (run / "record.json").write_text("{")
    (path / "runs" / f"{1:016x}" / "record.json").write_text('{"run_id": "x"}')
    (path / "runs" / f"{2:016x}" / "metrics.jsonl").write_text('{"step": 1, "kind"\n\x00\n[]\n')
    facts = json.loads(write_report(path, quiet=True).page.with_name("report.json").read_text())
    assert section(facts, "runs")["statuses"]["unreadable record"] == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": []}'])
def test_a_damaged_sweep_json_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json"):
        write_report(tmp_path, quiet=True)
    assert not (tmp_path / "report").exists()


def test_the_command_refuses_what_is_no_sweep(tmp_path, capsys):
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert main(["report", str(tmp_path)]) == 2
    assert "neither sweep.json nor a run" in capsys.readouterr().err
