"""The examples in examples/cpp, built against the installed package and run against a real daemon."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jobd
from tests.daemon import running_daemon

from .building import CppTestCase, examples


class ExampleTests(CppTestCase):
    """Each does what its first lines say."""

    def test_pipeline(self) -> None:
        """The pipeline prints each finish, those that others come after before them, and the right sum at the end."""
        with running_daemon() as daemon, tempfile.TemporaryDirectory() as folder:
            printed = self.run_program(
                [examples() / "pipeline", folder], environment={"JOBD_URL": daemon.url}, patience=60
            )
            *finishes, total = printed.splitlines()
            self.assertEqual("lines in all: 10000", total)
            self.assertEqual(9, len(finishes))
            order = [int(line.split()[1]) for line in finishes]
            self.assertEqual(9, order[-1])
            for made in (1, 3, 5, 7):
                self.assertLess(order.index(made), order.index(made + 1))

    def test_pipeline_without_a_daemon(self) -> None:
        """Without a daemon the example ends with one clear line."""
        with tempfile.TemporaryDirectory() as folder:
            environment = {"JOBD_URL": f"jobd+unix://{folder}/none"}
            printed = self.run_program([examples() / "pipeline", folder], environment=environment, code=125)
            self.assertIn("is the daemon running there? [CONNECTION]", printed)
            self.assertEqual(1, len(printed.splitlines()))

    def test_render(self) -> None:
        """A C++ program that runs as a job reports its progress over either kind of address."""
        for tcp in (False, True):
            listen = ["tcp:0:interface=127.0.0.1"] if tcp else None
            with running_daemon(listen=listen) as daemon, jobd.connect(daemon.url, token=daemon.token) as client:
                watching = client.watch(progress=True)
                job = client.run(str(examples() / "render"), "5")
                reports = []
                for event in watching:
                    if isinstance(event, jobd.client.outcome.Outcome):
                        break
                    reports.append(event.data)
                self.assertEqual("succeeded", job.wait(30).state)
                self.assertEqual(list(range(1, 6)), [report["done"] for report in reports])
                self.assertEqual({"done": 5, "total": 5, "text": "frame 5"}, reports[-1])

    def test_render_alone(self) -> None:
        """Started by hand the same program just works."""
        self.assertIn("light:", self.run_program([examples() / "render", "2"]))

    def test_event_loop(self) -> None:
        """The loop runs each line it is given and tells of each finish."""
        with running_daemon() as daemon:
            printed = self.run_program(
                [examples() / "event_loop"],
                environment={"JOBD_URL": daemon.url},
                text="sleep 0.1\nexit 3\ntrue\n",
                patience=60,
            )
        self.assertEqual(["job 1 succeeded", "job 2 failed", "job 3 succeeded"], sorted(printed.splitlines()))

    def test_all_are_run(self) -> None:
        """No example is left out here."""
        names = {path.stem for path in (Path(__file__).parents[2] / "examples" / "cpp").glob("*.cpp")}
        self.assertEqual({"pipeline", "render", "event_loop"}, names)
