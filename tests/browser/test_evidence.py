"""The moment and the place of the evidence, pointed out: players, timelines, views side by side."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from pipeline.review.people import Role
from tests.browser.conftest import Visits
from tests.browser.scene import PEAK, Site


def at(page: Page, kind: str = "video") -> float:
    """Where the player is."""
    return float(page.eval_on_selector(kind, "player => player.currentTime"))


def moved(page: Page, to: float, kind: str = "video") -> None:
    """Wait until the player is there."""
    page.wait_for_function(
        """([kind, to]) => {
            const player = document.querySelector(kind);
            return !player.seeking && Math.abs(player.currentTime - to) < 0.02;
        }""",
        arg=[kind, to],
    )


def ready(page: Page, kind: str = "video") -> None:
    """Wait until the player knows what it plays."""
    page.wait_for_function("kind => document.querySelector(kind)?.readyState >= 1", arg=kind)


def test_a_video_plays_and_its_timeline_leads_to_the_evidence(site: Site, visit: Visits) -> None:
    """A lane for each family with moments; marks where frames were looked at; to the next, the strongest, by frames."""
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    ready(page)
    assert page.eval_on_selector("video", "video => video.duration") > 5.5
    expect(page.locator(".timeline .lane")).to_have_count(2)
    expect(page.locator(".timeline line.frame")).to_have_count(12)
    expect(page.locator(".timeline .dot")).to_have_count(5)
    expect(page.locator(".timeline")).to_contain_text(
        "12 frames were looked at. The longest stretch without a look is 0.5 s"
    )
    for key, to in (
        ("p", PEAK),
        ("k", 2.5),
        ("k", 2.0),
        ("k", 1.0),
        ("j", 2.0),
        ("ArrowRight", 2.04),
        ("ArrowLeft", 2.0),
    ):
        ann.press(key)
        moved(page, to)
    page.get_by_label("Speed").select_option("0.25")
    assert page.eval_on_selector("video", "video => video.playbackRate") == 0.25
    page.locator(".timeline .dot").last.dispatch_event("click")
    page.wait_for_function("() => !document.querySelector('video').seeking")
    assert at(page) > 1.9


def test_faces_are_cut_out_and_lead_to_their_moment(site: Site, visit: Visits) -> None:
    """Each crop is a picture of its frame, the strongest first, with the map of where its score comes from."""
    site.video("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    ready(page)
    crops = page.locator(".faces img")
    expect(crops).to_have_count(8)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.faces img')].slice(0, 3).every(each => each.naturalWidth > 50)"
    )
    expect(page.locator(".faces button").nth(1)).to_contain_text("where it comes from")
    page.locator(".faces button").first.click()
    moved(page, PEAK)
    expect(page.locator(".boxes rect")).to_have_count(1)


def test_a_picture_is_shown_beside_its_noise_compression_and_spectrum(site: Site, visit: Visits) -> None:
    """One key each; boxes lie over the picture; what a view can and cannot say is said below it."""
    site.photo("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    page.locator(".stage img").wait_for()
    expect(page.locator(".boxes rect")).to_have_count(1)
    for key, name in (("x", "noise"), ("c", "compression"), ("v", "spectrum")):
        ann.press(key)
        beside = page.get_by_alt_text(f"The upload's {name}")
        expect(beside).to_be_visible()
        page.wait_for_function(
            "() => [...document.querySelectorAll('.stage img')].every(each => each.naturalWidth > 100)"
        )
        expect(page.locator(".stage img")).to_have_count(2)
    expect(page.get_by_text("Bright points in a regular grid")).to_be_visible()
    ann.press("v")
    expect(page.locator(".stage img")).to_have_count(1)
    ann.press("z")
    expect(page.locator(".media.zoomed")).to_have_count(1)


def test_the_boxes_lie_on_the_picture(site: Site, visit: Visits) -> None:
    """A box is where its shares of the picture are, whatever room the stage leaves around it."""
    site.photo("m1")
    page = visit(site, Role.REVIEWER).go("/case")
    page.wait_for_function("() => document.querySelector('.stage img')?.naturalWidth > 100")
    picture, box = (page.locator(each).bounding_box() for each in (".stage img", ".boxes rect"))
    assert picture
    assert box
    assert abs(box["x"] - (picture["x"] + 0.1 * picture["width"])) < 3
    assert abs(box["width"] - 0.3 * picture["width"]) < 4
    assert abs(box["y"] - (picture["y"] + 0.1 * picture["height"])) < 3


def test_a_sound_has_its_wave_and_spectrogram_above_the_scores(site: Site, visit: Visits) -> None:
    """Both are pictures of the whole; jumping goes to the stretch of the evidence."""
    site.sound("m1")
    ann = visit(site, Role.REVIEWER)
    page = ann.go("/case")
    ready(page, "audio")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.stage img')].filter(each => each.naturalWidth > 1000).length === 2"
    )
    expect(page.locator(".timeline rect.stretch")).to_have_count(3)
    ann.press("p")
    moved(page, 4.0, "audio")
    ann.press("k")
    moved(page, 2.0, "audio")


def test_scores_are_statements_with_their_bounds(site: Site, visit: Visits) -> None:
    """What is believed in words, with how sure; hints are marked; what the file says of itself stands beside it."""
    site.photo("m1")
    page = visit(site, Role.REVIEWER).go("/case")
    believed = page.locator("section", has=page.get_by_role("heading", name="What the machine believes"))
    expect(believed).to_contain_text("70 %")
    expect(believed).to_contain_text("(hint)")
    page.get_by_text("Metadata (1)").click()
    expect(page.get_by_text("Imaginer 3")).to_be_visible()
    expect(page.get_by_role("heading", name="Where it says it comes from")).to_be_visible()


def test_words_of_an_uploader_stay_words(site: Site, visit: Visits) -> None:
    """Markup in a caption is shown as it stands and does nothing."""
    site.photo("m1", caption="<img src=x onerror=alert(1)><script>alert(2)</script>")
    page = visit(site, Role.REVIEWER).go("/case")
    expect(page.get_by_text("<script>alert(2)</script>")).to_be_visible()


def test_a_case_can_be_read_without_taking_it(site: Site, visit: Visits) -> None:
    """An auditor sees the evidence and nothing to decide with; nobody holds the case."""
    task = site.video("m1")
    page = visit(site, Role.AUDITOR).go(f"/cases/{task}")
    expect(page.locator(".timeline .dot").first).to_be_visible()
    expect(page.locator(".decide, lease-clock")).to_have_count(0)
    assert site.parts.overview.at_work(site.now) == ()
