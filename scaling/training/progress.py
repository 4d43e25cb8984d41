"""The live line of a run, and where its time goes."""

import sys
import time

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from scaling.cost import accounting
from scaling.training.prepare import Setup

_DOUBTS = 5  # updates in a row above the measured rate: one may be a hiccup of the clock


class Clock:
    """Splits wall time into named shares; exactly one is running at any moment."""

    def __init__(self, shares: dict[str, float] | None = None):
        self.shares = dict.fromkeys(
            ("steps", "compile", "eval", "probes", "data", "checkpoint", "other"), 0.0
        )
        self.shares.update(shares or {})
        self._name, self._since = "other", time.monotonic()

    def switch(self, name: str) -> None:
        """From now on time counts as `name`."""
        now = time.monotonic()
        self.shares[self._name] += now - self._since
        self._name, self._since = name, now

    def total(self) -> float:
        """Seconds so far, over all attempts of the run."""
        self.switch(self._name)
        return sum(self.shares.values())


class ProgressLine:
    """loss, tokens/s, achieved FLOP/s and its share of the measured peak, ETA. Quiet in a pipe."""

    def __init__(self, setup: Setup, start_step: int, quiet: bool):
        self._flops_per_token = setup.flops_per_token[accounting.UTILISATION_CONVENTION]
        self._last: tuple[float, int] | None = None
        self.tokens_per_s = 0.0
        self._bar = None
        if quiet or not sys.stderr.isatty():
            return
        from scaling.machine.hardware import measured_matmul_rate

        self._dtype = setup.config.model.dtype
        self._peak = measured_matmul_rate(self._dtype) * jax.process_count()
        self._above = 0
        self._bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("compiling", total=setup.total_steps, completed=start_step)
        self._bar.start()

    def update(self, step: int, n_tokens: int, loss: float) -> None:
        """Call with the counters of the newest finished step."""
        now = time.monotonic()
        if self._last is not None and n_tokens > self._last[1] and now > self._last[0]:
            rate = (n_tokens - self._last[1]) / (now - self._last[0])
            # A running mean steadies the line without hiding a slow-down for long.
            self.tokens_per_s = 0.7 * self.tokens_per_s + 0.3 * rate if self.tokens_per_s else rate
        self._last = (now, n_tokens)
        if self._bar is None:
            return
        flops = self.tokens_per_s * self._flops_per_token
        self._doubt_peak(flops)
        text = f"loss {loss:.4f}  {self.tokens_per_s:,.0f} tok/s  {flops / 1e9:,.1f} GFLOP/s"
        text += f" ({flops / self._peak:.0%} of peak)"
        self._bar.update(self._task, completed=step, description=text)

    def _doubt_peak(self, flops: float) -> None:
        """A run that stays above the measured rate shows that it was measured on a busy machine."""
        self._above = self._above + 1 if flops > self._peak else 0
        if self._above >= _DOUBTS:
            from scaling.machine.hardware import discard_matmul_rate

            discard_matmul_rate(self._dtype)
            self._peak, self._above = flops, 0

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
