"""`python -m tests.chaos.drill`: a fire drill. One lasting fault after another on a small real stack, and what
Prometheus says of it: every alert that the fault has to set off, how soon, and how soon it ends after the fault does.

One Kafka broker, Triton with every model, PostgreSQL, one worker, the console. All the while pictures that nobody has
seen before are uploaded, one a second. Before each fault nothing may fire. The rules are played faster (watch.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
import psycopg
from confluent_kafka.admin import AdminClient

from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaUploaded, ReviewDecided, ReviewRequested, SubjectRequested
from pipeline.events.codec import encode
from pipeline.events.values import Action, Family, RequestKind
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.models.build import build
from pipeline.policy.file import DEFAULT, load
from pipeline.publish import send
from pipeline.review.people import EVERY_QUEUE, Person, Role
from pipeline.settings import Settings
from pipeline.stack.kafka import Kafka
from pipeline.stack.ports import free_ports
from pipeline.stack.process import StackEvent, ignore
from pipeline.stack.triton import live_children
from pipeline.stack.up import Stack, StackOptions, Worker, worker_environment
from pipeline.topics import apply as apply_topics
from pipeline.topology import REVIEW_DECIDED, SUBJECT_REQUESTED, UPLOADED, review_topic, topics
from tests.chaos.alarms import DRILLS, SLACK, Due, Struck, Verdict, judge, reach
from tests.chaos.platform_side import Sender
from tests.chaos.watch import Firing, Watch
from tests.postgres import NOBODY, Postgres, running_postgres

BY = 20.0
"""How many times faster the rules are played, where nothing else is said."""
OTHERWISE = {"peers-come-and-go": 5.0, "statements-wait": 60.0, "people-disagree": 60.0}
"""Rebalances take the time that they take; some `for` are an hour."""
CALM = 20.0
"""Seconds before each fault in which nothing fires."""
SETTLING = 100.0
"""How long it is waited until an alert ends. Those whose windows reach further are not waited for."""
EVERY = 1.0
"""Seconds between two uploads."""

Fault = Callable[["Site"], AbstractContextManager[None]]


class Database:
    """A PostgreSQL that can be away for a while."""

    def __init__(self, server: Postgres) -> None:
        self.url = server.url
        self._programs = server.programs
        self._folder = Path(parse_qs(urlsplit(server.url).query)["host"][0])
        self._pid = server.pid
        self._again: subprocess.Popen[bytes] | None = None

    def go(self) -> None:
        """End it as an administrator would who has no time: connections are cut."""
        os.kill(self._pid, signal.SIGINT)
        _until(lambda: not (self._folder / "data" / "postmaster.pid").exists(), 60, "PostgreSQL ends")

    def come(self) -> None:
        """Start it again on its data."""
        identity: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        with (self._folder / "log").open("ab") as log:
            command = [
                str(self._programs / "postgres"),
                "-D",
                f"{self._folder / 'data'}",
                "-h",
                "",
                "-k",
                f"{self._folder}",
            ]
            environment = {"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C.UTF-8"}
            again: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, **identity
            )
        self._again, self._pid = again, again.pid
        _until(self._answers, 60, "PostgreSQL answers")

    def end(self) -> None:
        """What was started here."""
        if self._again is not None and self._again.poll() is None:
            self._again.send_signal(signal.SIGINT)
            self._again.wait(30)

    def say(self, words: str) -> None:
        """Run SQL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(words.encode())

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


