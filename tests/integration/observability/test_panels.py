"""Every query of every panel and rule, asked of a real Prometheus that scrapes a real stack under load.

The stack: embedded broker, Triton over the real models, one worker, the console. What comes in: pictures, one of them
twice, broken files, an appeal; people answer at the console and by a tool of the platform's own.
`UNMASK_PICTURES=<folder>` keeps the pictures of the dashboards (those in docs/pictures were made so, with
`UNMASK_LOAD_ROUNDS=60`).
"""

from __future__ import annotations

import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from dashboards.alerts import ALERTS, RECORDED
from dashboards.boards import BOARDS
from dashboards.make import HERE, plain
from dashboards.panels import Board, Panel
from dashboards.render import draw
from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaUploaded, ReviewDecided, SubjectRequested
from pipeline.events.values import Action, Family, RequestKind
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.people import People
from pipeline.models.samples import sample_photographs
from pipeline.publish import send
from pipeline.review.people import EVERY_QUEUE, Person, Role
from pipeline.settings import Settings
from pipeline.stack.up import Stack
from pipeline.topology import REVIEW_DECIDED, SUBJECT_REQUESTED, UPLOADED
from tests.integration.conftest import REPOSITORY
from tests.prometheus import Prometheus
from tests.stacks import stack_options

PATIENCE = 240.0
ROUNDS = int(os.environ.get("UNMASK_LOAD_ROUNDS", "6"))
"""Three uploads each."""
WINDOW = "30s"
EXERCISED = {"Appeals that ended milder, share"}
"""Panels that may be empty in a healthy deployment and are not here."""
QUIET = {"UnmaskScreeningFailsFast", "UnmaskNoWorker", "UnmaskConsoleDown", "UnmaskBreakerOpen", "UnmaskOutboxStuck"}
"""Alerts that this run must not set off; that others may be pending is no fault: its files are broken on purpose."""

pytestmark = pytest.mark.timeout(900)


@dataclass
class Run:
    """What was seen, and from when to when."""

    prometheus: Prometheus
    start: float
    end: float


def _title(panel: Panel) -> str:
    return panel.title


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.5)


