"""Every text field of a record, a sweep, a probe and a task item as somebody evil would fill it.

The fields come from the schema and the shapes, so a field of tomorrow is covered tomorrow.
"""

import copy
import json

from scaling.doors.schemas import PROBE, SWEEP
from scaling.run.record import schema, schema_fault
from tests.report import synthetic

TEXT = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>alert(1)</script>"
    "\x1b[31mred\x1b]0;owned\x07 \u202egnol [bold]x[/bold] {{7*7}} ${x} \r\n\u2028=1+1"
)
# What the schema calls text and the writer takes from a closed set, which a reader may rely on.
_CLOSED = ("enum", "const", "pattern")


def record_of(record):
    """A copy of `record` in which every text that the schema leaves free is TEXT, keys too."""
    whole = schema()
    out = _filled(copy.deepcopy(record), whole, whole["$defs"])
    assert schema_fault(out) is None, schema_fault(out)
    return out


def _filled(value, shape, defs):
    if "$ref" in shape:
        shape = defs[shape["$ref"].rpartition("/")[2]]
    for one in shape.get("oneOf", ()):
        if (one.get("type") == "object") == isinstance(value, dict):
            return _filled(value, one, defs)
    kinds = shape.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, dict) and "object" in kinds:
        return _filled_object(value, shape, defs)
    if isinstance(value, list) and "array" in kinds:
        items = shape.get("items", {})
        return [_filled(one, items, defs) for one in value or ["one"]]
    if "string" in kinds and not any(word in shape for word in _CLOSED):
        return TEXT
    return value


def _filled_object(value, shape, defs):
    known, more = shape.get("properties", {}), shape.get("additionalProperties", True)
    out = {}
    for key, one in value.items():
        inner = known.get(key, more if isinstance(more, dict) else {})
        out[key] = _filled(one, inner, defs) if inner else _free(one)
    for key, inner in known.items():
        if key not in out and "string" in inner.get("type", ()):
            out[key] = _filled("", inner, defs)
    if more is True:
        out[TEXT] = TEXT
    elif more and value:
        out[TEXT] = _filled(copy.deepcopy(next(iter(value.values()))), more, defs)
    return out


def _free(value):
    """Where the schema allows anything."""
    if isinstance(value, dict):
        return {**{key: _free(one) for key, one in value.items()}, TEXT: TEXT}
    return TEXT if isinstance(value, str) else value


# Names that hold a file together: a hostile one is no file of ours, and the readers say so.
_LINKS = ("run_id", "group", "also_in", "law", "fit_where", "holdout")


def shaped(value, shape, key=""):
    """A copy of `value`: every text that `shape` (of scaling.doors.reading) asks for is TEXT."""
    if isinstance(shape, list):
        return [shaped(one, shape[0], key) for one in value]
    if isinstance(shape, dict) and str in shape:
        return {inner: shaped(one, shape[str]) for inner, one in value.items()}
    if isinstance(shape, dict):
        known = {name.removesuffix("?"): one for name, one in shape.items()}
        return {
            inner: shaped(one, known[inner], inner) if inner in known else one
            for inner, one in value.items()
        }
    texts = shape is str or (isinstance(shape, tuple) and str in shape)
    if shape is dict and key in ("axes", "config"):
        return _free(value)
    return TEXT if texts and isinstance(value, str) and key not in _LINKS else value


def write_sweep(path):
    """Four sizes at three budgets, probes asked on the way, one run diverged, one with a status."""
    groups = {f"g {TEXT}": {"law": "chinchilla", "fit_where": [], "holdout": None, "title": TEXT}}
    sizes, budgets = synthetic.SIZES[:4], synthetic.BUDGETS[:3]
    out = synthetic.write_sweep(path, sizes=sizes, budgets=budgets, groups=groups, probes=True)
    for number, file in enumerate(sorted(out.glob("runs/*/record.json"))):
        record = record_of(json.loads(file.read_text()))
        if number == 1:
            record |= {"status": "diverged", "loss": None}
            record["divergence"] = {"reason": TEXT, "step": 3}
        file.write_text(json.dumps(record))
        if number == 2:
            file.unlink()
            status = {"state": "failed", "error": TEXT, "host": TEXT}
            file.with_name("status.json").write_text(json.dumps(status))
    for file in out.glob("runs/*/probes/*/*.json"):
        file.write_text(json.dumps(shaped(json.loads(file.read_text()), PROBE)))
    sweep = out / "sweep.json"
    sweep.write_text(json.dumps(shaped(json.loads(sweep.read_text()), SWEEP)))
    return out
