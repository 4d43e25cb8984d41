"""`scaling sweep`: every run of a config, on an engine, until each has a record."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from scaling.cli.flags import EXAMPLES, load_config_dict
from scaling.cli.options import named_path
from scaling.cli.parser import Parser
from scaling.cli.run import add_run_arguments
from scaling.doors.limits import check_path
from scaling.errors import UserError
from scaling.run.interrupt import leaving_when_asked

DESCRIPTION = f"""\
Run every run of a sweep config. The same command again goes on: what is complete is skipped, what
was interrupted is resumed, what failed is tried again a few times.

config flags:
{EXAMPLES}
"""
EPILOG = """\
exit status: 0 every run is complete or diverged, 1 some runs were given up, 2 bad input (nothing
             was launched), 75 interrupted and saved: run the same command again
signals:     TERM, Ctrl-C, HUP, USR1 and USR2 save what runs on this machine and exit 75

examples:
  scaling plan  --config=configs/ladder.py                                what will it cost?
  scaling sweep --config=configs/ladder.py --out=sweeps/ladder            here, on all devices
  scaling sweep --config=configs/ladder.py --out=sweeps/ladder --launcher=slurm --dry-run
  scaling sweep --config=configs/ladder.py --out=/bucket/ladder --prepare  docs/engines.md
  scaling status sweeps/ladder                                            from another terminal
