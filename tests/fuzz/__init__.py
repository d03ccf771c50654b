"""
Everything that reads bytes, given bytes that nobody meant to send.

    python -m tests.fuzz                          each target for a while
    python -m tests.fuzz --seconds 600 session    one of them for longer
    python -m tests.fuzz --guided                 by coverage, where atheris is installed

A L{tests.fuzz.target.Target} is a claim about any bytes. C{corpus/TARGET/} has inputs that are tried
first, always: what every reader should meet once, and each input that has ever failed. A new failure is shrunk and
written to C{found/TARGET/}; once it is understood it moves to the corpus.
"""
