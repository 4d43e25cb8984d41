"""SIGTERM and the first Ctrl-C ask the loop to save and leave; the second Ctrl-C stops at once."""

import signal
import sys

EXIT_AGAIN = 75  # EX_TEMPFAIL: saved and stopped; run the same command again.


def leave_on_sigterm() -> None:
    """Until a loop listens there is nothing to save: SIGTERM ends the process with EXIT_AGAIN."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_AGAIN))


class StopRequest:
    """Context manager that turns signals into `requested`, which the loop asks for."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self._flag = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

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
