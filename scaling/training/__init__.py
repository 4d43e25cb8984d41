"""The only loop, and the only place with a clock and side effects.

prepare   what a run needs, checked and derived before its first side effect
train     the loop
progress  the line that tells how far it is
reprobe   questions asked of a finished run
"""
