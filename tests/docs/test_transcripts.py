"""Every transcript in the documents is what a real daemon says."""

from __future__ import annotations

import socket
import sys
import threading

from twisted.trial.unittest import TestCase

from tests.daemon import running_daemon

from .markdown import ROOT, Block, blocks, documents
from .transcripts import Mismatch, compare, replay


class TranscriptTests(TestCase):
    """One daemon, with a fresh state, for each transcript."""

    timeout = 600

    def play(self, block: Block) -> None:
        """Replay one transcript: over TCP where it is marked so, else over a Unix socket."""
        with running_daemon(tcp=True) as daemon:
            if sys.platform == "win32" or "tcp" in block.words:
                connection = socket.create_connection(daemon.tcp_address)
            else:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(daemon.socket_path))
            with connection:
                replay(block.body, connection)

    def test_there_are_transcripts(self) -> None:
        """The protocol's document has transcripts, and every one is marked as one."""
        self.assertGreater(len(blocks(ROOT / "docs" / "protocol.md", "transcript")), 8)


def _add_tests() -> None:
    """A test for each transcript, named by where it stands."""
    for document in documents():
        for block in blocks(document, "transcript"):

            def test(self: TranscriptTests, block: Block = block) -> None:
                try:
                    self.play(block)
                except Mismatch as problem:
                    self.fail(f"{block.place}: {problem}")

            test.__doc__ = f"The transcript at {block.place} is what the daemon says."
            number = sum(name.startswith(f"test_{document.stem}_") for name in vars(TranscriptTests)) + 1
            setattr(TranscriptTests, f"test_{document.stem}_{number:02}", test)


_add_tests()


class CompareTests(TestCase):
    """The comparison forgives what may differ, and nothing else."""

    def assert_mismatch(self, expected: list[str], said: list[str]) -> None:
        self.assertRaises(Mismatch, compare, expected, said, {})

    def test_measured_values(self) -> None:
        """Measured values may differ, their type and everything beside them may not."""
        printed = ['* 1 1 succeeded {"exit_code": 0, "wall": 0.1}']
        compare(printed, ['* 1 1 succeeded {"wall":3,"exit_code":0}'], {})
        self.assert_mismatch(printed, ['* 1 1 succeeded {"exit_code": 0, "wall": "0.1"}'])
        self.assert_mismatch(printed, ['* 1 1 succeeded {"exit_code": 1, "wall": 0.1}'])
        self.assert_mismatch(printed, ['* 1 1 succeeded {"exit_code": 0}'])
        self.assert_mismatch(printed, ['* 1 1 succeeded {"exit_code": 0, "wall": 0.1, "attempt": 1}'])

    def test_order_of_events(self) -> None:
        """Events of independent jobs may change places, and their cursors with them."""
        printed = ["ok 1-2", "* 1 1 succeeded", "* 2 2 succeeded"]
        compare(printed, ["ok 1-2", "* 1 2 succeeded", "* 2 1 succeeded"], {})
        self.assert_mismatch(printed, ["ok 1-2", "* 1 2 succeeded", "* 3 1 succeeded"])
        self.assert_mismatch(printed, ["ok 1-2", "* 0 2 succeeded", "* 1 1 succeeded"])

    def test_reply_first(self) -> None:
        """A job's events come after its reply."""
        self.assert_mismatch(["ok 1", "* 1 1 succeeded"], ["* 1 1 succeeded", "ok 1"])

    def test_replies(self) -> None:
        """Replies are compared word by word, JSON in them by its value."""
        compare(['ok {"a": [1, true]}'], ['ok {"a":[1,true]}'], {})
        self.assert_mismatch(['ok {"a": 1}'], ['ok {"a": true}'])
        self.assert_mismatch(["error AUTH no"], ["error AUTH yes"])
        self.assert_mismatch(["ok 1", "ok 2"], ["ok 2", "ok 1"])

    def test_closing_early_or_saying_more(self) -> None:
        """A daemon that closes too early or says too much is noticed."""
        self.assertRaises(Mismatch, self.against, "> ping\n< ok\n", b"")
        self.assertRaises(Mismatch, self.against, "> ping\n< ok\n", b"ok\nok\n")
        self.against("> ping\n< ok\n", b"ok\n")

    def against(self, transcript: str, answer: bytes) -> None:
        """Replay against a daemon that says C{answer} to everything."""
        ours, theirs = socket.socketpair()

        def daemon() -> None:
            with theirs:
                theirs.recv(65536)
                theirs.sendall(answer)

        thread = threading.Thread(target=daemon)
        thread.start()
        try:
            with ours:
                replay(transcript, ours)
        finally:
            thread.join()
