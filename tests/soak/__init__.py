"""
A mixed load for a long time, and whether anything grows.

    python -m tests.soak --minutes 20 --json soak.json --svg soak.svg

The load comes in cycles (L{tests.soak.load}), each the same work by several clients at once, good ones and bad ones.
After each cycle nothing runs and nobody is connected but the observer: these quiet points are alike, so what is
higher at later ones has leaked (L{tests.soak.judge}). Under load it is watched how long a C{ping} of a bystander takes.
"""