@dataclass
class Site:
    """What runs, and the hands of those who use it."""

    place: Path
    stack: Stack
    options: StackOptions
    database: Database
    ledger: Ledger
    origin: str
    """host:port of a store that is never there."""
    sender: Sender
    numbers: Iterator[int] = field(default_factory=count)
    decided: list[str] = field(default_factory=list)
    """Uploads that were sent and of which nobody has asked anything yet."""

    @property
    def config(self) -> dict[str, str]:
        return {"bootstrap.servers": self.stack.bootstrap_servers}

    @property
    def targets(self) -> dict[str, list[str]]:
        """What Prometheus scrapes."""
        assert self.stack.console
        assert self.stack.triton
        return {
            "unmask-worker": [worker.http_address for worker in self.stack.workers],
            "unmask-console": [self.stack.console.metrics_address],
            "triton": [self.stack.triton.addresses.metrics],
        }

    @property
    def worker_pid(self) -> int:
        (worker,) = self.stack.workers
        assert worker.pid is not None
        return worker.pid

    def upload(self) -> None:
        """A picture that nobody has seen before, cheap to judge."""
        number = next(self.numbers)
        path = self.place / "media" / f"{number % 200}.jpg"
        name = f"drill-{number:05d}"
        copy = path.with_name(f"{name}.jpg")
        copy.write_bytes(path.read_bytes() + name.encode())
        self.publish(name, copy.as_uri())
        self.decided.append(name)

    def publish(self, media_id: str, uri: str) -> None:
        """One record of `media.uploaded`."""
        event = MediaUploaded(media_id=media_id, uri=uri, uploaded_at=datetime.now(UTC))
        self.sender.send(UPLOADED, media_id.encode(), encode(event))

    def ask(self, kind: RequestKind, received: datetime, many: int) -> list[str]:
        """Somebody asks something about as many uploads that are answered, of different contents."""
        asked: list[str] = []
        while len(asked) < many:
            media_id = self.decided.pop(0)
            if self.ledger.outcome(media_id) is not None:
                request = SubjectRequested(
                    request_id=f"ask-{media_id}", kind=kind, received_at=received, media_id=media_id, jurisdiction="FR"
                )
                send(self.config, [(SUBJECT_REQUESTED, request.request_id, request)])
                asked.append(media_id)
        return asked

    def appeals(self, many: int) -> None:
        """So many uploaders do not accept what was decided; they wait in their queue."""
        before = len(self.ledger.open_tasks("appeals"))
        self.ask(RequestKind.APPEAL, datetime.now(UTC), many)
        _until(lambda: len(self.ledger.open_tasks("appeals")) >= before + many, 60, "the appeals are open")

    def token(self, who: str) -> str:
        """Somebody signs in."""
        person = Person(who, who, frozenset({Role.INTEGRATION}), frozenset({EVERY_QUEUE}))
        now = datetime.now(UTC)
        return People(self.ledger).open_session(person, now, now + timedelta(hours=2))

    def claim(self, token: str, queue: str) -> dict[str, Any] | None:
        """The next case of a queue."""
        found: dict[str, Any] | None = self._call(token, "/api/v1/work/claim", {"queues": [queue]})
        return found

    def answer(self, token: str, queue: str) -> bool:
        """Take the next case of a queue and decide it; whether there was one."""
        case = self.claim(token, queue)
        if case is None:
            return False
        self._call(token, f"/api/v1/work/{case['lease_id']}/answer", {"action": "allow", "reason": "looked at it"})
        return True

    def _call(self, token: str, path: str, body: dict[str, Any]) -> Any:
        assert self.stack.console
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.stack.console.url}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer) if answer.status == 200 else None


def _allowed(task: ReviewRequested, *denied: Family) -> ReviewDecided:
    """An answer by a tool of the platform's own."""
    return ReviewDecided(
        review_id=uuid4(),
        task_id=task.task_id,
        media_id=task.media_id,
        round=task.round,
        action=Action.ALLOW,
        decided_at=datetime.now(UTC),
        reviewer_id="tool",
        denied=denied,
    )


# --- faults: what is broken before `yield` is mended after it --------------------------------------------------------


@contextmanager
def triton_stopped(site: Site) -> Iterator[None]:
    """Killed, and it stays away."""
    assert site.stack.triton
    site.stack.triton.kill()
    yield
    site.stack.triton.start()


@contextmanager
def model_does_not_fit(site: Site) -> Iterator[None]:
    """The model repository is of another release than the workers: one model wants smaller pictures."""
    assert site.stack.triton
    config = site.options.models_dir / "nudity" / "config.pbtxt"
    shipped = config.read_text(encoding="utf-8")

    def serve(text: str) -> None:
        assert site.stack.triton
        site.stack.triton.kill()
        config.unlink()  # it may be the same file as the one that is shipped
        config.write_text(text, encoding="utf-8")
        site.stack.triton.start()

    other = shipped.replace("384, 384", "320, 320").replace("224, 224", "192, 192")
    assert other != shipped
    serve(other)
    yield
    serve(shipped)


