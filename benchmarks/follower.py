"""
A client that follows a job's output and does nothing else with it: C{python -m
benchmarks.follower URL FILE} has the file printed by a job. It says C{begun},
and at the end the seconds it took and the bytes that came.
"""

from __future__ import annotations

import contextlib
import json
import sys
from time import perf_counter

from jobd.client.dial import dial
from jobd.client.url import parse

_PATIENCE = 60.0

_BUFFER = 1 << 18
"""Bytes that are read at a time, as lines of output are long."""


def main(url: str, path: str) -> None:
    """Follow one job to its end."""
    with contextlib.closing(dial(parse(url), _PATIENCE)) as sock, sock.makefile("rb", _BUFFER) as lines:
        job = {"argv": ["cat", path], "notify": False, "cpus": 0}
        sock.sendall(f"submit {json.dumps(job)}\n".encode())
        job_id = lines.readline().split()[1]
        print("begun", flush=True)
        began = perf_counter()
        sock.sendall(b'follow %s {"stream": "stdout"}\n' % job_id)
        lines.readline()
        last = b""
        for line in lines:
            if b" output {" not in line[:60]:
                break
            last = line
        seconds = perf_counter() - began
        part = json.loads(last.partition(b" output ")[2])
        print(seconds, part["from"] + len(part["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
