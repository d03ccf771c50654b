"""One line for people: what a job waits for. A function of the scheduler's state and the time."""

from __future__ import annotations

from jobd.events import Now
from jobd.job import WORDS, Job, State
from jobd.places import UNIT
from jobd.scheduler import Scheduler


def why(scheduler: Scheduler, job: Job, now: Now) -> str:
    """
    @param job: one that has not ended.
    """
    if job.state is State.RUNNING:
        since = duration(now.wall - (job.started or now.wall))
        stuck = "; it was killed and does not go away: it is stuck" if job.id in scheduler.stuck else ""
        return f"job {job.id} is running{_attempt(job)} for {since}{_ending(job)}{stuck}"
    if job.id in scheduler.blocked:
        return f"job {job.id} is waiting for {_others(scheduler, scheduler.blocked[job.id])}"
    if job.state is State.WAITING:
        left = duration((job.due or now.wall) - now.wall)
        if job.attempt:
            return f"job {job.id} is waiting for attempt {job.attempt + 1} of {job.plan.attempts}, in {left}"
        return f"job {job.id} is waiting for its time, in {left}"
    return f"job {job.id} is queued: {_obstacle(scheduler, job)}"


def why_ended(job_id: int, state: State, attempt: int, outcome: dict[str, object]) -> str:
    """The same for a job that has ended."""
    if state is State.SKIPPED:
        return f"job {job_id} was skipped because of job {outcome.get('because')}, which ended otherwise than it was to"
    if state is State.CANCELLED and not attempt:
        return f"job {job_id} was cancelled before it started"
    how = WORDS[state].replace("_", " ")
    parts = [f"attempt {attempt}"]
    if "signal" in outcome:
        parts.append(f"signal {outcome['signal']}")
    elif "exit_code" in outcome:
        parts.append(f"exit code {outcome['exit_code']}")
    if "error" in outcome:
        parts.append(" ".join(str(outcome["error"]).split()))
    return f"job {job_id} {how}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Two units at most: C{4 s}, C{2 min 5 s}, C{1 h 0 min}, C{3 d 4 h}."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def _attempt(job: Job) -> str:
    return f" (attempt {job.attempt} of {job.plan.attempts})" if job.plan.attempts > 1 else ""


def _ending(job: Job) -> str:
    if job.ending is None:
        return ""
    return ", and is being ended: " + ("its timeout has passed" if job.ending is State.TIMED_OUT else "cancelled")


def _others(scheduler: Scheduler, remaining: dict[int, str]) -> str:
    first = min(remaining)
    state = scheduler.state_of(first)
    assert state is not None, "what is waited for has not ended"
    text = f"job {first}, which is {WORDS[state]}"
    more = len(remaining) - 1
    return text + (f", and {more} more" if more else "")


def _obstacle(scheduler: Scheduler, job: Job) -> str:
    queue = scheduler.places.queues[job.plan.queue]
    if scheduler.draining:
        return "the daemon is draining and starts nothing more"
    if scheduler.places.paused:
        return "the daemon is paused; 'resume' lets it go on"
    if queue.paused:
        return f"queue {queue.name!r} is paused; 'resume {queue.name}' lets it go on"
    if queue.limit is not None and queue.running >= queue.limit:
        return f"queue {queue.name!r} runs {queue.running} of at most {queue.limit} jobs"
    places = scheduler.places.capacity // UNIT
    free = max(0, scheduler.places.capacity - scheduler.places.used) // UNIT
    ahead = queue.line(job.plan.cpus > 0).ahead_of(job)
    needs = f"it needs {min(job.plan.cpus, max(1, places))} of {places} places, {free} free"
    return f"{ahead} {'job is' if ahead == 1 else 'jobs are'} before it; {needs}"
