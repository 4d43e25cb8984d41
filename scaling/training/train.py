"""The only loop, and the only place with a clock, a log and side effects.

What happens when `train` is called on a directory:

1. record.json says that this very run is complete or diverged: nothing is done.
2. Config, data, mesh and schedule are checked; nothing is written and nothing compiled yet.
3. The lease of the directory is taken, or the call is refused because somebody works there.
4. config.json names another run: refused, naming what differs.
5. A good checkpoint is there: metrics after it are dropped, training goes on from it.
6. The run is a branch: training goes on from its trunk's checkpoint (`scaling.run.branch`).
7. Otherwise training starts at step 0.

Steps are dispatched in groups; the metrics of one group are fetched after the next one has been
dispatched, so the devices never wait for the log.
"""

import contextlib
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.config import RunConfig
from scaling.core.build import abstract_batch, abstract_dials
from scaling.core.evaluate import Evaluator
from scaling.core.state import token_count
from scaling.core.step import METRICS
from scaling.cost import accounting
from scaling.machine.environment import environment
from scaling.probes.schedule import Prober
from scaling.resolve import identity, run_id, to_dict
from scaling.run.branch import restore_parent, trunk_has_rows, trunk_losses
from scaling.run.checkpoint import Checkpointer
from scaling.run.interrupt import StopRequest
from scaling.run.lease import Lease
from scaling.run.mirror import WandbMirror
from scaling.run.record import (
    FINAL_STATUSES,
    NoRunDir,
    RunDir,
    finite,
    now,
    read_config,
    read_record,
)
from scaling.sharding import place, process_rows, use_mesh
from scaling.training.prepare import RunArgs, Setup, prepare
from scaling.training.progress import Clock, ProgressLine

STATUS_SECONDS = 2.0


def train(config: RunConfig, args: RunArgs) -> str:
    """Runs, resumes, or finds complete; returns the run's status.

    "complete", "diverged", or "interrupted" (saved; call again). Raises UserError for bad input,
    CheckpointError when a save failed, LeaseLost when another process took over.
    """
    finished = _finished_status(config, args)
    if finished is not None:
        return finished
    setup = prepare(config, args)
    primary = jax.process_index() == 0
    lease = Lease(args.workdir) if primary else contextlib.nullcontext()
    with StopRequest() as stop, lease, use_mesh(setup.mesh):
        run_dir = RunDir(args.workdir, lease) if primary else NoRunDir()
        run_dir.write_config(to_dict(config), run_id(config))
        try:
            run = _Run(setup, args, run_dir, lease if primary else None, stop)
            with contextlib.closing(run):
                return run.run()
        except Exception as error:
            # The cause of the failure may make this fail too (disk full); it must not hide it.
            with contextlib.suppress(Exception):
                run_dir.write_status("failed", error=f"{type(error).__name__}: {error}")
            raise


def _finished_status(config: RunConfig, args: RunArgs) -> str | None:
    """The status of a run that needs nothing more, found without starting a backend."""
    if not (args.workdir / "record.json").exists():
        return None
    record = read_record(args.workdir)
    same = record["run_id"] == run_id(config)
    return record["status"] if same and record["status"] in FINAL_STATUSES else None


