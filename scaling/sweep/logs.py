"""OUT/logs: the output of every attempt at every run. Imports nothing heavy, for engines."""

import contextlib
import os
import pathlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from scaling.doors.redact import REDACTED, redact
from scaling.errors import UserError

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


class _Redacted:
    """A text stream whose lines go on without their secrets, each as soon as it is whole."""

    def __init__(self, stream: TextIO):
        self._stream, self._held, self._in_key = stream, "", False
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._held = f"{self._held}{text}".split("\n")
            for line in lines:
                self._stream.write(f"{self._clean(line)}\n")
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lock:
            held, self._held = self._held, ""
            self._stream.write(self._clean(held))
            self._stream.flush()

    def _clean(self, line: str) -> str:
        if self._in_key:
            self._in_key = not _KEY_ENDS.search(line)
            return REDACTED if line else line
        self._in_key = bool(_KEY_BEGINS.search(line)) and not _KEY_ENDS.search(line)
        return redact(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def redacted() -> Iterator[None]:
    """What Python writes to stdout and stderr meanwhile (tracebacks too) goes without secrets."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Redacted(before[0]), _Redacted(before[1])
    try:
        yield
    except UserError:
        raise
    except Exception:
        # Here, where it is redacted; the interpreter would print it to the bare stream.
        import traceback

        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def logged(out: pathlib.Path, run_id: str) -> Iterator[None]:
    """Everything written to stdout and stderr meanwhile goes to a new log of the run.

    File descriptors are turned, so the output of C++ code too.
    """
    log = new_log(out, run_id)
    saved = [os.dup(number) for number in (1, 2)]
    try:
        _turn(log, log)
        os.close(log)
        yield
    finally:
        _turn(*saved)
        for number in saved:
            os.close(number)


def new_log(out: pathlib.Path, run_id: str) -> int:
    """A file descriptor of OUT/logs/RUN_ID.N.log; N counts the attempts, from 1."""
    directory = out / "logs"
    directory.mkdir(parents=True, exist_ok=True)
    n = 1 + sum(1 for p in directory.glob(f"{run_id}.*.log"))
    while True:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            return os.open(directory / f"{run_id}.{n}.log", flags, 0o644)
        except FileExistsError:
            n += 1


def _turn(out: int, err: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
