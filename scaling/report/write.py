"""From a sweep directory to its report directory: page, numbers and paper figures."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from scaling.doors.files import dump
from scaling.doors.outputs import write_output
from scaling.doors.spreadsheet import frame_text
from scaling.errors import UserError
from scaling.report.ability import abilities
from scaling.report.allocation import allocation
from scaling.report.collect import Study, collect
from scaling.report.content import Section, Text
from scaling.report.emergence import emergence
from scaling.report.entropy import entropy
from scaling.report.estimate import Estimate, estimate
from scaling.report.figures import ability_figures, paper_figures
from scaling.report.heldout import heldout
from scaling.report.law import law
from scaling.report.overview import overview
from scaling.report.page import bundle, render
from scaling.report.progress import Steps
from scaling.report.repeat import repeat
from scaling.report.text import plural
from scaling.report.training import training
from scaling.report.trouble import trouble
from scaling.run.record import jsonable

REPORT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """What was written. lines: the sentences of the abstract, for the terminal."""

    page: pathlib.Path
    files: tuple[str, ...]
    lines: tuple[str, ...]
    seconds: float


def write_report(
    path: pathlib.Path, out: pathlib.Path | None = None, *, quiet: bool = False
) -> Report:
    """Reads the sweep in `path` and writes report.html, report.json, fits and figures to `out`
    (default: path/report). Raises UserError when there is nothing to report on."""
    start = time.monotonic()
    # What waits for a compiler (of JavaScript, of XLA) runs beside the rest.
    with Steps(quiet) as steps, ThreadPoolExecutor(2) as beside:
        study = steps.do("records", lambda: collect(path, steps.update))
        scripts, probes = beside.submit(bundle), beside.submit(abilities, study)
        out = out or study.path / "report"
        estimates, sections = [], []
        for group in study.groups:
            if group.law:
                found = steps.do(f"fit: {group.title}", lambda g=group: _try_fit(study, g))
                sections += found if isinstance(found, list) else _of_law(found)
                estimates += [] if isinstance(found, list) else [found]
        asked, said = steps.do("probes", probes.result)
        sections += [s for s in (emergence(asked, said),) if s is not None]
        sections.append(steps.do("training curves", lambda: training(study)))
        make_directory(out)
        names, notices = [], []
        for found in estimates:
            written = steps.do(
                f"figures: {found.group.title}", lambda f=found: paper_figures(f, out)
            )
            names += written[0]
            notices += written[1]
            found.fit.to_json(out / f"fit-{found.group.key}.json")
            names.append(f"fit-{found.group.key}.json")
        names += _points(estimates, out)
        for k, ability in enumerate(asked):
            names += steps.do(
                f"figures: {ability.label}", lambda a=ability, k=k: ability_figures(a, k, out)
            )
        sections += [trouble(study, estimates), repeat(study)]
        sections.insert(0, overview(study, time.monotonic() - start))
        scripts.result()
        steps.do("page", lambda: _write(study, sections, out, notices))
    lines = tuple(s.summary for s in sections if s.summary)
    files = ("report.html", "report.json", *names)
    return Report(out / "report.html", files, lines, time.monotonic() - start)


def _points(estimates: Sequence[Estimate], out: pathlib.Path) -> list[str]:
    """runs.csv: what every law was fitted to."""
    if not estimates:
        return []
    columns = ["run_id", "n_params", "n_tokens", "flops", "loss", "predicted", "error"]
    parts = [e.table[columns].assign(group=e.group.key) for e in estimates]
    save(out / "runs.csv", frame_text(pd.concat(parts)))
    return ["runs.csv"]


def make_directory(out: pathlib.Path) -> None:
    """Raises UserError when `out` cannot be made."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={str(out)!r} is not a directory; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from None


def _try_fit(study: Study, group) -> Estimate | list[Section]:
    """The estimate of a group, or the section that says why there is none."""
    try:
        return estimate(group, study.table(group))
    except UserError as error:
        text = Text(f"No law yet: {error}.", "missing")
        title, facts = f"Scaling law: {group.title}", {"missing": str(error)}
        return [Section(f"law-{group.key}", title, [text], facts=facts)]


def _of_law(found: Estimate) -> list[Section]:
    sections = [law(found), heldout(found), allocation(found), entropy(found)]
    return [section for section in sections if section is not None]


def _write(
    study: Study, sections: Sequence[Section], out: pathlib.Path, notices: list[str]
) -> None:
    subtitle = f"A scaling study, {plural(len(study.runs), 'run')}"
    if study.sweep_id:
        subtitle += f" · sweep {study.sweep_id}"
    if study.created:
        subtitle += f" · {study.created[:10]}"
    head = {"name": study.name, "sweep_id": study.sweep_id, "notices": notices}
    publish(study.name, subtitle, sections, out, head)


def publish(
    title: str, subtitle: str, sections: Sequence[Section], out: pathlib.Path, head: Mapping
) -> None:
    """Writes report.json (`head` and the facts of every section) and report.html to `out`."""
    facts = {
        "report_version": REPORT_VERSION,
        **head,
        "sections": {
            s.key: {"title": s.title, "summary": s.summary, **jsonable(dict(s.facts))}
            for s in sections
        },
    }
    save(out / "report.json", dump(finite(facts)) + "\n")
    save(out / "report.html", render(title, subtitle, sections))


def save(path: pathlib.Path, text: str) -> None:
    """Raises UserError when the disk refuses."""
    write_output(path, text, "--out")


def finite(value):
    """A copy in which what is not finite is None: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value
