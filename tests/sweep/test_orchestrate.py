"""What runs next: every run ends accounted for, whatever the engine and the runs do."""

import json
import os
import signal

import pytest

from scaling.run.interrupt import SIGNALS
from scaling.run.lease import Lease
from scaling.sweep import orchestrate as module
from scaling.sweep.orchestrate import Orchestrator
from scaling.sweep.protocol import AGAIN, BAD_INPUT, DONE, ELSEWHERE, FAILED, NO_PARENT
from tests.sweep.fakes import (
    FakeLauncher,
    complete,
    planned,
    sweep_of,
    write_checkpoint,
    write_record,
    write_status,
)


def drive(out, planned_runs, launcher, retries=2, tell=lambda progress: None):
    driver = Orchestrator(out, sweep_of(*planned_runs), launcher, retries=retries, tell=tell)
    return driver.run()


def fails(out, run_id):
    write_status(out, run_id, "failed", error="OSError: no", attempt=1)
    return FAILED


def dies(out, run_id):
    write_status(out, run_id, "running", attempt=1)
    return -signal.SIGKILL


def states(progress):
    return [view.state for view in progress.views.values()]


def test_every_run_is_started_once_and_ends_with_a_record(tmp_path):
    launcher = FakeLauncher(tmp_path, room=3)
    end = drive(tmp_path, [planned(n) for n in range(10)], launcher)
    assert sorted(launcher.submitted) == [f"{n:016x}" for n in range(10)]
    assert states(end) == ["complete"] * 10
    assert not end.left
    assert not end.gave_up
    assert launcher.said == ["start", "close"]


def test_what_has_a_record_is_not_started_again(tmp_path):
    write_record(tmp_path, planned(0).run_id)
    write_record(tmp_path, planned(1).run_id, "diverged")
    launcher = FakeLauncher(tmp_path)
    end = drive(tmp_path, [planned(n) for n in range(3)], launcher)
    assert launcher.submitted == [planned(2).run_id]
    assert states(end) == ["complete", "diverged", "complete"]


def test_a_run_that_fails_is_tried_again_a_bounded_number_of_times_and_its_error_kept(tmp_path):
    script = {planned(0).run_id: [fails] * 9, planned(1).run_id: [fails, dies, complete]}
    launcher = FakeLauncher(tmp_path, script)
    end = drive(tmp_path, [planned(0), planned(1)], launcher, retries=2)
    assert launcher.submitted.count(planned(0).run_id) == 3
    assert end.gave_up == {planned(0).run_id: "OSError: no"}
    assert states(end) == ["failed", "complete"]
    lines = (tmp_path / "launch" / "failures.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert len(kept) == 5
    assert "SIGKILL" in next(row["error"] for row in kept if row["exit"] == -signal.SIGKILL)


def test_a_run_that_gets_further_each_time_is_not_given_up(tmp_path):
    def dies_at(step):
        def act(out, run_id):
            write_checkpoint(out, run_id, step)
            return dies(out, run_id)

        return act

    script = {planned(0).run_id: [dies_at(step) for step in range(1, 8)]}
    end = drive(tmp_path, [planned(0)], FakeLauncher(tmp_path, script), retries=1)
    assert states(end) == ["complete"]


def test_bad_input_is_not_tried_twice(tmp_path):
    def bad(out, run_id):
        fails(out, run_id)
        return BAD_INPUT

    launcher = FakeLauncher(tmp_path, {planned(0).run_id: [bad] * 3})
    end = drive(tmp_path, [planned(0)], launcher)
    assert launcher.submitted == [planned(0).run_id]
    assert list(end.gave_up) == [planned(0).run_id]


def test_saved_attempts_do_not_count_as_failures(tmp_path):
    script = {planned(0).run_id: [lambda out, run_id: AGAIN] * 10}
    launcher = FakeLauncher(tmp_path, script)
    end = drive(tmp_path, [planned(0)], launcher, retries=0)
    assert len(launcher.submitted) == 11
    assert states(end) == ["complete"]


def test_an_exit_without_a_record_is_not_taken_for_success(tmp_path):
    launcher = FakeLauncher(tmp_path, {planned(0).run_id: [lambda out, run_id: DONE] * 9})
    end = drive(tmp_path, [planned(0)], launcher, retries=1)
    assert len(launcher.submitted) == 2
    assert end.left == [planned(0).run_id]
    assert end.gave_up


def test_a_branch_waits_for_its_parents_checkpoint_not_for_its_end(tmp_path):
    trunk, branch = planned(0, keep_steps=[2]), planned(1, parent=0)
    order = []

    def saves(out, run_id):
        write_checkpoint(out, run_id, 2)
        order.append("saved")
        return AGAIN

    def branches(out, run_id):
        order.append("branched")
        return complete(out, run_id)

    def ends(out, run_id):
        order.append("ended")
        return complete(out, run_id)

    launcher = FakeLauncher(tmp_path, {trunk.run_id: [saves, ends], branch.run_id: [branches]})
    drive(tmp_path, [trunk, branch], launcher)
    assert order[0] == "saved"
    assert set(order[1:]) == {"ended", "branched"}
    assert launcher.submitted[0] == trunk.run_id


def test_a_branch_whose_trunk_diverged_before_it_runs_alone(tmp_path):
    write_record(tmp_path, planned(0).run_id, "diverged")
    launcher = FakeLauncher(tmp_path)
    end = drive(tmp_path, [planned(0), planned(1, parent=0)], launcher)
    assert launcher.submitted == [planned(1).run_id]
    assert states(end) == ["diverged", "complete"]


def test_branches_of_a_run_that_was_given_up_are_given_up_and_named(tmp_path):
    planned_runs = [planned(0), planned(1, parent=0), planned(2, parent=1)]
    launcher = FakeLauncher(tmp_path, {planned(0).run_id: [fails] * 9})
    end = drive(tmp_path, planned_runs, launcher, retries=0)
    assert launcher.submitted == [planned(0).run_id]
    assert set(end.gave_up) == {s.run_id for s in planned_runs}
    assert "parent" in end.gave_up[planned(2).run_id]


def test_a_job_that_finds_no_parent_waits_again(tmp_path):
    def early(out, run_id):
        return NO_PARENT

    write_checkpoint(tmp_path, planned(0).run_id, 2)
    launcher = FakeLauncher(tmp_path, {planned(1).run_id: [early, complete]})
    end = drive(tmp_path, [planned(0), planned(1, parent=0)], launcher)
    assert states(end) == ["complete"] * 2
    assert not end.gave_up


def test_longest_chains_go_first(tmp_path):
    # 5 with the branch behind it, then 4, then 3; and the branch itself last.
    planned_runs = [
        planned(0, flops=4.0),
        planned(1, flops=3.0),
        planned(2, flops=2.5),
        planned(3, parent=2, flops=2),
    ]
    launcher = FakeLauncher(tmp_path, room=1)
    drive(tmp_path, planned_runs, launcher)
    assert launcher.submitted == [planned(n).run_id for n in (2, 0, 1, 3)]


def test_a_run_that_another_live_process_holds_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ELSEWHERE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.0)
    lease = Lease(tmp_path / "runs" / planned(0).run_id).acquire()
    looks = []

    def tell(progress):
        looks.append(states(progress))
        if len(looks) == 3:
            write_record(tmp_path, planned(0).run_id)
            lease.release()

    launcher = FakeLauncher(tmp_path, {planned(1).run_id: [lambda out, run_id: ELSEWHERE]})
    end = drive(tmp_path, [planned(0), planned(1)], launcher, retries=0, tell=tell)
    assert planned(0).run_id not in launcher.submitted
    assert launcher.submitted.count(planned(1).run_id) == 2
    assert states(end) == ["complete"] * 2
    assert not end.gave_up


