"""What is missing makes nothing surer, whichever detector it is: no answer, no face, no sound is never a low score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.calibration import NONE
from pipeline.detect.port import DetectorReport, Findings, ModelSpec, ReportStatus, Score, Tensors, View
from pipeline.errors import Reason, Stage, Transient
from pipeline.events.values import Credentials, Signal, SignalStatus
from pipeline.fuse import FamilyFusion, Fused, Fusion, fuse
from tests.conformance.scene import judge, report_of, report_on, sendable

pytestmark = pytest.mark.slow

SPOKEN = (ReportStatus.OK, ReportStatus.NOT_APPLICABLE)
FUSED = Fused(Fusion(evidence=5, default=FamilyFusion(top_share=0.1, min_coverage=0.5)), NONE)


class Losing:
    """A detector to some of whose questions, by their number, no answer comes."""

    def __init__(self, detector: Any, lost: set[int]) -> None:
        self._detector, self._lost = detector, lost
        self._gone: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def prepare(self, view: View) -> list[Any]:
        """The detector's own questions."""
        probes = list(self._detector.prepare(view))
        asked = [probe for probe in probes if not probe.skipped]
        self._gone = [id(asked[i]) for i in self._lost]
        return probes

    def interpret(self, probe: Any, outputs: Tensors) -> Any:
        """Raises for those that are lost, as the server's adapter does."""
        if id(probe) in self._gone:
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "lost")
        return self._detector.interpret(probe, outputs)


class Without:
    """The real server without one of its models."""

    def __init__(self, infer: Any, model: str) -> None:
        self._infer, self._model = infer, model

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        """Raises for that model, as the server's adapter does."""
        if model.name == self._model:
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, "away")
        return await self._infer(model, tensors, within=within)


def signals(report: DetectorReport) -> tuple[Signal, ...]:
    return fuse(Findings((report,)), FUSED).signals


def values(scores: tuple[Score, ...]) -> Any:
    return pytest.approx([score.value for score in scores], abs=1e-5)


@pytest.mark.parametrize("end", [0, -1], ids=["first", "last"])
async def test_a_lost_answer_costs_its_own_scores_alone(detector, view, answers, end):
    """The other scores are what they were, and less counts as looked at; where it was the only one, nothing is said."""
    probes = sendable(detector, view)
    lost = range(len(probes))[end]
    whole, part = await report_on(detector, view, answers), await report_on(Losing(detector, {lost}), view, answers)
    kept = tuple(s for i, each in enumerate(await judge(detector, probes, answers)) if i != lost for s in each)
    assert part.coverage < whole.coverage
    if len(probes) > 1:
        assert part.status is ReportStatus.OK
        assert [score.value for score in part.scores] == values(kept)
        assert part.detail
    else:
        assert (part.status, part.coverage, part.scores) == (ReportStatus.FAILED, 0, ())
    for before, after in zip(signals(whole), signals(part), strict=True):
        assert after.status is SignalStatus.MISSING or after.coverage < before.coverage


async def test_no_answers_are_no_reassurance(detector, view, answers):
    """When nothing is answered every family is missing; none is scored low."""
    report = await report_on(Losing(detector, set(range(len(sendable(detector, view))))), view, answers)
    assert (report.status, report.coverage, report.scores) == (ReportStatus.FAILED, 0, ())
    assert {(signal.status, signal.probability) for signal in signals(report)} == {(SignalStatus.MISSING, None)}


async def test_without_the_face_detector_who_needs_faces_is_missing(detector, clip, film, answers):
    """Its silence is not the absence of faces."""
    report = await report_of(detector, clip, Without(answers, "face_detector"), film)
    if detector.needs_faces or detector.closer:
        assert (report.status, report.coverage, report.scores) == (ReportStatus.FAILED, 0, ())
    else:
        assert report.status in SPOKEN


async def test_who_needs_no_faces_says_the_same_without_them(detector, view, answers):
    """What is not looked at cannot matter."""
    if not (detector.needs_faces or detector.closer):
        whole = await report_on(detector, view, answers)
        blind = await report_on(detector, replace(view, faces=None, tracks=None, windows=()), answers)
        assert [score.value for score in blind.scores] == values(whole.scores)


async def test_faces_that_cannot_be_followed_are_missing(detector, clip, film, answers):
    """Who looks at tracks does not take a failure for an empty room."""
    if detector.closer:
        report = await report_of(detector, clip, Without(answers, "face_mesh"), film)
        assert (report.status, report.coverage, report.scores) == (ReportStatus.FAILED, 0, ())


async def test_speech_that_could_not_be_judged_lowers_the_coverage(detector, view, answers):
    """There is sound and nobody knows who speaks: whoever needs to know says nothing, and it does not look judged."""
    whole, deaf = (
        await report_on(detector, view, answers),
        await report_on(detector, replace(view, speech=None), answers),
    )
    if [score.value for score in deaf.scores] != values(whole.scores):
        assert deaf.coverage < whole.coverage


async def test_an_answer_that_is_no_number_is_no_low_score(detector, view, answers):
    """Where nothing could be measured nothing is said: no score, or one that is refused, or an even one."""
    for probe in sendable(detector, view):
        outputs = dict(await answers(detector.model, probe.tensors, within=60) if detector.model else probe.tensors)
        for name, array in outputs.items():
            if array.dtype.kind == "f":
                outputs[name] = np.full_like(array, np.nan)
        if not any(array.dtype.kind == "f" for array in outputs.values()):
            continue
        try:
            scores = detector.interpret(probe, outputs)
        except ValueError:
            continue
        for score in scores:
            assert not score.value < 0.5, f"{score.value} ({score.note})"


def _clip(view: View, **changes: Any) -> View:
    return replace(view, clip=replace(view.clip, **changes))


def _facts(view: View, **changes: Any) -> View:
    return _clip(view, facts=msgspec.structs.replace(view.clip.facts, **changes))


LESS: dict[str, Callable[[View], View]] = {
    "sound": lambda view: replace(_clip(view, audio=None), speech=None),
    "packets": lambda view: _clip(view, packets=None),
    "unscaled": lambda view: _clip(view, keyframes=tuple(replace(f, native=None) for f in view.clip.keyframes)),
    "metadata": lambda view: _facts(view, metadata=(), credentials=Credentials()),
    "likeness": lambda view: replace(view, tracks=tuple(replace(t, embeddings=None, embedded=()) for t in view.tracks)),
    "second window": lambda view: replace(view, windows=view.windows[:1], tracks=view.tracks[:1]),
    "all but two frames": lambda view: replace(
        _clip(view, keyframes=view.clip.keyframes[:2]), faces=tuple(face for face in view.faces if face.frame < 2)
    ),
    "landmarks": lambda view: replace(view, faces=tuple(replace(face, landmarks=()) for face in view.faces)),
}


@pytest.mark.parametrize("less", sorted(LESS))
async def test_what_a_file_lacks_does_no_harm(detector, view, answers, less):
    """A file without it is judged by the rest or not at all: no failure, no score out of range, no word too many."""
    whole, rest = await report_on(detector, view, answers), await report_on(detector, LESS[less](view), answers)
    assert rest.status in SPOKEN, rest.detail
    assert rest.coverage <= whole.coverage or rest.status is ReportStatus.NOT_APPLICABLE
    assert {score.family for score in rest.scores} <= set(detector.families)
