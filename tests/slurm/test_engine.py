"""What is submitted, what is refused, and how the queue is read."""

import json
import os
import signal
import subprocess
import types

import pytest

from launch import slurm_job
from launch.base import Poll
from launch.slurm import SCRIPT, Slurm
from launch.slurm_client import indices_of, states_of
from scaling.errors import UserError
from scaling.run.interrupt import REQUESTS
from tests.slurm.cluster import MAX_ARRAY_SIZE
from tests.sweep.fakes import write_checkpoint

HOSTILE = ("$(touch pwned)", "a b", "low\n--wrap=x", "`id`", "x;id", "'", "ü", "")


def test_more_runs_than_an_array_may_have(sweep, cluster):
    runs = [f"{i:016x}" for i in range(2 * MAX_ARRAY_SIZE + 1)]
    s = sweep(steps=1)
    engine = s.engine()
    many, one = engine.check(runs)
    assert many.startswith(f"slurm: 2 arrays of {MAX_ARRAY_SIZE} runs; Job ")
    assert one.startswith("slurm: 1 array of 1 runs; Job ")
    engine.submit(runs)
    assert engine.poll(0) == Poll(dict.fromkeys(runs, "queued"))
    s.finish(engine, cluster)
    assert s.ended == dict.fromkeys(runs, 0)
    for run_id in runs:
        s.check_whole(run_id)


def test_a_dry_run_submits_and_writes_nothing(sweep, cluster, tmp_path):
    s = sweep()
    before = sorted(tmp_path.rglob("*"))
    (line,) = s.new("--slurm-partition=high", "--slurm-nodes=2").check(["a"])
    assert "in partition high" in line
    assert "127.0.0.[1-2]" in line
    assert cluster.jobs() == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--slurm-partition=nope", "invalid partition specified: nope"),
        ("--slurm-nodes=3", "node configuration is not available"),
        ("--slurm-gpus-per-node=9", "generic resource"),
        ("--slurm-mem=999G", "not available"),
        ("--slurm-option=reservation=none", "reservation"),
    ],
)
def test_a_refusal_has_the_words_of_the_scheduler(sweep, cluster, option, words):
    s = sweep()
    with pytest.raises(UserError, match=f"(?i)Slurm refuses these runs: .*{words}") as caught:
        s.new(option).check(["a"])
    assert "\n" not in str(caught.value)
    assert not s.site.state.joinpath("slurm").exists()


def test_a_refused_submission_leaves_nothing_in_the_queue(sweep, cluster):
    engine = sweep().engine("--slurm-partition=nope")
    with pytest.raises(UserError, match="Slurm refuses"):
        engine.submit(["a"])
    assert engine.poll(0).active == {}
    assert cluster.jobs() == []


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["partition", "account", "time", "mem", "option=qos"])
def test_hostile_values_reach_no_scheduler(sweep, monkeypatch, name, value):
    s = sweep()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", _only_scontrol(subprocess.run))
        with pytest.raises(UserError, match="Slurm option"):
            s.new(f"--slurm-{name}={value}").check(["a"])


@pytest.mark.parametrize(
    "option", ["array=0-5", "wrap=true", "nodes=2", "export=NONE", "partition=x", "-x=1", "novalue"]
)
def test_options_that_the_engine_sets_itself(sweep, option):
    with pytest.raises(UserError, match="--slurm-option"):
        sweep().new(f"--slurm-option={option}").check(["a"])


def test_the_job_script_knows_nothing_of_the_sweep(sweep, cluster, tmp_path):
    strange = tmp_path / "a b'$(touch pwned);é"
    strange.mkdir()
    s = sweep(steps=1)
    s.site = type(s.site)(strange, strange, 1)
    (strange / "launch").mkdir()
    engine = s.engine()
    engine.submit(["a"])
    s.finish(engine, cluster)
    s.check_whole("a")
    assert (strange / "launch" / "slurm" / "job.sh").read_text() == SCRIPT
    assert (strange / "launch" / "slurm").stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.rglob("pwned"))
    assert (strange / "logs" / "a.1.log").exists()


@pytest.mark.parametrize("name", ["50%A", "a\\b", "a\nb"])
def test_a_directory_that_slurm_would_misread(sweep, tmp_path, name):
    s = sweep()
    s.site = type(s.site)(tmp_path / name, tmp_path)
    with pytest.raises(UserError, match="choose another directory"):
        s.new().check(["a"])


def test_no_more_in_the_queue_than_asked_for(sweep, cluster):
    s = sweep(steps=1)
    engine = s.engine("--slurm-queue-limit=3")
    assert engine.room() == 3
    engine.submit(["a", "b"])
    assert engine.room() == 1
    again = s.engine("--slurm-queue-limit=3")  # a second launcher sees what the first submitted
    assert again.room() == 1
    again.submit(["a", "c"])  # a is there already
    facts = json.loads((s.site.state / "slurm" / "00002.json").read_text())
    assert facts["runs"] == ["c"]
    s.finish(again, cluster)
    assert s.ended == {"a": 0, "b": 0, "c": 0}


