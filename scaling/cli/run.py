"""`scaling run`: the job of every engine: one run of a sweep directory."""

import argparse
import os
import pathlib
import sys

from scaling.cli.options import named_path
from scaling.cli.parser import Parser, cores
from scaling.errors import UserError
from scaling.run.interrupt import leaving_when_asked

DESCRIPTION = """\
Do one run of the sweep in OUT, with the code and the options that the sweep was started with.
This command is all that an engine has to execute; it may be executed twice, late, or elsewhere.
"""
EPILOG = """\
exit status: 0 complete or diverged (the record says which), 75 saved: run the same command again,
             76 the parent's checkpoint is not there yet: run it again later, 77 another live
             process works on this run, 1 failed, 2 bad input

examples:
  scaling run sweeps/ladder --run-id=9f2c0a1b2c3d4e5f
  scaling run /bucket/ladder --run-id=9f2c0a1b2c3d4e5f --distributed=auto
  printf '9f2c0a1b2c3d4e5f\\n.\\n' | scaling run sweeps/ladder --run-id=-    one after another
"""


def parser() -> argparse.ArgumentParser:
    """The arguments; those of `add_run_arguments` default to what the sweep was started with."""
    p = Parser(
        prog="scaling run",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    p.add_argument("out", metavar="OUT", type=named_path, help="the sweep directory")
    p.add_argument(
        "--run-id", required=True, metavar="ID", help="a run of OUT/sweep.json; - reads ids"
    )
    add_run_arguments(p)
    p.add_argument("--cores", type=cores, metavar="N,N", help="the CPU cores to use, by number")
    p.add_argument("--distributed", metavar="auto|HOST:PORT,COUNT,INDEX", help="several processes")
    return p


def add_run_arguments(p: argparse.ArgumentParser) -> None:
    """How runs are run; the names are the keys of OUT/launch/settings.json."""
    p.add_argument("--mesh", help="axis sizes of each run, such as data:2,fsdp:2")
    p.add_argument("--checkpoint-every", help="such as '500 steps' (default 10%%, but 10 s)")
    p.add_argument("--wandb", metavar="PROJECT", help="mirror metrics to Weights & Biases")
    p.add_argument("--cache-dir", metavar="DIR", help="corpora and compiled programs")


@leaving_when_asked()
def run(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    args = parser().parse_args(argv)
    out = args.out.absolute()
    _enter_snapshot(out, argv)
    from scaling.sweep.logs import redacted

    # An engine keeps what its jobs say.
    with redacted():
        return _run(out, args)


def _run(out: pathlib.Path, args: argparse.Namespace) -> int:
    if args.cores:
        # Before jax looks how many there are.
        os.sched_setaffinity(0, args.cores)
    # The output of runs goes to their logs; the answers go where stdout was.
    answers = os.fdopen(os.dup(1), "w")
    from scaling.sweep.definition import read_sweep
    from scaling.sweep.settings import read_settings

    sweep, settings = read_sweep(out), read_settings(out)
    specs = sweep.runs if args.run_id == "-" else [sweep.run(args.run_id)]
    if settings.cwd.is_dir():
        # Relative paths in configs start where the sweep was started.
        os.chdir(settings.cwd)
    n_processes = 1
    if args.distributed:
        from scaling.cli.train import join

        n_processes = join(args.distributed)
    import logging

    from scaling.sweep import logs, worker

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    run_args = settings.run_args(vars(args), n_processes=n_processes)
    if args.run_id != "-":
        return worker.execute(out, specs[0], run_args)

    def run_logged(planned) -> int:
        with logs.logged(out, planned.run_id):
            return worker.execute(out, planned, run_args)

    def answer(text: str) -> None:
        answers.write(text)
        answers.flush()

    worker.claim_devices(run_args.mesh)
    return worker.serve({s.run_id: s for s in specs}, run_logged, sys.stdin, answer)


def _enter_snapshot(out: pathlib.Path, argv: list[str]) -> None:
    """Becomes the same command in the code that the sweep was started with, if this is not it."""
    import scaling

    snapshot = out / "code"
    here = pathlib.Path(scaling.__file__).resolve().parents[1]
    if not (snapshot / "scaling").is_dir() or here == snapshot.resolve():
        return
    if os.environ.get("SCALING_SNAPSHOT") == str(snapshot):
        raise UserError(f"the code in {snapshot} does not come first on the path: {sys.path}")
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(filter(None, (str(snapshot), before)))
    environment = {**os.environ, "PYTHONPATH": path, "SCALING_SNAPSHOT": str(snapshot)}
    # -P: nor may the working directory shadow the snapshot.
    command = [sys.executable, "-P", "-m", "scaling", "run", *argv]
    os.execve(sys.executable, command, environment)
