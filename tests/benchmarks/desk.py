"""Reviewers at work on a full desk: how long the next case and the queue page take, on PostgreSQL, by HTTP.

`python -m tests.benchmarks.desk [--tasks N] [--seconds S] [--json]`. A console in a process of its own; people claim,
keep and answer at the pace of people, leads watch their queues live.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.console.metrics import ConsoleMetrics, keep
from pipeline.console.run import be_prompt, open_parts
from pipeline.console.server import console
from pipeline.errors import Stage
from pipeline.events.codec import encode
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.open_work import OpenWork
from pipeline.ledger.people import People
from pipeline.ledger.turns import Turns
from pipeline.policy.file import load
from pipeline.review.people import Person, Role
from pipeline.review.relay import Turn, gather, relay
from pipeline.route import route
from pipeline.settings import Settings
from pipeline.stack.ports import free_ports
from tests.benchmarks.measured import Measured
from tests.postgres import running_postgres
from tests.records import decided, upload

TASKS = 100_000
PEOPLE, LEADS = 50, 5
PACE = 20.0
"""Seconds from one claim of a person's to the next, on average: fast work, as bulk queues see it."""
SECONDS = 90.0
WARM = 30.0
"""Seconds in which a console that has just begun reads all open cases, for near copies, and its connections to the
database have not yet run each statement so often that it is prepared: told apart."""
_ANSWERED = TASKS // 5
_REPOSITORY = Path(__file__).parents[2]
_HOW = (
    f"{PEOPLE} people claim, keep and answer over HTTP, each about every {PACE:.0f} s, and {LEADS} leads watch the live"
    " queue page; each answer carries the whole case. The console also gathers near copies, reads its metrics and"
    " publishes, to nowhere. The load, the console and the database share the machine."
)