def test_two_nodes_start_two_processes(sweep, cluster):
    s = sweep(steps=40)
    engine = s.engine("--slurm-nodes=2")
    engine.submit(["a"])
    facts = json.loads((s.site.state / "slurm" / "00001.json").read_text())
    assert facts["commands"][0][-1] == "--distributed=auto"
    s.finish(engine, cluster)
    # The stand-in does not join processes, so one of the two found the lease taken.
    assert len(list(s.site.out.glob("lost-*"))) == 1


def test_a_launcher_inside_a_job_passes_nothing_of_it_on(sweep, cluster, monkeypatch):
    # srun refuses to start with both of these.
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_MEM_PER_GPU", "100")
    s = sweep(steps=1)
    engine = s.engine("--slurm-mem=500M", "--slurm-cpus-per-task=2")
    engine.submit(["a"])
    s.finish(engine, cluster)
    assert s.ended == {"a": 0}


@pytest.fixture
def job(tmp_path, monkeypatch):
    """job(restart, status): one start of run "a", its exit status. `calls`: what srun was told."""
    facts = {"runs": ["a"], "commands": [["true"]], "cwd": str(tmp_path), "out": str(tmp_path)}
    (tmp_path / "00001.json").write_text(json.dumps(facts))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(slurm_job, "queue", list)  # so no start requeues itself

    def start(restart=0, status=3, signalled=()):
        def srun(argv, **_):
            def wait():
                for number in signalled:
                    os.kill(os.getpid(), number)
                return status

            start.calls.append(argv)
            return types.SimpleNamespace(wait=wait, send_signal=start.told.append)

        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
        monkeypatch.setattr(subprocess, "Popen", srun)
        return slurm_job.main([str(tmp_path / "00001.json")])

    start.calls, start.told = [], []
    return start


def test_srun_is_told_the_cores(job, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert job() == 3
    assert job.calls[0][-2:] == ["--cpus-per-task=8", "true"]
    assert json.loads((tmp_path / "00001.0.0").read_text()) == {"from": -1, "exit": 3}


@pytest.mark.parametrize("number", REQUESTS)
def test_a_signal_to_the_job_alone_reaches_the_run(job, number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert job(status=slurm_job.AGAIN, signalled=[number]) == slurm_job.AGAIN
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert job.told == [signal.SIGUSR1]


def test_preempted_again_and_again_before_anything_is_saved_is_a_failure(job, tmp_path):
    killed = slurm_job.FAILED + 136  # by SIGKILL, as srun tells it
    assert [job(n, killed) for n in range(6)] == [killed] * 5 + [slurm_job.FAILED]
    assert len(job.calls) == 5
    log = max((tmp_path / "logs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert "before they had saved anything" in log.read_text()


def test_preempted_again_and_again_with_progress_goes_on(job, tmp_path):
    for n in range(12):
        if n % 5 == 4:
            write_checkpoint(tmp_path, "a", n)
        assert job(n, slurm_job.AGAIN) == slurm_job.AGAIN
    assert len(job.calls) == 12


@pytest.mark.parametrize(
    ("job", "indices"),
    [
        ({"array_task_id": 3, "array_task_string": ""}, [3]),
        ({"array_task_id": None, "array_task_string": "0-3%1"}, [0, 1, 2, 3]),
        ({"array_task_id": None, "array_task_string": "1,4-5,9"}, [1, 4, 5, 9]),
        ({"array_task_id": None, "array_task_string": "0-8:4"}, [0, 4, 8]),
        ({"array_task_id": {"set": False, "number": 0}, "array_task_string": "2"}, [2]),
        ({"array_task_id": {"set": True, "number": 0}, "array_task_string": ""}, [0]),
    ],
)
def test_both_ways_of_telling_array_indices(job, indices):
    assert indices_of(job) == indices


def test_both_ways_of_telling_states():
    assert states_of({"job_state": "RUNNING"}) == {"RUNNING"}
    assert states_of({"job_state": ["PENDING", "REQUEUED"]}) == {"PENDING", "REQUEUED"}


def test_no_slurm_here_is_said(sweep, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="is not on this machine"):
        sweep().new().check(["a"])


def test_it_is_an_engine():
    from launch.base import LAUNCHERS

    assert LAUNCHERS.load("slurm") is Slurm
    assert Slurm.detached


def _only_scontrol(run):
    def guarded(argv, **options):
        assert argv[0] == "scontrol", argv
        return run(argv, **options)

    return guarded
