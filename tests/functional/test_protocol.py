"""Every verb, over a Unix socket and TCP at the same time."""

from __future__ import annotations

import json
import socket
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import jobd
from jobd import wire
from tests.functional.conversation import Talk
from tests.functional.shared import shared_daemon


class Protocol(SynchronousTestCase):
    """A connection of each kind to a daemon that many tests share."""

    def setUp(self) -> None:
        self.daemon = shared_daemon()
        self.unix = Talk.unix(self.daemon)
        self.addCleanup(self.unix.close)
        self.tcp = Talk.tcp(self.daemon, self.daemon.token)
        self.addCleanup(self.tcp.close)

    @property
    def both(self) -> tuple[Talk, Talk]:
        return self.unix, self.tcp


class Verbs(Protocol):
    """What each verb answers."""

    def test_every_verb_is_known(self) -> None:
        """Each verb of the protocol is known over both transports."""
        for verb in set(wire.VERBS) - {"drain", "quit", "pause", "resume"}:
            for talk in (Talk.unix(self.daemon), Talk.tcp(self.daemon, self.daemon.token)):
                with talk:
                    self.assertNotIn("UNKNOWN_VERB", talk.ask(verb), verb)

    def test_hello(self) -> None:
        """hello tells version, limits, and who one is."""
        mine = self.unix.json("hello")
        self.assertEqual(
            (jobd.__version__, 1, "local", "done", True),
            tuple(mine[n] for n in ("jobd", "protocol", "identity", "auth", "local")),
        )
        self.assertEqual({"line": 1_048_576, "result": 524_288}, mine["limits"])
        self.assertEqual(str(self.daemon.state), mine["state_dir"])
        theirs = self.tcp.json("hello")
        self.assertEqual(("token", True), (theirs["identity"], theirs["local"]))

    def test_help(self) -> None:
        """help names all verbs, and says of each what it does, with an example."""
        listed = self.unix.ok("help")
        for verb in wire.VERBS:
            self.assertIn(verb, listed.replace(";", "").split())
            self.assertTrue(self.unix.ok(f"help {verb}").startswith(verb))
        self.assertEqual(
            "error BAD_VALUE there is no verb 'sumbit'; did you mean 'submit'?", self.unix.ask("help sumbit")
        )

    def test_ping(self) -> None:
        """ping answers with the same."""
        for talk in self.both:
            self.assertEqual("a  b caf\xe9", talk.ok("ping a  b caf\xe9"))
            self.assertEqual("", talk.ok("ping"))

    def test_tags(self) -> None:
        """Replies carry the tags of their requests, errors too."""
        self.unix.send("#a ping", "#b.1_- nonsense", "#same ping", "#same show 0", "ping")
        lines = [self.unix.line() for _ in range(5)]
        expected = ["#a ok", "#b.1_- error UNKNOWN_VERB", "#same ok", "#same error", "ok"]
        self.assertEqual(
            [], [(line, start) for line, start in zip(lines, expected, strict=True) if not line.startswith(start)]
        )

    def test_across_transports(self) -> None:
        """What is submitted over one is waited for, shown, read and watched over the other."""
        for one, other in (self.both, self.both[::-1]):
            with Talk.unix(self.daemon) as watcher:
                watcher.ok("watch")
                job_id = one.submit(shell="echo hi", notify=False)
                other.ok(f"wait {job_id}")
                event = other.end_of(job_id)
                self.assertEqual(event, watcher.end_of(job_id))
            self.assertEqual("hi\n", other.output(job_id))
            self.assertEqual(
                (event.cursor, event.json), tuple(one.json(f"show {job_id}")[name] for name in ("cursor", "outcome"))
            )

    def test_show(self) -> None:
        """show tells all there is to know, at every stage."""
        fields = {"argv": ["true"], "delay": 3600, "label": "l", "priority": 3, "cwd": "/"}
        before = time.time()
        job_id = self.unix.submit(**fields)
        shown = self.tcp.json(f"show {job_id}")
        self.assertTrue(before - 1 <= shown.pop("submitted") <= time.time() + 1)
        self.assertEqual({"id": job_id, "state": "waiting", "attempt": 0, "spec": fields}, shown)
        self.unix.ok(f"cancel {job_id}")
        shown = self.tcp.json(f"show {job_id}")
        self.assertEqual(("cancelled", {}), (shown["state"], shown["outcome"]))
        done = self.unix.run(argv=["true"])
        shown = self.tcp.json(f"show {done.job_id}")
        self.assertTrue(shown["submitted"] <= shown["started"] <= shown["ended"])
        self.assertEqual([job_id, done.job_id], [one["id"] for one in self.tcp.json(f"show {job_id},{done.job_id}")])

    def test_selectors(self) -> None:
        """Jobs are named by ids, ranges, lists and filters, wherever a selector stands."""
        group = f"g{time.time_ns()}"
        jobs = [
            {"argv": ["true"], "delay": 3600, "group": group, "label": f"l{n}", "key": f"{group}-{n}"} for n in range(4)
        ]
        first, last = map(int, self.unix.ok("submit " + json.dumps(jobs)).split("-"))
        ids = list(range(first, last + 1))
        for selector, expected in (
            (f"{first}-{last}", ids),
            (f"{first},{last}", [first, last]),
            (f"{first}-{last + 5}", ids),
            (json.dumps(ids[:2]), ids[:2]),
            (f'{{"group": "{group}"}}', ids),
            (f'{{"group": "{group}", "label": "l2"}}', ids[2:3]),
            (f'{{"key": "{group}-3"}}', ids[3:]),
            (f'{{"ids": "{first}-{last}", "state": ["queued", "waiting"]}}', ids),
            (f'{{"ids": "{first}-{last}", "state": "running"}}', []),
            (f'{{"group": "{group}", "queue": "other"}}', []),
        ):
            self.assertEqual(expected, [one["id"] for one in self.tcp.json(f"show {selector}")], selector)
        self.assertEqual("4", self.unix.ok(f'cancel {{"group": "{group}"}}'))
        self.assertEqual("0", self.unix.ok(f'cancel {{"group": "{group}"}}'))
        again = self.unix.ok(f'retry {{"group": "{group}", "label": "l0"}}')
        self.unix.end_of(int(again))

    def test_list(self) -> None:
        """list tells jobs in short, in pages, in both directions."""
        group = f"g{time.time_ns()}"
        jobs = [{"argv": ["true", "x" * 100], "label": f"l{n}", "group": group, "notify": False} for n in range(5)]
        first, last = map(int, self.unix.ok("submit " + json.dumps(jobs)).split("-"))
        self.unix.ok(f'wait {{"group": "{group}"}}')
        self.unix.event()
        page = self.unix.json(f'list {{"group": "{group}", "limit": 2}}')
        self.assertEqual(([first, first + 1], True), ([one["id"] for one in page["jobs"]], page["more"]))
        page = self.unix.json(f'list {{"group": "{group}", "limit": 3, "from": {first + 2}}}')
        self.assertEqual(([first + 2, first + 3, last], False), ([one["id"] for one in page["jobs"]], page["more"]))
        page = self.unix.json(f'list {{"group": "{group}", "limit": 2, "newest": true}}')
        self.assertEqual([last, last - 1], [one["id"] for one in page["jobs"]])
        page = self.unix.json(f'list {{"group": "{group}", "limit": 2, "newest": true, "from": {first}}}')
        self.assertEqual([first], [one["id"] for one in page["jobs"]])
        (one,) = page["jobs"]
        self.assertEqual(
            ["id", "state", "attempt", "queue", "group", "label", "submitted", "started", "ended", "what"], list(one)
        )
        self.assertEqual(80, len(one["what"]))

    def test_output(self) -> None:
        """output reads a part, from the beginning or from the end."""
        job_id = self.unix.run(shell="printf 0123456789; printf '\\377' >&2").job_id
        whole = {"data": "0123456789", "from": 0, "next": 10, "size": 10, "end": True}
        self.assertEqual(whole, self.tcp.json(f"output {job_id}"))
        part = {"data": "34", "from": 3, "next": 5, "size": 10, "end": False}
        self.assertEqual(part, self.tcp.json(f'output {job_id} {{"from": 3, "limit": 2}}'))
        self.assertEqual("89", self.tcp.json(f'output {job_id} {{"from": -2}}')["data"])
        binary = self.tcp.json(f'output {job_id} {{"stream": "stderr"}}')
        self.assertEqual(("/w==", "base64"), (binary["data"], binary["encoding"]))

    def test_large_output(self) -> None:
        """A large output is read in parts of the size asked for, and followed whole."""
        job_id = self.unix.run(shell="seq 1 200000").job_id
        expected = "".join(f"{n}\n" for n in range(1, 200_001))
        start, parts = 0, []
        while True:
            part = self.unix.json(f'output {job_id} {{"from": {start}, "limit": 524288}}')
            parts.append(part["data"])
            start = part["next"]
            if part["end"]:
                break
        self.assertEqual(expected, "".join(parts))
        self.tcp.ok(f'follow {job_id} {{"stream": "stdout"}}')
        parts = []
        while (event := self.tcp.event()).state == "output":
            parts.append(event.json["data"])
        self.assertEqual((expected, "succeeded"), ("".join(parts), event.state))

    def test_stats(self) -> None:
        """stats tells what the daemon is doing."""
        stats = self.unix.json("stats")
        self.assertEqual(jobd.__version__, stats["version"])
        for name in (
            "uptime",
            "jobs",
            "ended",
            "cursor",
            "queues",
            "paused",
            "draining",
            "full",
            "connections",
            "pool",
        ):
            self.assertIn(name, stats)
        self.assertGreaterEqual(stats["connections"], 2)
        self.unix.run(argv=["true"])
        later = self.unix.json("stats")
        self.assertEqual(stats["ended"]["succeeded"] + 1, later["ended"]["succeeded"])
        self.assertGreater(later["cursor"], stats["cursor"])

    def test_quit(self) -> None:
        """quit is answered, then the daemon closes."""
        for talk in self.both:
            self.assertEqual("ok", talk.ask("quit"))
            self.assertEqual("", talk.line())


