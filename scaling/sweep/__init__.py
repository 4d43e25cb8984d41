"""A sweep is data: from a config file to runs, their price, and OUT/sweep.json.

designs   functions that make a group in one line of a config file
axes      which settings a group varies, and how they combine
expand    the frozen runs of every group, duplicates merged
branching runs of different length that share a trunk
costs     parameters, tokens, steps and FLOPs of a run, in closed form
checks    what speaks against a sweep before it is run
definition  OUT/sweep.json
withheld  secrets of a config, on their way to the jobs
"""

from scaling.sweep.definition import Group, Parent, PlannedRun, Sweep, read_sweep, write_sweep
from scaling.sweep.expand import MAX_RUNS, expand

__all__ = [
    "MAX_RUNS",
    "Group",
    "Parent",
    "PlannedRun",
    "Sweep",
    "expand",
    "read_sweep",
    "write_sweep",
]
