"""Tries of options and config fields: values that nobody should give, through every verb."""

import contextlib
import io
import json
import pathlib
import re
from collections.abc import Iterator

from experiments.reliability.outcomes import Outcome, Try
from scaling.cli import VERBS, main
from scaling.resolve import default_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = f"--config={ROOT}/configs/tiny.py:small"
VALUES = (
    *("", "nan", "inf", "-1", "0", "1e30", "1e400", "99999999999999999999", "0.5"),
    *("nonsense", "$(touch owned)", "a=1=2", ",", "x" * 300, "\u202e\x1b[31m", "[]", "None"),
    "../..",
)
# A good command of each verb; what is tried is put behind it. Training is cut to a step.
SHORT = ("--config.train.duration=1 steps", "--config.data.name=markov", "--config.data.seq_len=16")
GOOD = {
    "train": (CONFIG, *SHORT, "--workdir=run", "--quiet"),
    "plan": (CONFIG, *SHORT),
    "sweep": (CONFIG, *SHORT, "--out=sweep", "--prepare"),
    "run": ("sweep", "--run-id=0123456789abcdef"),
    "status": ("sweep", "--once"),
    "runs": ("sweep",),
    "show": ("run",),
    "probe": ("run", "--probe=repeats"),
    "data stats": (CONFIG, *SHORT),
    "data show": (CONFIG, *SHORT, "--step=1"),
    "report": ("sweep", "--quiet"),
    "fit": ("table.csv", "--no-profile", "--starts", "20"),
    "doctor": ("--no-measure",),
    "laws": (),
    "predict": ("fit.json", "--n-params", "1e8", "--n-tokens", "1e9"),
    "optimal": ("fit.json", "--flops", "1e20"),
    "compare": ("table.csv", "--laws", "chinchilla,kaplan", "--starts", "20", "--folds", "2"),
    "emergence": ("scores.csv", "--metric", "acc", "--chance", "0.25", "--n-items", "1000"),
    "import csv": ("table.csv", "--out", "imported.csv"),
}


def flag_tries() -> Iterator[Try]:
    """Every option with a value that --help names x VALUES, behind a good command."""
    missing = set(VERBS) - {verb.split()[0] for verb in GOOD}
    assert not missing, f"no good command of {missing}"
    good_inputs()
    for verb, good in GOOD.items():
        for flag in _flags(verb):
            for value in VALUES:
                yield Try("flag", (*verb.split(), *good, f"{flag}={value}"))


def field_tries() -> Iterator[Try]:
    """Every field of a config x VALUES. A refusal names the field."""
    for field in _leaves(default_config().to_dict()):
        for value in VALUES:
            argv = ("plan", CONFIG, *SHORT, f"--config.{field}={value}")
            yield Try("field", argv, lambda outcome, name=field: _names(outcome, name))


def good_inputs() -> None:
    """table.csv, fit.json, scores.csv and an unstarted sweep in the current directory."""
    sizes, budgets = (2e7, 4e7, 8e7, 1.6e8, 3.2e8), (1e9, 3e9, 1e10, 3e10)
    rows = [(n, d, 1.7 + 480 * n**-0.34 + 2100 * d**-0.36) for n in sizes for d in budgets]
    lines = [f"{n:.0f},{d:.0f},{loss:.6f}" for n, d, loss in rows]
    pathlib.Path("table.csv").write_text("\n".join(["n_params,n_tokens,loss", *lines]) + "\n")
    scores = [(n, 0.25 + 0.5 * (n > 1e8)) for n in sizes]
    text = "\n".join(["n_params,acc", *(f"{n:.0f},{acc}" for n, acc in scores)])
    pathlib.Path("scores.csv").write_text(text + "\n")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["fit", "table.csv", "--no-profile", "--json", "fit.json"]) == 0
        assert main(["sweep", CONFIG, *SHORT, "--out=sweep", "--prepare"]) == 0
        assert main(["train", CONFIG, *SHORT, "--workdir=run", "--quiet"]) == 0


def _flags(verb: str) -> list[str]:
    """The options of a verb that take a value, from its own --help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*verb.split(), "--help"])
    found = re.findall(r"^\s+(?:-\w [A-Z]+, )?(--[a-z][a-z-]+)[ =][A-Z{\[]", out.getvalue(), re.M)
    return sorted(set(found) - {"--config"})


def _leaves(section: dict, prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _names(outcome: Outcome, field: str) -> str:
    if outcome.status == 0 or field.rsplit(".", 1)[-1] in outcome.err:
        return ""
    return f"{json.dumps(outcome.err.strip())} does not name {field}"
