"""C{follow}: the output of jobs as it is written, and then how each of them ended."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from jobd import wire
from jobd.alarm import Timer
from jobd.daemon import Daemon
from jobd.listener import Listener
from jobd.outputs import Outputs
from jobd.recall import kept_line

PART = 128 * 1024
"""Bytes in one event."""

AT_ONCE, IN_A_ROW = 256 * 1024, 64
"""Bytes that are sent, and jobs that are looked at, before the client must take them and the others have their turn."""

SOONEST, LATEST = 0.02, 0.25
"""Seconds between two looks at the files: soon after something was written, later while nothing is."""


class Follower:
    """
    One job that is followed.

    @ivar offsets: for each stream the first byte not yet sent.
    @ivar troubled: its output could not be read, and that has been logged.
    """

    def __init__(self, job_id: int, attempt: int, streams: tuple[str, ...], start: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.offsets = dict.fromkeys(streams, start)
        self.troubled = False

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

    def __init__(self, daemon: Daemon, outputs: Outputs, outlet: Listener) -> None:
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
        """Send what there is, end those that have ended, and look again later."""
        found = False
        while await self._pass():
            found = True
            await self._let_go()
        await self._outlet.drained()
        self._looking = False
        if self._jobs and not self._outlet.gone:
            self._pause = SOONEST if found else min(LATEST, self._pause * 1.5)
            self._again(self._pause)

    async def _pass(self) -> bool:
        """One part of each output, and the ends of those that have ended. Returns whether anything was to be told."""
        more = False
        over: list[Follower] = []
        looked = sent = 0
        for follower in list(self._jobs.values()):
            # Looked up first: what an attempt wrote before it ended is found after this look.
            job = self._daemon.scheduler.job(follower.job_id)
            if not self._current(follower) or (job is not None and job.attempt < follower.attempt):
                continue
            looked += 1
            found = self._send_parts(follower)
            if found is None:
                continue
            sent += found
            if found or (job is not None and follower.go_on(job.attempt)):
                more = True
            elif job is None:
                over.append(follower)
            if sent >= AT_ONCE or looked % IN_A_ROW == 0:
                sent = 0
                await self._let_go()
                if self._outlet.gone:
                    return False
        self._outlet.flush()
        told = await self._tell_ends(over) if over else False
        return (more or told) and not self._outlet.gone

    def _current(self, follower: Follower) -> bool:
        """Whether the client has not begun to follow that job anew since."""
        return self._jobs.get(follower.job_id) is follower

    async def _let_go(self) -> None:
        """Let the client take what was sent, and the others have their turn."""
        self._outlet.flush()
        await self._outlet.drained()
        await self._daemon.next_turn()

    def _send_parts(self, follower: Follower) -> int | None:
        """One part of each stream. Returns how many bytes there were; None if it cannot be read just now."""
        try:
            return self._read_parts(follower)
        except OSError as problem:
            if not follower.troubled:
                self.log.error("the output of job {id} cannot be read: {problem}", id=follower.job_id, problem=problem)
            follower.troubled = True
            return None

    def _read_parts(self, follower: Follower) -> int:
        found = 0
        for stream, start in follower.offsets.items():
            part = self._outputs.read(follower.job_id, follower.attempt, stream, start, PART)
            if part.data:
                found += len(part.data)
                follower.offsets[stream] = part.next
                event = {"stream": stream, "from": part.start, **part.fields()}
                if follower.attempt > 1:
                    event["attempt"] = follower.attempt
                self._outlet.send(wire.event(0, follower.job_id, b"output", wire.to_json(event)))
        return found

    async def _tell_ends(self, over: list[Follower]) -> bool:
        """
        Tell how these jobs ended, once the output of all their attempts is out. Returns whether any was told, or
        has another attempt to be sent.
        """
        # A job that has ended in the scheduler may not have been kept yet; without room it is not for a while.
        await self._daemon.settled()
        ids = [follower.job_id for follower in over]
        records = {record.id: record for record in await self._daemon.read(lambda reader: reader.records(ids))}
        done = []
        again = False
        for one in over:
            record = records.get(one.job_id)
            if record is not None and one.go_on(record.attempt):
                again = True
            elif record is None or record.state.final:
                done.append(one)
        ends = await self._daemon.read(lambda reader: reader.finishes([one.job_id for one in done]))
        current = {one.job_id for one in done if self._current(one)}
        for event in ends:
            if event.job_id in current:
                self._outlet.send(kept_line(event))
        self._outlet.flush()
        for job_id in current:
            del self._jobs[job_id]
        if not self._jobs:
            self._daemon.watchers.discard(self)
            self._outlet.hold(-1)
        return again or bool(done)
