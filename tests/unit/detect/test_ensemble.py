"""All detectors on one clip, whatever happens to them."""

import asyncio
import threading
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE, Audio, Window
from pipeline.detect.closer import LookCloser
from pipeline.detect.embed import Embed
from pipeline.detect.ensemble import detect
from pipeline.detect.face_forgery import FaceForgery
from pipeline.detect.find_faces import FindFaces
from pipeline.detect.generator_metadata import GeneratorMetadata
from pipeline.detect.nudity import Nudity
from pipeline.detect.port import Mode, Probe, ReportStatus, Score
from pipeline.detect.registry import Entry, Registry
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.events.values import Family, Sampling, WindowLook
from pipeline.testing import FakeInfer, Hang, clip_of, constant, faces_at, hashed, meshed, picture, windows_of

DOWN = Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "down")
WRONG = Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, "wrong shape")
FACE = faces_at((40, 40, 200, 200))
ALL = (FaceForgery(), Nudity(), GeneratorMetadata())


@dataclass(frozen=True)
class Odd:
    """A detector without a model that does what the test says."""

    act: Any
    name: ClassVar[str] = "odd"
    version: ClassVar[str] = "7"
    families: ClassVar[tuple[Family, ...]] = (Family.NUDITY,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[None] = None

    def prepare(self, view):
        return self.act() if callable(self.act) else [Probe({})]

    def interpret(self, probe, outputs):
        if isinstance(self.act, Exception):
            raise self.act
        return [Score(Family.NUDITY, self.act)]


def registry(*detectors, deadline=30.0, mode=Mode.LIVE, **deadlines):
    entries = tuple(Entry(d, mode, deadlines.get(d.name, deadline)) for d in detectors or ALL)
    return Registry(FindFaces(), deadlines.get("find_faces", deadline), Embed(), deadline, entries)


def clip(frames=2):
    return clip_of(*[picture(seed=i) for i in range(frames)], metadata=[("Software", "Midjourney")])


async def judge(clip, infer, *detectors, within=60.0, **deadlines):
    """The findings, and the reports by detector."""
    findings = await detect(clip, registry(*detectors, **deadlines), infer, within=within)
    return findings, {report.detector: report for report in findings.reports}


async def test_every_detector_reports_in_the_order_of_the_registry():
    """With a face in each of two frames all three detectors answer, in full."""
    findings, reports = await judge(clip(), FakeInfer({"face_detector": FACE}))
    assert [report.detector for report in findings.reports] == ["face_forgery", "nudity", "generator_metadata"]
    assert {report.status for report in findings.reports} == {ReportStatus.OK}
    assert {report.coverage for report in findings.reports} == {1.0}
    assert len(reports["face_forgery"].scores) == 4
    assert findings.faces == 2
    assert len(findings.embedding) == 1024
    assert findings.detectors == (
        "closer@2", "embed@1", f"face_forgery@{FaceForgery.version}", "find_faces@2", "follow_faces@1",
        "generator_metadata@1", "hear_speech@1", "nudity@1",
    )  # fmt: skip


async def test_the_same_clip_gets_the_same_findings():
    """Nothing depends on who answers first."""
    first, _ = await judge(clip(), FakeInfer({"face_detector": FACE}))
    second, _ = await judge(clip(), FakeInfer({"face_detector": FACE}))
    assert first == second


async def test_a_clip_without_faces_leaves_face_detectors_nothing_to_judge():
    """The face detector works and finds none: not applicable, and the face model is not asked."""
    infer = FakeInfer()
    findings, reports = await judge(clip(), infer)
    assert (reports["face_forgery"].status, reports["face_forgery"].coverage) == (ReportStatus.NOT_APPLICABLE, 1.0)
    assert reports["nudity"].status is ReportStatus.OK
    assert infer.asked("face_forgery") == 0
    assert findings.faces == 0


@pytest.mark.parametrize(("answer", "status"), [(DOWN, "failed"), (WRONG, "failed"), (Hang(), "late")])
async def test_without_the_face_detector_face_detectors_could_not_judge(answer, status):
    """A face detector that fails or hangs makes its dependants failed or late, and no others."""
    deadline = 0.3 if isinstance(answer, Hang) else 30.0
    _, reports = await judge(clip(), FakeInfer({"face_detector": answer}), find_faces=deadline)
    assert reports["face_forgery"].status == status
    assert reports["face_forgery"].coverage == 0
    assert "faces in 0 of 2 frames" in reports["face_forgery"].detail
    assert reports["nudity"].status is ReportStatus.OK


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (DOWN, ReportStatus.FAILED, "inference_unavailable: down"),
        (WRONG, ReportStatus.FAILED, "inference_rejected: wrong shape"),
        (RuntimeError("bug"), ReportStatus.FAILED, "RuntimeError: bug"),
        (constant(probabilities=float("nan")), ReportStatus.FAILED, "ValueError: nudity: a score of nan"),
        (constant(probabilities=1.5), ReportStatus.FAILED, "ValueError: nudity: a score of 1.5"),
        (Hang(), ReportStatus.LATE, "no answer"),
    ],
)
async def test_a_detector_in_trouble_is_a_report(answer, status, detail):
    """Transient, permanent, a bug, nonsense or silence of one model: a report, and the others' answers."""
    infer = FakeInfer({"face_detector": FACE, "nudity": answer})
    _, reports = await judge(clip(), infer, nudity=0.3 if isinstance(answer, Hang) else 30.0)
    assert (reports["nudity"].status, reports["nudity"].coverage) == (status, 0.0)
    assert detail in reports["nudity"].detail
    assert reports["nudity"].scores == ()
    assert reports["face_forgery"].status is ReportStatus.OK


