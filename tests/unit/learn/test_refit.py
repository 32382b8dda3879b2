"""Learning from reviews: a head moves where labels say so, never at the golden set's cost, and there is a way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest

from pipeline.detect.face_forgery import FEATURES, FaceForgery, reads
from pipeline.detect.refitted_faces import Refitted, RefittedFaces, read_refitted
from pipeline.detect.registry import DEFAULT, parse
from pipeline.errors import ConfigError
from pipeline.events import MediaDecided, MediaUploaded, ReviewDecided, Versions
from pipeline.events.values import Action, Decision, Family, Signal, SignalStatus
from pipeline.learn.promote import Step, promoted
from pipeline.learn.refit import Head, Labelled, learnable, refit, side_by_side, stacked

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(0)
TRUE = RNG.normal(0, 1, FEATURES) / 30
DRIFT = RNG.normal(0, 1, FEATURES) / 30


def faces(count: int, direction: np.ndarray, seed: int) -> Labelled:
    """Faces whose label shows along `direction`."""
    rng = np.random.default_rng(seed)
    fake = np.arange(count) % 2 == 0
    features = rng.normal(0, 1, (count, FEATURES)) + np.where(fake, 2.0, -2.0)[:, None] * direction
    return Labelled(features, fake, tuple(map(str, range(count))))


def test_a_head_learns_a_new_kind_and_forgets_nothing(tmp_path):
    """Reviews of forgeries that the old head does not see are learnt; the golden set of the old kind stays found."""
    report = refit("swap", Head(TRUE, 0.0), "old", "f", faces(120, DRIFT, 1), faces(200, TRUE, 2), tmp_path)
    old, new = report.held_out
    assert report.promotable, report.why
    assert new.value > old.value + 0.1
    assert report.golden[1].value >= report.golden[0].value - 0.002
    kept = read_refitted(report.path)
    assert kept.before == "old"
    assert np.mean(kept(faces(1, DRIFT, 9).features[0])) > 0.5


def test_wrong_labels_do_not_get_through(tmp_path):
    """Reviewers who are wrong about everything make the golden set worse, or gain nothing: no file is written."""
    reviewed = faces(400, TRUE, 1)
    wrong = Labelled(reviewed.features, ~reviewed.fake, reviewed.names)
    report = refit("swap", Head(TRUE, 0.0), "old", "f", wrong, faces(200, TRUE, 2), tmp_path)
    assert not report.promotable
    assert list(tmp_path.iterdir()) == []


def test_too_few_reviews_are_refused(tmp_path):
    """The operator is told how many there are and how many are needed."""
    with pytest.raises(ConfigError, match="5 confirmed and 5 denied"):
        refit("swap", Head(TRUE, 0.0), "old", "f", faces(10, TRUE, 1), faces(40, TRUE, 2), tmp_path)


NOW_READ_BY = f"face_forgery@{FaceForgery.version}+1a2b3c4d+shadow"


def decided(name: str, live: float = 0.2, shadow: float = 0.9, detector: str = NOW_READ_BY) -> MediaDecided:
    def signal(value: float) -> Signal:
        return Signal(family=Family.FACE_SWAP, status=SignalStatus.SCORED, probability=value)

    return MediaDecided(
        decision_id=UUID(int=1),
        media_id=name,
        upload=MediaUploaded(media_id=name, uri="s3://b/k", uploaded_at=NOW),
        decided_at=NOW,
        decision=Decision(action=Action.LIMIT, reasons=(), policy_version="p"),
        versions=Versions(unmask="1", policy="p", detectors=(detector, "nudity@1")),
        signals=(signal(live),),
        shadow=(signal(shadow),),
        face_features=np.full(FEATURES, 0.5, "<f2").tobytes(),
    )


def review(name: str, action: Action = Action.ALLOW, **more) -> ReviewDecided:
    one = UUID(int=2)
    return ReviewDecided(
        review_id=one, task_id=one, media_id=name, action=action, decided_at=NOW, reviewer_id="r", **more
    )


def test_what_a_review_says_of_a_family():
    """Confirmed, denied, allowed without a word; a limit without a word says nothing, and no review neither."""
    swap = (Family.FACE_SWAP,)
    rows = [
        (decided("confirmed"), review("confirmed", Action.LIMIT, confirmed=swap)),
        (decided("denied"), review("denied", Action.LIMIT, denied=swap)),
        (decided("allowed"), review("allowed")),
        (decided("limited"), review("limited", Action.LIMIT)),
        (decided("another"), review("another", Action.ALLOW, confirmed=(Family.FACE_SYNTHESIS,))),
        (decided("open"), None),
    ]
    found = {told.media_id: told.fake for told in learnable(rows, Family.FACE_SWAP)}
    assert found == {"confirmed": True, "denied": False, "allowed": False}
    assert stacked(learnable(rows, Family.FACE_SWAP)).features.shape == (3, FEATURES)


@pytest.mark.parametrize(
    ("detector", "learnt"),
    [
        (NOW_READ_BY, True),
        (f"face_forgery@{FaceForgery.version}.1", True),
        (f"refitted_faces@{FaceForgery.version}-1a2b3c4d+shadow", True),
        ("face_forgery@6", False),
        ("refitted_faces@6-1a2b3c4d", False),
        ("somebodys_faces@7", False),
    ],
)
def test_what_another_model_read_is_left_out_and_counted(detector, learnt):
    """Numbers of the same length that mean something else would teach a head nonsense."""
    rows = [(decided("m", detector=detector), review("m"))]
    found = stacked(learnable(rows, Family.FACE_SWAP))
    assert (len(found.names), found.left_out) == ((1, 0) if learnt else (0, 1))


def test_reviews_that_are_left_out_are_told(tmp_path):
    """Whoever waits for enough reviews sees why there are fewer, and the report says so as well."""
    few = replace(faces(10, TRUE, 1), left_out=70)
    with pytest.raises(ConfigError, match=r"5 confirmed and 5 denied by reviewers \(70 more left out"):
        refit("swap", Head(TRUE, 0.0), "old", "f", few, faces(40, TRUE, 2), tmp_path)
    many = replace(faces(120, DRIFT, 1), left_out=70)
    report = refit("swap", Head(TRUE, 0.0), "old", "f", many, faces(200, TRUE, 2), tmp_path)
    assert report.left_out == 70
    assert "70 more left out" in str(report)


def test_a_review_cannot_say_both():
    """What is confirmed is not denied."""
    with pytest.raises(ValueError, match="both confirmed and denied"):
        review("x", confirmed=(Family.FACE_SWAP,), denied=(Family.FACE_SWAP,))


def test_both_versions_side_by_side():
    """How many cross the line, and which of them reviewers bear out."""
    rows = [
        (decided("a"), review("a", Action.LIMIT, confirmed=(Family.FACE_SWAP,))),
        (decided("b", 0.6, 0.1), review("b")),
    ]
    found = side_by_side(rows, Family.FACE_SWAP, 0.5)
    assert (found.uploads, found.risen, found.fallen, found.reviewed, found.areas) == (2, 1, 1, 2, (0.0, 1.0))


TEXT = DEFAULT.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def head_file(tmp_path_factory) -> str:
    weight = tuple(map(float, TRUE))
    made = Refitted("swap", "f", 0.0, weight, "12345678", "old", {}, {}, reads(FaceForgery.version))
    path = tmp_path_factory.mktemp("heads") / "swap-12345678.json"
    path.write_bytes(msgspec.json.encode(made))
    return str(path)


def test_shadow_first_then_live_and_back(head_file):
    """The refitted head stands beside the shipped one, the two change places, and change back."""

    def modes(text: str) -> dict[str, str]:
        return {e.detector.name: e.mode.value for e in parse(text).entries if "face" in e.detector.name}

    shadow = promoted(TEXT, Step.SHADOW, (head_file,))
    assert modes(shadow) == {"face_forgery": "live", "refitted_faces": "shadow"}
    live = promoted(shadow, Step.LIVE)
    assert modes(live) == {"face_forgery": "shadow", "refitted_faces": "live"}
    assert modes(promoted(live, Step.BACK)) == modes(shadow)


def test_nothing_goes_live_without_a_shadow():
    """Promotion without a head in shadow is refused."""
    with pytest.raises(ConfigError, match="goes into shadow first"):
        promoted(TEXT, Step.LIVE)


@pytest.mark.parametrize("text", ["", "- a", "detectors: [", "find_faces: {}", "detectors: 5"])
def test_only_a_detectors_file_is_changed(text):
    """Another file is named as such."""
    with pytest.raises(ConfigError, match="not a detectors file"):
        promoted(text, Step.BACK)


def test_the_version_tells_the_head(head_file):
    """Known contents are judged anew when the head changes."""
    assert RefittedFaces(heads=(head_file,)).version != RefittedFaces().version
    assert read_refitted(Path(head_file)).digest in RefittedFaces(heads=(head_file,)).version


def test_a_head_of_another_model_is_refused_and_the_way_back_stays_open(head_file, monkeypatch):
    """No worker answers by it; one step takes it out, and heads alone made anew leave it of use."""
    live = promoted(promoted(TEXT, Step.SHADOW, (head_file,)), Step.LIVE)
    monkeypatch.setattr(FaceForgery, "version", f"{FaceForgery.version}.1")
    assert read_refitted(Path(head_file)).head == "swap"
    monkeypatch.setattr(FaceForgery, "version", "99")
    with pytest.raises(ConfigError, match="promote back"):
        parse(live)
    back = parse(promoted(live, Step.BACK))
    assert [e.mode.value for e in back.entries if "face" in e.detector.name] == ["live"]


def test_a_head_that_is_none_is_refused(tmp_path):
    """Its name is in the error."""
    (tmp_path / "odd.json").write_bytes(msgspec.json.encode({"head": "swap"}))
    with pytest.raises(ConfigError, match=r"odd\.json"):
        RefittedFaces(heads=(str(tmp_path / "odd.json"),))
