"""beanstalkd, whose log is synced every 50 ms, as its manual has it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.aside import aside
from benchmarks.client import CHUNK, exchange
from benchmarks.contender import Contender, Measure, Trouble, rate_and_times
from benchmarks.nothing import nothing
from benchmarks.ours import job
from benchmarks.peers.serving import dial, folder, program, running, serving
from jobd.settings import usable_cores

_WINDOW = 2000


@contextmanager
def _server() -> Iterator[Path]:
    """The path of its Unix socket."""
    server = program("beanstalkd", "beanstalkd")
    with folder() as home:
        path, log = home / "socket", home / "log"
        log.mkdir()
        with serving([server, "-l", f"unix:{path}", "-b", str(log), "-f", "50"], str(path), home):
            yield path


def _put(number: int) -> bytes:
    body = job(number)
    return b"put 0 0 600 %d\r\n%s\r\n" % (len(body), body)


class _Puts:
    """Sends jobs and counts those that were accepted."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._accepted = 0
        self._rest = b""

    def send(self, jobs: int) -> float:
        """Pipelined; seconds until the last is acknowledged."""
        self._accepted = 0
        return exchange(self._sock, [_put(number) for number in range(jobs)], _WINDOW, self._receive)

    def one(self, number: int) -> None:
        self._sock.sendall(_put(number))
        if not self._sock.recv(CHUNK).startswith(b"INSERTED"):
            raise Trouble("a job was refused")

    def _receive(self, data: bytes) -> int:
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        inserted = lines.count(b"INSERTED")
        if not data or inserted != len(lines.splitlines()):
            raise Trouble("a job was refused")
        self._accepted += inserted
        return self._accepted


@contextmanager
def putting() -> Iterator[Measure]:
    """Jobs put, and nothing else."""
    with _server() as path, dial(str(path)) as sock:
        puts = _Puts(sock)
        yield rate_and_times(puts.send, puts.one)


@contextmanager
def worked() -> Iterator[Measure]:
    """Jobs put, and taken and deleted by workers."""
    with ExitStack() as stack:
        path = str(stack.enter_context(_server()))
        out, into = os.pipe()
        stack.callback(os.close, out)
        command = [sys.executable, "-m", "benchmarks.peers.beanstalkd", path]
        for _ in range(usable_cores()):
            stack.enter_context(running(command, stdout=into))
        os.close(into)
        puts = _Puts(stack.enter_context(dial(path)))

        def wait(jobs: int) -> None:
            while jobs > 0:
                done = len(os.read(out, min(jobs, CHUNK)))
                if not done:
                    raise Trouble("its workers have ended")
                jobs -= done

        def many(jobs: int) -> float:
            began = perf_counter()
            puts.send(jobs)
            wait(jobs)
            return perf_counter() - began

        def one(number: int) -> None:
            puts.one(number)
            wait(1)

        yield rate_and_times(many, one)


def _work(path: str) -> None:
    """A worker: takes a job, does it, deletes it, and writes a byte, which is how the client comes to know."""
    with dial(path) as sock, sock.makefile("rb") as answers:
        sock.sendall(b"reserve\r\n")
        number = 0
        while line := answers.readline():
            word, job_id, size = line.split()
            if word != b"RESERVED":
                raise Trouble(f"beanstalkd answered {line!r}")
            answers.read(int(size) + 2)
            nothing(number)
            number += 1
            sock.sendall(b"delete %s\r\nreserve\r\n" % job_id)
            if answers.readline() != b"DELETED\r\n":
                raise Trouble("a job was not deleted")
            os.write(1, b".")


ACCEPTING = Contender(
    "beanstalkd",
    "put, pipelined, 2,000 under way: acknowledged before its log is synced, which is every 50 ms; nobody is told "
    "of a job's end",
    aside("benchmarks.peers.beanstalkd:putting"),
)
BEANSTALKD = Contender(
    "beanstalkd",
    "put, and reserve and delete by Python workers: acknowledged before its log is synced, every 50 ms; the client is "
    "told of nothing, here by a pipe from the workers; a job whose worker dies is given to another one",
    aside("benchmarks.peers.beanstalkd:worked"),
)

if __name__ == "__main__":
    _work(sys.argv[1])