@contextmanager
def worker_frozen(site: Site) -> Iterator[None]:
    """It neither works nor tells; nobody else is there."""
    pid = site.worker_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def database_away(site: Site) -> Iterator[None]:
    """Ended; meanwhile somebody answers by a tool of the platform's own, and somebody asks."""
    site.appeals(1)
    (task, *_) = site.ledger.open_tasks("appeals")
    site.database.go()
    review = _allowed(task)
    asked = SubjectRequested(
        request_id=f"meanwhile-{uuid4()}",
        kind=RequestKind.APPEAL,
        received_at=datetime.now(UTC),
        media_id=site.decided.pop(0),
    )
    send(site.config, [(REVIEW_DECIDED, task.media_id, review), (SUBJECT_REQUESTED, asked.request_id, asked)])
    yield
    site.database.come()


@contextmanager
def broker_away(site: Site) -> Iterator[None]:
    """The only one; meanwhile somebody decides at the console."""
    assert isinstance(site.stack.broker, Kafka)
    site.appeals(1)
    token = site.token("ann")
    (node,) = site.stack.broker.nodes
    node.kill()
    assert site.answer(token, "appeals")
    yield
    node.start()


@contextmanager
def topic_missing(site: Site) -> Iterator[None]:
    """The topic of a queue is deleted, and tasks for it come."""
    gone = review_topic("unreadable")
    admin = AdminClient(site.config)  # held: what was asked of it ends with it
    (deleted,) = admin.delete_topics([gone]).values()
    deleted.result(30)
    with _meanwhile(_broken_uploads(site), 5.0):
        yield
    apply_topics(site.options.topics, site.config)


@contextmanager
def broken_events(site: Site) -> Iterator[None]:
    """A producer's new release writes what is no event."""

    def write() -> None:
        site.sender.send(UPLOADED, b"broken", b'{"schema": "media.uploaded/1", "media_id": 7}')

    with _meanwhile(write, 0.5):
        yield


@contextmanager
def decoders_killed(site: Site) -> Iterator[None]:
    """Something kills decoder children, as a kernel short of memory does, in a busy hour."""

    (template,) = (child for child in live_children(site.worker_pid) if "zygote" in _command(child))

    def kill() -> None:
        for child in live_children(template):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    with _meanwhile(kill, 0.1), _meanwhile(site.upload, EVERY / 2):
        yield


@contextmanager
def source_away(site: Site) -> Iterator[None]:
    """A store of media refuses connections."""
    numbers = count()

    def publish() -> None:
        name = f"away-{uuid4()}"
        site.publish(name, f"http://{site.origin}/{next(numbers)}.jpg")

    with _meanwhile(publish, 1.0):
        yield


@contextmanager
def policy_refused(site: Site) -> Iterator[None]:
    """Somebody puts a policy in place that cannot be read."""
    (site.place / "policy.yaml").write_text("rules: [", encoding="utf-8")
    yield
    shutil.copy(DEFAULT, site.place / "policy.yaml")


@contextmanager
def policies_differ(site: Site) -> Iterator[None]:
    """A worker joins whose file is not what the others hold."""
    changed = site.place / "other-policy.yaml"
    changed.write_text(DEFAULT.read_text(encoding="utf-8").replace("swap_likely: 0.83", "swap_likely: 0.84"))
    with _peer(site, UNMASK_POLICY_FILE=str(changed)) as peer:
        peer.begin()
        peer.wait_ready()
        yield
    shutil.copy(changed, site.place / "policy.yaml")  # all have the same now


@contextmanager
def peers_come_and_go(site: Site) -> Iterator[None]:
    """A worker is started and ended again and again."""
    stop = threading.Event()
    with _peer(site) as peer:

        def restart() -> None:
            while not stop.is_set():
                peer.begin()
                stop.wait(9.0)
                peer.stop()

        hand = threading.Thread(target=restart)
        hand.start()
        try:
            yield
        finally:
            stop.set()
            hand.join()


@contextmanager
def nobody_answers(site: Site) -> Iterator[None]:
    """Requests of the day before, and requests whose day is nearly over. At last they are answered."""
    now = datetime.now(UTC)
    site.ask(RequestKind.REMOVAL, now - timedelta(hours=30), 3)
    site.ask(RequestKind.REMOVAL, now - timedelta(hours=23, minutes=30), 3)
    yield
    token = site.token("ann")
    _until(lambda: not site.answer(token, "requests"), 60, "all requests are answered")


