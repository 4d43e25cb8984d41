"""The pure programs of a run: no clock, no file, no log.

build     from a config and a mesh to an abstract state and an initialiser
state     everything that changes while training, as one pytree
step      the jitted steps: training, evaluation
evaluate  held-out batches and what is made of their sums
programs  one compiled program for all runs that compute the same
"""
