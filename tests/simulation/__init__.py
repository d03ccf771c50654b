"""
The whole daemon in one process, under virtual time, on a seeded random walk.

    walk.py      which step is next, and what goes wrong: all of it from one random.Random(seed)
    rest.py      then faults are off: all jobs must end, and nobody may be left waiting
    world.py     everything around the daemon, moved a step at a time
    life.py      a daemon from its start to its death, which may come before any of its effects
    disk.py      what a life leaves behind: the store in memory, or the real SQL
    machine.py   the pool, which outlives the daemon
    network.py   connections with buffers, cut anywhere
    clients.py   what clients know; wishes.py: what they come to want; requests.py: which answers are right
    oracle.py    what was promised, by what clients were told and the pool was told; with dues.py (events),
                 places.py (room), times.py (not too early), truth.py (jobs and settings), story.py (all that happened)
    controls.py  daemons with something taken out: each must be caught

Scheduler, daemon, sessions, verbs, feeds and the SQL are the real ones. A walk replays bit for bit from its seed:

    python -m tests.simulation --seed 17
"""
