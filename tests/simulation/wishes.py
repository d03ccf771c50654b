"""What clients come to want, at random."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from jobd import wire

from .oracle import Oracle
from .requests import Asked, Cancel, Drain, Ping, Retry, Setting, Show, Submit, Wait, WaitGroup
from .truth import Wanted

QUEUES = ("default", "a", "b")
GROUPS = ("g", "h", "i")
NEAR = 12
"""How many of the newest jobs clients speak of."""


class Wishes:
    """
    @param number: gives out numbers, each once.
    """

    def __init__(self, rng: random.Random, oracle: Oracle, number: Any) -> None:
        self.rng, self.oracle, self.number = rng, oracle, number
        self._doubtful: deque[Submit] = deque(maxlen=20)
        self._keyed: deque[Wanted] = deque(maxlen=8)
        self._ids: deque[int] = deque(maxlen=NEAR)
        self._choices: list[tuple[float, Any]] = [
            (24, self.submit),
            (8, self.batch),
            (8, self.keyed),
            (7, self.again),
            (1.5, self.conflict),
            (7, self.wait),
            (2, self.wait_filter),
            (4, self.wait_group),
            (6, self.cancel),
            (0.7, self.cancel_group),
            (5, self.retry),
            (3, self.show),
            (5, self.look),
            (2, self.progress),
            (2, self.limit),
            (5, self.pause),
            (0.5, self.drain),
        ]
        self._weights = [weight for weight, _ in self._choices]

    def any(self) -> Asked:
        while True:
            (choice,) = self.rng.choices(self._choices, self._weights)
            asked: Asked | None = choice[1]()
            if asked is not None:
                return asked

    # Submissions.

    def spec(self, place: int = 0, **fields: Any) -> dict[str, Any]:
        """A job at random; C{place}: how many stand before it in its list."""
        rng, some = self.rng, self._some
        kind = rng.choice(["command", "command", "cpu", "io"])
        spec: dict[str, Any] = {"argv": ["true"]} if kind == "command" else {"call": "m:f", "lane": kind}
        spec["label"] = f"j{self.number()}"
        some(spec, "queue", 0.4, lambda: rng.choice(QUEUES))
        some(spec, "priority", 0.2, lambda: rng.randint(-3, 3))
        some(spec, "delay", 0.15, lambda: rng.choice([0.5, 2, 20]))
        some(spec, "timeout", 0.3, lambda: rng.choice([0.5, 2, 8, 30]))
        some(spec, "attempts", 0.45, lambda: rng.randint(2, 3))
        some(spec, "backoff", 0.5, lambda: rng.choice([0, 0.2, 2]))
        some(spec, "group", 0.25, lambda: rng.choice(GROUPS))
        some(spec, "cpus", 0.2, lambda: rng.randint(1 if kind == "cpu" else 0, 3))
        some(spec, "notify", 0.2, lambda: False)
        after = {} if rng.random() < 0.7 else self._after(place)
        if after:
            spec["after"] = [int(name) for name in after] if set(after.values()) == {"ok"} else after
        for name in [name for name in ("queue", "priority", "delay", "timeout", "attempts", "after") if name in spec]:
            self.oracle.story.visits[f"submit with {name}"] += 1
        return {**spec, **fields}

    def _some(self, spec: dict[str, Any], name: str, chance: float, value: Any) -> None:
        if self.rng.random() < chance:
            spec[name] = value()

    def _after(self, place: int) -> dict[str, str]:
        others = [self.rng.randint(-place, -1) if place and self.rng.random() < 0.6 else self.some_id()]
        others += [self.some_id()] if self.rng.random() < 0.3 else []
        return {str(other): self.rng.choice(["ok", "ok", "failed", "any"]) for other in others if other is not None}

    def _wanted(self, place: int = 0, **fields: Any) -> Wanted:
        spec = self.spec(place, **fields)
        wanted = Wanted(spec["label"], spec)
        self.oracle.wants(wanted)
        return wanted

    def submit(self) -> Submit:
        return Submit([self._wanted()], True)

    def batch(self) -> Submit:
        return Submit([self._wanted(place) for place in range(self.rng.randint(2, 5))], False)

    def keyed(self) -> Submit:
        wanted = self._wanted(key=f"k{self.number()}")
        self._keyed.append(wanted)
        return Submit([wanted], True)

    def again(self) -> Submit | None:
        """What got no reply, or did: with the same key it is the same job."""
        if self._doubtful and self.rng.random() < 0.7:
            jobs = self._doubtful.popleft().jobs
        elif self._keyed:
            jobs = [self.rng.choice(self._keyed)]
        else:
            return None
        for wanted in jobs:
            self.oracle.wants(wanted)
        self.oracle.story.visits["submitted again"] += 1
        return Submit(jobs, len(jobs) == 1)

    def conflict(self) -> Submit | None:
        """Another job with a known key."""
        return Submit([self._wanted(key=self.rng.choice(self._keyed).key)], True) if self._keyed else None

    def unknown(self, asked: Submit) -> None:
        """It got no reply. Where it has a key it can be asked again."""
        if all(job.key is not None for job in asked.jobs):
            self._doubtful.append(asked)

    # Events.

    def some_id(self) -> int | None:
        """A job that somebody was told of; a newer one rather than an older one."""
        jobs = self.oracle.newest_ids(NEAR)
        return self.rng.choice(jobs) if jobs else None

    def running_id(self) -> int | None:
        """A job that runs, rather than another one."""
        running = [number for number, _ in self.oracle.machine.running if self.oracle.job(number).acknowledged]
        return self.rng.choice(running) if running and self.rng.random() < 0.7 else self.some_id()

    def wait(self) -> Wait | None:
        ids = [number for number in (self.some_id() for _ in range(self.rng.randint(1, 3))) if number is not None]
        return Wait(",".join(map(str, ids)), ids) if ids else None

    def wait_filter(self) -> Wait | None:
        number = self.some_id()
        return None if number is None else Wait(wire.to_json({"ids": str(number)}).decode(), [number], exact=False)

    def wait_group(self) -> WaitGroup:
        return WaitGroup(self.rng.choice(GROUPS))

    # Other requests.

    def cancel(self) -> Cancel | None:
        number = self.running_id()
        return None if number is None else Cancel(str(number), number)

    def cancel_group(self) -> Cancel:
        return Cancel(wire.to_json({"group": self.rng.choice(GROUPS)}).decode())

    def retry(self) -> Retry | None:
        number = self.some_id()
        wanted = None if number is None else self.oracle.job(number).wanted
        if number is None or wanted is None:
            return None
        wanted.retries += 1
        return Retry(number, wanted)

    def show(self) -> Show | None:
        number = self.some_id()
        return None if number is None else Show(number)

    def look(self) -> Asked:
        number = self.some_id() or 1
        return self.rng.choice(
            [
                Ping(f"p{self.number()}"),
                Asked("stats"),
                Asked("hello"),
                Asked("help wait"),
                Asked(f"why {number}", "NO_SUCH_JOB"),
                Asked(f"output {number}", "NO_SUCH_JOB"),
            ]
        )

    def progress(self) -> Asked:
        return Asked(f'progress {self.running_id() or 1} {{"done": {self.number()}}}', "NO_SUCH_JOB", "BAD_VALUE")

    # The operator.

    def limit(self) -> Setting:
        queue, limit = self.rng.choice(QUEUES), self.rng.choice([None, None, 1, 2])
        belief = self.oracle.room.limit(queue)
        belief.asked(limit)
        return Setting(f"queue {queue} " + wire.to_json({"limit": limit}).decode(), [(belief, limit)])

    def pause(self) -> Setting:
        """Pause now and then, and resume more often."""
        queue = self.rng.choice([None, *QUEUES])
        paused = self.rng.random() < 0.25
        belief = self.oracle.room.pause(queue)
        belief.asked(paused)
        return Setting(("pause" if paused else "resume") + (f" {queue}" if queue else ""), [(belief, paused)])

    def drain(self) -> Drain:
        return Drain(self.rng.choice(["drain", 'drain {"keep_running": true}']))
