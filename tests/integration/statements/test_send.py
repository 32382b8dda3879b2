"""Statements over HTTP: an endpoint that fails, hangs, refuses and forgets to answer; a sender that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ConfigError, UnmaskError
from pipeline.events.values import Action
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.statements import Outbox
from pipeline.statements.answers import ALREADY
from pipeline.statements.drafts import drafts
from pipeline.statements.folder import Folder
from pipeline.statements.outbox import Flushed, flush
from pipeline.statements.rows import StatementState
from pipeline.statements.send import Endpoint, Patience
from tests.dsa_database import TOKEN, Database, answers, hangs, running, takes_and_drops
from tests.integration.conftest import REPOSITORY
from tests.restricted import HARMS, hit, restricted
from tests.statement_promises import record

QUICK = Patience(call=0.5, within=5.0, first=0.01, longest=0.05)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with running() as database:
        yield database


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", partial(drafts, harms=HARMS))
    ledger.migrate()
    yield ledger
    ledger.close()


def fill(ledger: Ledger, count: int) -> Outbox:
    for number in range(count):
        record(ledger, restricted(Action.LIMIT, media_id=f"m-{number}"))
    return Outbox(ledger)


async def send(outbox: Outbox, database: Database, *, token: str = TOKEN, patience: Patience = QUICK) -> Flushed:
    async with Endpoint(database.url, token, patience) as endpoint:
        return await flush(outbox, endpoint.deliver, clock=lambda: datetime.now(UTC))


def states(outbox: Outbox) -> dict[str, int]:
    return {state: count for state, count in outbox.counts().items() if count}


async def test_everything_is_sent_in_hundreds_and_once(database: Database, ledger: Ledger) -> None:
    """250 statements are three calls; a second run has nothing to do."""
    outbox = fill(ledger, 250)
    done = await send(outbox, database)
    assert (done.batches, done.sent, done.already) == (3, 250, 0)
    assert sorted(database.calls) == [50, 100, 100]
    assert states(outbox) == {"sent": 250}
    for entry in outbox.entries():
        assert database.created[entry.puid] == json.loads(entry.body)
        assert entry.receipt
    assert await send(outbox, database) == Flushed()
    assert len(database.calls) == 3


async def test_trouble_passes(database: Database, ledger: Ledger) -> None:
    """Too many calls, a broken gateway and a call without an answer are repeated, and nothing is there twice."""
    outbox = fill(ledger, 3)
    database.moods = [answers(503), answers(429, **{"Retry-After": "0"}), hangs, answers(502)]
    done = await send(outbox, database)
    assert (done.sent, done.trouble) == (3, None)
    assert len(database.calls) == 5
    assert states(outbox) == {"sent": 3}


async def test_an_endpoint_that_stays_away_is_left_alone(database: Database, ledger: Ledger) -> None:
    """The run stops with the reason; everything stays queued, and the next run sends it."""
    outbox = fill(ledger, 2)
    database.moods = [answers(500)] * 50
    done = await send(outbox, database, patience=Patience(call=0.5, within=0.2, first=0.05, longest=0.05))
    assert done.trouble is not None
    assert "500" in done.trouble
    assert states(outbox) == {"queued": 2}
    database.moods = []
    assert (await send(outbox, database)).sent == 2


async def test_a_longer_wait_than_there_is_time_for_is_not_begun(database: Database, ledger: Ledger) -> None:
    """`Retry-After: 3600` ends the run at once."""
    outbox = fill(ledger, 1)
    database.moods = [answers(429, **{"Retry-After": "3600"})]
    assert (await send(outbox, database)).trouble is not None
    assert database.calls == [1]


async def test_nobody_listens(ledger: Ledger) -> None:
    """An endpoint that is not there leaves everything queued."""
    outbox = fill(ledger, 1)
    async with Endpoint("http://127.0.0.1:9/statements", TOKEN, Patience(0.5, 0.1, 0.02, 0.02)) as endpoint:
        done = await flush(outbox, endpoint.deliver, clock=lambda: datetime.now(UTC))
    assert done.trouble is not None
    assert states(outbox) == {"queued": 1}


async def test_half_a_batch_is_refused(database: Database, ledger: Ledger) -> None:
    """The endpoint takes none of such a call; the good half is sent again, the bad half keeps its reason."""
    outbox = fill(ledger, 10)
    database.wrong = {entry.puid for entry in outbox.entries()[::2]}
    done = await send(outbox, database)
    assert (done.sent, len(done.refused)) == (5, 5)
    assert states(outbox) == {"refused": 5, "sent": 5}
    for entry in outbox.entries([StatementState.REFUSED]):
        assert entry.puid in database.wrong
        assert "category is invalid" in (entry.why or "")
    assert await send(outbox, database) == Flushed()


async def test_a_refusal_without_a_reason_is_narrowed_down(database: Database, ledger: Ledger) -> None:
    """Calls are halved until the one that cannot be read stands alone."""
    outbox = fill(ledger, 8)
    bad = outbox.entries()[3].puid

    async def mood(_: Database, _request: web.Request, statements: list[dict[str, Any]]) -> web.StreamResponse | None:
        return web.Response(status=400) if any(each["puid"] == bad for each in statements) else None

    database.moods = [mood] * 50
    done = await send(outbox, database)
    assert (done.sent, list(done.refused)) == (7, [bad])


async def test_what_was_taken_without_an_answer_is_not_sent_twice(database: Database, ledger: Ledger) -> None:
    """The connection broke after the statements were created: the repeat is refused, and counts as sent."""
    outbox = fill(ledger, 4)
    database.moods = [takes_and_drops]
    done = await send(outbox, database)
    assert (done.sent, done.already) == (4, 4)
    assert len(database.created) == 4
    assert {entry.receipt for entry in outbox.entries()} == {ALREADY}


async def test_what_the_endpoint_does_not_confirm_stays_queued(database: Database, ledger: Ledger) -> None:
    """A 201 that lists half of them: the other half is asked about again next time."""
    outbox = fill(ledger, 4)

    async def mood(database: Database, _request: web.Request, statements: list[dict[str, Any]]) -> web.Response:
        database.take(statements)
        return web.json_response({"statements": [{**each, "uuid": "u"} for each in statements[:2]]}, status=201)

    database.moods = [mood]
    done = await send(outbox, database)
    assert (done.sent, len(done.silent)) == (2, 2)
    assert states(outbox) == {"queued": 2, "sent": 2}
    assert (await send(outbox, database)).already == 2
    assert len(database.created) == 4


async def test_two_senders_at_once_do_no_harm(database: Database, ledger: Ledger) -> None:
    """Whoever comes second is told that it is there."""
    outbox = fill(ledger, 30)
    first, second = await asyncio.gather(send(outbox, database), send(outbox, database))
    assert states(outbox) == {"sent": 30}
    assert len(database.created) == 30
    assert not first.refused
    assert not second.refused


async def test_a_wrong_token_marks_nothing(database: Database, ledger: Ledger) -> None:
    """The operator reads which setting it is."""
    outbox = fill(ledger, 1)
    with pytest.raises(ConfigError, match="UNMASK_DSA_TOKEN"):
        await send(outbox, database, token="2|old")
    assert states(outbox) == {"queued": 1}


async def test_redirects_are_not_followed(database: Database, ledger: Ledger) -> None:
    """The token is for the address that the operator named."""
    outbox = fill(ledger, 1)
    database.url = database.url.replace("/api/v1/statements", "/moved")
    with pytest.raises(ConfigError, match="302"):
        await send(outbox, database)
    assert database.created == {}


@pytest.mark.parametrize("url", ["http://dsa.example/statements", "https://anna@dsa.example/x", "ftp://dsa.example/"])
def test_the_token_does_not_travel_in_the_clear(url: str) -> None:
    """Only https, and the machine itself."""
    with pytest.raises(ConfigError):
        Endpoint(url, TOKEN)


async def test_a_sender_that_dies_before_it_marks_writes_the_same_files_again(tmp_path: Path, ledger: Ledger) -> None:
    """What was queued meanwhile comes into a file of its own; no statement is in two files."""
    outbox = fill(ledger, 5)
    folder = tmp_path / "out"

    class Dies(Outbox):
        def mark_sent(self, receipts: object, now: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await flush(Dies(ledger), Folder(folder).deliver, clock=lambda: datetime.now(UTC))
    (first,) = folder.iterdir()
    written = first.read_bytes()
    record(ledger, restricted(Action.REMOVE, media_id="m-new"))
    done = await flush(outbox, Folder(folder).deliver, clock=lambda: datetime.now(UTC))
    assert done.sent == 6
    assert first.read_bytes() == written
    puids = [each["puid"] for path in folder.iterdir() for each in json.loads(path.read_bytes())["statements"]]
    assert len(puids) == len(set(puids)) == 6


async def unmask(*arguments: str, home: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.cli", *arguments,
        cwd=REPOSITORY,
        env={**os.environ, "UNMASK_HOME": str(home), "COLUMNS": "200", "UNMASK_DSA_TOKEN": TOKEN, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def here(*arguments: str, home: Path, **environment: str) -> Result:
    """The command in this process, which is quicker."""
    settings = {"UNMASK_HOME": str(home), "UNMASK_DSA_TOKEN": TOKEN, "COLUMNS": "200", **environment}
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=settings)


async def output(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_command_that_is_killed_between_sending_and_marking(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    """SIGKILL after the database has the batch and before the answer: the next run ends it, nothing is there twice."""
    outbox = fill(ledger, 120)
    arguments = ("report", "dsa", "--to", database.url, "--json")
    process = await unmask(*arguments, home=tmp_path)

    async def kills(database: Database, _request: web.Request, statements: list[dict[str, Any]]) -> None:
        database.take(statements)
        process.send_signal(signal.SIGKILL)
        await asyncio.sleep(30)

    database.moods = [kills]
    assert (await output(process))[0] == -signal.SIGKILL
    taken = len(database.created)
    assert taken in (20, 100)
    assert states(outbox) == {"queued": 120}

    status, out, err = await output(await unmask(*arguments, home=tmp_path))
    assert status == 0, err
    found = json.loads(out)
    assert (found["sent"], found["already"], found["refused"]) == (120, taken, {})
    assert len(database.created) == 120
    assert states(outbox) == {"sent": 120}


async def test_the_command_says_what_it_could_not_send(database: Database, ledger: Ledger, tmp_path: Path) -> None:
    """Status 1 with the finding and the refusal; a released statement is sent, and then all is well."""
    outbox = fill(ledger, 2)
    named = hit(Action.LIMIT, "fraud", because="Reported by anna@mail.example.")
    record(ledger, restricted(Action.LIMIT, hits=(named,), media_id="m-named"))
    database.wrong = {outbox.entries(media_id="m-0")[0].puid}

    done = await here("report", "dsa", "--to", database.url, "--dry-run", "--json", home=tmp_path)
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["would_send"]) == 2
    assert database.calls == []

    done = await here("report", "dsa", "--to", database.url, home=tmp_path)
    assert done.exit_code == 1
    kept = outbox.entries([StatementState.REFUSED, StatementState.HELD_BACK])
    assert all(entry.puid in done.stderr for entry in kept)

    done = await here("report", "statements", "--state", "held-back", "--state", "refused", "--json", home=tmp_path)
    rows = {row["media_id"]: row for row in json.loads(done.stdout)}
    assert "category is invalid" in rows["m-0"]["why"]
    assert rows["m-named"]["findings"][0]["excerpt"] == "anna@mail.example"

    database.wrong = set()
    assert (await here("report", "release", *(entry.puid for entry in kept), home=tmp_path)).exit_code == 0
    assert (await here("report", "dsa", "--to", database.url, home=tmp_path)).exit_code == 0
    done = await here("report", "statements", "--state", "sent", "--json", home=tmp_path)
    assert {row["puid"] for row in json.loads(done.stdout)} == set(database.created)


async def test_the_command_prints_a_notice(ledger: Ledger, tmp_path: Path) -> None:
    """As text and as JSON; an upload that nobody decided on is an error."""
    record(ledger, restricted(Action.HOLD, review=True))
    done = await here("report", "notice", "m-1", home=tmp_path, UNMASK_APPEAL_URL="https://platform.example/appeal")
    assert done.exit_code == 0, done.output
    assert "Possible face swap at 00:03.2." in done.stdout
    assert "https://platform.example/appeal" in done.stdout
    done = await here("report", "notice", "m-1", "--json", home=tmp_path)
    assert json.loads(done.stdout)["places"][0]["action"] == "hold"
    done = await here("report", "notice", "m-2", home=tmp_path)
    assert isinstance(done.exception, UnmaskError)
    assert "no decision on m-2" in str(done.exception)