@contextmanager
def cases_left_open(site: Site) -> Iterator[None]:
    """Thirty people take a case and close the browser."""
    for number in range(30):
        assert site.claim(site.token(f"away-{number}"), "appeals")
    yield


@contextmanager
def audit_log_stuck(site: Site) -> Iterator[None]:
    """The table of the log swallows what is written, while people answer."""
    token = site.token("ann")
    site.database.say(
        "create function swallow() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger swallow before insert on audit_log for each row execute function swallow()"
    )
    with _meanwhile(lambda: site.answer(token, "appeals"), 3.0):
        yield
    site.database.say("drop trigger swallow on audit_log; drop function swallow()")


@contextmanager
def console_stopped(site: Site) -> Iterator[None]:
    """The only one."""
    assert site.stack.console
    site.stack.console.stop()
    yield
    site.stack.console.start()


@contextmanager
def statements_wait(site: Site) -> Iterator[None]:
    """Nobody sends them. A day is too long for a drill: the first one's date is set back."""
    (media_id,) = site.ask(RequestKind.REMOVAL, datetime.now(UTC), 1)
    _until(lambda: any(t.media_id == media_id for t in site.ledger.open_tasks("requests")), 60, "the request is open")
    site.database.say("update statements set queued_at = queued_at - interval '25 hours' where state = 'queued'")
    yield
    site.database.say("update statements set state = 'sent' where state = 'queued'")


@contextmanager
def people_disagree(site: Site) -> Iterator[None]:
    """Of sixty cases people rule out every face swap, and confirm none. Only time ends that."""
    for task in site.ledger.open_tasks("appeals", limit=60):
        send(site.config, [(REVIEW_DECIDED, task.media_id, _allowed(task, Family.FACE_SWAP))])
    yield


FAULTS: dict[str, Fault] = {
    "console-stopped": console_stopped,
    "policy-refused": policy_refused,
    "policies-differ": policies_differ,
    "broken-events": broken_events,
    "decoders-killed": decoders_killed,
    "source-away": source_away,
    "nobody-answers": nobody_answers,
    "cases-left-open": cases_left_open,
    "audit-log-stuck": audit_log_stuck,
    "people-disagree": people_disagree,
    "statements-wait": statements_wait,
    "triton-stopped": triton_stopped,
    "model-does-not-fit": model_does_not_fit,
    "worker-frozen": worker_frozen,
    "peers-come-and-go": peers_come_and_go,
    "topic-missing": topic_missing,
    "broker-away": broker_away,
    "database-away": database_away,
}
NEEDS_APPEALS = {"cases-left-open": 30, "audit-log-stuck": 60, "people-disagree": 60}
"""Open before the fault begins."""


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """An alert that fired. `fires`: seconds from the beginning of the fault, or from its end where the alert speaks of
    what comes late then. `ends`: seconds from the end of the fault; None: it did not end while it was waited for."""

    fault: str
    alert: str
    labels: Mapping[str, str]
    by: float
    fires: float
    ends: float | None
    due: bool
    afterwards: bool


@dataclass(frozen=True, slots=True)
class Played:
    """One fault. `lasted`: seconds."""

    fault: str
    by: float
    calm: float
    lasted: float
    verdict: Verdict
    lines: tuple[Line, ...]


def play(site: Site, name: str, calm: float, say: Callable[[str], None]) -> Played:
    """Calm, the fault until all that is due fires, and the end."""
    by = OTHERWISE.get(name, BY)
    musts = DRILLS[name].must
    wanted = NEEDS_APPEALS.get(name, 0) - len(site.ledger.open_tasks("appeals"))
    if wanted > 0:
        site.appeals(wanted)
    with Watch(site.place / f"prometheus-{name}-{uuid4().hex[:6]}", site.targets, by) as watch:
        _settled(watch, name)
        began = time.time()
        _wait_seconds(began, calm)
        early = sorted({firing.alert for firing in watch.fired() if firing.since >= began})
        say(f"{name}: {calm:.0f} s of calm, fired: {early or 'nothing'}")
        struck = time.time()
        during = [due for due in musts if not due.afterwards]
        with FAULTS[name](site):
            _wait(watch, during, struck, max((due.needs(by) for due in during), default=0.0) + SLACK, say)
            _wait_seconds(struck, max((due.state for due in musts if due.afterwards), default=0.0))
            broken = time.time()
        ended = time.time()
        later = [due for due in musts if due.afterwards]
        _wait(watch, later, ended, max((due.rule / by for due in later), default=0.0) + SLACK, say)
        _until_over(watch, by)
        fired = tuple(firing for firing in watch.fired() if firing.since >= began)
    fault = Struck(name, struck, ended)
    lines = tuple(_line(firing, fault, broken, by, musts) for firing in fired if firing.since >= struck)
    return Played(name, by, calm, ended - struck, judge([fault], fired, by, expected=DRILLS), lines)


