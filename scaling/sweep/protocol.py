"""What `scaling run` and those who start it say to each other.

Exit statuses of a run; the same table is in launch/base.py for engines. A worker (`--run-id=-`)
reads run ids, one a line, until END, and answers each with "RUN_ID STATUS".
"""

from scaling.run.interrupt import EXIT_AGAIN

DONE = 0  # complete or diverged; the record says which
FAILED = 1  # the error is in status.json and in the log
BAD_INPUT = 2  # trying again is useless until somebody mends it
AGAIN = EXIT_AGAIN  # 75: saved; run the same command again
NO_PARENT = 76  # the parent's checkpoint is not there yet
ELSEWHERE = 77  # another live process works on this run

END = "."  # a closed pipe without it means that the launcher died
