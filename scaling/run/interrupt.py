"""Signals that ask a run to save and leave with 75; the second Ctrl-C stops at once.

SIGTERM and the first Ctrl-C; SIGUSR1 and SIGUSR2, by which Slurm (`--signal=USR1@120`) and submitit
announce a time limit; SIGHUP, when the terminal goes. What `nohup` or a parent had ignored stays
ignored, and outside the main thread, where Python allows no handler, nothing is installed.
"""

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

EXIT_AGAIN = 75  # EX_TEMPFAIL: saved and stopped; run the same command again.

ANNOUNCED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
REQUESTS = (signal.SIGTERM, *ANNOUNCED)
SIGNALS = (*REQUESTS, signal.SIGINT)

Handler = Callable[[int, Any], None]


def install(handle: Handler, numbers: tuple[int, ...] = SIGNALS) -> dict[int, Any]:
    """Has `handle` called for these signals; returns what was there before, of those changed."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def heard(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            _forsake_terminal()
        handle(number, frame)

    before = {}
    for number in numbers:
        if number in ANNOUNCED and signal.getsignal(number) is signal.SIG_IGN:
            continue
        before[number] = signal.signal(number, heard)
    return before


@contextlib.contextmanager
def listening(handle: Handler, numbers: tuple[int, ...] = SIGNALS) -> Iterator[None]:
    """`install` for the time of a block."""
    before = install(handle, numbers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leaving_when_asked() -> contextlib.AbstractContextManager:
    """Until a loop listens there is nothing to save: SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 end the
    process with EXIT_AGAIN. A context, or a decorator."""
    return listening(lambda *_: sys.exit(EXIT_AGAIN), REQUESTS)


class StopRequest:
    """Context manager that turns signals into `requested`, which the loop asks for."""

    def __init__(self):
        self._flag = False
        self._listening = listening(self._handle)

    def __enter__(self) -> "StopRequest":
        self._listening.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._listening.__exit__(*exception)

    def _handle(self, number: int, _frame) -> None:
        self._flag = True
        # From here on the default applies, so a second Ctrl-C ends the process at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        name = signal.Signals(number).name
        print(f"\n{name}: saving, then stopping; Ctrl-C again stops at once", file=sys.stderr)

    def requested(self) -> bool:
        """Whether to stop; on several hosts all of them get the same answer at the same step."""
        # Here, because a launcher wants the exit status below without starting jax.
        import jax
        import numpy as np

        if jax.process_count() == 1:
            return self._flag
        from jax.experimental import multihost_utils

        return bool(np.any(multihost_utils.process_allgather(np.array(self._flag))))


def _forsake_terminal() -> None:
    """A terminal that has gone refuses every write, and saving must not fail for a message."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