async def test_an_answer_to_some_questions_is_an_answer_with_less_coverage():
    """Of four frames one fails: three scores, coverage three quarters, the reason told."""
    infer = FakeInfer({"nudity": [constant(), DOWN, constant()]})
    _, reports = await judge(clip(4), infer)
    nudity = reports["nudity"]
    assert (nudity.status, nudity.coverage, len(nudity.scores)) == (ReportStatus.OK, 0.75, 3)
    assert nudity.detail == "inference_unavailable: down"


async def test_what_was_answered_in_time_counts():
    """Of four frames one hangs until the deadline: the other three count."""
    infer = FakeInfer({"nudity": [constant(), Hang(), constant()]})
    _, reports = await judge(clip(4), infer, nudity=2.0)
    assert (reports["nudity"].status, reports["nudity"].coverage) == (ReportStatus.OK, 0.75)
    assert reports["nudity"].detail


async def test_faces_of_half_the_frames_are_half_the_coverage():
    """What the face detector did not answer, the face detectors did not see."""
    infer = FakeInfer({"face_detector": [FACE, DOWN]})
    _, reports = await judge(clip(), infer)
    assert (reports["face_forgery"].status, reports["face_forgery"].coverage) == (ReportStatus.OK, 0.5)


async def test_people_beyond_the_crops_lower_the_coverage():
    """Two faces large enough, one crop."""
    registry = Registry(FindFaces(), 5.0, Embed(), 5.0, (Entry(FaceForgery(crops=1), Mode.LIVE, 5.0),))
    infer = FakeInfer({"face_detector": faces_at((40, 40, 120, 120), (200, 40, 280, 120))})
    findings = await detect(clip(1), registry, infer, within=5)
    assert [report.coverage for report in findings.reports] == [0.5]


async def test_a_face_that_is_too_small_is_not_sent_and_is_mentioned():
    """One face large enough, one too small: judged in full, and it is said what was not looked at."""
    infer = FakeInfer({"face_detector": faces_at((40, 40, 200, 200), (250, 20, 290, 60))})
    _, reports = await judge(clip(1), infer)
    forgery = reports["face_forgery"]
    assert (forgery.status, forgery.coverage) == (ReportStatus.OK, 1.0)
    assert forgery.detail == "skipped: a face of 40 pixels, fewer than 64"
    assert infer.asked("face_forgery") == 1


