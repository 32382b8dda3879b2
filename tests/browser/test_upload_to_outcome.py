"""The whole path: the demo's blended face is uploaded, screened, looked at in Chromium, decided, and enforced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from pipeline.console.accounts import make_account
from pipeline.demo.samples import make_samples
from pipeline.events import DecidedBy, OutcomeStatus
from pipeline.events.values import Action
from pipeline.ledger.people import People
from pipeline.ledger.work import Work
from pipeline.review.chain import verify
from pipeline.review.people import Person, Role
from tests.browser.conftest import REPOSITORY
from tests.stacks import Platform, platform_on, stack_options

GRACE = 2


@pytest.fixture(scope="module")
def platform(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Broker, Triton, worker and console, all real."""
    folder = tmp_path_factory.mktemp("path")
    environment = {"UNMASK_CONSOLE_GRACE_SECONDS": str(GRACE)}
    with platform_on(stack_options(home, folder, environment, console=True)) as platform:
        yield platform


def test_from_an_upload_to_its_outcome(platform: Platform, browser: Browser, home: Path) -> None:
    """A provisional outcome, a case in the console, an answer, and the final outcome that says so; the views and
    the decision are in the log, whose chain holds."""
    (blended,) = [
        sample
        for sample in make_samples(platform.media, REPOSITORY / "models", home, lambda _: None)
        if sample.name == "face-blended.jpg"
    ]
    assert blended.path
    upload = platform.upload(blended.path)
    assert platform.outcome(upload).status is OutcomeStatus.PROVISIONAL
    platform.task(upload)

    people = People(platform.ledger)
    password = make_account(
        people, Person("ann", "Ann", frozenset({Role.REVIEWER}), frozenset({"*"})), datetime.now(UTC)
    )
    assert platform.stack.console
    page = browser.new_context().new_page()
    page.goto(platform.stack.console.url)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.get_by_label("New password").fill("a harbour in winter")
    page.keyboard.press("Enter")
    expect(page.locator(".depth", has_text="1")).to_be_visible()
    page.keyboard.press("n")
    page.wait_for_function("() => document.querySelector('.stage img')?.naturalWidth > 100", timeout=60_000)
    expect(page.get_by_role("heading", name="What the machine believes")).to_be_visible()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()

    final = platform.outcome(upload, status=OutcomeStatus.FINAL)
    assert (final.action, final.decided_by) == (Action.REMOVE, DecidedBy.PERSON)
    work = Work(platform.ledger)
    end = time.monotonic() + 30
    while work.queue_states(("faces",), datetime.now(UTC))["faces"].depth and time.monotonic() < end:
        time.sleep(0.2)
    assert work.queue_states(("faces",), datetime.now(UTC))["faces"].depth == 0
    verbs = [entry.verb for entry in work.log_entries()]
    assert [verb for verb in verbs if verb in ("signed in", "opened", "answered")][-2:] == ["opened", "answered"]
    assert verify(work.log_entries()).broken_at is None
