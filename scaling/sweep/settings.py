"""OUT/launch/settings.json: how the runs of a sweep are run. Nothing in it changes a number."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaling.doors.files import write_orders
from scaling.doors.reading import Missing, read_json
from scaling.doors.schemas import SETTINGS

if TYPE_CHECKING:
    from scaling.training.prepare import RunArgs

SAVE_SECONDS = 10.0  # between checkpoints, unless --checkpoint-every says something else
_FILE = "settings.json"


@dataclasses.dataclass(frozen=True)
class LaunchArgs:
    """cwd: where relative paths in configs start. The others are options of `scaling sweep`."""

    cwd: pathlib.Path
    mesh: str | None = None
    checkpoint_every: str | None = None
    wandb: str | None = None
    cache_dir: str | None = None

    def run_args(self, overrides: Mapping[str, Any], *, n_processes: int) -> "RunArgs":
        """Arguments of a run, without its workdir. overrides: settings given to the job itself."""
        from scaling.durations import Duration
        from scaling.training.prepare import RunArgs

        chosen = {
            name: overrides.get(name) or getattr(self, name)
            for name in ("mesh", "checkpoint_every", "wandb", "cache_dir")
        }
        every = Duration.parse(chosen["checkpoint_every"] or "10%", field="--checkpoint-every")
        return RunArgs(
            workdir=pathlib.Path(),
            mesh=chosen["mesh"],
            checkpoint_every=every,
            # Small runs would spend their time on saving; who asks for a distance gets it.
            checkpoint_seconds=0.0 if chosen["checkpoint_every"] else SAVE_SECONDS,
            wandb=chosen["wandb"],
            cache_dir=pathlib.Path(chosen["cache_dir"]) if chosen["cache_dir"] else None,
            n_processes=n_processes,
            quiet=True,
        )


def read_settings(out: pathlib.Path) -> LaunchArgs:
    """What `write_settings` wrote; the defaults where nothing was written. Raises UserError."""
    path = pathlib.Path(out) / "launch" / _FILE
    try:
        found = read_json(path, SETTINGS)
    except Missing:
        return LaunchArgs(cwd=pathlib.Path.cwd())
    known = {field.name: found.get(field.name) for field in dataclasses.fields(LaunchArgs)}
    return LaunchArgs(**{**known, "cwd": pathlib.Path(found["cwd"])})


def write_settings(out: pathlib.Path, settings: LaunchArgs) -> None:
    """Replaces OUT/launch/settings.json."""
    (out / "launch").mkdir(parents=True, exist_ok=True)
    facts = {**dataclasses.asdict(settings), "cwd": str(settings.cwd)}
    write_orders(out / "launch" / _FILE, facts)
