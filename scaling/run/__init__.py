"""The directory of a run: who may write into it, and what lies in it.

record      config, status, metrics and the record, which is the only thing that leaves a run
metrics     rows of metrics.jsonl, and those that are gone
lease       one writer at a time, on any file system
checkpoint  whole or not there; restored bit for bit
manifest    what a checkpoint holds, and whether it is whole
branch      a run that begins in another run's checkpoint
mirror      the record, in W&B too
interrupt   signals: save and leave
"""