def asked(url: str, token: str, path: str, body: dict[str, Any]) -> Any:
    """One call of the console's API."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer) if answer.status == 200 else None
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read()!r}") from error


@pytest.fixture(scope="module")
def collector() -> Iterator[str]:
    """Takes spans and forgets them; its URL."""

    class Forget(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forget)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def run(home: Path, collector: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("watched")
    detectors = folder / "detectors.yaml"
    default = (REPOSITORY / "pipeline" / "detect" / "default.yaml").read_text(encoding="utf-8")
    on_trial = default.replace("{name: whole_image, mode: live", "{name: whole_image, mode: shadow")
    assert on_trial != default
    detectors.write_text(on_trial, encoding="utf-8")
    environment = {
        "UNMASK_DETECTORS_FILE": str(detectors),
        "UNMASK_CONSOLE_GRACE_SECONDS": "1",
        "UNMASK_OTLP_ENDPOINT": collector,
    }
    options = stack_options(home, folder, environment, console=True)
    with Stack(options) as stack:
        assert stack.triton
        assert stack.console
        targets = {
            "unmask-worker": [worker.http_address for worker in stack.workers],
            "unmask-console": [stack.console.metrics_address],
            "triton": [stack.triton.addresses.metrics],
        }
        ledger = Ledger(options.database_url or "")
        with Prometheus(folder / "prometheus", targets, HERE / "rules") as prometheus:
            start = time.time()
            Load(stack, ledger, folder / "media", home).all()
            time.sleep(8)  # two more looks of the console and of the lag, and the rules that follow
            yield Run(prometheus, start, time.time())
        ledger.close()


class Load:
    """What the platform, the people who are shown and the reviewers do."""

    def __init__(self, stack: Stack, ledger: Ledger, media: Path, home: Path) -> None:
        assert stack.console
        self.ledger, self.media, self.home, self.console = ledger, media, home, stack.console.url
        self.config = client_config(Settings(), stack.bootstrap_servers)
        person = Person("tool", "tool", frozenset({Role.INTEGRATION}), frozenset({EVERY_QUEUE}))
        now = datetime.now(UTC)
        self.token = People(ledger).open_session(person, now, now + timedelta(hours=1))

    def all(self) -> None:
        """In the order of the flow."""
        photo = next(p for p in sample_photographs(self.home, REPOSITORY / "models") if p.name == "astronaut")
        with Image.open(photo.path) as image:
            write_jpeg(self.media / "portrait.jpg", np.asarray(image.convert("RGB"), np.uint8))
        names = []
        for number in range(ROUNDS):
            write_jpeg(self.media / f"rendered-{number}.jpg", rendered(number))
            (self.media / f"broken-{number}.jpg").write_bytes(b"\xff\xd8 not a picture")
            names += ["portrait.jpg", f"rendered-{number}.jpg", f"broken-{number}.jpg"]
        first = self.upload("portrait.jpg")
        until(lambda: self.ledger.outcome(first) is not None, "the portrait's outcome")
        sent = []
        for name in names:
            sent.append(self.upload(name))
            time.sleep(0.5)
        until(lambda: all(self.ledger.outcome(media_id) for media_id in sent), "all outcomes")
        self.appeal(first)
        self.answer_by_tool(3)
        self.answer_at_the_console()

    def upload(self, name: str) -> str:
        """Publish; the id."""
        path = self.media / name
        event = MediaUploaded(media_id=str(uuid4()), uri=path.as_uri(), uploaded_at=datetime.now(UTC))
        send(self.config, [(UPLOADED, event.media_id, event)])
        return event.media_id

    def appeal(self, media_id: str) -> None:
        """Somebody does not accept what was decided."""
        event = SubjectRequested(
            request_id=str(uuid4()), kind=RequestKind.APPEAL, received_at=datetime.now(UTC), media_id=media_id
        )
        send(self.config, [(SUBJECT_REQUESTED, event.request_id, event)])
        until(lambda: bool(self.ledger.open_tasks("appeals")), "the appeal's task")

    def answer_by_tool(self, count: int) -> None:
        """Past the console, to the topic."""
        for task in self.ledger.open_tasks("unreadable", limit=count):
            review = ReviewDecided(
                review_id=uuid4(),
                task_id=task.task_id,
                media_id=task.media_id,
                action=Action.ALLOW,
                decided_at=datetime.now(UTC),
                reviewer_id="tool",
                round=task.round,
                confirmed=(Family.SPLICE,),
                denied=(Family.FACE_SWAP,),
            )
            send(self.config, [(REVIEW_DECIDED, task.media_id, review)])
        until(lambda: self.ledger.counts().reviews == count, "what the tool answered is settled")

    def answer_at_the_console(self) -> None:
        """Three cases as they come, and the appeal, by its API."""
        before = self.ledger.counts().reviews
        for queues in ([], [], [], ["appeals"]):
            case = asked(self.console, self.token, "/api/v1/work/claim", {"queues": queues})
            assert case is not None
            said = {"action": "allow", "reason": "looked at it", "denied": ["face_swap"]}
            asked(self.console, self.token, f"/api/v1/work/{case['lease_id']}/answer", said)
        until(lambda: self.ledger.counts().reviews == before + 4, "what was answered is settled")


def shown(run: Run, panel: Panel) -> list[str]:
    """The queries of a panel that bring nothing."""
    nothing = []
    for query in panel.queries:
        found = run.prometheus.over(plain(query.expr, WINDOW), run.start, run.end)
        if not any(math.isfinite(value) for series in found for _, value in series.points):
            nothing.append(query.expr)
    return nothing


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_no_panel_is_empty_that_does_not_say_when_it_is(run: Run, board: Board) -> None:
    """Each query of each panel brings numbers; those of panels that may be empty bring none here."""
    empty = {panel.title: nothing for panel in board.panels if (nothing := shown(run, panel))}
    declared = {panel.title for panel in board.panels if panel.empty} - EXERCISED
    assert {title: exprs for title, exprs in empty.items() if title not in declared} == {}
    assert empty.keys() >= declared, "these say that they may be empty, and are not: they can be tested"


@pytest.mark.parametrize("panel", [panel for board in BOARDS for panel in board.panels if panel.traced], ids=_title)
def test_latency_panels_lead_to_traces(run: Run, panel: Panel) -> None:
    """The buckets behind them name the trace of an item that fell into them."""
    for query in panel.queries:
        assert run.prometheus.traces(plain(query.expr, WINDOW), run.start, run.end)


def test_every_rule_can_be_evaluated(run: Run) -> None:
    """Prometheus reads all rules and finds no fault; recording rules of today's data bring numbers."""
    expected = sum(len(rules) for rules in (*RECORDED.values(), *ALERTS.values()))
    assert run.prometheus.rules() == expected
    assert run.prometheus.failing_rules() == {}
    need_more = {"unmask:signal_drift:gap", "unmask:signal_canary:gap"}
    for rule in (rule for rules in RECORDED.values() for rule in rules):
        found = run.prometheus.over(rule.name, run.start, run.end)
        assert bool(found) == (rule.name not in need_more), rule.name


