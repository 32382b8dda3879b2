"""One upload through the stages, over the shipped fakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.decode.port import Clip, Span, Window
from pipeline.detect.port import Closer, DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events import MediaUploaded
from pipeline.events.values import Action, Failure, Family, SignalStatus, Surface, WindowLook
from pipeline.ledger.port import KnownContent, known_from
from pipeline.policy.file import load
from pipeline.screen import Screening, screen, unscreenable
from pipeline.testing import FakeDecode, FakeFetch, clip_of, picture

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = load(None)


def upload(name: str, **more: object) -> MediaUploaded:
    return MediaUploaded(media_id="m-1", uri=f"file:///{name}", uploaded_at=NOW, **more)


def findings(swap: float, status: ReportStatus = ReportStatus.OK) -> Findings:
    scores = (Score(Family.FACE_SWAP, swap, at=0.0), Score(Family.FACE_SYNTHESIS, 0.001, at=0.0))
    families = (Family.FACE_SWAP, Family.FACE_SYNTHESIS)
    report = DetectorReport(
        "face_forgery", "1", Mode.LIVE, families, status, scores if status is ReportStatus.OK else ()
    )
    return Findings((report,), faces=1, embedding=b"\0" * 1024)


class Bench:
    """A screening whose ports remember what they were asked."""

    def __init__(self, folder: Path, found: Findings, clip: Clip | Exception | None = None) -> None:
        (folder / "a.jpg").write_bytes(b"bytes of a picture")
        self.decode = FakeDecode(default=clip or clip_of(picture()))
        self.detected = 0
        self.stages: list[Stage] = []
        self.spans: list[Span] = []
        self.windows: tuple[Window, ...] = ()
        self.store: dict[tuple[str, tuple[str, ...]], KnownContent] = {}

        async def detect(_: Clip, closer: Closer, within: float) -> Findings:
            assert within > 0
            self.detected += 1
            self.windows = await closer(self.spans) if self.spans else ()
            return found

        async def known(sha256: str, detectors: tuple[str, ...]) -> KnownContent | None:
            return self.store.get((sha256, detectors))

        @contextmanager
        def timed(stage: Stage) -> Iterator[None]:
            self.stages.append(stage)
            yield

        self.by = Screening(FakeFetch(folder), self.decode, detect, known, POLICY, ("face_forgery@1",), timed)


async def test_a_closer_look_is_one_at_the_same_file_and_is_told(tmp_path):
    """Whoever detects may look closely; the manifest that is decided with, and remembered, tells where."""
    look = WindowLook(start=1.0, end=3.9, frames=3, why="a face is there", bought="judged: lip sync")
    bench = Bench(tmp_path, replace(findings(0.05), windows=(look,), notes=("faces were looked for in 1 of 2 frames",)))
    bench.decode.film = lambda at: picture(seed=int(at))
    bench.spans = [Span(1.0, 4.0, 1.0, "a face is there")]
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert bench.decode.looked == bench.spans
    assert [frame.index for window in bench.windows for frame in window.frames] == [1, 2, 3]
    assert decided.sampling.windows == (look,)
    assert decided.sampling.notes == ("faces were looked for in 1 of 2 frames",)
    assert known_from(decided).sampling == decided.sampling


async def test_what_the_heads_read_is_kept(tmp_path):
    """Features of the most suspicious face go with the decision, and are remembered."""
    bench = Bench(tmp_path, replace(findings(0.05), face_features=b"\1\2"))
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert decided.face_features == known_from(decided).face_features == b"\1\2"


async def test_a_genuine_upload_is_allowed_with_everything_that_was_seen(tmp_path):
    """The decision carries digest, facts, sampling, signals, versions and the embedding."""
    bench = Bench(tmp_path, findings(0.05))
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert decided.decision.action is Action.ALLOW
    assert decided.decision.review is None
    assert decided.size == len(b"bytes of a picture")
    assert decided.facts is not None
    assert decided.sampling is not None
    assert decided.embedding == b"\0" * 1024
    assert decided.versions.detectors == ("face_forgery@1",)
    assert decided.versions.policy == POLICY.version
    assert bench.stages == [Stage.FETCH, Stage.DECODE, Stage.DETECT, Stage.DECIDE]


async def test_a_suspicion_goes_to_a_person_and_points_at_its_evidence(tmp_path):
    """A high score leads to a review, never to a removal, and says where it looked."""
    bench = Bench(tmp_path, findings(0.99))
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert decided.decision.review is not None
    assert decided.decision.review.queue == "faces"
    assert decided.decision.action is not Action.REMOVE
    swap = next(signal for signal in decided.signals if signal.family is Family.FACE_SWAP)
    assert swap.evidence[0].at == 0.0


async def test_known_bytes_are_decided_without_decoding_or_inference(tmp_path):
    """The stored signals meet today's policy and this upload's context."""
    bench = Bench(tmp_path, findings(0.99))
    first = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    content = known_from(first)
    assert content is not None
    bench.store[content.sha256, first.versions.detectors] = content
    again = await screen(
        MediaUploaded(media_id="m-2", uri="file:///a.jpg", uploaded_at=NOW, surface=Surface.AD),
        1,
        now=NOW,
        within=5,
        by=bench.by,
    )
    assert (len(bench.decode.decoded), bench.detected) == (1, 1)
    assert again.reused_from == "m-1"
    assert again.signals == first.signals
    assert again.decision.action is Action.HOLD


async def test_other_detectors_judge_known_bytes_anew(tmp_path):
    """A new detector version is not answered from an old one's findings."""
    bench = Bench(tmp_path, findings(0.05))
    first = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    content = known_from(first)
    assert content is not None
    bench.store[content.sha256, first.versions.detectors] = content
    newer = replace(bench.by, detectors=("face_forgery@2",))
    again = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=newer)
    assert again.reused_from is None
    assert bench.detected == 2


async def test_a_failed_detector_leads_to_the_fail_mode_and_is_not_remembered(tmp_path):
    """What could not be judged is never simply allowed, and has its say when the detector is back."""
    bench = Bench(tmp_path, findings(0.0, ReportStatus.FAILED))
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert {signal.status for signal in decided.signals if signal.family is Family.FACE_SWAP} == {SignalStatus.MISSING}
    assert decided.decision.review is not None
    assert any(hit.fail_mode for hit in decided.decision.trace)
    assert known_from(decided) is None


async def test_a_cause_from_decoding_leaves_with_its_type(tmp_path):
    """The delivery buries it; the spooled file is gone by then."""
    broken = Permanent(Stage.DECODE, Reason.MEDIA_BOMB, "60000 × 60000")
    bench = Bench(tmp_path, findings(0.05), broken)
    with pytest.raises(Permanent) as caught:
        await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench.by)
    assert caught.value.reason is Reason.MEDIA_BOMB


def test_the_unscreenable_are_held_for_a_person():
    """The fail mode's decision names the failure and asks somebody."""
    failure = Failure(stage="decode", reason="media_bomb", detail="60000 × 60000")
    decided = unscreenable(upload("a.jpg"), 3, failure, now=NOW, policy=POLICY)
    assert decided.decision.action is Action.HOLD
    assert decided.decision.review is not None
    assert decided.failure == failure
    assert decided.round == 3
