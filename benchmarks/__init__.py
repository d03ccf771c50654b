"""
Measurements of jobd beside its peers: the same work, alternating, in one run.

    python -m benchmarks [--quick] [--only WORK ...] [--peers [PEER ...]] [--rounds N] [--json FILE] [--docs]

L{benchmarks.works} is the list of what is measured. Each work has one
contender of ours (L{benchmarks.ours} and its neighbours) and its peers, a
module each in C{benchmarks/peers/}; those in Python run in processes of
their own (L{benchmarks.aside}). L{benchmarks.runner} lets them take turns,
L{benchmarks.floors} measures what the machine itself takes for each step,
L{benchmarks.figures} is what comes of it, L{benchmarks.report},
L{benchmarks.plot} and L{benchmarks.documents} tell it, and
L{benchmarks.goals} says what is aimed at.
"""
