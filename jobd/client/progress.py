"""How a job tells how far it is."""

from __future__ import annotations

import os
import sys


def progress(done: float | None = None, total: float | None = None, text: str | None = None) -> None:
    """
    Report how far the job is that this code runs in: C{done} of C{total}
    (any unit), and a line of text for people. All parts are optional.

    Inside a call it goes through the worker. In a program that jobd started it
    goes over a connection to the daemon. Outside of any job nothing happens.
    The errors of L{jobd.connect} are raised when the daemon cannot be reached.
    """
    parts = (("done", done), ("total", total), ("text", text))
    current = sys.modules.get("jobd.worker.current")
    if current is not None and current.reporter is not None:
        current.reporter({name: value for name, value in parts if value is not None})
        return
    job = os.environ.get("JOBD_JOB_ID")
    if job is None:
        return
    from jobd.client.blocking import connect

    with connect() as client:
        client.progress(int(job), done=done, total=total, text=text)
