"""
What each verb does: a table from verb to function. A function reads its
argument and hands an event to the daemon, or asks the store and replies; what
follows from it is decided elsewhere.

Functions that ask the store first are coroutines: the session keeps its next
requests waiting for them.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import msgspec
from msgspec import UNSET
from twisted.internet.defer import Deferred

from jobd import events, spec, wire
from jobd.errors import (
    BadValue,
    Denied,
    Full,
    Gone,
    NoSuchJob,
    NotAuthenticated,
    NotFinished,
    TooMany,
)
from jobd.feed import Feed
from jobd.job import WORDS, State
from jobd.options import (
    MOST_SHOWN,
    DrainOptions,
    FollowOptions,
    ListOptions,
    OutputOptions,
    Progress,
    QueueOptions,
    WatchOptions,
    take_options,
)
from jobd.outputs import FILE_OF
from jobd.selector import MOST, Selector, take_selector
from jobd.session import Handler, Session
from jobd.spec import Submission
from jobd.store import Record
from jobd.why import why, why_ended
from jobd.wire import Request

Waiting = Coroutine[Deferred[Any], Any, None]

# Submissions.


def submit(session: Session, request: Request) -> None:
    _submit(session, request, spec.parse_submission(request.argument))


def run(session: Session, request: Request) -> None:
    _submit(session, request, spec.parse_run(request.argument))


def sh(session: Session, request: Request) -> None:
    _submit(session, request, spec.parse_sh(request.argument))


def call(session: Session, request: Request) -> None:
    _submit(session, request, spec.parse_call(request.argument))


def _submit(session: Session, request: Request, jobs: list[Submission]) -> None:
    _must_have_room(session)
    for job in jobs:
        if job.spec.pickle is not UNSET:
            _may_pickle(session)
    session.tell(events.Submit(session.conn, request.tag, jobs))


def _must_have_room(session: Session) -> None:
    if session.daemon.full:
        raise Full("there is no room on the disk; nothing was accepted")


def _may_pickle(session: Session) -> None:
    allowed = session.access.pickle
    if allowed == "none" or (allowed == "local" and not session.peer.local):
        raise Denied(f"pickled calls are not accepted from here; the daemon's option is --pickle {allowed}")


async def retry(session: Session, request: Request) -> None:
    ids = await _ids(session, _selector_only(request))
    records = await _ended(session, ids)
    jobs = [spec.parse_job(spec.for_retry(record.spec)) for record in records]
    if not jobs:
        raise NoSuchJob("no job that has ended is among those")
    _must_have_room(session)
    session.tell(events.Submit(session.conn, request.tag, jobs, tuple(record.id for record in records)))


async def _ended(session: Session, ids: list[int]) -> list[Record]:
    for job_id in ids:
        if session.daemon.scheduler.is_live(job_id):
            raise NotFinished(f"job {job_id} has not ended yet")
    await session.daemon.settled()
    return await session.daemon.read(lambda reader: reader.records(ids))


# Selectors.


def _selector_only(request: Request) -> Selector:
    selector, rest = take_selector(request.argument)
    if rest:
        raise BadValue(f"{wire.excerpt(rest)} follows the selector, where nothing is expected")
    return selector


async def _ids(session: Session, selector: Selector) -> list[int]:
    """The jobs a selector stands for, all of which exist; those of a filter may be none."""
    if selector.filter is None:
        return _named(session, selector)
    await session.daemon.settled()
    chosen = selector.filter
    ids = await session.daemon.read(lambda reader: reader.ids(chosen, MOST + 1))
    if len(ids) > MOST:
        raise TooMany(f"that is more than {MOST} jobs; ask for fewer at a time")
    return ids


def _named(session: Session, selector: Selector) -> list[int]:
    ids = []
    for number, alone in selector.each():
        if session.daemon.scheduler.state_of(number) is not None:
            ids.append(number)
        elif alone:
            raise NoSuchJob(f"there is no job {number}")
    if not ids:
        first, last = selector.ranges[0]
        raise NoSuchJob(f"there is no job from {first} to {last}")
    return list(dict.fromkeys(ids))


def _one(request: Request, what: str) -> tuple[int, bytes]:
    """The one id an argument begins with, and what follows."""
    selector, rest = take_selector(request.argument)
    if not selector.single:
        raise BadValue(f"{request.verb} takes one job's id{what}")
    return selector.single, rest


# Events.


def wait(session: Session, request: Request) -> Waiting | None:
    selector = _selector_only(request)
    if selector.filter is None:
        session.tell(events.Wait(session.conn, request.tag, _named(session, selector)))
        return None
    if selector.filter.only_group:
        return _wait_group(session, request, str(selector.filter.group))
    return _wait_filter(session, request, selector)


async def _wait_filter(session: Session, request: Request, selector: Selector) -> None:
    session.tell(events.Wait(session.conn, request.tag, await _ids(session, selector)))


async def _wait_group(session: Session, request: Request, group: str) -> None:
    if group not in session.daemon.scheduler.groups:
        await session.daemon.settled()
        if await session.daemon.read(lambda reader: reader.group_event(group)) is None:
            raise NoSuchJob(f"there is no job in group {group!r}")
    session.tell(events.WaitGroup(session.conn, request.tag, group))


async def watch(session: Session, request: Request) -> None:
    options: WatchOptions = take_options(WatchOptions, request.argument)
    if session.feed is not None:
        raise BadValue("this connection watches already; open another one to watch from elsewhere")
    await session.daemon.settled()
    newest = session.daemon.announced
    since = newest if options.since is None else options.since
    if since < newest:
        floor = await session.daemon.read(lambda reader: reader.floor())
        if since < floor:
            raise Gone(
                f"events up to cursor {floor} are no longer kept; the oldest that can be asked for is since {floor}"
            )
    session.watch(Feed(session.daemon, session, min(since, newest), options.progress), request, newest)


async def follow(session: Session, request: Request) -> None:
    selector, rest = take_selector(request.argument)
    options: FollowOptions = take_options(FollowOptions, rest)
    streams = ("stdout", "stderr") if options.stream == "both" else (_stream(options.stream),)
    ids = await _ids(session, selector)
    await session.daemon.settled()
    session.reply(request, b"%d" % len(ids))
    await session.daemon.settled()
    records = await session.daemon.read(lambda reader: reader.records(ids))
    if session.gone:
        return
    for record in records:
        session.following.add(record.id, max(1, record.attempt), streams, options.start)


def _stream(name: str) -> str:
    if name not in FILE_OF:
        raise BadValue(f"stream: there is no stream {name!r}; it is stdout or stderr")
    return name


# Looking.


async def show(session: Session, request: Request) -> None:
    selector = _selector_only(request)
    ids = await _ids(session, selector)
    if len(ids) > MOST_SHOWN:
        raise TooMany(f"show shows {MOST_SHOWN} jobs at a time, these are {len(ids)}; list shows more, in pages")
    await session.daemon.settled()
    records = await session.daemon.read(lambda reader: reader.records(ids))
    shown = [_shown(session, record) for record in records]
    if selector.single and not shown:
        raise NoSuchJob(f"job {selector.single} is no longer kept")
    session.reply(request, wire.to_json(shown[0] if selector.single else shown))


def _shown(session: Session, record: Record) -> dict[str, Any]:
    shown: dict[str, Any] = _times(record)
    if record.cursor:
        shown["cursor"] = record.cursor
    if record.outcome is not None:
        shown["outcome"] = msgspec.Raw(record.outcome)
    if record.id in session.daemon.scheduler.stuck:
        shown["stuck"] = True
    progress = session.daemon.progress.get(record.id)
    if progress is not None:
        shown["progress"] = msgspec.Raw(progress)
    if record.retry_of is not None:
        shown["retry_of"] = record.retry_of
    shown["spec"] = spec.for_show(record.spec)
    return shown


def _times(record: Record) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": record.id, "state": WORDS[record.state], "attempt": record.attempt}
    for name in ("submitted", "started", "ended"):
        value = getattr(record, name)
        if value is not None:
            shown[name] = round(value, 6)
    return shown


async def list_(session: Session, request: Request) -> None:
    options: ListOptions = take_options(ListOptions, request.argument)
    options.states(), options.ranges()
    await session.daemon.settled()
    records = await session.daemon.read(
        lambda reader: reader.select(options, options.start, options.limit + 1, options.newest)
    )
    jobs = [_listed(record) for record in records[: options.limit]]
    session.reply(request, wire.to_json({"jobs": jobs, "more": len(records) > options.limit}))


def _listed(record: Record) -> dict[str, Any]:
    fields = msgspec.json.decode(record.spec)
    times = _times(record)
    listed = {name: times.pop(name) for name in ("id", "state", "attempt")}
    listed["queue"] = fields.get("queue", "default")
    listed.update({name: fields[name] for name in ("group", "label") if fields.get(name) is not None})
    return {**listed, **times, "what": spec.what(record.spec)}


async def why_(session: Session, request: Request) -> None:
    job_id, _ = _one(request, ", as: why 17")
    job = session.daemon.scheduler.job(job_id)
    if job is not None:
        session.reply(request, why(session.daemon.scheduler, job, session.daemon.now()).encode())
        return
    await session.daemon.settled()
    records = await session.daemon.read(lambda reader: reader.records([job_id]))
    if not records:
        raise NoSuchJob(f"there is no job {job_id}")
    outcome = msgspec.json.decode(records[0].outcome or b"{}")
    session.reply(request, why_ended(job_id, records[0].state, records[0].attempt, outcome).encode())


async def output(session: Session, request: Request) -> None:
    job_id, rest = _one(request, ' and options, as: output 17 {"stream": "stderr"}')
    options: OutputOptions = take_options(OutputOptions, rest)
    stream = _stream(options.stream)
    await session.daemon.settled()
    records = await session.daemon.read(lambda reader: reader.records([job_id]))
    if not records:
        raise NoSuchJob(f"there is no job {job_id}")
    attempt = options.attempt or max(1, records[0].attempt)
    part = session.outputs.read(job_id, attempt, stream, options.start, options.limit)
    over = records[0].state.final or attempt < records[0].attempt
    answer = {**part.fields(), "from": part.start, "next": part.next, "size": part.size}
    session.reply(request, wire.to_json({**answer, "end": over and part.next >= part.size}))


def stats(session: Session, request: Request) -> None:
    daemon = session.daemon
    scheduler = daemon.scheduler
    states = dict.fromkeys(WORDS[State.WAITING : State.SUCCEEDED], 0)
    queued = sum(queue.queued for queue in scheduler.places.queues.values())
    states.update(queued=queued, running=scheduler.places.running, waiting=scheduler.waiting)
    session.reply(
        request,
        wire.to_json(
            {
                "version": session.info.version,
                "uptime": round(session.info.clock.seconds() - session.info.started, 3),
                "jobs": states,
                "ended": scheduler.totals,
                "cursor": daemon.announced,
                "queues": {
                    name: {"limit": one.limit, "paused": one.paused, "queued": one.queued, "running": one.running}
                    for name, one in sorted(scheduler.places.queues.items())
                },
                "paused": scheduler.places.paused,
                "draining": scheduler.draining,
                "full": daemon.full,
                "unreadable": scheduler.unreadable,
                "stuck": len(scheduler.stuck),
                "connections": len(daemon.listeners),
                "most_connections": session.server.most,
                "turned_away": session.server.turned_away,
                "pool": daemon.pool.stats(),
            }
        ),
    )


# Changing.


def cancel(session: Session, request: Request) -> Waiting | None:
    selector = _selector_only(request)
    if selector.filter is not None:
        return _cancel_filter(session, request, selector)
    ids = _named(session, selector)
    session.tell(events.Cancel(session.conn, request.tag, ids, bool(selector.single)))
    return None


async def _cancel_filter(session: Session, request: Request, selector: Selector) -> None:
    session.tell(events.Cancel(session.conn, request.tag, await _ids(session, selector), False))


def progress(session: Session, request: Request) -> None:
    job_id, rest = _one(request, ' and how far it is, as: progress 17 {"done": 3, "total": 10}')
    report: Progress = take_options(Progress, rest)
    job = session.daemon.scheduler.jobs.get(job_id)
    if job is None or job.state is not State.RUNNING:
        if session.daemon.scheduler.state_of(job_id) is None:
            raise NoSuchJob(f"there is no job {job_id}")
        raise BadValue(f"job {job_id} is not running")
    session.daemon.progressed(job_id, job.attempt, wire.to_json(report))
    session.reply(request)


def queue(session: Session, request: Request) -> None:
    word, _, rest = request.argument.strip().partition(b" ")
    options: QueueOptions = take_options(QueueOptions, rest)
    name = _queue_name(word)
    session.tell(events.SetQueue(session.conn, request.tag, name, options.limit, options.paused, show=True))


def pause(session: Session, request: Request) -> None:
    _pause(session, request, True)


def resume(session: Session, request: Request) -> None:
    _pause(session, request, False)


def _pause(session: Session, request: Request, paused: bool) -> None:
    word = request.argument.strip()
    name = _queue_name(word) if word else None
    session.tell(events.SetQueue(session.conn, request.tag, name, paused=paused))


def _queue_name(word: bytes) -> str:
    text = word.decode()
    if not spec.QUEUE_NAME.match(text):
        raise BadValue(f"{text[:40]!r} is not a queue's name: 1 to 64 of A-Z a-z 0-9 _ . -")
    return text


def drain(session: Session, request: Request) -> None:
    options: DrainOptions = take_options(DrainOptions, request.argument)
    session.tell(events.Drain(session.conn, request.tag, options.keep_running))


# The connection itself.


def hello(session: Session, request: Request) -> None:
    known = session.peer.identity is not None
    answer: dict[str, Any] = {
        "jobd": session.info.version,
        "protocol": wire.PROTOCOL,
        "identity": session.peer.identity,
        "auth": "done" if known else "token",
        "local": session.peer.local,
        "limits": {"line": wire.MAX_LINE, "result": wire.MAX_RESULT},
    }
    if known:
        answer["instance"] = session.daemon.instance
        answer["cursor"] = session.daemon.announced
        if session.peer.local:
            answer["state_dir"] = session.info.state_dir
    session.reply(request, wire.to_json(answer))


def auth(session: Session, request: Request) -> Waiting | None:
    if session.peer.identity is not None:
        session.reply(request)
        return None
    if not request.argument.strip():
        raise NotAuthenticated("auth takes the token, which is in the daemon's token file")
    if session.access.check(request.argument.strip(), session.peer.host):
        session.authenticated("token")
        session.reply(request)
        return None
    return _reject(session, request)


async def _reject(session: Session, request: Request) -> None:
    penalty: Deferred[None] = Deferred()
    session.daemon.clock.callLater(session.access.penalty(session.peer.host), penalty.callback, None)
    await penalty
    session.refuse(request.tag, NotAuthenticated("wrong token"))
    session.hang_up()


def ping(session: Session, request: Request) -> None:
    session.reply(request, request.argument)


def help_(session: Session, request: Request) -> None:
    word = request.argument.strip().decode()
    if not word:
        text = f"the verbs are {' '.join(wire.VERBS)}; 'help VERB' says more; docs/protocol.md says all"
        session.reply(request, text.encode())
        return
    if word not in wire.VERBS:
        raise BadValue(f"there is no verb {word[:40]!r}{wire.did_you_mean(word, wire.VERBS)}")
    argument, meaning = wire.VERBS[word]
    usage = f"{word} {argument}" if argument else word
    session.reply(request, f"{usage}: {meaning}{wire.EXAMPLES.get(word, '')}".replace("`", "").encode())


def quit_(session: Session, request: Request) -> None:
    session.reply(request)
    session.hang_up()


_OPEN_TO_ALL = ("auth", "hello", "help", "ping", "quit")

_HANDLERS: dict[str, Handler] = {
    "submit": submit,
    "run": run,
    "sh": sh,
    "call": call,
    "wait": wait,
    "watch": watch,
    "show": show,
    "list": list_,
    "cancel": cancel,
    "retry": retry,
    "why": why_,
    "output": output,
    "follow": follow,
    "progress": progress,
    "queue": queue,
    "pause": pause,
    "resume": resume,
    "stats": stats,
    "drain": drain,
    "hello": hello,
    "auth": auth,
    "ping": ping,
    "help": help_,
    "quit": quit_,
}

VERBS: dict[str, tuple[Handler, bool]] = {verb: (handler, verb in _OPEN_TO_ALL) for verb, handler in _HANDLERS.items()}
"""For each verb of the protocol what it does, and whether it is open to those who have not proved who they are."""