def _wait(watch: Watch, dues: list[Due], since: float, patience: float, say: Callable[[str], None]) -> None:
    """Until all fire, or patience ends."""
    told: set[int] = set()
    while len(told) < len(dues) and time.time() - since < patience:
        fired = watch.fired()
        for number, due in enumerate(dues):
            if number not in told and any(_is(due, firing) and firing.since >= since for firing in fired):
                told.add(number)
                say(f"  {due.alert} {dict(due.labels)} after {time.time() - since:.0f} s")
        time.sleep(1.0)


def _wait_seconds(since: float, seconds: float) -> None:
    while (left := since + seconds - time.time()) > 0:
        time.sleep(min(1.0, left))


def _settled(watch: Watch, name: str) -> None:
    """Until nothing has been pending for a while: Prometheus has just begun to look, and the fault before may echo."""
    until = time.time() + 2 * SETTLING
    since = time.time()
    while time.time() - since < 10.0:
        time.sleep(1.0)
        if not watch.quiet():
            since = time.time()
        if since > until:
            raise AssertionError(f"{name}: it does not become calm: {sorted(watch.prometheus.firing())}")


def _until_over(watch: Watch, by: float) -> None:
    """Until those have ended that can end soon."""
    until = time.time() + SETTLING
    while time.time() < until:
        going = [firing for firing in watch.fired() if firing.until is None and reach(firing.alert) / by < SETTLING]
        if not going:
            return
        time.sleep(1.0)


def _is(due: Due, firing: Firing) -> bool:
    return due.alert == firing.alert and due.labels.items() <= firing.labels.items()


def _line(firing: Firing, fault: Struck, broken: float, by: float, musts: tuple[Due, ...]) -> Line:
    due = next((each for each in musts if _is(each, firing)), None)
    afterwards = firing.since > broken
    since = broken if afterwards else fault.began
    labels = {name: value for name, value in firing.labels.items() if name != "severity"}
    ends = None if firing.until is None else firing.until - broken
    return Line(fault.kind, firing.alert, labels, by, firing.since - since, ends, due is not None, afterwards)


@contextmanager
def site_of(place: Path, say: Callable[[str], None]) -> Iterator[Site]:
    """The stack, and uploads all the while."""
    settings = Settings()
    home = place / "home"
    home.mkdir()
    for part in ("kafka", "triton", "learn", "sources"):  # what was fetched; logs and spool are of this run alone
        if (settings.home / part).exists():
            (home / part).symlink_to((settings.home / part).absolute())
    say("models")
    build(settings.models_dir, settings.home)
    models = place / "models"
    shutil.copytree(settings.models_dir, models, copy_function=_link)
    media = place / "media"
    media.mkdir()
    for number in range(200):
        write_jpeg(media / f"{number}.jpg", rendered(number, 120, 160))
    shutil.copy(DEFAULT, place / "policy.yaml")
    (port,) = free_ports(1)
    origin = f"127.0.0.1:{port}"
    with ExitStack() as undo:
        database = Database(undo.enter_context(running_postgres()))
        undo.callback(database.end)
        options = StackOptions(
            home=home,
            models_dir=models,
            topics=topics(load(None).queues, 4),
            broker="kafka",
            kafka_data=place / "kafka",
            media_roots=(media,),
            fetch_schemes=("http",),
            database_url=database.url,
            environment={
                **os.environ,
                "UNMASK_POLICY_FILE": str(place / "policy.yaml"),
                "UNMASK_POLICY_POLL_SECONDS": "1",
                "UNMASK_POLICY_LEAD_SECONDS": "3",
                "UNMASK_ITEM_DEADLINE": "12",
                "UNMASK_TRITON_TIMEOUT": "4",
                "UNMASK_DECODE_WORKERS": "1",
                "UNMASK_FETCH_HOSTS": origin,
                "UNMASK_FETCH_PRIVATE_ADDRESSES": "true",
                "UNMASK_CONSOLE_GRACE_SECONDS": "1",
                "UNMASK_CONSOLE_LEASE_SECONDS": "15",
            },
            console=True,
        )
        say("stack")
        stack = undo.enter_context(Stack(options, lambda event: _tell(event, say)))
        ledger = Ledger(database.url)
        undo.callback(ledger.close)
        site = Site(
            place, stack, options, database, ledger, origin, Sender({"bootstrap.servers": stack.bootstrap_servers})
        )
        with _meanwhile(site.upload, EVERY):
            yield site


