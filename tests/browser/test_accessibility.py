"""Nobody is kept out: axe-core finds nothing serious on any page, and the focus goes through it in a sensible order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.models.sources import fetch, read_sources
from pipeline.review.people import Role
from tests.browser.conftest import Visit, Visits
from tests.browser.scene import Site

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="session")
def axe(home: Path) -> str:
    """The script."""
    sources = read_sources(Path(__file__).parent / "sources.toml")
    return fetch(sources, ["axe"], home)["axe"].read_text("utf-8")


def findings(page: Page, axe: str) -> list[str]:
    """What keeps people from using the page, as axe sees it. Put in by the debugger, which no policy stops."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 5
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:120]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(site: Site, visit: Visits, axe: str, theme: str) -> None:
    """Every page in both themes, a case of every kind, the warning, the dialogs and the sheet of keys among them."""
    wrong: dict[str, list[str]] = {}

    def look(where: str, visited: Visit) -> None:
        if found := findings(visited.page, axe):
            wrong[where] = found

    nobody = visit(site, color_scheme=theme)
    nobody.go("/sign-in?why=wrong")
    look("sign-in", nobody)
    password = site.account("zed", Role.REVIEWER)
    page = nobody.go("/sign-in")
    page.get_by_label("Name").fill("zed")
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/password")
    nobody.go("/password?why=short")
    look("password", nobody)

    video = site.video("m1", starts=1, caption="a video")
    site.photo("m2", starts=2, caption="a photo")
    site.sound("m3", starts=3, caption="a sound")
    site.photo("m4", "intimate", harm="intimate-imagery", starts=4)
    for name in ("g1", "g2"):
        site.decided(name, golden=name == "g1")
    site.photo("m5", "voices")
    assert site.parts.work.claim("bob", ("voices",), site.now, timedelta(hours=1)) is not None
    lea = visit(site, Role.LEAD, Role.AUDITOR, Role.ADMIN, name="lea", color_scheme=theme)
    page = lea.go("/queues")
    expect(page.locator("tr[data-queue]").first).to_be_visible()
    expect(page.locator("tr[data-person]")).to_have_count(1)
    look("queues", lea)
    lea.press("?")
    look("keys", lea)
    for path, there in (
        ("/lead", "#tasks tbody tr"),
        ("/golden", "#golden tbody tr"),
        ("/people", "#people tbody tr"),
        ("/audit", "#verify"),
        ("/me", "#exposure tbody tr"),
        ("/help", "article"),
        (f"/cases/{video}", ".timeline"),
    ):
        lea.go(path)
        page.locator(there).first.wait_for()
        look(path, lea)
    page = lea.go("/people")
    for button in ("Change zed", "Sign out lea"):
        page.get_by_role("button", name=button).click()
        look(button, lea)
        lea.press("Escape")

    ann = visit(site, Role.REVIEWER, color_scheme=theme)
    ann.expected = ("403",)
    ann.go("/lead")
    look("denied", ann)
    page = ann.go("/case")
    for kind in ("video", "photo", "sound"):
        page.get_by_text(f"a {kind}").wait_for()
        look(f"{kind}, blurred", ann)
        ann.press("b", "2")
        look(f"{kind}, clear, about to be labelled", ann)
        ann.press("s")
        page.locator("dialog[open]").wait_for()
        look(f"{kind}, a question", ann)
        ann.press("Escape")
        page.locator("dialog").nth(1).wait_for(state="detached")
        ann.press("1", "Enter")
    page.get_by_role("alertdialog").wait_for()
    look("warning", ann)
    assert wrong == {}


def test_the_focus_goes_from_the_top_to_the_decision(site: Site, visit: Visits) -> None:
    """First the way past the menu, the menu, the media and its tools, then the outcomes in the order of their keys."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    page.get_by_role("link", name="Skip to content").focus()
    names = []
    while "Remove4" not in names:
        assert len(names) < 60, names
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
        ann.press("Tab")
    order = [names.index(each) for each in ("Skip to content", "Queues", "Show b", "Allow1", "Label2", "Limit3")]
    assert order == sorted(order), names


def test_the_way_past_the_menu_leads_to_the_content(site: Site, visit: Visits) -> None:
    """It is seen once it has the focus."""
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/help")
    ann.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    ann.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_marks_on_the_timeline_have_words(site: Site, visit: Visits) -> None:
    """Each says family, score and moment, for those who cannot see where it is."""
    task = site.video("m1")
    page = visit(site, Role.AUDITOR).go(f"/cases/{task}")
    page.locator(".timeline .dot").first.wait_for()
    said = page.locator(".timeline .dot title").all_text_contents()
    assert "face swap: score 0.93 at 00:04.0" in said
