"""`cluster`: one real Slurm for all tests of this directory, or a skip that says why not."""

import argparse
import dataclasses
import pathlib
import sys

import pytest

from launch.base import Site
from launch.slurm import Slurm
from scaling.run.record import read_metrics, read_status
from scaling.sweep.protocol import AGAIN
from tests.slurm import stand_in
from tests.slurm.cluster import Cluster, why_not


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster, monkeypatch):
    """The cluster, empty, and the environment through which clients find it."""
    for name, value in running_cluster.env.items():
        monkeypatch.setenv(name, value)
    yield running_cluster
    running_cluster.run("scancel", "--user=root")
    running_cluster.wait(lambda: not running_cluster.jobs(), "an empty queue")


@dataclasses.dataclass(frozen=True)
class StandInSite(Site):
    """A sweep directory whose runs are `tests.slurm.stand_in`, `steps` twentieths of a second."""

    steps: int = 4

    def command(self, run_id):
        return [sys.executable, "-P", stand_in.__file__, str(self.out), run_id, str(self.steps)]

    @property
    def environment(self):
        return {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}


class Sweep:
    """Runs of the stand-in in one sweep directory, through the engine under test."""

    def __init__(self, out, steps=4):
        (out / "launch").mkdir(parents=True, exist_ok=True)
        self.site = StandInSite(out, out, steps)
        self.ended = {}

    def new(self, *options):
        """A launcher with these options, as `scaling sweep` makes it."""
        parser = argparse.ArgumentParser()
        Slurm.add_arguments(parser)
        return Slurm(self.site, parser.parse_args(["--slurm-poll=1", *options]))

    def engine(self, *options):
        """The same, started."""
        engine = self.new(*options)
        engine.start()
        return engine

    def look(self, engine):
        """One poll, kept: what is active now; None when the controller is silent."""
        poll = engine.poll(1.0)
        if poll is None:
            return None
        self.ended |= poll.ended
        return poll.active

    def finish(self, engine, cluster, *, again=(AGAIN,), seconds=60):
        """Polls until nothing is active, submitting anew what ended with a status in `again`."""

        def over():
            if self.look(engine) is None:
                return False
            for run_id in [r for r, status in self.ended.items() if status in again]:
                del self.ended[run_id]
                engine.submit([run_id])
            return not engine.poll(0).active

        cluster.wait(over, "the runs to end", seconds)

    def step(self, run_id):
        try:
            return read_status(self.site.out / "runs" / run_id).get("step", 0)
        except ValueError:
            return 0

    def check_whole(self, run_id):
        """The run is complete, and its metrics have every step once, in order."""
        workdir = self.site.out / "runs" / run_id
        assert read_status(workdir)["state"] == "complete"
        steps = [row["step"] for row in read_metrics(workdir)]
        assert steps == list(range(1, self.site.steps + 1))


@pytest.fixture
def sweep(tmp_path, cluster):
    return lambda steps=4: Sweep(tmp_path / "sweep", steps)
