"""What clusters do to jobs. The runs are stand-ins (see stand_in.py); the Slurm is real."""

import pytest

from scaling.run.record import read_metrics, read_status
from scaling.sweep.protocol import AGAIN
from tests.slurm.cluster import NODES


def test_a_preempted_run_saves_and_comes_back(sweep, cluster):
    s = sweep(steps=60)
    engine = s.engine()
    engine.submit(["a"])
    cluster.wait(lambda: s.step("a") > 5, "progress")
    # Something of higher priority wants both nodes.
    _take_nodes(cluster, seconds=3)
    cluster.wait(lambda: _restarts(cluster) == [0, 1], "the requeue")
    saved = s.step("a")
    assert 5 < saved < 60
    s.finish(engine, cluster)
    assert s.ended == {"a": 0}  # the job came back by itself, so it never ended in between
    s.check_whole("a")
    assert _attempts(s) == {1: saved, 2: 60 - saved}


@pytest.mark.slow  # Slurm counts time limits in minutes
def test_a_run_longer_than_its_time_limit_goes_on(sweep, cluster):
    s = sweep(steps=1000)  # 50 seconds and more
    engine = s.engine("--slurm-time=1", "--slurm-grace=40")
    engine.submit(["a"])
    s.finish(engine, cluster, seconds=180)
    assert s.ended == {"a": 0}
    s.check_whole("a")
    assert len(_attempts(s)) > 1


def test_a_cancelled_run_is_saved_and_not_requeued(sweep, cluster):
    s = sweep(steps=60)
    engine = s.engine()
    engine.submit(["a", "b"])
    cluster.wait(lambda: min(s.step("a"), s.step("b")) > 5, "progress")
    (job,) = [j for j in cluster.jobs() if j["array_task_id"] == 0]
    cluster.run("scancel", f"{job['array_job_id']}_0")
    s.finish(engine, cluster, again=())
    assert s.ended == {"a": AGAIN, "b": 0}
    s.check_whole("b")
    assert read_status(s.site.out / "runs" / "a")["state"] == "interrupted"
    # The same command again.
    engine = s.engine()
    engine.submit(["a"])
    s.finish(engine, cluster)
    s.check_whole("a")


def test_a_dead_node_costs_a_restart(sweep, cluster):
    s = sweep(steps=250)
    engine = s.engine()
    engine.submit(["a"])
    cluster.wait(lambda: s.step("a") > 5, "progress")
    (job,) = cluster.jobs("RUNNING")
    zombie = read_status(s.site.out / "runs" / "a")["pid"]
    cluster.kill_node(job["nodes"], job["job_id"])
    try:
        # The process on the lost node lives on, out of Slurm's sight, while Slurm starts another.
        cluster.wait(lambda: list(s.site.out.glob("lost-*")), "the old process to lose the lease")
        cluster.wait(lambda: not cluster.alive(zombie), "the old process to end")
        s.finish(engine, cluster)
    finally:
        cluster.revive_node(job["nodes"])
    assert s.ended == {"a": 0}
    s.check_whole("a")
    assert _attempts(s) == {2: 250}  # it had saved nothing, so the second began anew


def test_a_controller_that_is_down_for_a_while(sweep, cluster):
    s = sweep(steps=1)
    engine = s.engine()
    engine.submit(["a"])
    cluster.stop_controller()
    try:
        assert engine.poll(5) is None
        assert engine.room() == 0
        engine.submit(["b"])  # too late to know: it is kept, and sent when somebody answers
    finally:
        cluster.start_controller()
    s.finish(engine, cluster)
    assert s.ended == {"a": 0, "b": 0}
    s.check_whole("a")
    s.check_whole("b")


def _take_nodes(cluster, seconds):
    cluster.run(
        "sbatch", "--partition=high", f"--nodes={len(NODES)}", "--exclusive",
        "--output=/dev/null", f"--wrap=sleep {seconds}",
    )  # fmt: skip


def _restarts(cluster):
    return sorted(job["restart_cnt"] for job in cluster.jobs())


def _attempts(s):
    """{attempt: how many of the run's steps are its work}."""
    rows = read_metrics(s.site.out / "runs" / "a")
    tokens = [row["attempt"] for row in rows]
    return {token: tokens.count(token) for token in dict.fromkeys(tokens)}