async def test_only_faces_that_are_too_small_are_nothing_to_judge():
    """Not applicable, but not covered either, and it says why."""
    _, reports = await judge(clip(1), FakeInfer({"face_detector": faces_at((250, 20, 290, 60))}))
    forgery = reports["face_forgery"]
    assert (forgery.status, forgery.coverage) == (ReportStatus.NOT_APPLICABLE, 0.0)
    assert "40 pixels" in forgery.detail


async def test_sound_alone_is_judged_by_its_metadata():
    """No frame: no model is asked, no embedding, nothing is missing."""
    infer = FakeInfer()
    findings, reports = await judge(clip(0), infer)
    assert infer.calls == []
    assert findings.embedding is None
    assert reports["face_forgery"].status is reports["nudity"].status is ReportStatus.NOT_APPLICABLE
    assert reports["generator_metadata"].scores[0].value > 0.9


async def test_without_an_embedding_the_clip_is_judged_all_the_same():
    """The embedding is for later use; its model's trouble changes no report."""
    findings, reports = await judge(clip(), FakeInfer({"clip_embedding": DOWN}))
    assert findings.embedding is None
    assert reports["nudity"].status is ReportStatus.OK


async def test_the_whole_ends_within_its_time():
    """With every model silent the caller's own time bounds everything, and everything is late."""
    infer = FakeInfer({name: Hang() for name in ("face_detector", "nudity", "face_forgery", "clip_embedding")})
    async with asyncio.timeout(20):
        findings, reports = await judge(clip(), infer, within=0.3)
    assert reports["face_forgery"].status is reports["nudity"].status is ReportStatus.LATE
    assert findings.embedding is None


async def test_a_bug_in_a_detector_is_that_detectors_failure():
    """Whether it asks or reads answers wrongly, the others are judged."""

    def break_down():
        raise KeyError("frame")

    for odd, detail in ((Odd(break_down), "KeyError: 'frame'"), (Odd(ZeroDivisionError("x")), "ZeroDivisionError: x")):
        _, reports = await judge(clip(), FakeInfer(), odd, Nudity())
        assert (reports["odd"].status, reports["odd"].detail) == (ReportStatus.FAILED, detail)
        assert reports["nudity"].status is ReportStatus.OK


async def test_a_detector_without_a_model_is_answered_by_itself():
    """Its probes are not sent anywhere."""
    infer = FakeInfer()
    _, reports = await judge(clip(), infer, Odd(0.5))
    assert [score.value for score in reports["odd"].scores] == [0.5]
    assert {name for name, _ in infer.calls} == {"face_detector", "clip_embedding"}


async def test_preparing_does_not_block_the_loop():
    """The loop runs on while a detector prepares: here it is the loop that lets it go on."""
    gate = threading.Event()

    def wait_for_the_loop():
        assert gate.wait(20)
        return [Probe({})]

    @dataclass(frozen=True)
    class Slow(Odd):
        def interpret(self, probe, outputs):
            return [Score(Family.NUDITY, 0.5)]

    judging = asyncio.create_task(judge(clip(), FakeInfer(), Slow(wait_for_the_loop)))
    await asyncio.sleep(0.05)
    gate.set()
    _, reports = await judging
    assert reports["odd"].status is ReportStatus.OK


async def test_preparing_too_long_is_late():
    """The deadline holds while a detector prepares."""
    gate = threading.Event()
    _, reports = await judge(clip(), FakeInfer(), Odd(lambda: gate.wait(20) and []), odd=0.2)
    gate.set()
    assert reports["odd"].status is ReportStatus.LATE


async def test_cancellation_leaves_nothing_behind():
    """A worker that stops waiting has no question under way afterwards."""
    infer = FakeInfer({"face_detector": FACE, "face_forgery": Hang(), "nudity": Hang()})
    before = asyncio.all_tasks()
    task = asyncio.create_task(judge(clip(), infer))
    while infer.asked("face_forgery") == 0 or infer.asked("nudity") == 0:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert infer.under_way == 0
    assert asyncio.all_tasks() == before


