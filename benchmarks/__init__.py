"""
Measurements of jobd beside its peers: the same work, alternating, in one run.

    python -m benchmarks [--rounds N] [--quick] [--json FILE] [name ...]

L{benchmarks.works} is the list of what is measured. Each work has one
contender of ours (L{benchmarks.ours}) and its peers, a module each in
C{benchmarks/peers/}. L{benchmarks.runner} lets them take turns,
L{benchmarks.report} tells how it went, L{benchmarks.machine} on what.
"""
