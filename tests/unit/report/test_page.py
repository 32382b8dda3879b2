"""The page of a report: it says what was found, how sure that is and what was not looked at, and loads nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from uuid import UUID

import numpy as np
import pytest
from msgspec import structs

from pipeline.decode.port import Audio, Keyframe, Window
from pipeline.events import MediaDecided, MediaUploaded, Versions
from pipeline.events.values import (
    Action,
    Agreement,
    Box,
    Credentials,
    CredentialState,
    Decision,
    Evidence,
    Failure,
    Family,
    Heat,
    MediaFacts,
    MediaKind,
    Sampling,
    Signal,
    SignalStatus,
    WindowLook,
)
from pipeline.policy.file import load
from pipeline.report import words
from pipeline.report.make import make_report
from pipeline.report.page import page
from pipeline.report.pictures import frames_at, heated, shot
from pipeline.testing import clip_of, picture

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
FUSED = load(None).fused
BOX = Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
HEAT = Heat(box=BOX, rows=2, cols=2, cells=bytes([0, 0, 0, 255]))
EVIDENCE = Evidence(detector="face_forgery", score=0.97, at=3.2, box=BOX, note="a seam at the chin", heat=HEAT)
SWAP = Signal(
    family=Family.FACE_SWAP, status=SignalStatus.SCORED, probability=0.96, low=0.9, high=0.99, evidence=(EVIDENCE,)
)
DECIDED = MediaDecided(
    decision_id=UUID(int=1),
    media_id="clip.mp4",
    upload=MediaUploaded(media_id="clip.mp4", uri="file:///clip.mp4", uploaded_at=NOW),
    decided_at=NOW,
    decision=Decision(action=Action.LIMIT, reasons=("Possible face swap.",), policy_version="default@1"),
    versions=Versions(unmask="1", policy="default@1", detectors=("face_forgery@3",)),
    facts=MediaFacts(kind=MediaKind.VIDEO, container="mov", duration=10.0, width=640, height=360),
    sampling=Sampling(
        decoder="PyAV",
        looked_at=(0.0, 5.0),
        largest_gap=5.0,
        windows=(WindowLook(start=2.0, end=4.0, frames=50, why="the face is in doubt", bought="0.74 → 0.96"),),
    ),
    signals=(SWAP, Signal(family=Family.VOICE_CLONE, status=SignalStatus.NOT_APPLICABLE)),
    agreement=(Agreement(about=Family.FACE_SWAP, note="1 of 2 other signals: lighting"),),
)


class Reader(HTMLParser):
    """The text of a page, and every address that it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.addresses: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "poster"}]


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def told(decided: MediaDecided, **shots) -> str:
    return " ".join(" ".join(read(page(decided, "clip.mp4", FUSED, shots)).text).split())


def test_a_finding_is_said_first_with_how_sure_it_is():
    """The verdict, the number with its range, what bears it out, what follows."""
    text = told(DECIDED)
    assert "Signs of a swapped or edited face were found." in text
    assert "96 % likely (90 %–99 %)" in text
    assert "Other methods: 1 of 2 other signals: lighting." in text
    assert "should not be spread until a person has looked" in text


def test_what_was_not_looked_at_is_said():
    """Moments, the longest gap, closer looks and what they changed, and the absence of sound."""
    text = told(DECIDED)
    assert "2 moments were looked at." in text
    assert "The longest stretch without a look is 5.0 s" in text
    assert (
        "00:02.0 to 00:04.0 was looked at closely (50 frames): the face is in doubt. It changed: 0.74 → 0.96." in text
    )
    assert "There was no sound to listen to" in text


def test_doubt_is_no_finding():
    """A signal in the band of doubt makes the page say that it cannot be told."""
    unsure = structs.replace(SWAP, status=SignalStatus.ABSTAINED, probability=0.75)
    assert "It cannot be told whether this is a swapped or edited face." in told(
        structs.replace(DECIDED, signals=(unsure,))
    )


def test_a_hint_is_no_finding_however_high():
    """An advisory signal never becomes the verdict."""
    hint = structs.replace(SWAP, advisory=True)
    text = told(structs.replace(DECIDED, signals=(hint,)))
    assert "No signs of manipulation were found. That is no proof that the file is genuine." in text
    assert "a hint only" in text


def test_a_file_that_could_not_be_examined():
    """The page says so and nothing else."""
    failed = structs.replace(
        DECIDED,
        signals=(),
        facts=None,
        sampling=None,
        failure=Failure(stage="decode", reason="media_corrupt", detail="x"),
    )
    assert "This file could not be examined: media corrupt." in told(failed)


