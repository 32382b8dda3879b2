"""A case is one person's until their lease ends: two browsers, one queue."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import expect

from pipeline.console.parts import Times
from pipeline.review.people import Role
from tests.browser.conftest import Serve, Visits
from tests.browser.scene import Site


def test_two_browsers_never_hold_the_same_case(site: Site, visit: Visits) -> None:
    """Each gets another one, whoever comes first; the third finds nothing, and gets what is given back."""
    site.photo("m1")
    site.photo("m2")
    visits = [visit(site, Role.REVIEWER, name=name) for name in ("ann", "bob")]
    for each in visits:
        each.go("/case").locator("lease-clock").wait_for()
    held = [site.parts.work.holding(name, site.now) for name in ("ann", "bob")]
    assert {task.media_id for each in held if each for task in each.tasks} == {"m1", "m2"}
    cy = visit(site, Role.REVIEWER, name="cy")
    expect(cy.go("/case").get_by_role("heading", name="Nothing waits")).to_be_visible()
    visits[0].press("1", "Enter")
    visits[0].page.get_by_role("heading", name="Nothing waits").wait_for()
    assert held[1] is not None
    site.parts.work.release("bob", held[1].lease_id)
    cy.page.get_by_role("button", name="Look again").click()
    expect(cy.page.locator("lease-clock")).to_be_visible()


def test_a_page_that_is_loaded_again_shows_the_same_case(site: Site, visit: Visits) -> None:
    """The lease is the person's, not the page's."""
    site.photo("m1", caption="the first")
    site.photo("m2", caption="the second", starts=90)
    ann = visit(site, Role.REVIEWER)
    for _ in range(2):
        expect(ann.go("/case").get_by_text("the first")).to_be_visible()


def test_a_lease_that_ends_gives_the_case_back(serve: Serve, visit: Visits) -> None:
    """The countdown runs out, the page says so, and the case is the next person's."""
    site = serve(times=Times(lease=timedelta(seconds=4)))
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    expect(page.locator("lease-clock")).to_have_text("yours for 0:02", timeout=10_000)
    expect(page.locator("lease-clock")).to_have_class("low")
    expect(page.get_by_text("The case went back to the queue.").first).to_be_visible()
    expect(page.locator(".stage")).to_have_count(0)
    bob = visit(site, Role.REVIEWER, name="bob")
    expect(bob.go("/case").locator(".stage")).to_be_visible()


def test_working_keeps_the_case_and_leaving_does_not(site: Site, visit: Visits) -> None:
    """The page sends a heartbeat while keys are pressed; two quiet minutes later it sends no more."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    ann.page.clock.install()
    beats: list[str] = []
    ann.page.on("request", lambda request: request.url.endswith("/keep") and beats.append(request.url))
    page = ann.go("/case")
    page.locator("lease-clock").wait_for()
    ann.press("g")
    page.clock.run_for(31_000)
    assert len(beats) == 1
    page.clock.run_for(300_000)
    assert 3 <= len(beats) <= 5
    expect(page.locator("lease-clock")).to_contain_text("yours for")


def test_who_lost_the_lease_is_told_when_they_decide(site: Site, visit: Visits) -> None:
    """A lead assigned the case to somebody else meanwhile: the answer is refused in words, nothing is recorded."""
    task = site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    ann.expected = ("409",)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    site.parts.work.assign([task], "bob")
    ann.press("1", "Enter")
    expect(page.locator(".toast").last).to_contain_text("Your lease has ended")
    assert site.answered() == []
