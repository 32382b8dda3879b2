"""Care for who looks: nothing is seen or heard before they ask for it."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page, expect

from pipeline.console.models import HarmPreferences, Preferences
from pipeline.review.people import Role
from tests.browser.conftest import Visits
from tests.browser.scene import Site, until


def blur(page: Page, what: str = ".stage > .media") -> str:
    """What the browser really draws it with."""
    return str(page.eval_on_selector(what, "element => getComputedStyle(element).filter"))


def test_media_is_blurred_until_asked_for(site: Site, visit: Visits) -> None:
    """Space shows it as long as it is held, `b` until pressed again; the crops of faces follow."""
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".faces img").first.wait_for()
    assert blur(page) == "blur(20px)"
    assert "blur" in blur(page, ".faces img")
    page.keyboard.down(" ")
    assert blur(page) == "none"
    page.keyboard.up(" ")
    assert blur(page) == "blur(20px)"
    ann.press("b")
    assert (blur(page), blur(page, ".faces img")) == ("none", "none")
    expect(page.locator(".veil")).not_to_be_visible()
    ann.press("b")
    assert blur(page) == "blur(20px)"


def test_what_comes_next_is_blurred_again(site: Site, visit: Visits) -> None:
    """Asking for one case is asking for that one alone."""
    site.photo("m1")
    site.photo("m2", caption="the second", starts=90)
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    ann.press("b")
    assert blur(page) == "none"
    ann.press("1", "Enter")
    page.get_by_text("the second").wait_for()
    assert blur(page) == "blur(20px)"


def test_a_video_is_muted_and_stands_still(site: Site, visit: Visits) -> None:
    """Nothing plays by itself; what is played has no sound until somebody asks."""
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    video = page.locator("video")
    video.wait_for()
    assert video.evaluate("video => [video.muted, video.paused, video.autoplay]") == [True, True, False]
    ann.press("l")
    page.wait_for_function("() => !document.querySelector('video').paused")
    assert video.evaluate("video => video.muted")
    ann.press("m")
    assert not video.evaluate("video => video.muted")


def test_a_severe_class_is_announced_first(site: Site, visit: Visits) -> None:
    """No media is asked for before the person goes on; they may skip without having seen it."""
    site.photo("m1", "intimate", harm="intimate-imagery")
    ann = visit(site, Role.REVIEWER)
    asked: list[str] = []
    ann.page.on("request", lambda request: "/m/" in request.url and asked.append(request.url))
    page = ann.go("/case")
    expect(page.get_by_role("alertdialog")).to_contain_text("This may show")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    assert asked == []
    ann.press("Enter")
    page.locator(".stage").wait_for()
    assert blur(page) == "blur(20px)"
    until(lambda: asked, "the picture is asked for")


def test_what_somebody_chose_holds_for_every_case_and_harm(site: Site, visit: Visits) -> None:
    """Greyscale, no blur in general, more blur for one harm, and no warning for another."""
    chosen = Preferences(
        blur=0,
        greyscale=True,
        small_first=False,
        per_harm={"impersonation": HarmPreferences(blur=33), "intimate-imagery": HarmPreferences(warn=False)},
    )
    site.parts.people.put_preferences("ann", chosen.model_dump_json())
    site.photo("m1", starts=1)
    site.photo("m2", "intimate", harm="intimate-imagery", starts=2, caption="the second")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    assert blur(page) == "grayscale(1) blur(33px)"
    ann.press("1", "Enter")
    page.get_by_text("the second").wait_for()
    assert blur(page) == "grayscale(1)"


def test_preferences_are_kept(site: Site, visit: Visits) -> None:
    """What is set on the page “Me” holds at the next visit, the theme before anything is drawn."""
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/me")
    page.get_by_role("checkbox", name="Greyscale").check()
    page.get_by_label("Colours").select_option("dark")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_have_text("Saved.")
    page.reload()
    expect(page.get_by_role("checkbox", name="Greyscale")).to_be_checked()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 29)"


def test_what_was_looked_at_is_counted_and_a_break_suggested(site: Site, visit: Visits) -> None:
    """Seconds reach the person's own account of their day, with the filters that were on."""
    site.parts.people.put_preferences("ann", Preferences(break_minutes=1).model_dump_json())
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    ann.page.clock.install()
    page = ann.go("/case")
    page.locator(".stage").wait_for()
    page.clock.run_for(61_000)
    expect(page.locator(".toast").last).to_contain_text("A short break?")
    until(lambda: seconds(site) >= 60, "exposure is told")
    ann.go("/me")
    expect(page.locator("#exposure tbody")).to_contain_text("impersonation")


def seconds(site: Site) -> float:
    """Of exposure, ann's."""
    rows = site.parts.people.exposure("ann", site.now - timedelta(days=1))
    return sum(each for _, _, each in rows)
