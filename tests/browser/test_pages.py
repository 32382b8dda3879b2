"""Every page: live, in bulk, in both themes and on small screens, without asking anybody else for anything."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from pipeline.events.values import Action
from pipeline.review.people import Role
from pipeline.review.port import Answer
from tests.browser.conftest import Visits
from tests.browser.scene import Site

PAGES = ("/queues", "/case", "/lead", "/golden", "/people", "/audit", "/me", "/help", "/cases/{task}")


def test_a_queue_fills_and_empties_before_ones_eyes(site: Site, visit: Visits) -> None:
    """Counts, histogram and who is at work come by themselves, without loading the page again."""
    page = visit(site, Role.LEAD).go("/queues")
    expect(page.locator("#live")).to_have_text("live")
    row = page.locator("tr[data-queue=faces]")
    expect(row.locator(".depth")).to_have_text("0")
    site.photo("m1")
    site.photo("m2", starts=-30)
    expect(row.locator(".depth")).to_have_text("2", timeout=15_000)
    expect(page.locator("#summary")).to_contain_text("2 cases wait")
    expect(row.get_by_role("img")).to_have_attribute("aria-label", "1 late, 1 within 1 h")
    held = site.parts.work.claim("bob", ("faces",), site.now, timedelta(minutes=5))
    assert held is not None
    expect(row).to_contain_text("bob", timeout=15_000)


def test_what_will_be_late_is_foretold(site: Site, visit: Visits) -> None:
    """From how long answers take, how many work, and how much time each case has left."""
    for i in range(8):
        site.photo(f"m{i}", starts=5)
    for name in ("m8", "m9"):
        site.photo(name, starts=-1)
        held = site.parts.work.claim("bob", ("faces",), site.now - timedelta(minutes=4), timedelta(hours=1))
        assert held is not None
        site.parts.work.answer("bob", held.lease_id, Answer(Action.ALLOW), site.now, timedelta(0), {})
    row = visit(site, Role.LEAD).go("/queues").locator("tr[data-queue=faces]")
    expect(row).to_contain_text("4 min a case")
    assert int(row.locator("td.warn").inner_text()) >= 6


def test_a_lead_decides_many_at_once(site: Site, visit: Visits) -> None:
    """Chosen rows, one answer with a reason; what somebody holds is left alone. The log knows each of them."""
    tasks = [site.photo(f"m{i}", starts=i + 1) for i in range(4)]
    held = site.parts.work.claim("bob", ("faces",), site.now, timedelta(minutes=5))
    assert held is not None
    lead = visit(site, Role.LEAD, name="lea")
    page = lead.go("/lead")
    page.get_by_label("Queue").select_option("faces")
    expect(page.locator("#tasks tbody tr")).to_have_count(4)
    expect(page.locator("#decide")).to_be_disabled()
    page.get_by_label("Choose all").check()
    expect(page.locator("#chosen")).to_have_text("4 chosen")
    page.locator("#decide").click()
    page.get_by_label("Outcome").select_option("remove")
    page.get_by_label("Reason").fill("one campaign")
    page.get_by_role("button", name="Decide all").click()
    expect(page.locator(".toast")).to_have_text("3 tasks.")
    assert site.answered() == ["remove"] * 3
    (entry,) = [each for each in site.parts.work.log_entries() if each.verb == "decided at once"]
    assert all(str(task) in entry.detail for task in tasks if task != held.tasks[0].task_id)


def test_a_lead_moves_assigns_and_holds_back(site: Site, visit: Visits) -> None:
    """Each in its own dialog; the tasks obey."""
    task = site.photo("m1")
    page = visit(site, Role.LEAD, name="lea").go("/lead")
    page.get_by_label("Queue").select_option("faces")

    def choose(button: str) -> None:
        page.get_by_label("Choose m1").check()
        page.locator(button).click()

    choose("#assign")
    page.get_by_label("Their name").fill("bob")
    page.get_by_role("button", name="Assign", exact=True).click()
    expect(page.locator(".toast")).to_have_count(1)
    assert site.parts.work.claim("ann", ("faces",), site.now, timedelta(minutes=1)) is None
    choose("#hold")
    page.get_by_label("Until").fill(f"{site.now + timedelta(days=30):%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Hold", exact=True).click()
    expect(page.locator(".toast")).to_have_count(2)
    assert site.parts.work.claim("bob", ("faces",), site.now, timedelta(minutes=1)) is None
    choose("#escalate")
    page.locator("dialog select").select_option("unreadable")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.locator(".toast")).to_have_count(3)
    found = site.parts.work.task(task)
    assert found is not None
    assert found[1] == "unreadable"


def test_the_lead_sees_how_good_decisions_are(site: Site, visit: Visits) -> None:
    """Rates with their intervals and counts, never a bare number."""
    page = visit(site, Role.LEAD).go("/lead")
    expect(page.get_by_role("heading", name="In short")).to_be_visible()
    expect(page.get_by_text("Nothing yet.").first).to_be_visible()


def test_the_chain_of_the_log_is_followed_on_its_page(site: Site, visit: Visits) -> None:
    """Whole, it says how many entries hold; that somebody reads it is an entry too."""
    for i in range(3):
        site.parts.work.log(site.now, "ann", "did", f"m{i}", {})
    page = visit(site, Role.AUDITOR).go("/audit")
    expect(page.locator("#entries tbody tr")).to_have_count(4)
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.locator("#chain")).to_contain_text(re.compile("The chain holds: [45] entries"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 820])
def test_pages_fit_the_screen(site: Site, visit: Visits, theme: str, width: int) -> None:
    """At a desk and on a tablet, light and dark, nothing has to be scrolled sideways."""
    task = site.video("a-rather-long-name-of-an-upload-as-platforms-give-them-0123456789abcdef", caption="word " * 60)
    site.photo("m2")
    site.decided("another-rather-long-name-of-an-upload-as-platforms-give-them-0123456789abcdef", golden=True)
    everything = (Role.LEAD, Role.AUDITOR, Role.ADMIN)
    lea = visit(site, *everything, viewport={"width": width, "height": 1000}, color_scheme=theme, name="lea")
    for path in PAGES:
        page = lea.go(path.format(task=task))
        page.wait_for_load_state("networkidle" if path != "/queues" else "load")
        there = {
            "/queues": "tr[data-queue]",
            "/case": ".stage",
            "/lead": "#tasks td",
            "/golden": "#golden td",
            "/people": "#people td",
        }.get(path, "main *")
        page.locator(there).first.wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (path, width)
    ground = lea.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(17, 21, 29)" if theme == "dark" else "rgb(246, 247, 249)")


def test_who_may_not_is_told_so(site: Site, visit: Visits) -> None:
    """A page that is not for one's role says so in words; the menu does not offer it."""
    ann = visit(site, Role.READONLY)
    ann.expected = ("403",)
    page = ann.go("/lead")
    expect(page.get_by_role("heading", name="Your role does not allow this page")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link", name="Lead")).to_have_count(0)
    ann.go("/queues")
    expect(page.locator("tr[data-queue]")).not_to_have_count(0)
    expect(page.locator("#next")).to_have_count(0)


def test_a_live_page_whose_session_has_ended_goes_to_the_sign_in(site: Site, visit: Visits) -> None:
    """By itself, and it will come back to where it was."""
    ann = visit(site, Role.REVIEWER)
    ann.expected = ("401",)
    page = ann.go("/queues")
    expect(page.locator("#live")).to_have_text("live")
    assert site.parts.people.end_sessions("ann") == 1
    page.wait_for_url("**/sign-in?to=%2Fqueues")


def test_going_out_ends_the_session(site: Site, visit: Visits) -> None:
    """Signed out, the way back leads to the door: the page is kept nowhere."""
    ann = visit(site, Role.REVIEWER)
    ann.expected = ("401",)
    page = ann.go("/queues")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("Signed out.")).to_be_visible()
    page.go_back()
    page.wait_for_url("**/sign-in?to=%2Fqueues")
