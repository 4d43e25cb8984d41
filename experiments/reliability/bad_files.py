"""Tries of files: every verb that reads one, with the file spoilt in ways that happen."""

import gzip
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

from experiments.reliability.bad_values import GOOD, good_inputs
from experiments.reliability.outcomes import Outcome, Try, run

# Relative: beyond this a fit of a spoilt table counts as another answer.
_SAME = 1e-3
FIT_QUICKLY = ("--no-profile", "--starts", "60", "--json", "out.json")


def _lines(change: Callable[[list[str]], list[str]]) -> Callable[[bytes], bytes]:
    return lambda good: ("\n".join(change(good.decode().splitlines())) + "\n").encode()


def _cells(change: Callable[[int, list[str]], list[str]]) -> Callable[[bytes], bytes]:
    """`change`(row, cells) of every line; row 0 is the header."""
    return _lines(lambda ls: [",".join(change(i, x.split(","))) for i, x in enumerate(ls)])


def _comma(number: str) -> str:
    return number.replace(".", ",")


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "header only": _lines(lambda ls: ls[:1]),
    "no header": _lines(lambda ls: ls[1:]),
    "cut in a line": lambda good: good[: len(good) // 2 + 3],
    "NUL within": lambda good: good[:40] + b"\0" + good[40:],
    "all NUL": lambda good: b"\0" * len(good),
    "gzip without a suffix": gzip.compress,
    "a picture": lambda good: b"\x89PNG\r\n\x1a\n" + good,
    "Parquet": lambda good: b"PAR1" + good,
    "a spreadsheet": lambda good: b"PK\x03\x04" + good,
    "a page": lambda good: b"<!DOCTYPE html><html><table>" + good,
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-16 unmarked": lambda good: good.decode().encode("utf-16-le"),
    "UTF-8 marked": lambda good: b"\xef\xbb\xbf" + good,
    "Latin-1": lambda good: good.replace(b"\n", b",note\n", 1).replace(b"0\n", b"0,\xe9\n"),
    "carriage returns": lambda good: good.replace(b"\n", b"\r\n"),
    "old Mac": lambda good: good.replace(b"\n", b"\r"),
    "semicolons": lambda good: good.replace(b",", b";"),
    "tabs": lambda good: good.replace(b",", b"\t"),
    "bars": lambda good: good.replace(b",", b"|"),
    "blanks": lambda good: good.replace(b",", b"  "),
    "blanks after commas": lambda good: good.replace(b",", b", "),
    "semicolons, decimal commas": _lines(
        lambda ls: [";".join(map(_comma, line.split(","))) for line in ls]
    ),
    "trailing commas": _lines(lambda ls: [ls[0], *(f"{line}," for line in ls[1:])]),
    "trailing commas throughout": _lines(lambda ls: [f"{line}," for line in ls]),
    "an extra cell": _cells(lambda i, c: [*c, "9"] if i == 3 else c),
    "an extra cell in every row": _cells(lambda i, c: [f"r{i}", *c] if i else c),
    "a short row": _cells(lambda i, c: c[:-1] if i == 3 else c),
    "a doubled column": _cells(lambda i, c: [*c, c[-1] if i == 0 else "3.9"]),
    "a column gone": _cells(lambda i, c: c[:-1]),
    "blank rows": _lines(lambda ls: [*ls[:5], ",,", "", *ls[5:], ",,"]),
    "a total": _lines(lambda ls: [*ls, "Total,,"]),
    "a second header": _lines(lambda ls: [*ls[:5], ls[0], *ls[5:]]),
    "a comment": _lines(lambda ls: ["# losses of Tuesday", *ls]),
    "a loss missing": _cells(lambda i, c: [*c[:-1], ""] if i == 4 else c),
    "a loss NaN": _cells(lambda i, c: [*c[:-1], "NaN"] if i == 4 else c),
    "a loss infinite": _cells(lambda i, c: [*c[:-1], "inf"] if i == 4 else c),
    "a size missing": _cells(lambda i, c: ["", *c[1:]] if i == 4 else c),
    "a size negative": _cells(lambda i, c: [f"-{c[0]}", *c[1:]] if i == 4 else c),
    "a size a word": _cells(lambda i, c: ["large", *c[1:]] if i == 4 else c),
    "sizes with suffix": _cells(lambda i, c: [f"{float(c[0]) / 1e6:g}M", *c[1:]] if i else c),
    "sizes with commas": _cells(lambda i, c: [f'"{int(c[0]):,}"', *c[1:]] if i else c),
    "sizes in millions": _cells(lambda i, c: [f"{float(c[0]) / 1e6:g}", *c[1:]] if i else c),
    "tokens in billions": _cells(lambda i, c: [c[0], f"{float(c[1]) / 1e9:g}", c[2]] if i else c),
    "perplexity": _cells(lambda i, c: [*c[:-1], f"{2.718281828 ** float(c[-1]):.4f}"] if i else c),
    "decimal commas in quotes": _cells(lambda i, c: [*c[:-1], f'"{_comma(c[-1])}"'] if i else c),
    "percentages": _cells(lambda i, c: [*c[:-1], f"{100 * float(c[-1]):.2f}"] if i else c),
    "JSON": lambda good: json.dumps([{"n_params": 1}]).encode(),
}
_DEEP = "[" * 100_000
JSONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    **{f"cut at {k} %": lambda good, k=k: good[: len(good) * k // 100] for k in range(5, 100, 13)},
    "a list": lambda good: b"[]",
    "a word": lambda good: b'"word"',
    "null": lambda good: b"null",
    "an empty object": lambda good: b"{}",
    "deep": lambda good: _DEEP.encode(),
    "deep within": lambda good: b'{"law": ' + _DEEP.encode() + b"}",
    "not UTF-8": lambda good: b"\xff\xfe" + good,
    "NUL": lambda good: good[:30] + b"\0" + good[30:],
    "a huge number": lambda good: b'{"law": ' + b"9" * 10_000 + b"}",
}


def tries() -> Iterator[Try]:
    """The file is written just before its try is handed out."""
    good_inputs()
    yield from _tables()
    yield from _emergence_tables()
    fit = pathlib.Path("fit.json")
    for verb in ("predict", "optimal"):
        yield from _spoilt(fit, JSONS | _without_each_field(fit), verb)
    for verb in ("show", "probe"):
        for name in ("record.json", "config.json"):
            path = pathlib.Path("run", name)
            yield from _spoilt(path, JSONS | _without_each_field(path), verb)
    for verb in ("status", "runs", "report", "run"):
        yield from _spoilt(pathlib.Path("sweep/sweep.json"), JSONS, verb)


def _tables() -> Iterator[Try]:
    good = pathlib.Path("table.csv").read_bytes()
    run(("fit", "table.csv", *FIT_QUICKLY))
    clean = json.loads(pathlib.Path("out.json").read_text())
    said = len(clean["warnings"])
    for name, spoil in TABLES.items():
        for number, argv in enumerate(
            (
                ("fit", "bad.csv", *FIT_QUICKLY),
                ("compare", "bad.csv", "--laws", "chinchilla,kaplan", "--starts", "20"),
                ("import", "csv", "bad.csv", "--out", "imported.csv"),
                ("predict", "fit.json", "--data", "bad.csv"),
            )
        ):
            for left in ("out.json", "imported.csv"):
                pathlib.Path(left).unlink(missing_ok=True)
            pathlib.Path("bad.csv").write_bytes(spoil(good))
            judge = (lambda o: _same_fit(o, clean, said)) if number == 0 else (lambda o: "")
            yield Try(f"file, {name}", argv, judge)


def _same_fit(outcome: Outcome, clean: dict, said: int) -> str:
    """A fit that is not refused has the clean table's optimum, or one remark more."""
    if outcome.status != 0:
        return ""
    found = json.loads(pathlib.Path("out.json").read_text())
    for name, value in clean["params"].items():
        other = found["params"][name]["value"]
        if abs(other - value["value"]) > _SAME * abs(value["value"]) and (
            len(found["warnings"]) <= said and found["status"] == clean["status"]
        ):
            return f"{name} {other:.5g} for {value['value']:.5g}, and not a word"
    return ""


def _emergence_tables() -> Iterator[Try]:
    good = pathlib.Path("scores.csv").read_bytes()
    # What is said of losses and tokens is not said of scores.
    for name in sorted(set(TABLES) - {"perplexity", "percentages", "tokens in billions"}):
        pathlib.Path("bad.csv").write_bytes(TABLES[name](good))
        yield Try(f"file, {name}", ("emergence", "bad.csv", *GOOD["emergence"][1:]))


def _spoilt(path: pathlib.Path, ways: dict, verb: str) -> Iterator[Try]:
    """The verb's good command while `path` is spoilt; it is whole again afterwards."""
    good = path.read_bytes()
    try:
        for name, spoil in ways.items():
            path.write_bytes(spoil(good))
            yield Try(f"file, {path.name} {name}", (verb, *GOOD[verb]))
        path.unlink()
        path.mkdir()
        yield Try(f"file, {path.name} a directory", (verb, *GOOD[verb]))
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(good)


def _without_each_field(path: pathlib.Path) -> dict[str, Callable[[bytes], bytes]]:
    """Each field of an object gone, and each of another type."""
    whole = json.loads(path.read_text())

    def dump(changed: dict) -> Callable[[bytes], bytes]:
        text = json.dumps(changed).encode()
        return lambda good: text

    gone = {f"without {k}": dump({n: v for n, v in whole.items() if n != k}) for k in whole}
    other = {f"{k} a list": dump(whole | {k: [None]}) for k in whole}
    return gone | other | {f"{k} a word": dump(whole | {k: "word"}) for k in whole}
