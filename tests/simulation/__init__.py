"""
The whole daemon in one process, under virtual time, on a seeded random walk.

    world.py     time, the network, the disk and the machine, moved a step at a time
    walk.py      which step is next, and what goes wrong: all of it from one random.Random(seed)
    rest.py      faults are off: all jobs must end
    life.py      a daemon from its start to its death, which may come before any of its effects
    disk.py      what a life leaves behind: the in-memory store, or the real SQL
    machine.py   the pool, which outlives the daemon
    network.py   connections with buffers, cut anywhere
    clients.py   what clients want and know; requests.py: what they ask, and which answers are right
    oracle.py    what was promised, from what clients saw and what the pool was told
    controls.py  daemons with something taken out: each must be caught

Scheduler, daemon, sessions, verbs, feeds and the SQL are the real ones. A walk replays bit for bit from its seed:

    python -m tests.simulation --seed 17
"""