def test_every_family_has_words_and_limits():
    """A family that is added must be explained."""
    assert set(words.limits()) == set(Family)
    assert set(words.NAMES) == set(Family)
    assert set(words.CREDENTIALS) == set(CredentialState)


@pytest.mark.parametrize("family", Family)
def test_a_lane_of_the_timeline_has_its_whole_name(family):
    """However long a family's name is, it stands at its lane in full, in two lines at most."""
    html = page(structs.replace(DECIDED, signals=(structs.replace(SWAP, family=family),)), "clip.mp4", FUSED, {})
    lines = [unescape(line) for line in re.findall(r'<text x="0" y="[^"]+">([^<]+)</text>', html)[1:]]
    assert " ".join(lines).casefold() == words.NAMES[family].removeprefix("a ").casefold()
    assert len(lines) <= 2
    assert all(len(line) <= 24 for line in lines)


@pytest.mark.parametrize("state", CredentialState)
def test_credentials_are_put_in_words(state):
    """Each state says what it does not prove."""
    facts = structs.replace(
        DECIDED.facts, credentials=Credentials(state=state, issuer="A & B", actions=("c2pa.created",))
    )
    text = told(structs.replace(DECIDED, facts=facts))
    assert words.CREDENTIALS[state] in text
    assert ("A & B" in text) is (state is not CredentialState.ABSENT)


def test_a_strangers_words_are_shown_and_never_run():
    """Metadata, notes and names are escaped, wherever they stand."""
    evil = '"><script>alert(1)</script>'
    facts = structs.replace(
        DECIDED.facts, metadata=((evil, evil),), credentials=Credentials(CredentialState.TRUSTED, note=evil)
    )
    signal = structs.replace(SWAP, note=evil, evidence=(structs.replace(EVIDENCE, note=evil),))
    html = page(structs.replace(DECIDED, facts=facts, signals=(signal,), media_id=evil), evil, FUSED, {})
    assert "<script" not in html
    assert "alert(1)" in html


def test_the_page_loads_nothing():
    """Pictures are part of it; there is no other address, and the browser is told to refuse any."""
    shots = {(Family.FACE_SWAP, EVIDENCE): shot(picture(200, 300), EVIDENCE)}
    html = page(DECIDED, "clip.mp4", FUSED, shots)
    reader = read(html)
    assert len(reader.addresses) == 3
    assert all(address.startswith("data:image/jpeg;base64,") for address in reader.addresses)
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", html)


def test_the_heat_lies_where_the_cells_say():
    """Only the bottom right quarter of the box changes much."""
    plain = np.full((100, 100, 3), 128, np.uint8)
    change = np.abs(heated(plain, HEAT).astype(int) - 128).sum(axis=2)
    assert change[66:74, 66:74].min() > 30
    assert change[26:34, 26:34].max() < 15
    assert change[:25].max() == 0


class Decodes:
    """A decoder with two keyframes, which is asked for a closer look in between."""

    def __init__(self) -> None:
        self.spans = []

    async def __call__(self, path):
        clip = clip_of(picture(64, 64, 1), picture(64, 64, 2), audio=Audio(np.zeros(10, np.float32)))
        return structs_like(clip)

    async def closer(self, path, spans, first_index):
        self.spans += spans
        return tuple(Window(s, (Keyframe(first_index + i, s.start, picture(64, 64, 9)),)) for i, s in enumerate(spans))


def structs_like(clip):
    from dataclasses import replace

    frames = tuple(replace(frame, at=5.0 * i) for i, frame in enumerate(clip.keyframes))
    return replace(clip, keyframes=frames, facts=structs.replace(clip.facts, kind=MediaKind.VIDEO, duration=10.0))


async def test_pictures_are_of_the_moment_that_evidence_points_at(tmp_path):
    """A moment near a keyframe takes it; one in between is decoded."""
    decode = Decodes()
    frames = await frames_at(tmp_path / "clip.mp4", [0.0, 3.2], decode)
    assert np.array_equal(frames[0.0], picture(64, 64, 1))
    assert np.array_equal(frames[3.2], picture(64, 64, 9))
    assert len(decode.spans) == 1


async def test_the_page_of_a_video_shows_its_evidence(tmp_path):
    """The frame, the face and the heat map stand beside the words."""
    html = await make_report(tmp_path / "clip.mp4", DECIDED, FUSED, Decodes())
    assert len(read(html).addresses) == 3
    assert "A seam at the chin" in html