class Connections(Protocol):
    """What a plain client may count on."""

    def test_netcat(self) -> None:
        """A client that sends, half-closes and reads to the end gets every reply and every event."""
        self.unix.send(
            "run sleep 0.05", "sh exit 3", "submit " + json.dumps({"argv": ["true"], "notify": False}), "ping x"
        )
        self.unix.half_close()
        lines = []
        while line := self.unix.line():
            lines.append(line)
        self.assertEqual(["ok", "ok", "ok", "ok"], [line.split()[0] for line in lines if line[0] != "*"])
        self.assertEqual(["failed", "succeeded"], sorted(line.split()[3] for line in lines if line[0] == "*"))

    def test_wrong_token(self) -> None:
        """A wrong token is refused, and the connection is closed."""
        with Talk.tcp(self.daemon) as talk:
            self.assertEqual("error AUTH wrong token", talk.ask("auth nonsense"))
            self.assertEqual("", talk.line())

    def test_token_file(self) -> None:
        """The token is in a file that only its owner can read."""
        path = self.daemon.state / "token"
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual(0o600, stat.S_IMODE(self.daemon.socket_path.stat().st_mode))
        self.assertEqual(0, stat.S_IMODE((self.daemon.state / "output").stat().st_mode) & 0o077)

    def test_http(self) -> None:
        """A browser is hung up on, over TCP and on a socket that needs no token, and nothing it says is executed."""
        path = Path(self.mktemp())
        for talk in (Talk.tcp(self.daemon), Talk.unix(self.daemon)):
            with talk:
                body = f"auth {self.daemon.token}\r\nrun touch {path.absolute()}\r\n"
                talk.send(f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n{body}")
                self.assertEqual("", talk.line())
        self.unix.run(argv=["true"])
        self.assertFalse(path.exists())

    def test_a_client_that_goes(self) -> None:
        """When a client goes its jobs go on."""
        with Talk.unix(self.daemon) as talk:
            job_id = talk.submit(argv=["sleep", "0.2"])
        self.unix.ok(f"wait {job_id}")
        self.assertEqual("succeeded", self.unix.end_of(job_id).state)

    def test_a_reset(self) -> None:
        """A connection that is reset in the middle of a line harms nobody."""
        for _ in range(20):
            sock = socket.create_connection(self.daemon.tcp_address)
            sock.sendall(f"auth {self.daemon.token}\nrun true\nsubmit {{".encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        self.assertEqual("ok", self.unix.ask("ping"))

    def test_a_client_that_does_not_read(self) -> None:
        """A client that asks and never reads is bounded, and nobody else waits for it."""
        lazy = Talk.unix(self.daemon)
        self.addCleanup(lazy.close)
        lazy.sock.settimeout(0.5)
        line = b"ping " + b"x" * 100_000 + b"\n"
        sent = 0
        try:
            while sent < 50_000_000:
                sent += lazy.sock.send(line)
        except TimeoutError:
            pass
        self.assertLess(sent, 20_000_000)
        self.assertEqual("succeeded", self.unix.run(argv=["true"]).state)
        with open(f"/proc/{self.daemon.pid}/status") as file:
            (memory,) = [int(row.split()[1]) for row in file if row.startswith("VmRSS")]
        self.assertLess(memory, 200_000)

    if not sys.platform.startswith("linux"):
        test_a_client_that_does_not_read.skip = "needs /proc"  # type: ignore[attr-defined]

    def test_many_connections(self) -> None:
        """Hundreds of connections at once are served."""
        talks = [Talk.unix(self.daemon) for _ in range(300)]
        try:
            for talk in talks:
                talk.send("ping x", 'submit {"argv": ["true"], "cpus": 0}')
            for talk in talks:
                self.assertEqual("ok x", talk.reply())
                job_id = int(talk.reply().split()[1])
                self.assertEqual("succeeded", talk.end_of(job_id).state)
        finally:
            for talk in talks:
                talk.close()

    def test_watchers_agree(self) -> None:
        """Watchers that come at different times, while jobs end, all see the same events without a gap."""
        start = self.unix.json("stats")["cursor"]
        seen: list[list[Any]] = [[] for _ in range(5)]
        begun = threading.Barrier(6)

        def watch(place: int) -> None:
            with Talk.unix(self.daemon) as talk:
                begun.wait(60)
                for _ in range(place * 3):
                    talk.ok("ping")
                talk.ok(f'watch {{"since": {start}}}')
                while not seen[place] or seen[place][-1].state != "cancelled":
                    seen[place].append(talk.event())

        threads = [threading.Thread(target=watch, args=(place,)) for place in range(5)]
        for thread in threads:
            thread.start()
        begun.wait(60)
        for _ in range(20):
            self.unix.ok("submit " + json.dumps([{"call": "math:sqrt", "args": [2]}] * 10))
        self.unix.events(200)
        end = self.unix.submit(argv=["true"], delay=1000)
        self.unix.ok(f"cancel {end}")
        for thread in threads:
            thread.join(60)
        self.assertEqual([False] * 5, [thread.is_alive() for thread in threads])
        numbers = [event.cursor for event in seen[0]]
        self.assertEqual(list(range(start + 1, start + len(numbers) + 1)), numbers)
        for others in seen[1:]:
            self.assertEqual(seen[0], others)
