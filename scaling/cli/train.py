"""`scaling train`: one config, one record."""

import logging
import os
import sys

from scaling.cli.flags import EXAMPLES, open_config
from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.durations import Duration
from scaling.errors import UserError
from scaling.resolve import resolve
from scaling.run.interrupt import EXIT_AGAIN, leaving_when_asked

HELP = f"""\
Train one config and leave one record in the workdir. The same command again resumes an
interrupted run, or says that it is complete.

config flags:
{EXAMPLES}
"""
EPILOG = """\
exit status: 0 complete or diverged (the record says which), 1 failed, 2 bad input,
             75 interrupted and saved: run the same command again
signals:     TERM, Ctrl-C, HUP, USR1 and USR2 (`sbatch --signal=USR1@120`) save and exit 75; a
             second Ctrl-C stops at once; under nohup a HUP is ignored

examples:
  scaling train --config=configs/tiny.py --workdir=runs/tiny
  scaling train --config=configs/tiny.py:small --workdir=runs/wide --config.model.width=64
  scaling train --config=configs/tiny.py --workdir=runs/mesh --mesh=data:4,tensor:2
  scaling train --config=configs/tiny.py --workdir=runs/pair --distributed=host0:12345,2,0
"""


def parser() -> Parser:
    """Arguments besides --config."""
    p = Parser(
        "scaling train",
        usage="scaling train --config=FILE --workdir=DIR [--config.FIELD=VALUE ...] [options]",
        description=HELP,
        epilog=EPILOG,
    )
    p.add_argument("--workdir", type=named_path, required=True, help="directory of this run")
    p.add_argument("--mesh", help="axis sizes, such as data:2,fsdp:2,tensor:2 (default: all data)")
    p.add_argument("--checkpoint-every", default="10%", help="such as '500 steps' (default 10%%)")
    p.add_argument("--keep-last", type=int, default=2, help="newest checkpoints kept (default 2)")
    p.add_argument("--keep-every", type=int, help="keep checkpoints at multiples of this step too")
    p.add_argument("--wandb", metavar="PROJECT", help="mirror metrics to Weights & Biases")
    p.add_argument("--cache-dir", type=named_path, help="corpora and compiled programs")
    p.add_argument("--strict", action="store_true", help="a diverged run exits with status 1")
    p.add_argument("--quiet", action="store_true", help="no progress line")
    p.add_argument(
        "--distributed",
        metavar="auto|HOST:PORT,COUNT,INDEX",
        help="one run on several processes: found from Slurm and the like, or spelled out",
    )
    return p


@leaving_when_asked()
def train(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    # Bad configs are refused before jax is imported by anything below.
    loose, args = open_config(parser(), argv)
    config = resolve(loose)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    n_processes = join(args.distributed) if args.distributed else 1
    from scaling.run.checkpoint import CheckpointError
    from scaling.run.lease import LeaseLost
    from scaling.training.prepare import RunArgs
    from scaling.training.train import train as run

    run_args = RunArgs(
        workdir=args.workdir,
        mesh=args.mesh,
        checkpoint_every=Duration.parse(args.checkpoint_every, field="--checkpoint-every"),
        keep_last=args.keep_last,
        keep_every=args.keep_every,
        wandb=args.wandb,
        cache_dir=args.cache_dir,
        n_processes=n_processes,
        quiet=args.quiet,
    )
    try:
        status = run(config, run_args)
    except (CheckpointError, LeaseLost, OSError) as error:
        # OSError: a full or vanished disk under metrics or the record.
        print(f"scaling train: {error}", file=sys.stderr)
        return 1
    print(f"{args.workdir}: {status}")
    if status == "interrupted":
        return EXIT_AGAIN
    return 1 if args.strict and status == "diverged" else 0


def join(text: str) -> int:
    """Connects this process to the others of the run; returns how many they are."""
    import jax

    # Only looked at by the CPU backend; its default cannot talk between processes.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if text == "auto":
        jax.distributed.initialize()
        # Asking jax starts the backend, before the number of CPU devices is set. CPU processes are
        # found from one of these two; elsewhere (TPU pods, Kubernetes) that number is not used.
        told = os.environ.get("SLURM_NTASKS") or os.environ.get("OMPI_COMM_WORLD_SIZE")
        return int(told) if told else jax.process_count()
    parts = text.split(",")
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        raise UserError(f"--distributed={text} is neither 'auto' nor HOST:PORT,COUNT,INDEX")
    address, count, index = parts[0], int(parts[1]), int(parts[2])
    if index >= count:
        raise UserError(f"--distributed={text}: indices of {count} processes are below {count}")
    jax.distributed.initialize(address, count, index)
    return count
