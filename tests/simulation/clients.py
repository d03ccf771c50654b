"""Clients: what they want, and what they know, which is only what they have read."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from .lines import split_reply
from .network import Link
from .oracle import Oracle
from .requests import Asked, Follow, List, Submit, Watch
from .wishes import Wishes

if TYPE_CHECKING:
    from .world import World


class Client:
    """
    Somebody who connects, again and again.

    @ivar link: the connection, if there is one.
    @ivar pending: what was asked on it and not answered, as far as this client has read.
    """

    def __init__(self, world: World, wishes: Wishes) -> None:
        self.world = world
        self.rng: random.Random = world.rng
        self.oracle: Oracle = world.oracle
        self.wishes = wishes
        self.link: Link | None = None
        self.pending: deque[Asked] = deque()

    @property
    def can_ask(self) -> bool:
        link = self.link
        return link is not None and not (link.over or link.frozen or link.half_closed or link.quit)

    def connect(self) -> None:
        self.link = self.world.connect()

    def ask(self, asked: Asked) -> None:
        """Send it, with a tag or without."""
        assert self.link is not None
        if self.rng.random() < 0.5:
            asked.tag = b"#%d" % self.world.number()
        line = asked.tag + b" " * bool(asked.tag) + asked.line.encode()
        self.oracle.story.tell(f"{self.link.number} > {line.decode()}")
        self.link.asked.append(asked)
        self.pending.append(asked)
        self.link.send(line + b"\n")
        asked.sent(self.oracle, self.link)

    def read(self, most: int) -> bool:
        """Take what has come. Returns whether there was anything."""
        link = self.link
        if link is None or link.slow or link.frozen:
            return False
        some = bool(link.down)
        for line in link.read(most):
            if line.startswith(b"* "):
                self.told(line)
            elif split_reply(line)[2].startswith(b"SLOW") and not line.startswith(b"#"):
                continue
            else:
                self.answered(self.pending.popleft(), line)
        if link.at_end:
            self.hang_up()
            return True
        return some

    def read_on(self) -> bool:
        """It is slow no more. Returns whether it was."""
        was = self.link is not None and self.link.slow
        if self.link is not None:
            self.link.slow = False
        return was

    def told(self, line: bytes) -> None:
        """An event has come."""

    def answered(self, asked: Asked, line: bytes) -> None:
        """A reply has come."""

    def hang_up(self) -> None:
        """The connection is over: what was not answered may have been done or not."""
        self.link = None
        self.pending.clear()

    def say_quit(self) -> None:
        assert self.link is not None
        self.ask(Asked("quit"))
        self.link.quit = True

    def act(self) -> bool:
        """Do something that this client does. Returns whether it could."""
        if self.link is None:
            if self.world.life is None or self.world.life.stopping:
                return False
            self.connect()
            return True
        return self.can_ask and self.wish()

    def wish(self) -> bool:
        raise NotImplementedError


class Talker(Client):
    """Asks for all kinds of things; what has a key it asks again, when it has got no reply."""

    def wish(self) -> bool:
        for _ in range(self.rng.choice([1, 1, 1, 2, 6])):
            self.ask(self.wishes.any())
        return True

    def hang_up(self) -> None:
        for asked in self.pending:
            if isinstance(asked, Submit):
                self.wishes.unknown(asked)
        super().hang_up()


class Watcher(Client):
    """Wants every event, and resumes where it was."""

    def __init__(self, world: World, wishes: Wishes) -> None:
        super().__init__(world, wishes)
        self.since: int | None = None
        self._streaming = False
        self._got: list[list[int]] = []
        self._begins: list[int] = []

    def connect(self) -> None:
        super().connect()
        self._streaming = False
        self.ask(Watch(self.since, self.rng.random() < 0.3, self.oracle.newest))

    def wish(self) -> bool:
        if not self._streaming or self.rng.random() > 0.2:
            return False
        self.ask(self.wishes.submit())
        return True

    def answered(self, asked: Asked, line: bytes) -> None:
        if not isinstance(asked, Watch):
            return
        _, word, rest = split_reply(line)
        if word == b"error":
            # Events are gone: it goes on where it can, and knows that it has missed some.
            self.since = int(rest.rpartition(b" ")[2])
            self._begin()
            if self.can_ask:
                self.ask(Watch(self.since, False, self.oracle.newest))
            return
        self._streaming = True
        if self.since is None:
            self.since = int(rest)
            self._begin()

    def _begin(self) -> None:
        assert self.since is not None
        self._begins.append(self.since)
        self._got.append([])

    def told(self, line: bytes) -> None:
        cursor = int(line.split(b" ", 2)[1])
        if cursor:
            if self.since is None or cursor <= self.since:
                raise self.oracle.wrong(f"a client that was at {self.since} read {line!r}")
            self.since = cursor
            self._got[-1].append(cursor)

    def check(self) -> None:
        """Over all its connections it has read everything, once."""
        cursors = sorted(self.oracle.events)
        for begin, got in zip(self._begins, self._got, strict=True):
            end = got[-1] if got else begin
            due = cursors[bisect_right(cursors, begin) : bisect_right(cursors, end)]
            if got != due:
                missed = sorted(set(due) - set(got))
                raise self.oracle.wrong(f"a client that watched from {begin} missed {missed}")


class Follower(Client):
    """Follows single jobs."""

    def __init__(self, world: World, wishes: Wishes) -> None:
        super().__init__(world, wishes)
        self._followed: set[int] = set()

    def connect(self) -> None:
        super().connect()
        self._followed.clear()

    def wish(self) -> bool:
        job_id = self.wishes.some_id()
        if job_id is None or job_id in self._followed or len(self._followed) >= 5:
            return False
        self._followed.add(job_id)
        self.ask(Follow(job_id))
        return True


class Auditor(Client):
    """
    Lists all jobs, page by page, again and again.

    @ivar states: of the last list that came to its end; C{whole}: there was one since L{begin}.
    """

    def __init__(self, world: World, wishes: Wishes) -> None:
        super().__init__(world, wishes)
        self.states: dict[int, str] = {}
        self.whole = False
        self.busy = False

    def begin(self) -> None:
        """Ask for the first page."""
        self.whole, self.busy = False, True
        self.states = {}
        self._page(1)

    def _page(self, start: int) -> None:
        self.ask(List(start, self.rng.choice([3, 20, 1000]), self.oracle))

    def wish(self) -> bool:
        if self.busy:
            return False
        self.begin()
        return True

    def answered(self, asked: Asked, line: bytes) -> None:
        if not isinstance(asked, List):
            return
        assert asked.last is not None
        last, more = asked.last
        self.states.update(asked.states)
        if more and self.can_ask:
            self._page(last + 1)
        else:
            self.busy, self.whole = False, not more

    def hang_up(self) -> None:
        self.busy = False
        super().hang_up()
