"""
Every error that crosses the wire, one class for each code.

A class's docstring is the meaning given in docs/protocol.md; the message of an
instance says what was wrong, where, and what to do. C{retryable} tells a
client whether sending the same request again later can help.
"""

from __future__ import annotations

from typing import Any, ClassVar


class JobdError(Exception):
    """the root of all errors of jobd"""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    tag: bytes = b""
    """Of the request that was wrong, as its reply must repeat it."""


class SyntaxProblem(JobdError):
    """the line is not a request"""

    code = "SYNTAX"


class UnknownVerb(JobdError):
    """there is no such verb"""

    code = "UNKNOWN_VERB"


class BadJson(JobdError):
    """the JSON cannot be read"""

    code = "BAD_JSON"


class BadField(JobdError):
    """an unknown field"""

    code = "BAD_FIELD"


class BadValue(JobdError):
    """a field or an argument has the wrong type or is out of range"""

    code = "BAD_VALUE"


class TooLong(JobdError):
    """the line is over the limit"""

    code = "TOO_LONG"


class TooMany(JobdError):
    """the selector stands for too many jobs"""

    code = "TOO_MANY"


class NoSuchJob(JobdError):
    """there is no job with this id, or it is no longer kept"""

    code = "NO_SUCH_JOB"


class Finished(JobdError):
    """the job has ended already"""

    code = "FINISHED"


class NotFinished(JobdError):
    """the job has not ended yet"""

    code = "NOT_FINISHED"


class Conflict(JobdError):
    """the key belongs to another job"""

    code = "CONFLICT"


class Gone(JobdError):
    """events that old are no longer kept"""

    code = "GONE"


class NotAuthenticated(JobdError):
    """authentication is missing or wrong"""

    code = "AUTH"


class Denied(JobdError):
    """this identity may not do that"""

    code = "DENIED"


class Draining(JobdError):
    """the daemon accepts no more jobs"""

    code = "DRAINING"
    retryable = True


class Full(JobdError):
    """there is no room on the disk, or another program holds the job store"""

    code = "FULL"
    retryable = True


class Slow(JobdError):
    """this client does not read fast enough; the connection is closed"""

    code = "SLOW"
    retryable = True


class Busy(JobdError):
    """the daemon has as many connections as it can serve; this one is closed"""

    code = "BUSY"
    retryable = True


class Internal(JobdError):
    """a bug in jobd; the log has more"""

    code = "INTERNAL"


BY_CODE: dict[str, type[JobdError]] = {
    cls.code: cls
    for cls in (
        SyntaxProblem,
        UnknownVerb,
        BadJson,
        BadField,
        BadValue,
        TooLong,
        TooMany,
        NoSuchJob,
        Finished,
        NotFinished,
        Conflict,
        Gone,
        NotAuthenticated,
        Denied,
        Draining,
        Full,
        Slow,
        Busy,
        Internal,
    )
}
"""The closed list of codes, in the order of docs/protocol.md."""


def from_wire(code: str, text: str) -> JobdError:
    """
    The error that a reply line C{error CODE text} stands for. A code that
    this version does not know becomes a plain L{JobdError}.
    """
    return BY_CODE.get(code, JobdError)(text)


# Errors that never cross the wire: they end a program with a clear line.


class UsageError(JobdError):
    """an option, a folder or a file given at the start is wrong"""


class StoreError(JobdError):
    """the store cannot be opened, read or written"""


class ConnectionProblem(JobdError):
    """the daemon cannot be reached, or went away and did not come back"""


class WaitTimeout(JobdError, TimeoutError):
    """what was waited for did not happen in time; it may still happen later"""


class JobFailed(JobdError):
    """
    a job ended otherwise than C{succeeded}

    C{outcome} is the whole L{jobd.client.outcome.Outcome}. For a call that
    raised, C{__cause__} is a L{RemoteTraceback}.
    """

    def __init__(self, text: str, outcome: Any = None) -> None:
        super().__init__(text)
        self.outcome = outcome


class WorkerDied(JobFailed):
    """the worker that ran the job died; nobody knows how far the job came"""


class RemoteTraceback(JobdError):
    """the traceback of a call, as text from the worker that ran it"""

    def __str__(self) -> str:
        return "\n\n" + super().__str__().rstrip() + "\n"
