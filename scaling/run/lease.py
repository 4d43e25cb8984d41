"""One writer per run directory, on one machine or on a file system shared by many.

Layout: `WORKDIR/lease/00000007` is the seventh holder, its file name the fencing token. The file
says who holds it; a holder that leaves cleanly renames it to `00000007.released`. A new holder is
whoever creates the next number first (an exclusive hard link, atomic on network file systems
too; where a mount has no hard links, such as a bucket, an exclusive create), so no lock can be left
behind. The largest number is the holder; everybody else has lost.

Life signs are a counter kept in the file's modification time, one tick per heartbeat: setting it
needs no disk space, and only changes of it are looked at, so clocks may jump or disagree. Taking
over from a previous holder:

1. Released, or a dead process of this very machine (boot and process start time are compared, so
   a reused process number does not count as alive): at once.
2. The same Slurm job with a smaller restart count: at once. Slurm started us in its place; the
   old process, even if it still runs on a lost node, finds the newer token and stops.
3. Alive on this machine: refused.
4. Anything else (another machine, another container): watched until its counter moves (refused)
   or stands still for `timeout` seconds (taken).

A process may be paused between `check()` and its write; every write that follows a check is
therefore harmless when late: metrics files are replaced on takeover (an old file handle writes
nowhere), records and checkpoints are renamed whole and depend only on the config.
"""

import errno
import json
import logging
import os
import pathlib
import re
import socket
import threading
import time

from scaling.doors.reading import Missing, read_json
from scaling.errors import UserError

_TOKEN = re.compile(r"(\d{8,})(\.released)?")
_NO_HARD_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_HOLDER = {
    "host?": str,
    "pid?": int,
    "since?": str,
    "machine?": str,
    "process_start?": (str, None),
    "slurm_job?": (str, None),
    "slurm_restart?": int,
}
_log = logging.getLogger(__name__)


class LeaseLost(RuntimeError):  # noqa: N818 - an event, not a fault
    """Another process has taken over this run directory; this one must stop writing."""


class LeaseHeld(UserError):  # noqa: N818 - an event, not a fault
    """A live process holds this run directory; nothing was changed."""


