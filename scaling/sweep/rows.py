"""The table of a sweep: one row a run, those without a result marked, none left out."""

import pathlib
from typing import Any

from scaling.analysis.tables.objects import flatten
from scaling.analysis.tables.records import place_of
from scaling.doors.reading import Missing
from scaling.errors import UserError
from scaling.run.record import FINAL_STATUSES, read_facts
from scaling.sweep.definition import Sweep, place_dict
from scaling.sweep.survey import look

UNREADABLE = "unreadable record"
# What analysis reads first; everything else of the record follows.
_FIRST = ("run_id", "name", "group", "status", "n_params", "n_tokens", "n_steps", "flops", "loss")


def rows(out: pathlib.Path, sweep: Sweep) -> list[dict[str, Any]]:
    """{column: value} of every run, in the order of the sweep.

    group: all of its groups, joined by "+". status is "complete", "diverged", or where an
    unfinished run stands; only complete rows have a loss. axis.NAME: as in the config. The others
    are the scalars of record.json with dotted names.
    A record that cannot be read, or is of another run, counts as status UNREADABLE.
    """
    out_rows = []
    for planned in sweep.runs:
        row = dict.fromkeys(_FIRST)
        row |= {"run_id": planned.run_id, "name": planned.name, **place_of(place_dict(planned))}
        row |= _result(out, planned.run_id)
        if row["status"] not in FINAL_STATUSES:
            # What it will be, so that a table of a sweep under way can be read.
            row["n_params"] = planned.cost.get("n_params")
        out_rows.append(row)
    return out_rows


def _result(out: pathlib.Path, run_id: str) -> dict[str, Any]:
    try:
        record = read_facts(out / "runs" / run_id)
    except Missing:
        view = look(out, run_id)
        return {"status": view.state, "attempts": view.attempt, "error": view.error}
    except UserError as error:
        return {"status": UNREADABLE, "error": str(error)}
    if record["run_id"] != run_id or record["status"] not in FINAL_STATUSES:
        return {"status": UNREADABLE, "error": f"its record is of run {record['run_id']!r}"}
    # The label of the sweep counts: a run may have been trained under another.
    return flatten({key: record[key] for key in record if key not in ("name", "probes")})
