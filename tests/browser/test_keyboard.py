"""Work without a mouse: coming in, looking, deciding, and whatever else a case may need."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import expect

from pipeline.console.parts import Times
from pipeline.events import ReviewDecided
from pipeline.events.codec import decode
from pipeline.events.values import Action, Family
from pipeline.review.people import Role
from tests.browser.conftest import Serve, Visits
from tests.browser.scene import Site, policy_with


def test_a_person_comes_in_and_clears_the_queue_with_the_keyboard_alone(site: Site, visit: Visits) -> None:
    """A one-time password, a new one, and every kind of upload decided; no pointer was ever used."""
    site.video("m1", starts=10)
    site.photo("m2", starts=20)
    site.sound("m3", starts=30)
    password = site.account("ann", Role.REVIEWER)
    ann = visit(site)
    page = ann.go("/queues")
    page.wait_for_url("**/sign-in**")
    page.keyboard.type("ann")
    ann.press("Tab")
    page.keyboard.type(password)
    ann.press("Enter")
    page.wait_for_url("**/password")
    page.keyboard.type("a harbour in winter")
    ann.press("Enter")
    page.wait_for_url("**/queues")
    expect(page.locator("#live")).to_have_text("live")
    ann.press("n")
    page.wait_for_url("**/case")

    for key, media in (("4", "video"), ("1", "img"), ("3", "audio")):
        expect(page.locator(f".stage {media}").first).to_be_attached()
        ann.press(key)
        expect(page.locator("[aria-pressed=true][data-action]")).to_have_count(1)
        ann.press("Enter")
        expect(page.locator(".toast").last).to_contain_text("Decided")
    expect(page.get_by_role("heading", name="Nothing waits for you.")).to_be_visible()
    assert site.answered() == ["remove", "allow", "limit"]
    assert page.evaluate("window.pointed") == 0


def test_a_restriction_says_why_and_what_was_seen(site: Site, visit: Visits) -> None:
    """Reason, words, notes and what the person saw themselves are reached by keys and leave with the answer."""
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("2", "y")
    expect(page.locator("select[data-family=face_swap]")).to_be_focused()
    page.keyboard.type("yes")
    ann.press("Escape", "r")
    expect(page.locator("select[name=harm]")).to_be_focused()
    ann.press("Tab")
    page.keyboard.type("Altered")
    ann.press("Escape", "n")
    page.keyboard.type("The ear swims. 4 1 s u")
    ann.press("Control+Enter")
    expect(page.locator(".toast").last).to_contain_text("Decided: label")
    ((_, _, _, value),) = site.parts.work.due(site.now + timedelta(days=1))
    review = decode(value, ReviewDecided)
    assert isinstance(review, ReviewDecided)
    assert (review.action, review.harm, review.label) == (Action.LABEL, "impersonation", "Altered")
    assert (review.notes, review.confirmed) == ("The ear swims. 4 1 s u", (Family.FACE_SWAP,))


def test_a_decision_is_taken_back_while_there_is_time(site: Site, visit: Visits) -> None:
    """`u` brings the case back, and another answer takes the place of the first."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("1", "Enter")
    page.get_by_role("heading", name="Nothing waits").wait_for()
    ann.press("u")
    page.locator(".stage").wait_for()
    assert site.answered() == []
    ann.press("4", "Enter")
    page.get_by_role("heading", name="Nothing waits").wait_for()
    assert site.answered() == ["remove"]


def test_skipping_asks_why_and_brings_the_next(site: Site, visit: Visits) -> None:
    """The skipped case does not come back to this person; the reason is in the log."""
    site.photo("m1", starts=1)
    site.photo("m2", starts=9, caption="the second")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("s")
    expect(page.get_by_role("dialog", name="Skip this case")).to_be_visible()
    expect(page.locator("dialog input[name=reason]")).to_be_focused()
    ann.press("Control+A")
    page.keyboard.type("too close to home")
    ann.press("Enter")
    expect(page.get_by_text("the second")).to_be_visible()
    (skipped,) = [entry for entry in site.parts.work.log_entries() if entry.verb == "skipped"]
    assert skipped.words == "too close to home"


