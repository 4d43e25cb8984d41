"""One try of a command in this process: what came of it, and whether that is allowed."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scaling.cli import main as scaling

REFUSED, DONE, TRACEBACK, WRONG = "refused", "done", "traceback", "wrong"


@dataclass(frozen=True)
class Outcome:
    """Exit status (None after an exception that nobody caught), what was printed, what was left."""

    status: int | None
    out: str
    err: str
    trace: str
    written: frozenset[str]


@dataclass(frozen=True)
class Try:
    """A command and what must come of it.

    judge: Outcome -> what is wrong with it, or "". It is asked only when the command ended with 0
    or 2; a refusal has then been found to be one line that left nothing behind."""

    kind: str
    argv: tuple[str, ...]
    judge: Callable[[Outcome], str] = lambda outcome: ""

    def __str__(self) -> str:
        words = (w if len(w) < 80 else f"{w[:60]}... ({len(w)} characters)" for w in self.argv)
        return f"{self.kind}: scaling {' '.join(map(repr, words))}"


def run(argv: Sequence[str]) -> Outcome:
    """`scaling ARGV` in the current directory."""
    before = _files()
    if argv and argv[0] == "run":  # it gives its process to another program
        command = [sys.executable, "-m", "scaling", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr, "", frozenset(_files() - before))
    out, err, trace, status = io.StringIO(), io.StringIO(), "", None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = scaling(list(argv))
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        except Exception:
            trace = traceback.format_exc()
    return Outcome(status, out.getvalue(), err.getvalue(), trace, frozenset(_files() - before))


def verdict(one: Try, outcome: Outcome) -> tuple[str, str]:
    """(refused, done, traceback or wrong; the reason of the last two)."""
    if outcome.status is None or "Traceback (most recent call last)" in outcome.err:
        return TRACEBACK, (outcome.trace or outcome.err).strip().splitlines()[-1]
    if outcome.status not in (0, 2):
        return WRONG, f"exit status {outcome.status}: {outcome.err.strip()[-200:]}"
    if outcome.status == 2:
        lines = outcome.err.strip().splitlines()
        if len(lines) != 1 or not lines[0].startswith(f"scaling {one.argv[0]}:"):
            return WRONG, f"a refusal of {len(lines)} lines: {outcome.err[-300:]!r}"
        if outcome.written:
            return WRONG, f"refused, and left {', '.join(sorted(outcome.written))}"
    fault = one.judge(outcome)
    if fault:
        return WRONG, fault
    return (REFUSED if outcome.status == 2 else DONE), ""


def says(*words: str) -> Callable[[Outcome], str]:
    """Whatever is printed must match every one of these patterns (case aside)."""

    def judge(outcome: Outcome) -> str:
        text = outcome.out + outcome.err
        missing = [w for w in words if not re.search(w, text, re.IGNORECASE | re.DOTALL)]
        return f"nothing like {missing[0]!r} is said: {text.strip()[-300:]!r}" if missing else ""

    return judge


def _files() -> set[str]:
    """Files below the current directory, caches of Python aside."""
    found = set()
    for folder, _, names in os.walk("."):
        if "__pycache__" not in folder:
            found |= {str(pathlib.Path(folder, name)) for name in names}
    return found
