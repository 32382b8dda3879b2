"""What leads and administrators do beside reviewing: who works on what, cases whose answer is known, people."""

from __future__ import annotations

import re
from datetime import timedelta

from playwright.sync_api import expect

from pipeline.events.values import Action
from pipeline.review.people import Role
from pipeline.review.port import Answer
from tests.browser.conftest import Serve, Visits
from tests.browser.scene import Site, policy_with


def test_a_lead_sees_who_works_on_what(site: Site, visit: Visits) -> None:
    """Person, queue, case and the end of the lease, of their own queues alone, as people take cases and give them
    back; the case is a link away. A reviewer sees nothing of it."""
    for name, queue in (("m1", "faces"), ("m2", "faces"), ("m3", "triage")):
        site.photo(name, queue)
    for who, queue in (("bob", "faces"), ("cid", "triage")):
        assert site.parts.work.claim(who, (queue,), site.now, timedelta(minutes=9)) is not None
    lea = visit(site, Role.LEAD, name="lea", queues=("faces",))
    page = lea.go("/queues")
    rows = page.locator("#working tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("bob")
    left = rows.first.locator("[data-until]")
    expect(left).to_have_text(re.compile(r"in 8:[0-5]\d"))
    expect(left).not_to_have_text(left.inner_text())
    second = site.parts.work.claim("dee", ("faces",), site.now, timedelta(minutes=9))
    assert second is not None
    expect(rows).to_have_count(2, timeout=15_000)
    site.parts.work.release("dee", second.lease_id)
    expect(rows).to_have_count(1, timeout=15_000)
    page.get_by_role("link", name="m1").click()
    page.wait_for_url("**/cases/*")
    expect(page.locator(".stage")).to_be_visible()
    ann = visit(site, Role.REVIEWER)
    expect(ann.go("/queues").locator("#queues")).to_contain_text("bob")
    expect(ann.page.locator("#working")).to_have_count(0)


def test_a_live_page_leaves_the_focus_where_it_is(site: Site, visit: Visits) -> None:
    """Rows change under somebody's fingers; the link that they were about to follow still has the focus."""
    site.photo("m1")
    site.photo("m2")
    assert site.parts.work.claim("bob", ("faces",), site.now, timedelta(minutes=9)) is not None
    lea = visit(site, Role.LEAD, name="lea")
    page = lea.go("/queues")
    for link in (page.get_by_role("link", name="Work faces"), page.locator("#working a").first):
        link.focus()
        depth = page.locator("tr[data-queue=faces] .depth")
        before, working = int(depth.inner_text()), page.locator("#working tbody tr").count()
        site.photo(f"more {before}")
        assert site.parts.work.claim(f"p{before}", ("faces",), site.now, timedelta(minutes=9)) is not None
        expect(depth).to_have_text(str(before + 1), timeout=15_000)
        expect(page.locator("#working tbody tr")).to_have_count(working + 1, timeout=15_000)
        expect(link).to_be_focused()


def test_a_lead_makes_a_decided_case_golden_and_retires_one_by_keys(serve: Serve, visit: Visits) -> None:
    """Found by its upload, with its right answer, then among those in use; retired it is gone, and `Undo` brings it
    back. No pointer is used."""
    site = serve(policy_with(golden_share=0.05))
    known, _ = site.decided("known", golden=True), site.decided("m1")
    case = site.parts.golden.claim("bob", ("faces",), site.now, timedelta(minutes=5))
    assert case is not None
    site.parts.golden.answer("bob", case.lease_id, Answer(Action.ALLOW), site.now, timedelta(0))
    lea = visit(site, Role.LEAD, name="lea", queues=("faces",))
    page = lea.go("/golden")
    rows = page.locator("#golden tbody tr")
    expect(page.locator("#share")).to_contain_text("About 5 %")
    expect(rows.first).to_contain_text("0 of 1")
    expect(rows.first).to_contain_text("1 × allow")
    expect(page.locator("#rates")).to_contain_text("0 of 1")
    lea.press("a")
    page.keyboard.type("m1")
    lea.press("Enter")
    # The list had this one row before the search too: what is chosen in a row that the answer replaces would be lost.
    expect(page.locator("#candidates tbody:not([aria-busy])")).to_be_attached()
    expect(page.locator("#candidates tbody tr")).to_have_count(1)
    lea.press("Tab", "Tab", "Tab")
    expect(page.get_by_label("Right answer to m1")).to_be_focused()
    page.keyboard.type("label")
    lea.press("Tab", "Enter")
    expect(rows).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_be_focused()
    found = {each.media_id: each.action for each in site.parts.overview.golden("faces", None, 9)}
    assert found == {"known": Action.REMOVE, "m1": Action.LABEL}
    page.get_by_role("button", name="Retire known").focus()
    lea.press("Enter")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("button", name="Retire m1")).to_be_focused()
    assert [each.media_id for each in site.parts.overview.golden("faces", None, 9)] == ["m1"]
    page.get_by_role("button", name="Undo").focus()
    lea.press("Enter")
    expect(rows).to_have_count(2)
    assert {each.task_id for each in site.parts.overview.golden("faces", None, 9)} > {known}
    assert page.evaluate("window.pointed") == 0