async def test_a_shadow_detector_is_asked_and_marked():
    """Its report says that it does not count."""
    findings = await detect(clip(), registry(Nudity(), mode=Mode.SHADOW), FakeInfer(), within=60)
    assert [(report.mode, report.status) for report in findings.reports] == [(Mode.SHADOW, ReportStatus.OK)]
    assert "nudity@1+shadow" in findings.detectors


async def test_a_score_is_a_plain_number():
    """What goes on the wire is Python's float, not NumPy's."""
    findings, _ = await judge(clip(), FakeInfer({"face_detector": FACE}))
    values = [score.value for report in findings.reports for score in report.scores]
    assert values
    assert all(type(value) is float for value in values)
    assert np.isfinite(values).all()


# The second pass


@dataclass(frozen=True)
class Mouths:
    """A detector that looks closer: one score per track, without a model."""

    name: ClassVar[str] = "mouths"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.LIP_SYNC,)
    needs_faces: ClassVar[bool] = True
    closer: ClassVar[bool] = True
    model: ClassVar[None] = None

    def prepare(self, view):
        return [Probe({}, at=track.faces[0].at, track=track.person) for track in view.tracks]

    def interpret(self, probe, outputs):
        return [Score(Family.LIP_SYNC, 0.25, at=probe.at, track=probe.track)]


DOUBT = LookCloser(doubt=((Family.FACE_SWAP, 0.3, 0.8),))


class Second:
    """A closer look that remembers what it was asked."""

    def __init__(self, answer=None):
        self.spans = []
        self.answer = answer

    async def __call__(self, spans):
        self.spans += spans
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, Hang):
            await asyncio.Event().wait()
        return windows_of(lambda at: picture(seed=int(at)), spans, 5) if self.answer is None else self.answer


