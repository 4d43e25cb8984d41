"""A real two-node Slurm on loopback, all of it below one directory.

munged, slurmctld and two slurmd are started with a key, ports, state and a slurm.conf of their
own, so a Slurm that this machine may already run is neither used nor disturbed. They are stopped
through their pid files. Node names are loopback addresses: `jax.distributed` takes the name of the
first node for its coordinator, and an address needs no entry in /etc/hosts.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "srun", "scontrol", "squeue")
NODES = ("127.0.0.1", "127.0.0.2")
MAX_ARRAY_SIZE = 6  # small, so that a sweep of a dozen needs several arrays
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
SchedulerTimeSlice=5
MaxArraySize={max_array_size}
MpiDefault=none
MessageTimeout=3
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=300
SlurmdTimeout=300
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
NodeName=127.0.0.[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] \
CPUs=2 RealMemory=4000
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE \
GraceTime=30
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why this machine cannot run the cluster; None when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "slurmd starts jobs as their users and so needs root"
    return None


class Cluster:
    """Start with `with Cluster(root):`. `env` is what a client's environment needs."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.env = {"SLURM_CONF": str(root / "slurm.conf"), "PATH": _PATH}

    def __enter__(self) -> "Cluster":
        for name in ("munge", "state", *(f"spool.{node}" for node in NODES)):
            (self.root / name).mkdir(mode=0o755)
        host = socket.gethostname().partition(".")[0]
        conf = _CONF.format(
            host=host, root=self.root, ports=_free_ports(), max_array_size=MAX_ARRAY_SIZE
        )
        (self.root / "slurm.conf").write_text(conf)
        try:
            self._start_munged()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            self.wait(lambda: self._node_states() == {"idle"}, "two idle nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(AssertionError, subprocess.CalledProcessError, OSError):
            self.run("scancel", "--user=root")
            self.wait(lambda: not self.jobs(), "an empty queue", seconds=15)
        for path in sorted(self.root.glob("*.pid")):
            _stop(path)
        _stop(self.root / "munge" / "pid")

    def run(self, *argv: str, check: bool = True) -> str:
        """A client command; its output. Raises AssertionError with what it said."""
        done = subprocess.run(
            argv, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, *states: str) -> list[dict]:
        """The jobs in one of `states` (any but the final ones) as squeue describes them."""
        wanted = states or ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
        jobs = json.loads(self.run("squeue", "--json"))["jobs"]
        return [job for job in jobs if job["job_state"] in wanted]

    def start_controller(self) -> None:
        self.daemon("slurmctld")
        self.wait(self._answers, "the controller")

    def stop_controller(self) -> None:
        _stop(self.root / "slurmctld.pid")

    def start_node(self, node: str) -> None:
        self.daemon("slurmd", "-N", node)

    def kill_node(self, node: str, job_id: int) -> None:
        """A node that dies: its slurmd and the job's step daemons are killed, it is declared down.

        What the step daemons had started lives on: Slurm does not know of it any more.
        """
        _stop(self.root / f"slurmd.{node}.pid", signal.SIGKILL)
        for pid in self._step_daemons(job_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def revive_node(self, node: str) -> None:
        self.start_node(node)
        self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self.wait(lambda: self._node_states() == {"idle"}, "both nodes back")

    def wait(self, condition, what: str, seconds: float = 180.0):
        """Polls until `condition()` is true and returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
            time.sleep(0.2)
        return value

    def daemon(self, *argv: str) -> None:
        log = self.root / f"{argv[0]}.start.log"
        with open(log, "ab") as out:
            done = subprocess.run(
                argv, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, timeout=30,
            )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {log.read_text()}"

    def _start_munged(self) -> None:
        munge = self.root / "munge"
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        # pytest's temporary directories are 0700; munged would rather have its socket in a
        # directory that everybody can enter, and runs all the same when forced.
        files = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid"}
        files["seed-file"] = "seed"
        self.daemon("munged", "--force", *(f"--{k}={munge / v}" for k, v in files.items()))

    def _answers(self) -> bool:
        return "is UP" in self.run("scontrol", "ping", check=False)

    def _node_states(self) -> set[str]:
        return set(self.run("sinfo", "--noheader", "--Node", "--format=%T").split())

    def alive(self, pid: int) -> bool:
        """Whether a process still does something."""
        return _state(pid) not in (None, "Z")

    def _step_daemons(self, job_id: int) -> list[int]:
        """Step daemons have no pid file: found by their title and by our slurm.conf."""
        found = []
        ours = f"SLURM_CONF={self.root}/slurm.conf".encode()
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                title = (proc / "cmdline").read_bytes()
                if title.startswith(f"slurmstepd: [{job_id}.".encode()) and ours in (
                    proc / "environ"
                ).read_bytes().split(b"\0"):
                    found.append(int(proc.name))
        return found


def _free_ports() -> list[int]:
    """Three consecutive free ports: the nodes' must follow each other in slurm.conf."""
    for base in range(20000 + os.getpid() % 10000, 60000, 3):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + 3):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return [base, base + 1, base + 2]
    raise AssertionError("no free ports")


def _state(pid: int) -> str | None:
    """The letter of a process in /proc (Z: a zombie); None when there is none."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def _stop(pid_file: pathlib.Path, number: int = signal.SIGTERM) -> None:
    """Ends the daemon of a pid file and waits until it is gone."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, number)
    except (OSError, ValueError):
        return
    for _ in range(100):
        if _state(pid) in (None, "Z"):
            break
        time.sleep(0.1)
    else:
        os.kill(pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)