"""


def parser(launcher: str) -> argparse.ArgumentParser:
    """Arguments besides --config, with those of the engine."""
    from launch.base import LAUNCHERS

    p = Parser(
        prog="scaling sweep",
        usage="scaling sweep --config=FILE --out=DIR [--launcher=NAME] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    p.add_argument("--out", metavar="DIR", type=named_path, required=True, help="of this sweep")
    p.add_argument(
        "--launcher",
        default="local",
        help=f"engine: {', '.join(LAUNCHERS)} (local); --launcher=NAME --help has its options",
    )
    p.add_argument("--retries", type=int, default=2, help="of a run that fails (default 2)")
    p.add_argument("--yes", action="store_true", help="launch more than 10,000 runs")
    p.add_argument("--dry-run", action="store_true", help="ask the engine; launch, write nothing")
    p.add_argument(
        "--prepare", action="store_true", help="write DIR for another engine; launch nothing"
    )
    p.add_argument(
        "--keep-code",
        action="store_true",
        help="go on with the code that the sweep was started with, whatever the tree says now",
    )
    add_run_arguments(p)
    LAUNCHERS.load(launcher).add_arguments(p)
    return p


@leaving_when_asked()
def sweep(argv: list[str]) -> int:
    """The verb. Returns the exit status."""
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--launcher", default="local")
    name = words.parse_known_args(argv)[0].launcher
    if {"-h", "--help"} & set(argv):
        parser(name).print_help()
        return 0
    loose, rest = load_config_dict(argv)
    args = parser(name).parse_args(rest)
    if args.retries < 0:
        raise UserError(f"--retries={args.retries} must be 0 or more")

    from launch.base import LAUNCHERS, Site
    from scaling.durations import Duration
    from scaling.sharding import parse_mesh
    from scaling.sweep import MAX_RUNS, expand
    from scaling.sweep.costs import Pricer
    from scaling.sweep.plan import check_meshes
    from scaling.sweep.settings import LaunchArgs, read_settings
    from scaling.sweep.survey import survey

    if args.checkpoint_every:
        Duration.parse(args.checkpoint_every, field="--checkpoint-every")
    check_path(args.out, "--out")
    out = args.out.absolute()
    pricer = Pricer(cache_dir=args.cache_dir)
    wanted = expand(loose, pricer=pricer, max_runs=None if args.yes else MAX_RUNS)
    if args.mesh:
        check_meshes(wanted, pricer, parse_mesh(args.mesh))
    _check_out(out, wanted, args.keep_code)
    chosen = {f.name: getattr(args, f.name, None) for f in dataclasses.fields(LaunchArgs)}
    settings = LaunchArgs(**{**chosen, "cwd": read_settings(out).cwd})
    launcher = LAUNCHERS.load(name)(Site(out, settings.cwd), args)
    views = survey(out, (planned.run_id for planned in wanted.runs))
    left = [planned for planned in wanted.runs if not views[planned.run_id].final]
    lines = launcher.check(left)
    print(f"{wanted.name}: {len(wanted.runs)} runs, {len(wanted.runs) - len(left)} of them done")
    print(*lines, sep="\n", flush=True)
    if args.dry_run:
        return 0
    return _launch(out, wanted, settings, launcher, args)


def _launch(
    out: pathlib.Path, wanted: Any, settings: Any, launcher: Any, args: argparse.Namespace
) -> int:
    """Everything that writes: the directory, the snapshot, the runs."""
    from scaling.cli.sweep_display import Display
    from scaling.run.lease import Lease, LeaseHeld, LeaseLost
    from scaling.sweep import snapshot, write_sweep
    from scaling.sweep.orchestrate import Orchestrator
    from scaling.sweep.settings import write_settings
    from scaling.sweep.withheld import hand_over, withheld

    secrets = withheld(wanted.runs)
    if secrets and (args.prepare or not launcher.hands_over):
        how = "--prepare" if args.prepare else f"--launcher={args.launcher}"
        raise UserError(
            f"{how}: {', '.join(secrets)} holds what looks like a secret, which is not written to "
            "sweep.json and cannot be handed to the jobs this way; name it otherwise"
        )
    hand_over(secrets)
    display = Display({planned.run_id: planned.name for planned in wanted.runs})
    try:
        with Lease(out / "launch") as lease:
            snapshot.take(out)
            written = write_sweep(out, wanted, code=snapshot.facts(out))
            write_settings(out, settings)
            if args.prepare:
                print(f"{out} is ready for `scaling run {out} --run-id=ID`")
                return 0

            def tell(progress: Any) -> None:
                lease.check()
                display.tell(progress)

            driver = Orchestrator(out, written, launcher, retries=args.retries, tell=tell)
            with display:
                end = driver.run()
    except LeaseHeld as error:
        raise UserError(f"another launcher is at work: {error}") from error
    except LeaseLost as error:
        raise UserError(f"another launcher has taken over: {error}") from error
    return _conclude(out, display, end, launcher.detached)


def _conclude(out: pathlib.Path, display: Any, end: Any, detached: bool) -> int:
    from scaling.sweep.protocol import AGAIN

    display.conclude(end)
    left = [run_id for run_id in end.left if run_id not in end.gave_up]
    if left and detached:
        print(f"jobs go on; the same command, or `scaling status {out}`, shows them")
    elif left:
        print(f"{len(left)} runs are left; run the same command again", file=sys.stderr)
    return AGAIN if left else int(bool(end.gave_up))


def _check_out(out: pathlib.Path, wanted: Any, keep_code: bool) -> None:
    """Refuses a directory of another sweep, of something else, or of other code."""
    from scaling.sweep.definition import check_same
    from scaling.sweep.snapshot import facts

    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out={out} is not a directory")
    if not (out / "sweep.json").exists():
        ours = {"code", "launch", ".code.tmp"}  # of a sweep that was killed while it began
        others = sorted({path.name for path in out.iterdir()} - ours)
        if others:
            raise UserError(
                f"--out={out} is not a sweep directory and not empty ({others[0]} is there); "
                "choose another --out"
            )
        return
    check_same(out, wanted)
    snapshot, tree = facts(out), facts()
    _check_records(out, wanted, snapshot)
    if tree["source_hash"] != snapshot["source_hash"] and not keep_code:
        done = next((r.run_id for r in wanted.runs if (out / "runs" / r.run_id).exists()), None)
        which = f"run {done} was started with" if done else "it was made with"
        raise UserError(
            f"{out}: {which} other code ({_code(snapshot)}) than the tree has now "
            f"({_code(tree)}); --keep-code goes on with the old code, or choose another --out"
        )


def _check_records(out: pathlib.Path, wanted: Any, snapshot: Mapping[str, Any]) -> None:
    from scaling.run.record import read_record

    for planned in wanted.runs:
        try:
            code = read_record(out / "runs" / planned.run_id)["code"]
        except UserError:
            continue  # Not finished, or damaged: it will be run.
        if code["source_hash"] != snapshot["source_hash"]:
            raise UserError(
                f"run {planned.run_id} ({planned.name}) in {out} has a record made by other code "
                f"({_code(code)}) than this sweep's ({_code(snapshot)}); "
                "move its directory away or choose another --out"
            )


def _code(facts: Mapping[str, Any]) -> str:
    commit = f"commit {facts['commit'][:12]}, " if facts.get("commit") else ""
    return f"{commit}sources {facts['source_hash']}"