class Lease:
    """The right to write into `workdir`. Use as a context manager, or acquire() and release().

    interval: seconds between heartbeats. timeout: seconds a holder on another machine may show no
    sign of life before it is taken to be dead; at least three intervals.
    """

    def __init__(self, workdir: str | os.PathLike, *, interval: float = 5.0, timeout: float = 60.0):
        assert timeout >= 3 * interval, (timeout, interval)
        self.workdir = pathlib.Path(workdir)
        self.token = 0
        self._dir = self.workdir / "lease"
        self._interval, self._timeout = interval, timeout
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> "Lease":
        """Becomes the only writer; `token` is then larger than every earlier holder's.

        Raises LeaseHeld when a live process holds the directory, UserError when it cannot be
        written.
        """
        assert self.token == 0, "already acquired"
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            while not self._claim():
                pass
        except OSError as error:
            raise UserError(f"workdir {str(self.workdir)!r} cannot be written: {error}") from error
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def check(self) -> None:
        """Raises LeaseLost when a newer holder exists or the lease file is gone. Microseconds."""
        try:
            newest, _ = _newest(self._dir)
        except OSError as error:
            raise LeaseLost(f"the lease of {str(self.workdir)!r} is gone: {error}") from error
        if self.token == 0 or newest != self.token:
            raise LeaseLost(
                f"lost the lease of {str(self.workdir)!r}: this process holds token {self.token}, "
                f"the newest is {newest}; another process has taken over"
            )

    def release(self) -> None:
        """Lets the next process in at once. Safe to call twice or after losing the lease."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.token:
            mine = self._path(self.token)
            try:
                os.rename(mine, f"{mine}.released")
            except OSError as error:
                _log.info("lease %s was not released: %s", mine, error)
            self.token = 0

    __enter__ = acquire

    def __exit__(self, *_) -> None:
        self.release()

    def _path(self, token: int) -> pathlib.Path:
        return self._dir / f"{token:08d}"

    def _claim(self) -> bool:
        """One attempt to create the next token; False when another process was faster."""
        newest, released = _newest(self._dir)
        if newest and not released:
            try:
                self._wait_until_dead(self._path(newest))
            except FileNotFoundError:
                return False
        token = newest + 1
        if not self._create(self._path(token)):
            return False
        if _newest(self._dir)[0] != token:
            # We were paused while others came, went and removed the token we then created.
            self._path(token).unlink(missing_ok=True)
            return False
        for path in list(self._dir.iterdir()):
            match = _TOKEN.fullmatch(path.name)
            if match and int(match[1]) < token:
                path.unlink(missing_ok=True)
        self.token = token
        return True

    def _create(self, path: pathlib.Path) -> bool:
        text = json.dumps(_identity())
        temporary = self._dir / f".{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.tmp"
        temporary.write_text(text)
        os.utime(temporary, ns=(0, 0))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _create_exclusively(path, text)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _wait_until_dead(self, path: pathlib.Path) -> None:
        """Returns when the holder of `path` is gone. Raises LeaseHeld when it is alive."""
        holder, me = _read(path), _identity()
        if _is_older_restart(holder, me):
            _log.warning("taking over from an earlier start of this Slurm job: %s", holder)
            return
        if holder.get("machine") == me["machine"]:
            if not _alive(holder):
                _log.info("taking over from dead process %s", holder.get("pid"))
                return
            raise self._refusal(holder)
        _log.warning(
            "held by process %s on host %s; watching for a sign of life (up to %.0f s)",
            holder.get("pid"),
            holder.get("host"),
            self._timeout,
        )
        first, deadline = _ticks(path), time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            time.sleep(min(self._interval, 0.2))
            if _ticks(path) != first:
                raise self._refusal(holder)
        _log.warning("no sign of life for %.0f s; taking over", self._timeout)

    def _refusal(self, holder: dict) -> LeaseHeld:
        return LeaseHeld(
            f"workdir {str(self.workdir)!r} is in use by process {holder.get('pid')} on host "
            f"{holder.get('host')!r} since {holder.get('since')}; stop it or choose another workdir"
        )

    def _beat(self) -> None:
        mine, ticks = self._path(self.token), 0
        while not self._stop.wait(self._interval):
            ticks += 1
            try:
                # One second a tick: the coarsest resolution a file system may have.
                os.utime(mine, ns=(ticks * 10**9, ticks * 10**9))
            except FileNotFoundError:
                return
            except OSError as error:
                _log.warning("lease heartbeat failed: %s", error)


def seems_held(workdir: str | os.PathLike, timeout: float = 60.0) -> bool:
    """Whether a live process seems to hold `workdir`, told without waiting and without writing.

    Certain for holders on this machine. Others count as alive when their last heartbeat is younger
    than `timeout` seconds by the clock of the file system, so a guess where clocks disagree: good
    for a table, and for not starting what `acquire` would refuse.
    """
    directory = pathlib.Path(workdir) / "lease"
    try:
        newest, released = _newest(directory)
        if released:
            return False
        path = directory / f"{newest:08d}"
        holder = _read(path)
        if holder.get("machine") == _machine():
            return _alive(holder)
        return time.time() - path.stat().st_ctime < timeout
    except OSError:
        return False


def _newest(directory: pathlib.Path) -> tuple[int, bool]:
    """(largest token, whether it was released); (0, True) when there is none."""
    best = (0, True)
    for name in os.listdir(directory):
        match = _TOKEN.fullmatch(name)
        if match:
            best = max(best, (int(match[1]), match[2] is not None))
    return best


def _create_exclusively(path: pathlib.Path, text: str) -> bool:
    """For mounts that know no hard links; a reader may meet the file before it has its text."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # where a mounted bucket says that somebody else was first
    os.utime(path, ns=(0, 0))
    return True


def _read(path: pathlib.Path) -> dict:
    try:
        return read_json(path, _HOLDER)
    except Missing:
        raise FileNotFoundError(str(path)) from None
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        return {}


def _ticks(path: pathlib.Path) -> int:
    # Opening makes a network file system fetch fresh attributes; a bare stat may be cached.
    with open(path) as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _identity() -> dict:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": _machine(),
        "process_start": _process_start(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    }


def _machine() -> str:
    """Equal for two processes exactly when their process numbers can be compared."""
    parts = [socket.gethostname()]
    try:
        parts.append(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        # Not Linux: the host name alone decides.
        pass
    return " ".join(parts)


def _process_start(pid: int) -> str | None:
    """Start time of a running process in clock ticks since boot; None when it is not running."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name is in parentheses and may contain anything, so count from its end.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _alive(holder: dict) -> bool:
    pid = holder.get("pid", 0)
    if pathlib.Path("/proc/self/stat").exists():
        start = _process_start(pid)
        return start is not None and start == holder.get("process_start")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_older_restart(holder: dict, me: dict) -> bool:
    return (
        me["slurm_job"] is not None
        and holder.get("slurm_job") == me["slurm_job"]
        and holder.get("slurm_restart", 0) < me["slurm_restart"]
    )