def _tell(event: StackEvent, say: Callable[[str], None]) -> None:
    if event.part != "topics":
        say(f"  {event.part}: {event.kind} {event.detail}")


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _broken_uploads(site: Site) -> Callable[[], None]:
    def upload() -> None:
        name = f"broken-{uuid4()}"
        path = site.place / "media" / f"{name}.jpg"
        path.write_bytes(b"\xff\xd8 no picture")
        site.publish(name, path.as_uri())

    return upload


@contextmanager
def _peer(site: Site, **changes: str) -> Iterator[Worker]:
    """A second worker, not yet started; it is ended at last."""
    environment = worker_environment(site.options, site.stack.bootstrap_servers, site.stack.triton_url)
    peer = Worker(2, {**environment, **changes}, site.options, ignore)
    try:
        yield peer
    finally:
        peer.stop()


@contextmanager
def _meanwhile(do: Callable[[], object], every: float) -> Iterator[None]:
    """Again and again in a thread of its own. Raises at the end what went wrong in it."""
    stop = threading.Event()
    wrong: list[BaseException] = []

    def again() -> None:
        try:
            while not stop.wait(every):
                do()
        except BaseException as error:  # noqa: BLE001 (handed to whoever waits)
            wrong.append(error)

    hand = threading.Thread(target=again, daemon=True)
    hand.start()
    try:
        yield
    finally:
        stop.set()
        hand.join()
    if wrong:
        raise wrong[0]


def _until(done: Callable[[], bool], patience: float, what: str) -> None:
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.2)


def markdown(played: list[Played]) -> str:
    """What fired, as docs/dashboards.md has it."""
    rows = ["| fault | alert | faster | fires after, s | ends after, s |", "|---|---|---|---|---|"]
    for line in (line for each in played for line in each.lines):
        labels = "".join(f" `{value}`" for value in line.labels.values())
        fires = f"{line.fires:.0f}{', from the end' if line.afterwards else ''}"
        ends = "–" if line.ends is None else f"{line.ends:.0f}"
        rows.append(f"| {line.fault} | {line.alert}{labels} | {line.by:g} | {fires} | {ends} |")
    return "\n".join(rows)


def main(given: list[str]) -> int:
    """Exit status 0: everything that should fire did, and nothing else."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.drill", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(FAULTS), help="faults, with commas; all when not given")
    parser.add_argument("--calm", type=float, default=120.0, help="seconds of calm before the first fault")
    parser.add_argument("--json", type=Path, help="write what was seen here")
    parser.add_argument("--keep", type=Path, help="leave logs in this folder, which must not exist")
    asked = parser.parse_args(given)
    names = asked.only.split(",")
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    place = asked.keep.absolute() if asked.keep else Path(tempfile.mkdtemp(prefix="unmask-drill-"))
    place.mkdir(parents=True, exist_ok=asked.keep is None)
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.1f} {text}\n")
        sys.stdout.flush()

    played: list[Played] = []
    with site_of(place, say) as site:
        for name in names:
            done = play(site, name, asked.calm if not played else CALM, say)
            played.append(done)
            for line in done.lines:
                ends = "–" if line.ends is None else f"{line.ends:.0f}"
                say(f"  {line.alert} {dict(line.labels)}: fires {line.fires:.0f} s, ends {ends} s after")
            for trouble in (*done.verdict.missing, *(f"unexpected: {each}" for each in done.verdict.unexpected)):
                say(f"  ✗ {trouble}")
            if asked.json:
                asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(played)) + b"\n")
    say(f"\n{markdown(played)}")
    holds = all(each.verdict.holds for each in played)
    if asked.keep is None and holds:
        shutil.rmtree(place)
    else:
        say(f"logs: {place}")
    say("every alarm that should ring rang, and no other" if holds else "the alarms are not what they should be")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
