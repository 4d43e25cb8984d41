"""What a run costs, before it runs: parameters, FLOPs under every convention, bytes a device.

accounting  counts and FLOPs by the formulas of the literature
compiler    what XLA counts, the referee
memory      bytes on each device at the worst moment of a step
liveness    the peak of a jaxpr, which memory asks
"""
