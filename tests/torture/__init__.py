"""
The kill loop: a real daemon under load, killed again and again, and whether it
kept what it promised.

    plan.py       which daemon dies how, and when: a function of the seed
    loop.py       does it: clients, daemons, deaths, the next daemon
    mortal.py     a daemon, and the next one on its state
    victim.py     its program: jobd's, made to die at a point that has a name
    mix.py        the jobs and what each is for
    job.c         a command: tells the witness file when it begins and when it ends
    calls.py      the same for calls
    submitter.py, caller.py, watcher.py   clients; each keeps a record of what it was told
    processes.py  whom it started
    records.py    the files they all write
    judge.py      reads the files alone and says what was promised and not kept
    report.py     the table

C{python -m tests.torture --help}
"""
