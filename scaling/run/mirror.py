"""A copy of the metrics for Weights & Biases. The record is the store; this may fail at any time.

Nothing that goes wrong here reaches training: the first failure is logged, then the mirror is
silent. The config is redacted, and W&B's own collection of command line, code, git state and
console output is switched off, since any of them may hold a secret.
"""

import importlib.util
import logging
import netrc
import os
import pathlib
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

from scaling.doors.redact import redact
from scaling.errors import UserError
from scaling.run.record import jsonable

_INIT_SECONDS = 20
_FINISH_SECONDS = 30
_log = logging.getLogger(__name__)


class WandbMirror:
    """One W&B run with the id `run_id`; a resumed run goes on in it.

    Online when an API key is found and WANDB_MODE does not say otherwise; else offline, into
    `workdir/wandb`, for `wandb sync` later. Raises UserError when wandb is not installed.
    """

    def __init__(
        self,
        project: str,
        *,
        run_id: str,
        name: str,
        config: Mapping[str, Any],
        workdir: str | os.PathLike,
    ):
        require_wandb()
        self._run: Any = None
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
        arguments = {
            "project": project,
            "id": run_id,
            "name": name,
            "config": redact(jsonable(config)),
            "dir": str(workdir),
        }
        if not self._guarded(f"start ({mode})", self._start, mode, arguments) and mode == "online":
            self._guarded("start (offline)", self._start_again_offline, arguments)

    def log(self, row: Mapping[str, Any]) -> None:
        """Mirrors one metrics row; its "step" is the x axis. Lists stay in the record."""
        if self._run is None:
            return
        flat = {key: value for key, value in _flat(jsonable(row)) if not isinstance(value, list)}
        if not self._guarded("log", self._run.log, redact(flat)):
            self._run = None

    def finish(self, summary: Mapping[str, Any] | None = None, *, status: str = "complete") -> None:
        """Mirrors the scalars of the record and closes the run; waits 30 seconds at most."""
        run, self._run = self._run, None
        if run is None:
            return
        scalars = {k: v for k, v in _flat(redact(jsonable(summary or {}))) if _is_scalar(v)}

        def close() -> None:
            run.summary.update({**scalars, "status": status})
            run.finish(exit_code=int(status == "failed"))

        # A daemon thread: with the network gone, finish() would retry for hours.
        thread = threading.Thread(
            target=self._guarded, args=("finish", close), name="wandb-finish", daemon=True
        )
        thread.start()
        thread.join(_FINISH_SECONDS)
        if thread.is_alive():
            _log.warning("W&B is still uploading; the rest is kept on disk for `wandb sync`")

    def _start(self, mode: str, arguments: dict[str, Any]) -> None:
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            init_timeout=_INIT_SECONDS,
        )
        self._run = wandb.init(mode=mode, resume="allow", settings=settings, **arguments)
        # Our own x axis: W&B's drops the rows of re-run steps.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def _start_again_offline(self, arguments: dict[str, Any]) -> None:
        import wandb

        # The failed attempt still owns the run id in W&B's background process.
        wandb.teardown()
        self._start("offline", arguments)

    def _guarded(self, what: str, call: Any, *arguments: Any) -> bool:
        try:
            call(*arguments)
        except Exception as error:
            text = redact(" ".join(str(error).split()))
            _log.warning("W&B %s failed (%s); training goes on, the record is complete", what, text)
            return False
        return True


def require_wandb() -> None:
    """Raises UserError when wandb is not installed; asked before anything is computed."""
    if importlib.util.find_spec("wandb") is None:
        raise UserError("--wandb needs the wandb package: pip install 'scaling[wandb]'")


def has_key() -> bool:
    """Whether wandb would find an API key without asking for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    path = pathlib.Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        login = netrc.netrc(path).authenticators(urllib.parse.urlparse(url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return False
    return login is not None


def _flat(tree: Mapping[str, Any], prefix: str = ""):
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