@dataclass
class Times:
    """Seconds that answers took, by what was asked; `cold`: claims while the console was still beginning."""

    claim: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    queues: list[float] = field(default_factory=list)
    page: list[float] = field(default_factory=list)


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("URL", "PORT", "HOME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(_serve(*arguments.serve))
        return 0
    measured = measure(arguments.tasks, arguments.seconds)
    if arguments.json:
        print(json.dumps([asdict(row) for row in measured]))
    else:
        for row in measured:
            print(f"{row.what}: {row.value:.4g} {row.unit}")
    return 0 if all(row.passed for row in measured) else 1


def measure(count: int, seconds: float) -> list[Measured]:
    """Fill the desk, let people work, and say what they waited for."""
    with running_postgres() as server:
        ledger = Ledger(server.url)
        ledger.migrate()
        fill(ledger, count)
        tokens = _people(ledger)
        with _console(server.url) as address:
            times = asyncio.run(_work(address, tokens, seconds))
        claimed = _leases(ledger)
        ledger.close()
    return [
        _share(f"next case with {count:,} waiting: 95th percentile", times.claim, 0.95, 50.0),
        _share("the same, 99th percentile", times.claim, 0.99),
        _share("the same, median", times.claim, 0.5),
        _share(f"the same in a console's first {WARM:.0f} s, median", times.cold, 0.5),
        _share("an answer, 95th percentile", times.answer, 0.95),
        _share("queues by the API, 95th percentile", times.queues, 0.95, 300.0),
        _share("the queue page, 95th percentile", times.page, 0.95, 300.0),
        Measured("desk", "tasks that two people answered", "", float(claimed), target=0.0),
    ]


def _share(what: str, times: list[float], share: float, target: float | None = None) -> Measured:
    """Of so many answers; milliseconds."""
    value = median(times) if share == 0.5 else quantiles(times, n=100, method="inclusive")[round(share * 100) - 1]
    spread = (1000 * min(times), 1000 * max(times))
    return Measured("desk", f"{what} of {len(times)}", "ms", 1000 * value, spread, target=target, how=_HOW)


_DRAWN = """
CREATE TEMPORARY TABLE drawn AS
SELECT n, 'upload-' || lpad(n::text, 7, '0') AS media_id, gen_random_uuid() AS task_id, n < :open AS waits,
       (CAST(:queues AS text[]))[1 + n % cardinality(CAST(:queues AS text[]))] AS queue,
       now() - random() * interval '2 days' AS asked, now() + (random() * 25 - 1) * interval '1 hour' AS start
FROM generate_series(0, :count - 1) AS n
"""
_COPIES = (
    """
    INSERT INTO uploads (media_id, round, uri, sha256, surface, uploader_id, uploaded_at) SELECT media_id, 1,
    's3://uploads/' || media_id, lpad(to_hex(n), 64, '0'), 'post', 'u-' || n % 20000, asked FROM drawn
    """,
    """
    INSERT INTO decisions (media_id, round, decision_id, decided_at, action, policy_version, event) SELECT media_id,
    1, gen_random_uuid(), asked, 'hold', 'p1', replace(replace(:decided, :media_id, media_id), :uploader,
    'u-' || n % 20000) FROM drawn
    """,
    """
    INSERT INTO tasks (task_id, media_id, round, state, queue, harm, priority, requested_at, deadline, start_by,
    event) SELECT task_id, media_id, 1, CASE WHEN waits THEN 'open' ELSE 'decided' END, queue, 'impersonation', n *
    7 % 100, asked, start + interval '1 hour', start, replace(replace(replace(replace(:task, :media_id, media_id),
    :task_id, task_id::text), '"faces"', '"' || queue || '"'), :uploader, 'u-' || n % 20000) FROM drawn
    """,
    """
    INSERT INTO outcomes (media_id, round, status, outcome_id, action, decided_by, enforced_at, event) SELECT
    media_id, 1, 'provisional', gen_random_uuid(), 'hold', 'policy', asked, replace(:outcome, :media_id, media_id)
    FROM drawn
    """,
    """
    INSERT INTO work (task_id, case_id, needs_lead) SELECT task_id, task_id, 0 FROM drawn WHERE waits
    """,
    """
    INSERT INTO looks (answer_id, task_id, reviewer_id, queue, action, at, seconds, event) SELECT gen_random_uuid(),
    task_id, 'p' || n % 50, queue, 'allow', asked, 30 + n % 90, '{}' FROM drawn WHERE NOT waits
    """,
)


def fill(ledger: Ledger, count: int, answered: int = _ANSWERED) -> None:
    """So many tasks that wait, in every queue of the default policy, and so many that were answered in two days.

    Copies of one upload's rows, made by the database; its events are as heavy as those of a plain photograph.
    """
    made = decided("the-first", review="faces", upload=upload("the-first", uploader_id="the-uploader"))
    follows = route(made)
    assert follows.task is not None
    words = {"media_id": made.media_id, "task_id": str(follows.task.task_id)}
    words |= {"uploader": "the-uploader", "decided": encode(made).decode(), "task": encode(follows.task).decode()}
    words |= {"outcome": encode(follows.outcome).decode()}
    numbers = {"open": count, "count": count + answered, "queues": list(load(None).queues)}
    with ledger.writing(Stage.ROUTE) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT setseed(0.5)"))
        connection.execute(text(_DRAWN), numbers)
        for copy in _COPIES:
            known = {name: value for name, value in words.items() if f":{name}" in copy}
            connection.execute(text(copy), known)
    with ledger.reading(Stage.ROUTE) as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        alone.execute(text("SET statement_timeout = 0"))
        alone.execute(text("VACUUM ANALYZE"))
        alone.execute(text("CHECKPOINT"))  # what was filled in is not written while people work
        alone.execute(text("RESET statement_timeout"))


def _people(ledger: Ledger) -> tuple[list[str], list[str]]:
    """Tokens of reviewers, and of leads."""
    people, now = People(ledger), datetime.now(UTC)

    def token(name: str, role: Role) -> str:
        person = Person(name, name, frozenset({role}), frozenset({"*"}))
        return people.open_session(person, now, now + timedelta(hours=2))

    return (
        [token(f"p{i}", Role.REVIEWER) for i in range(PEOPLE)],
        [token(f"lead{i}", Role.LEAD) for i in range(LEADS)],
    )


def _leases(ledger: Ledger) -> int:
    """How many tasks that waited have more than one answer."""
    query = "SELECT count(*) FROM (SELECT task_id FROM looks GROUP BY task_id HAVING count(*) > 1) twice"
    with ledger.reading(Stage.SETTLE) as connection:
        return int(connection.execute(text(query)).scalar_one())


@contextmanager
def _console(url: str) -> Iterator[str]:
    (port,) = free_ports(1)
    with TemporaryDirectory(prefix="unmask-desk-") as home:
        command = [sys.executable, "-m", "tests.benchmarks.desk", "--serve", url, str(port), home]
        process = subprocess.Popen(command, cwd=_REPOSITORY, stdout=sys.stderr)  # ours is for what was measured
        try:
            address = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"{address}/readyz").raise_for_status()
                    break
                except httpx.HTTPError:
                    if time.monotonic() > end or process.poll() is not None:
                        raise
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=30)