class _Run:
    """One attempt at one run. Mutable, and the only thing here that is."""

    def __init__(self, setup: Setup, args: RunArgs, run_dir, lease, stop: StopRequest):
        self.setup, self.config, self.run_dir, self.stop = setup, setup.config, run_dir, stop
        self.args = args
        self.clock, self.created, self.warnings = Clock(), now(), list(setup.warnings)
        self.loss_smoothed, self.evals, self.divergence = math.nan, {}, None
        self.n_tokens = 0
        self.fingerprint = {"config": identity(self.config), "data": setup.pipeline.fingerprint}
        self.parent: dict[str, Any] | None = None
        self.prober = Prober(
            setup.probes,
            args.workdir,
            setup.mesh,
            setup.target,
            log=lambda row: self._log(row),
            write=run_dir.write_probe,
        )
        self._pending: tuple[int, int, dict] | None = None
        self._status_at, self._saved_at = 0.0, 0.0
        self.progress: ProgressLine | None = None
        self.mirror: WandbMirror | None = None
        if args.wandb and jax.process_index() == 0:
            self.mirror = WandbMirror(
                args.wandb,
                run_id=run_id(self.config),
                name=self.config.name,
                config=to_dict(self.config),
                workdir=args.workdir,
            )
        # Last, because from here on `close` must be called: a save in flight needs its thread.
        self.checkpoints = Checkpointer(
            args.workdir / "checkpoints",
            keep_last=args.keep_last,
            keep_every=args.keep_every,
            keep_steps=args.keep_steps,
            fingerprint=self.fingerprint,
            lease=lease,
        )

    def run(self) -> str:
        """Trains to the end, to divergence or to a stop request; returns the status."""
        step, state, batches = self._restore()
        self.clock.switch("compile")
        self._compile()
        self.progress = ProgressLine(self.setup, step, self.args.quiet)
        total = self.setup.total_steps
        self.clock.switch("steps")
        self._saved_at = time.monotonic()
        while step < total and self.divergence is None:
            step, state = self._train_some(step, state, batches)
            last = step == total
            if (last or step % self.setup.eval_every == 0) and self._drain():
                self._evaluate(step, state)
            if not last and self.prober.due(step) and self._drain():
                self._probe(step, state)
            stopping = self.stop.requested()
            if last or stopping or self._save_due(step):
                self._drain()
                if self.divergence is None:
                    self._save(step, state, batches)
            if stopping and not last:
                self.checkpoints.wait()
                self.run_dir.write_status("interrupted", step=step, total_steps=total)
                return "interrupted"
        self._drain()
        return self._finish(state)

    def close(self) -> None:
        """Lets a save in flight finish; gives back threads and the terminal."""
        if self.progress:
            self.progress.close()
        self.checkpoints.close()
        self.run_dir.close()

    def _restore(self):
        """Cases 5 to 7 of the module's docstring: (step, state, data iterator)."""
        setup, source = self.setup, None
        self.clock.switch("checkpoint")
        restored = self.checkpoints.restore(setup.program.abstract_state)
        if restored is None and self.args.parent:
            restored = self._branch()
            source = self.args.parent[0] if restored else None
        step = restored.step if restored else 0
        self.run_dir.rewind(step if restored else -1, source)
        rows = process_rows(setup.mesh, (self.config.train.batch_size, self.config.data.seq_len))
        batches = setup.pipeline.iterator(step, rows=rows)
        if restored is None:
            self.clock.switch("compile")
            return 0, setup.program.init(self.config.seed), batches
        host = restored.host
        batches.set_state(host["data"])
        self.evals = host["evals"]
        if source is None:
            self.clock.shares.update(host["time_s"])
            self.created, self.warnings = host["created"], host["warnings"]
            smoothed = host["loss_smoothed"]
            self.loss_smoothed = math.nan if smoothed is None else smoothed
            self.parent = host["parent"]
        self.n_tokens = token_count(restored.state)
        return step, restored.state, batches

    def _branch(self):
        """The trunk's state, and what this run would have seen of its losses up to there.

        None when the trunk has nothing to give, or when this run's rules would have stopped it.
        """
        workdir, step = self.args.parent
        restored = restore_parent(
            self.args.parent, self.setup.program.abstract_state, self.fingerprint
        )
        if restored is None or not trunk_has_rows(workdir, step):
            return None
        for at, loss in trunk_losses(workdir, step):
            self._watch(at, loss)
        if self.divergence is not None:
            self.divergence, self.loss_smoothed = None, math.nan
            return None
        self.parent = {"run_id": read_config(workdir)["run_id"], "step": step}
        return restored

    def _compile(self) -> None:
        """Compiles both programs ahead of time, so that compile time is a number of its own."""
        setup, K = self.setup, self.config.train.steps_per_dispatch
        self._steps = setup.programs.steps.lower(
            setup.program.abstract_state,
            abstract_batch(self.config, setup.mesh, K),
            abstract_dials(self.config, K),
            jax.ShapeDtypeStruct((), jnp.int32),
        ).compile()
        self._evaluator = Evaluator(
            setup.programs.eval_step,
            setup.pipeline.eval_batches(self.config.eval.batch_size),
            setup.mesh,
            setup.pipeline.bytes_per_token,
        )
        self._evaluator.compile(setup.program.abstract_state.params)

    def _train_some(self, step: int, state: Any, batches: Any):
        """Dispatches the steps up to the next stop, then looks at those dispatched before."""
        setup, K = self.setup, self.config.train.steps_per_dispatch
        n = setup.next_stop(step) - step
        self.clock.switch("data")
        rows = [next(batches) for _ in range(n)]
        rows += [rows[-1]] * (K - n)
        stacked = {name: np.stack([r[name] for r in rows]) for name in rows[0]}
        left = (0, K - n)
        dials = {name: np.pad(all_[step : step + n], left) for name, all_ in setup.dials.items()}
        placed = place(setup.mesh, stacked, None, "batch")
        self.clock.switch("steps")
        state, metrics = self._steps(state, placed, dials, jnp.int32(n))
        self._drain()
        self._pending = (step, n, metrics)
        return step + n, state

    def _drain(self) -> bool:
        """Fetches and logs the metrics of the last dispatched group; False if it has diverged."""
        if self._pending is None:
            return self.divergence is None
        (start, n, arrays), self._pending = self._pending, None
        metrics = {name: np.asarray(a)[:n] for name, a in jax.device_get(arrays).items()}
        for k in range(n):
            step = start + k + 1
            self.n_tokens += int(metrics["n_tokens"][k])
            row = {name: float(metrics[name][k]) for name in METRICS if name != "n_tokens"}
            row |= {"n_tokens": self.n_tokens}
            row |= {name: float(dial[step - 1]) for name, dial in self.setup.dials.items()}
            self._log({"step": step, "kind": "train", "time": time.time(), **row})
            if self.divergence is None and not row["skipped"]:
                self._watch(step, row["loss"])
        self._tell(start + n, float(metrics["loss"][-1]))
        return self.divergence is None

    def _watch(self, step: int, loss: float) -> None:
        """The rules by which a run counts as diverged, and the running mean of the loss."""
        rules, mean = self.config.train, self.loss_smoothed
        reason = None
        if not math.isfinite(loss):
            reason = "loss is not finite"
        elif rules.max_loss and loss > rules.max_loss:
            reason = f"loss above max_loss={rules.max_loss}"
        elif rules.spike_factor and loss > rules.spike_factor * mean:
            reason = f"loss above {rules.spike_factor} x its running mean {mean:.4f}"
        if reason is not None:
            self.divergence = {"reason": reason, "step": step, "loss": loss}
            return
        # A mean over about a fiftieth of the run, and of all steps at the beginning.
        horizon = min(step, max(20, self.setup.total_steps // 50))
        self.loss_smoothed = loss if math.isnan(mean) else mean + (loss - mean) / horizon

    def _evaluate(self, step: int, state: Any) -> None:
        self.clock.switch("eval")
        self.evals = {"val": self._evaluator(state.params)}
        self._log({"step": step, "kind": "eval", "set": "val", **self.evals["val"]})
        self.clock.switch("steps")

    def _probe(self, step: int, state: Any, *, final: bool = False) -> dict[str, Any]:
        """What was asked before (the run was killed later on) is read, not asked again."""
        self.clock.switch("probes")
        found = self.prober(step, state.params, self.n_tokens, final=final)
        self.clock.switch("steps")
        return found

    def _save_due(self, step: int) -> bool:
        """Branch points always; others unless the last save is too young to be worth another."""
        if step in self.setup.keep_steps:
            return True
        # Hosts must agree, and their clocks do not.
        old = time.monotonic() - self._saved_at >= self.args.checkpoint_seconds
        return step % self.setup.checkpoint_every == 0 and (old or jax.process_count() > 1)

    def _save(self, step: int, state: Any, batches: Any) -> None:
        self.clock.switch("checkpoint")
        self.run_dir.sync()
        smoothed = None if math.isnan(self.loss_smoothed) else self.loss_smoothed
        self.clock.total()
        host = {
            "data": batches.get_state(),
            "time_s": self.clock.shares,
            "created": self.created,
            "warnings": self.warnings,
            # A position that no evaluation row counts has no loss.
            "evals": finite(self.evals),
            "loss_smoothed": smoothed,
            "parent": self.parent,
        }
        self.checkpoints.save(step, state, host)
        self._saved_at = time.monotonic()
        self.clock.switch("steps")

    def _log(self, row: dict[str, Any]) -> None:
        self.run_dir.metrics(row)
        if self.mirror:
            self.mirror.log(row)

    def _tell(self, step: int, loss: float) -> None:
        """The progress line, and now and then status.json for whoever watches from outside."""
        self.progress.update(step, self.n_tokens, loss)
        if time.monotonic() - self._status_at > STATUS_SECONDS:
            self._status_at = time.monotonic()
            rate = self.progress.tokens_per_s
            left = (self.setup.total_steps - step) * self.config.tokens_per_step
            self.run_dir.write_status(
                "running",
                step=step,
                total_steps=self.setup.total_steps,
                n_tokens=self.n_tokens,
                loss=loss,
                tokens_per_s=rate,
                eta_s=left / rate if rate else None,
            )

    def _finish(self, state: Any) -> str:
        """Writes the record once the last checkpoint is on disk."""
        self.clock.switch("checkpoint")
        self.checkpoints.wait()
        status = "diverged" if self.divergence else "complete"
        probes = {} if self.divergence else self._probe(int(state.step), state, final=True)
        record = self._record(status, state, probes)
        self.run_dir.write_record(record)
        self.run_dir.write_status(status, step=record["n_steps"], loss=record["loss"])
        if self.mirror:
            self.mirror.finish(record, status=status)
        return status

    def _lost(self, n_steps: int) -> list[str]:
        """What the run has written and what is gone by now, whoever took it away."""
        # A run that diverged was neither evaluated nor probed from there on.
        last = self.divergence["step"] - 1 if self.divergence else n_steps
        lost = self.run_dir.lost(n_steps, self.setup.eval_steps(last)) or []
        return lost + self.prober.lost(self.parent["step"] if self.parent else 0, last)

    def _record(self, status: str, state: Any, probes: dict[str, Any]) -> dict[str, Any]:
        """Every fact about the run, by the names of run/record.schema.json."""
        setup, config = self.setup, self.config
        n_tokens = token_count(state)
        flops = {name: per * n_tokens for name, per in setup.flops_per_token.items()}
        wall = self.clock.total()
        facts = environment()
        facts["hardware"]["mesh"] = dict(setup.mesh.shape)
        return {
            "run_id": run_id(config),
            "name": config.name,
            "config": to_dict(config),
            "status": status,
            "params": setup.params,
            "n_params": setup.params[accounting.DEFAULT_N],
            "n_tokens": n_tokens,
            "n_steps": int(state.step),
            "flops": flops[accounting.DEFAULT_CONVENTION],
            "flops_by_convention": flops,
            "loss": self.evals["val"]["loss"] if status == "complete" else None,
            "loss_smoothed": self.loss_smoothed,
            "evals": self.evals,
            "probes": probes,
            "seeds": {"run": config.seed, "data": config.data.seed},
            "data": {"fingerprint": setup.pipeline.fingerprint, **setup.pipeline.stats()},
            **facts,
            "wall_time_s": wall,
            "compile_time_s": self.clock.shares["compile"],
            "time_s": self.clock.shares,
            "n_skipped_updates": int(state.n_skipped),
            "divergence": self.divergence,
            "error": None,
            "warnings": [*self.warnings, *self._lost(int(state.step))],
            "parent": self.parent,
            "created": self.created,
            "finished": now(),
        }