def test_a_queue_without_golden_cases_says_so(site: Site, visit: Visits) -> None:
    """Where the policy mixes none in, whoever adds one is told that nobody will be asked."""
    page = visit(site, Role.LEAD).go("/golden")
    expect(page.locator("#share")).to_contain_text("mixes none into this queue")
    expect(page.locator("#golden tbody")).to_have_text("None yet.")
    expect(page.locator("#candidates tbody")).to_have_text("Nothing was decided here yet.")


def test_an_administrator_changes_what_somebody_may_and_signs_them_out(site: Site, visit: Visits) -> None:
    """By keys: roles and queues in a dialog; the person's pages send them to the sign-in. One's own roles are left to
    others."""
    site.account("adi", Role.ADMIN)
    site.account("bob", Role.REVIEWER)
    bob = visit(site, Role.REVIEWER, name="bob")
    bob.expected = ("401",)
    expect(bob.go("/queues").locator("#live")).to_have_text("live")
    adi = visit(site, Role.ADMIN, name="adi")
    page = adi.go("/people")
    expect(page.locator("#people tbody tr")).to_have_count(2)
    expect(page.get_by_role("button", name="Change adi")).to_have_count(0)
    page.get_by_role("button", name="Change bob").focus()
    adi.press("Enter")
    page.get_by_label("reviewer").focus()
    adi.press(" ", "Tab", " ")
    page.get_by_label("every one").focus()
    adi.press(" ")
    page.get_by_label("faces").focus()
    adi.press(" ")
    page.get_by_role("button", name="Change", exact=True).focus()
    adi.press("Enter")
    expect(page.locator(".toast")).to_have_text("Changed; 1 session ended.")
    expect(page.locator("#people tbody tr").nth(1)).to_contain_text("lead")
    found = site.parts.people.account("bob")
    assert found is not None
    assert (found[0].roles, found[0].queues) == ({Role.LEAD}, {"faces"})
    bob.page.wait_for_url("**/sign-in?to=%2Fqueues")
    visit(site, Role.LEAD, name="bob", queues=("faces",))
    adi.page.reload()
    page.get_by_role("button", name="Sign out bob").focus()
    adi.press("Enter")
    page.get_by_role("button", name="Sign out", exact=True).last.focus()
    adi.press("Enter")
    expect(page.locator("#people tbody tr").nth(1).locator("td").nth(4)).to_have_text("no")
    assert site.parts.people.end_sessions("bob") == 0
    assert page.evaluate("window.pointed") == 0


def test_who_only_reads_or_manages_has_the_leads_page_without_its_buttons(site: Site, visit: Visits) -> None:
    """An administrator sees rates and no tasks, an auditor tasks that they cannot choose; neither page has troubles."""
    site.photo("m1")
    page = visit(site, Role.ADMIN, name="adi").go("/lead")
    expect(page.get_by_role("heading", name="In short")).to_be_visible()
    expect(page.locator("#tasks")).to_have_count(0)
    page = visit(site, Role.AUDITOR, name="eve").go("/lead")
    page.get_by_label("Queue").select_option("faces")
    expect(page.locator("#tasks tbody tr")).to_contain_text("m1")
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.locator("#decide")).to_have_count(0)
