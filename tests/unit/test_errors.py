"""Claims of the errors."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd import errors
from jobd.errors import BY_CODE, JobdError, JobFailed, RemoteTraceback, WaitTimeout, WorkerDied


class ErrorTests(TestCase):
    """Errors, on the wire and off it."""

    def test_codes(self) -> None:
        """Each class of the closed list stands under its own code, and means something."""
        for code, cls in BY_CODE.items():
            self.assertEqual(code, cls.code)
            self.assertRegex(code, r"\A[A-Z_]+\Z")
            self.assertTrue((cls.__doc__ or "").strip())

    def test_root(self) -> None:
        """All errors have one root; one that is not of the list counts as a bug."""
        found = [value for value in vars(errors).values() if isinstance(value, type)]
        self.assertEqual([], [cls for cls in found if issubclass(cls, Exception) and not issubclass(cls, JobdError)])
        self.assertEqual("INTERNAL", JobdError.code)

    def test_retryable(self) -> None:
        """Only these may be gone when the same request comes again."""
        self.assertEqual({"DRAINING", "FULL", "SLOW", "BUSY"}, {code for code, cls in BY_CODE.items() if cls.retryable})

    def test_timeout(self) -> None:
        """A wait that took too long is a TimeoutError for Python, too."""
        self.assertIsInstance(WaitTimeout("x"), TimeoutError)

    def test_failed(self) -> None:
        """A failed job's error carries its outcome; a worker that died is a failed job."""
        self.assertEqual(("text", 5), (str(WorkerDied("text", 5)), WorkerDied("text", 5).outcome))
        self.assertIsInstance(WorkerDied("text"), JobFailed)

    def test_traceback(self) -> None:
        """A remote traceback prints apart from what is around it."""
        self.assertEqual("\n\nTraceback: x\n", str(RemoteTraceback("Traceback: x\n\n")))