def test_an_engine_that_is_silent_for_a_while_loses_nothing(tmp_path):
    launcher = FakeLauncher(tmp_path)
    launcher.silent = 5
    silences = []
    end = drive(tmp_path, [planned(0)], launcher, tell=lambda p: silences.append(p.silent_s))
    assert launcher.submitted == [planned(0).run_id]
    assert states(end) == ["complete"]
    assert silences[4] > silences[-1]


def test_where_nothing_starts_not_everything_is_tried(tmp_path):
    stillborn = [lambda out, run_id: FAILED] * 9
    planned_runs = [planned(n) for n in range(50)]
    launcher = FakeLauncher(tmp_path, {s.run_id: list(stillborn) for s in planned_runs})
    end = drive(tmp_path, planned_runs, launcher)
    assert len(launcher.submitted) < 20
    assert set(end.gave_up) == {s.run_id for s in planned_runs}


def test_a_fault_of_the_launcher_itself_has_the_runs_saved(tmp_path):
    def broken(progress):
        raise RuntimeError("taken over")

    launcher = FakeLauncher(tmp_path)
    with pytest.raises(RuntimeError, match="taken over"):
        drive(tmp_path, [planned(0)], launcher, tell=broken)
    assert launcher.said == ["start", "stop", "close"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_submission_and_waits_for_what_runs(tmp_path, number):
    before = signal.signal(number, signal.default_int_handler)  # the test may run under nohup

    def stopped(out, run_id):
        os.kill(os.getpid(), number)
        return AGAIN

    launcher = FakeLauncher(tmp_path, {planned(0).run_id: [stopped]}, room=1)
    end = drive(tmp_path, [planned(0, flops=9.0), planned(1)], launcher)
    assert launcher.submitted == [planned(0).run_id]
    assert launcher.said == ["start", "stop", "close"]
    assert len(end.left) == 2
    assert not end.gave_up
    assert signal.signal(number, before) is signal.default_int_handler


def test_fraction_and_time_left_follow_the_flops(tmp_path):
    write_record(tmp_path, planned(0).run_id)
    planned_runs = [planned(0, flops=3.0), planned(1, flops=1.0)]
    seen = []
    end = drive(tmp_path, planned_runs, FakeLauncher(tmp_path), tell=seen.append)
    assert end.fraction == 1.0
    driver = Orchestrator(
        tmp_path, sweep_of(*planned_runs, planned(2, flops=4.0)), None, retries=0, tell=print
    )
    assert driver.progress().fraction == 0.5
    assert driver.progress().eta_s is None