def test_a_case_is_given_back(site: Site, visit: Visits) -> None:
    """`q` leads to the queues, and somebody else may have it at once."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("q")
    page.wait_for_url("**/queues")
    assert site.parts.overview.at_work(site.now) == ()
    bob = visit(site, Role.REVIEWER, name="bob").go("/case")
    bob.locator(".stage").wait_for()


def test_a_case_is_moved_to_another_queue(site: Site, visit: Visits) -> None:
    """`e` asks where to; the case is there afterwards."""
    task = site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case?queue=faces")
    page.locator(".stage").wait_for()
    ann.press("e")
    expect(page.locator("dialog select[name=queue]")).to_be_focused()
    page.keyboard.type("unread")
    ann.press("Tab", "Enter")
    page.get_by_role("heading", name="Nothing waits").wait_for()
    found = site.parts.work.task(task)
    assert found is not None
    assert found[1] == "unreadable"


def test_the_sheet_names_every_key(site: Site, visit: Visits) -> None:
    """`?` opens and closes it; while it is open, keys do nothing else."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    for words in (
        "allow",
        "remove",
        "decide as chosen (in a field: with Ctrl)",
        "hold: look without the blur",
        "next point of evidence",
    ):
        expect(sheet.get_by_text(words, exact=True)).to_be_visible()
    ann.press("1")
    expect(page.locator("[aria-pressed=true][data-action]")).to_have_count(0)
    ann.press("?")
    expect(sheet).not_to_be_visible()


def test_a_blind_queue_asks_before_it_shows_scores(serve: Serve, visit: Visits) -> None:
    """Nothing that the machine believed is on the page or in what was sent, until the person has answered once."""
    site = serve(policy_with(blind_first=True))
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    sent: list[str] = []
    ann.page.on("response", lambda answer: "/work/" in answer.url and sent.append(answer.text()))
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    expect(page.get_by_role("heading", name="Your first answer, before the scores")).to_be_visible()
    expect(page.locator(".faces, .signals, .timeline .dot")).to_have_count(0)
    assert len(sent) == 1
    assert "0.86" not in sent[0]
    assert "swapped" not in sent[0]
    ann.press("1", "Enter")
    expect(page.get_by_role("heading", name="Your decision")).to_be_visible()
    expect(page.locator(".timeline .dot")).not_to_have_count(0)
    assert site.answered() == []
    ann.press("4", "Enter")
    page.get_by_role("heading", name="Nothing waits").wait_for()
    assert site.answered() == ["remove"]
    (looked,) = site.parts.work.blind(site.now - timedelta(hours=1))
    assert (looked.first, looked.final) == (Action.ALLOW, Action.REMOVE)


def test_two_who_disagree_leave_it_to_a_lead(serve: Serve, visit: Visits) -> None:
    """Where two have to agree, the second sees no trace of the first; their dispute goes to a lead alone."""
    site = serve(policy_with(people=2), Times(grace=timedelta(0)))
    site.photo("m1")
    for name, key, words in (("ann", "1", "Another person looks too"), ("bob", "4", "a lead decides")):
        each = visit(site, Role.REVIEWER, name=name)
        page = each.go("/case")
        page.locator(".stage").wait_for()
        each.press(key, "Enter")
        expect(page.locator(".toast").last).to_contain_text(words)
    assert site.answered() == []
    cy = visit(site, Role.REVIEWER, name="cy")
    expect(cy.go("/case").get_by_role("heading", name="Nothing waits")).to_be_visible()
    lead = visit(site, Role.LEAD, name="lea")
    lead.go("/case").locator(".stage").wait_for()
    lead.press("4", "Enter")
    lead.page.get_by_role("heading", name="Nothing waits").wait_for()
    assert site.answered() == ["remove"]