def test_every_selector_of_every_alert_matches_something(run: Run) -> None:
    """An alert on a series that is never there can never fire: each metric with its labels is asked for by itself."""
    from tests.contract.test_dashboards import selectors

    absent_while_well = {"unmask:signal_drift:gap"}
    read = {(alert.name, each) for alerts in ALERTS.values() for alert in alerts for each in selectors(alert.expr)}
    missing = {
        (name, selector)
        for name, selector in read
        if selector not in absent_while_well and not run.prometheus.over(selector, run.start, run.end)
    }
    assert missing == set()


def test_a_stack_that_is_well_sets_off_no_alarm(run: Run) -> None:
    """Broken files use up no budget; nobody is woken."""
    assert run.prometheus.firing() & QUIET == frozenset()


def test_the_counts_are_those_of_the_load(run: Run) -> None:
    """Decisions, reviews, buried items and the lag are what was sent, counted once."""

    def now(expr: str) -> float:
        (series,) = run.prometheus.now(expr)
        return series.points[0][1]

    assert now('sum(unmask_items_total{agent="screen",result="ok"})') == 1 + 2 * ROUNDS
    assert now('sum(unmask_items_total{agent="screen",result="dead_letter"})') == ROUNDS
    assert now("sum(unmask_decisions_total)") == 1 + 3 * ROUNDS + 1  # the appeal's round too
    assert now("sum(unmask_reviews_total)") == 7
    assert now("sum(unmask_review_answers_total)") == 4
    assert now("sum(unmask_review_appeals_total)") == 1
    assert now('max(unmask_outbox_records{state="due"})') == 0
    assert now("sum(unmask_consumer_lag_records)") == 0
    assert now("max(unmask_consumer_lag_seconds)") == 0
    assert now("sum(unmask_reused_contents_total)") >= ROUNDS


def test_the_dashboards_can_be_drawn(run: Run, tmp_path: Path) -> None:
    """One picture per dashboard, from the same queries."""
    folder = Path(os.environ.get("UNMASK_PICTURES") or tmp_path)
    for board in BOARDS:
        path = folder / f"dashboard-{board.uid.removeprefix('unmask-')}.png"
        draw(board, lambda expr: run.prometheus.over(plain(expr, WINDOW), run.start, run.end), path)
        assert 10_000 < path.stat().st_size < 250_000