def speaking(model, tensors):
    return {"probability": np.full(len(tensors["waveform"]) // 512, 0.9, np.float32)}


def video(frames=5, speech=True):
    """Ten seconds with a keyframe every two, and sound."""
    audio = Audio(np.zeros(10 * SAMPLE_RATE, np.float32)) if speech else None
    made = clip_of(*[picture(seed=i) for i in range(frames)], audio=audio)
    return replace(made, sampling=Sampling(decoder="fake", closer_budget=100))


def server(**answers):
    return FakeInfer({"face_detector": FACE, "face_mesh": meshed(), "voice_activity": speaking, **answers})


async def look_twice(infer, second, *detectors, clip=None, how=DOUBT, within=60.0, **deadlines):
    judges = replace(registry(*(detectors or (FaceForgery(), Mouths())), **deadlines), closer=how)
    findings = await detect(clip or video(), judges, infer, closer=second, within=within)
    return findings, {report.detector: report for report in findings.reports}


async def test_where_somebody_speaks_is_looked_at_closely():
    """One window over the speech; who looks closer scores its track; the manifest tells what for and what it gave."""
    second = Second()
    findings, reports = await look_twice(server(face_forgery=constant(swap=0.1, synthesis=0.1)), second)
    (span,) = second.spans
    assert span.rate == 25.0
    assert (reports["mouths"].status, len(reports["mouths"].scores)) == (ReportStatus.OK, 1)
    assert findings.windows == (
        WindowLook(span.start, 3.96, 100, "somebody speaks and a face is there", "judged: lip sync"),
    )
    assert [report.detector for report in findings.reports] == ["face_forgery", "mouths"]


async def test_a_face_in_doubt_is_asked_about_until_it_is_not():
    """The keyframes say 0.6; frames of the window say 0.99 until the mean is clear: the words tell both."""

    def judge(model, tensors):
        answer = hashed(model, tensors)
        answer["swap"][:] = 0.6 if len(calls) < 5 else 0.99
        answer["synthesis"][:] = 0.0
        calls.append(1)
        return answer

    calls: list[int] = []
    findings, reports = await look_twice(server(face_forgery=judge), Second(), clip=video(speech=False))
    swaps = [score for score in reports["face_forgery"].scores if score.family is Family.FACE_SWAP]
    assert len(swaps) > 5
    assert {score.track for score in swaps} == {0}
    (window,) = findings.windows
    assert window.why == "face swap of person 0 in doubt (0.60)"
    assert window.bought.startswith("face swap of person 0 0.60 → ")


async def test_who_is_not_in_doubt_is_not_asked_about_again():
    """With clear scores the windows cost the face heads nothing."""
    infer = server(face_forgery=constant(swap=0.95, synthesis=0.1))
    await look_twice(infer, Second())
    assert infer.asked("face_forgery") == 5


async def test_a_still_and_a_clip_without_faces_are_looked_at_once():
    """Nothing calls for a second look: not applicable, in full."""
    for given, infer in ((clip_of(picture()), server()), (video(), server(face_detector=faces_at()))):
        second = Second()
        findings, reports = await look_twice(infer, second, clip=given)
        assert (reports["mouths"].status, reports["mouths"].coverage) == (ReportStatus.NOT_APPLICABLE, 1.0)
        assert (second.spans, findings.windows) == ([], ())


async def test_what_cannot_be_looked_at_twice_was_not_covered():
    """Faces, and nobody to look closer: not applicable is no reassurance."""
    _, reports = await look_twice(server(), None)
    assert (reports["mouths"].status, reports["mouths"].coverage) == (ReportStatus.NOT_APPLICABLE, 0.0)


CRASHED = Permanent(Stage.DECODE, Reason.DECODER_CRASHED, "killed")


@pytest.mark.parametrize(
    ("second", "answers", "status", "detail"),
    [
        (Second(CRASHED), {}, "failed", "no closer look: decoder_crashed: killed"),
        (Second(Hang()), {}, "late", "no closer look"),
        (Second((Window(None, (), "no frame could be decoded"),)), {}, "failed", "no frame could be decoded"),
        (Second(), {"face_mesh": DOWN}, "failed", "could not be followed"),
        (Second(), {"face_detector": DOWN}, "failed", "faces in 0 of 5 frames"),
    ],
)
async def test_a_second_look_that_fails_is_a_report_of_those_who_need_it(second, answers, status, detail):
    """A child that died, a silent decoder, no frames, no mesh, no faces: failed or late, and the others judge."""
    judges = (Mouths(), Nudity())
    deadline = {"closer_deadline": 0.3} if isinstance(second.answer, Hang) else {}
    made = replace(registry(*judges), closer=DOUBT, **deadline)
    findings = await detect(video(), made, server(**answers), closer=second, within=60)
    mouths, nudity = findings.reports
    assert (mouths.status, mouths.coverage) == (status, 0.0)
    assert detail in mouths.detail
    assert nudity.status is ReportStatus.OK


async def test_the_first_pass_leaves_time_for_the_second():
    """A detector that hangs for as long as it may does not take the closer look's time."""
    infer = server(nudity=Hang(), face_forgery=constant(swap=0.1, synthesis=0.1))
    _, reports = await look_twice(infer, Second(), FaceForgery(), Nudity(), Mouths(), within=8.0)
    assert reports["nudity"].status is ReportStatus.LATE
    assert reports["mouths"].status is ReportStatus.OK


async def test_two_detectors_of_one_model_share_its_answers():
    """The same frame is not sent twice to the same model for the same outputs."""

    @dataclass(frozen=True, slots=True)
    class Twin(Nudity):
        name: ClassVar[str] = "twin"

    infer = FakeInfer()
    _, reports = await judge(clip(), infer, Nudity(), Twin())
    assert infer.asked("nudity") == 2
    assert [s.value for s in reports["nudity"].scores] == [s.value for s in reports["twin"].scores]


async def test_features_of_the_most_suspicious_face_are_kept():
    """What the head read of it, for learning from what people say."""

    @dataclass(frozen=True)
    class Reader(Odd):
        def interpret(self, probe, outputs):
            return [Score(Family.NUDITY, v, features=bytes([i])) for i, v in enumerate((0.2, 0.9, 0.5))]

    findings, _ = await judge(clip(), FakeInfer(), Reader(0.5))
    assert findings.face_features == bytes([1])
