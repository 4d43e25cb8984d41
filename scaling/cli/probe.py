"""`scaling probe`: ask checkpoints what they have learned."""

import contextlib
import logging
import sys

from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.errors import UserError
from scaling.run.interrupt import leaving_when_asked

_EPILOG = """\
A probe is written [LABEL=]NAME[:option=value,...]; lists as 0+1+4. Results are
DIR/probes/LABEL/step_*.json (or DIR/runs/*/probes/...); those there are not asked again, so an
interrupted command is simply given again. Without --probe each run is asked the probes of its
config.

exit status: 0 done, 2 bad input, 75 ended by a signal: run the same command again

examples:
  scaling probe runs/cipher --probe=few=cipher:shots=0+1+3
  scaling probe runs/cipher --probe=many=cipher:n_items=20000,shots=0+15 --step 1000
  scaling probe runs/text --probe='task:file=q.jsonl,template={question} {answer},shots=0+5'
  scaling probe sweeps/cipher --step all          every run and every checkpoint of a sweep"""


@leaving_when_asked()
def probe(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    p = Parser(
        prog="scaling probe",
        description="Ask probes of the checkpoints of a run, or of all runs of a sweep.",
        epilog=_EPILOG,
    )
    p.add_argument("directory", type=named_path, metavar="DIR", help="run or sweep directory")
    p.add_argument("--probe", action="append", default=[], metavar="NAME", help="may be repeated")
    p.add_argument("--step", default="last", help="a step, 'last' (default) or 'all'")
    p.add_argument("--mesh", help="axis sizes, such as data:2 (default: all devices on data)")
    p.add_argument("--cache-dir", type=named_path, help="corpora and compiled programs")
    p.add_argument("--quiet", action="store_true", help="no progress line")
    args = p.parse_args(argv)
    if args.step not in ("last", "all") and not args.step.isdecimal():
        raise UserError(f"--step={args.step} is neither a step nor 'last' nor 'all'")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from scaling.sharding import parse_mesh
    from scaling.training.reprobe import find_runs, keep_programs, parse_probe, plan, run_tasks

    if args.mesh is not None:
        parse_mesh(args.mesh)
    probes = {}
    for text in args.probe:
        label, config = parse_probe(text)
        if label in probes:
            raise UserError(f"--probe={text}: label {label!r} is given twice")
        probes[label] = config
    keep_programs(args.cache_dir)
    step = int(args.step) if args.step.isdecimal() else args.step
    tasks = plan(find_runs(args.directory), probes, step, args.cache_dir)
    n_results = sum(len(task.probes) for task in tasks)
    with _progress(n_results, args.quiet) as advance:
        for task, label, _ in run_tasks(tasks, args.mesh):
            advance(f"{task.workdir.name} step {task.step} {label}")
    print(f"{args.directory}: {n_results} probe results written")
    return 0


@contextlib.contextmanager
def _progress(total: int, quiet: bool):
    """A context whose value is called after every result; silent in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress

    from scaling.doors.terminal import marked

    with Progress(console=Console(stderr=True)) as bar:
        row = bar.add_task("probing", total=total)
        yield lambda text: bar.update(row, advance=1, description=marked(text))
