"""The clients in examples/clients, which use nothing but their languages, against a real daemon."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tests.daemon import Daemon, running_daemon

from .building import EXAMPLES, WARNINGS, CppTestCase, must, work

CLIENTS = EXAMPLES / "clients"
LINES = ("sleep 0.2", "echo a > /dev/null", "exit 0")


@functools.cache
def plain_cpp() -> Path:
    program = work() / "plain-client"
    must(["g++", "-std=c++17", *WARNINGS, CLIENTS / "client.cpp", "-o", program])
    return program


def commands() -> dict[str, list[str]]:
    """How each of them is started."""
    return {
        "client.cpp": [str(plain_cpp())],
        "client.js": ["node", str(CLIENTS / "client.js")],
        "client.pl": ["perl", str(CLIENTS / "client.pl")],
        "client.sh": ["sh", str(CLIENTS / "client.sh")],
    }


class PlainClientTests(CppTestCase):
    """Each submits its arguments, prints each finish as it comes and ends with 0 if all succeeded."""

    def environments(self, daemon: Daemon, name: str) -> list[dict[str, str]]:
        """Over TCP with the token, and over the Unix socket, which all but the one in plain C++ speak."""
        tcp = {"JOBD_URL": daemon.tcp_url, "JOBD_TOKEN": daemon.token}
        return [tcp] if name == "client.cpp" else [tcp, {"JOBD_URL": daemon.url}]

    def test_success(self) -> None:
        """All jobs succeed: each is told, the slow one last, and the client ends with 0."""
        with running_daemon(tcp=True) as daemon:
            for name, command in commands().items():
                for environment in self.environments(daemon, name):
                    printed = self.run_program([*command, *LINES], environment=environment, patience=60)
                    ids = [int(number) for number in re.findall(r"job (\d+) succeeded", printed)]
                    self.assertEqual(3, len(ids), f"{name}: {printed}")
                    self.assertEqual(min(ids), ids[-1], f"{name}: {printed}")

    def test_failure(self) -> None:
        """A job that fails is told as failed, and the client does not end with 0."""
        with running_daemon(tcp=True) as daemon:
            for name, command in commands().items():
                for environment in self.environments(daemon, name):
                    printed = self.run_program(
                        [*command, "true", "exit 3"], environment=environment, code=1, patience=60
                    )
                    self.assertRegex(printed, r"job \d+ succeeded")
                    self.assertRegex(printed, r"job \d+ failed")

    def test_refusal(self) -> None:
        """What the daemon says to a wrong token is shown."""
        with running_daemon(tcp=True) as daemon:
            environment = {"JOBD_URL": daemon.tcp_url, "JOBD_TOKEN": "wrong"}
            for command in commands().values():
                printed = self.run_program([*command, "true"], environment=environment, code=1, patience=60)
                self.assertIn("AUTH wrong token", printed)

    def test_all_are_run(self) -> None:
        """No client is left out here, and none has grown beyond what a page holds."""
        self.assertEqual(sorted(commands()), sorted(path.name for path in CLIENTS.iterdir()))
        for path in CLIENTS.iterdir():
            lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("//", "# "))]
            self.assertLessEqual(len(lines), 45, path.name)