async def _serve(url: str, port: str, home: str) -> None:
    policy = load(None)
    settings = Settings(database_url=url, home=Path(home), console_secret=SecretStr(secrets.token_urlsafe(32)))
    metrics = ConsoleMetrics(CollectorRegistry())
    with closing(Ledger(url)) as ledger:
        async with open_parts(settings, ledger, lambda: policy, metrics) as parts:
            config = uvicorn.Config(console(parts), port=int(port), log_config=None, timeout_graceful_shutdown=1)
            stop, queues = asyncio.Event(), list(policy.queues)
            be_prompt()
            # What a console does beside: gathers near copies, reads its metrics, publishes.
            async with asyncio.TaskGroup() as beside:
                beside.create_task(gather(parts.work, parts.clock, stop))
                beside.create_task(keep(metrics, OpenWork(ledger), lambda: queues, parts.clock, stop))
                beside.create_task(relay(parts.work, Turn(Turns(ledger)), _to_nowhere, parts.clock, stop))
                await uvicorn.Server(config).serve()
                stop.set()


async def _to_nowhere(topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
    """A broker that takes everything."""


async def _work(address: str, tokens: tuple[list[str], list[str]], seconds: float) -> Times:
    """Let everybody work for so long, after the beginning."""
    times, end = Times(), time.monotonic() + WARM + seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits) as client, asyncio.TaskGroup() as group:
        for number, token in enumerate(tokens[0]):
            group.create_task(_reviewer(client, token, times, end, random.Random(number)))
        for token in tokens[1]:
            group.create_task(_lead(client, token, times, end))
        await asyncio.sleep(WARM)
        times.cold += times.claim
        for each in (times.claim, times.answer, times.queues, times.page):
            each.clear()
    return times


async def _timed(
    into: list[float], client: httpx.AsyncClient, method: str, path: str, token: str, **more: object
) -> httpx.Response:
    begun = time.perf_counter()
    headers = {"Authorization": f"Bearer {token}"}
    answer = await client.request(method, path, headers=headers, **more)  # type: ignore[arg-type]
    into.append(time.perf_counter() - begun)
    answer.raise_for_status()
    return answer


async def _reviewer(client: httpx.AsyncClient, token: str, times: Times, end: float, draw: random.Random) -> None:
    await asyncio.sleep(draw.uniform(0, PACE))
    while time.monotonic() < end:
        case = (await _timed(times.claim, client, "POST", "/api/v1/work/claim", token, json={})).json()
        lease = case["lease_id"]
        await asyncio.sleep(draw.uniform(0, PACE))
        await _timed([], client, "POST", f"/api/v1/work/{lease}/keep", token)
        await asyncio.sleep(draw.uniform(0, PACE))
        said = {"action": Action.ALLOW.value}
        await _timed(times.answer, client, "POST", f"/api/v1/work/{lease}/answer", token, json=said)


async def _lead(client: httpx.AsyncClient, token: str, times: Times, end: float) -> None:
    """The page, its numbers, and then its live stream for ten seconds; again."""
    while time.monotonic() < end:
        client.cookies.clear()
        begun = time.perf_counter()
        answer = await client.get("/queues", headers={"Cookie": f"unmask_session={token}"})
        answer.raise_for_status()
        times.page.append(time.perf_counter() - begun)
        await _timed(times.queues, client, "GET", "/api/v1/queues", token)
        try:
            async with asyncio.timeout(10):
                headers = {"Authorization": f"Bearer {token}"}
                async with client.stream("GET", "/api/v1/events", headers=headers) as stream:
                    async for _ in stream.aiter_lines():
                        pass
        except TimeoutError:
            continue


if __name__ == "__main__":
    sys.exit(main())
