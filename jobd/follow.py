"""C{follow}: the output of jobs as it is written, and then how each of them ended."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from jobd import wire
from jobd.alarm import Timer
from jobd.daemon import Daemon, kept_line
from jobd.feed import Outlet
from jobd.outputs import Outputs

PART = 64 * 1024
"""Bytes in one event."""

SOONEST, LATEST = 0.02, 0.25
"""Seconds between two looks at the files: soon after something was written, later while nothing is."""


class Follower:
    """One job that is followed. @ivar offsets: for each stream the first byte not yet sent."""

    def __init__(self, job_id: int, attempt: int, streams: tuple[str, ...], start: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.offsets = dict.fromkeys(streams, start)

    def go_on(self, newest: int) -> bool:
        """This attempt's output has been sent. Returns whether there is another one to be sent."""
        if self.attempt >= newest:
            return False
        self.attempt += 1
        self.offsets = dict.fromkeys(self.offsets, 0)
        return True


class Following:
    """
    All that one connection follows. As a watcher it is woken by the finish of
    its jobs, and passes their progress on.
    """

    log = Logger()

    def __init__(self, daemon: Daemon, outputs: Outputs, outlet: Outlet) -> None:
        self._daemon = daemon
        self._outputs = outputs
        self._outlet = outlet
        self._jobs: dict[int, Follower] = {}
        self._pause = SOONEST
        self._timer: Timer | None = None
        self._looking = False

    def add(self, job_id: int, attempt: int, streams: tuple[str, ...], start: int) -> None:
        if not self._jobs:
            self._outlet.hold(1)
        self._jobs[job_id] = Follower(job_id, attempt, streams, start)
        self._daemon.watchers.add(self)
        self._wake()

    def announced(self, cursor: int, job_id: int, line: bytes) -> None:
        if job_id in self._jobs:
            self._wake()

    def progressed(self, job_id: int, line: bytes) -> None:
        if job_id in self._jobs:
            self._outlet.send(line)
            self._outlet.flush()

    def stop(self) -> None:
        self._jobs.clear()
        self._daemon.watchers.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._pause = SOONEST
        self._again(0.0)

    def _again(self, delay: float) -> None:
        if self._looking:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._daemon.clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._looking = True
        Deferred.fromCoroutine(self._look()).addErrback(lambda failure: self.log.failure("following failed", failure))

    async def _look(self) -> None:
        """Send what is new, end those that have ended, and look again later."""
        more = False
        over: list[Follower] = []
        for follower in list(self._jobs.values()):
            # Looked up first: what an attempt wrote before it ended is found after this look.
            job = self._daemon.scheduler.jobs.get(follower.job_id)
            if self._send_parts(follower) or (job is not None and follower.go_on(job.attempt)):
                more = True
            elif job is None:
                over.append(follower)
        self._outlet.flush()
        if over:
            more = await self._tell_ends(over) or more
        await self._outlet.drained()
        self._looking = False
        if self._jobs and not self._outlet.gone:
            self._pause = SOONEST if more or over else min(LATEST, self._pause * 1.5)
            self._again(0.0 if more else self._pause)

    def _send_parts(self, follower: Follower) -> bool:
        """One part of each stream. Returns whether there was anything."""
        wrote = False
        for stream, start in follower.offsets.items():
            part = self._outputs.read(follower.job_id, follower.attempt, stream, start, PART)
            if part.data:
                wrote = True
                follower.offsets[stream] = part.next
                event = {"stream": stream, "from": part.start, **part.fields()}
                if follower.attempt > 1:
                    event["attempt"] = follower.attempt
                self._outlet.send(wire.event(0, follower.job_id, "output", wire.to_json(event)))
        return wrote

    async def _tell_ends(self, over: list[Follower]) -> bool:
        """
        Tell how these jobs ended, once the output of all their attempts is out.
        Returns whether one of them has another attempt to be sent.
        """
        # A job that has ended in the scheduler may not have been kept yet.
        await self._daemon.settled()
        ids = [follower.job_id for follower in over]
        records = await self._daemon.read(lambda reader: reader.records(ids))
        attempts = {record.id: record.attempt for record in records}
        done = [one.job_id for one in over if not one.go_on(attempts.get(one.job_id, 0))]
        ends = await self._daemon.read(lambda reader: reader.finishes(done))
        for event in ends:
            self._outlet.send(kept_line(event))
        self._outlet.flush()
        for job_id in done:
            self._jobs.pop(job_id, None)
        if not self._jobs:
            self._daemon.watchers.discard(self)
            self._outlet.hold(-1)
        return len(done) < len(over)
