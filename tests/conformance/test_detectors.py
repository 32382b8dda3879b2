"""One suite for every registered detector, against its real model on the real Triton server.

A detector that is added to the registry is tested here without a line of its own.
"""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE, Audio
from pipeline.detect.ensemble import detect
from pipeline.detect.port import ReportStatus
from pipeline.detect.registry import load
from pipeline.detect.tensors import misfits
from pipeline.events.values import Box, Family
from pipeline.models.verify import verify
from pipeline.testing import clip_of, picture
from tests.conformance.conftest import EVERY
from tests.conformance.scene import (
    METADATA,
    SECONDS,
    closer_look,
    judge,
    registry,
    report_of,
    report_on,
    sendable,
    with_native,
)

pytestmark = pytest.mark.slow

BATCHED = sorted(name for name, made in EVERY.items() if made.model is not None and made.model.max_batch)


def lies_in(inner: Box, outer: Box) -> bool:
    return (
        outer.x0 - 1e-9 <= inner.x0 < inner.x1 <= outer.x1 + 1e-9
        and outer.y0 - 1e-9 <= inner.y0 < inner.y1 <= outer.y1 + 1e-9
    )


FRAME = Box(x0=0, y0=0, x1=1, y1=1)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """To the bit; what could not be measured is not a number, twice."""
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


class TestEveryDetector:
    """What the flow may rely on, whichever detector it is."""

    def test_it_says_who_it_is(self, detector):
        """A name, a version and at least one family, all fit for evidence and metric labels."""
        assert detector.name.isidentifier()
        assert detector.version
        assert detector.families
        assert all(isinstance(family, Family) for family in detector.families)

    async def test_it_has_something_to_say_of_a_clip_that_has_everything(self, detector, view, infer):
        """A face, frames, sound and metadata: every detector asks something and gets scores, of its families only."""
        scores = [score for scores in await judge(detector, sendable(detector, view), infer) for score in scores]
        assert {score.family for score in scores} == set(detector.families)

    def test_its_tensors_fit_its_model(self, detector, view):
        """Every probe is what the model's inputs ask for, with a batch that the model takes."""
        for probe in sendable(detector, view):
            if detector.model is not None:
                assert misfits(detector.model, detector.model.inputs, probe.tensors) == []

    def test_preparing_twice_asks_the_same(self, detector, view):
        """The same clip gives the same questions, to the bit."""
        first, second = detector.prepare(view), detector.prepare(view)
        assert len(first) == len(second) > 0
        for one, other in zip(first, second, strict=True):
            assert (one.at, one.box, one.track, one.skipped) == (other.at, other.box, other.track, other.skipped)
            assert one.tensors.keys() == other.tensors.keys()
            assert all(same(one.tensors[name], other.tensors[name]) for name in one.tensors)

    def test_preparing_leaves_the_clip_as_it_is(self, detector, view):
        """Frames, sound and meshes are shared between detectors: nobody writes into them."""

        def shared() -> list[np.ndarray]:
            kept = [view.clip.audio.samples, *(frame.native for frame in view.clip.keyframes)]
            windows = [frame for window in view.windows for frame in window.frames]
            kept += [frame.image for frame in (*view.clip.keyframes, *windows)]
            return kept + [face.points for track in view.tracks for face in track.faces]

        before = [array.copy() for array in shared()]
        detector.prepare(view)
        for array, was in zip(shared(), before, strict=True):
            assert np.array_equal(array, was)

    async def test_asking_twice_answers_the_same(self, detector, view, infer):
        """The same question has one answer, to the bit."""
        probes = sendable(detector, view)
        assert await judge(detector, probes, infer) == await judge(detector, probes, infer)

    async def test_the_order_of_the_questions_does_not_matter(self, detector, view, infer):
        """Asked backwards, every probe gets the scores that it got forwards."""
        probes = sendable(detector, view)
        forwards = await judge(detector, probes, infer)
        assert await judge(detector, probes[::-1], infer) == forwards[::-1]

    async def test_the_company_of_other_questions_does_not_matter(self, detector, view, infer):
        """All at once, so that the server may batch them, and alone: the same scores.

        Equal to within the noise of floating point: a larger matrix product may add in another order. A model whose
        quantisation looks at the whole batch is far further off than that.
        """
        probes = sendable(detector, view)
        alone = await judge(detector, probes, infer)
        together = await asyncio.gather(*(judge(detector, [probe], infer) for probe in probes * 2))
        for one, (other,) in zip(alone * 2, together, strict=True):
            assert [replace(score, value=0.0) for score in one] == [replace(score, value=0.0) for score in other]
            assert [score.value for score in one] == pytest.approx([score.value for score in other], abs=1e-5)

    @pytest.mark.parametrize("detector", BATCHED, indirect=True)
    async def test_a_batch_answers_as_its_rows_do(self, detector, view, infer):
        """Rows in one request, with a stranger among them, are answered as each alone is."""
        probes = sendable(detector, view)[:3]
        stranger = {name: np.roll(array, 40, axis=1)[:, ::-1] for name, array in probes[0].tensors.items()}
        rows = [stranger, *(probe.tensors for probe in probes)]
        names = [spec.name for spec in detector.model.inputs]
        batch = {name: np.ascontiguousarray(np.concatenate([row[name] for row in rows])) for name in names}
        outputs = await infer(replace(detector.model, max_batch=len(rows)), batch, within=SECONDS)
        for i, (probe, alone) in enumerate(zip(probes, await judge(detector, probes, infer), strict=True), start=1):
            row = detector.interpret(probe, {name: array[i : i + 1] for name, array in outputs.items()})
            assert [score.value for score in row] == pytest.approx([score.value for score in alone], abs=1e-5)

    async def test_scores_are_probabilities_and_evidence_lies_in_the_clip(self, detector, view, infer):
        """Scores are plain numbers from 0 to 1; boxes lie in the frame, moments in the clip, stretches run forwards."""
        duration = view.clip.facts.duration
        for scores in await judge(detector, sendable(detector, view), infer):
            for score in scores:
                assert type(score.value) is float
                assert 0 <= score.value <= 1
                assert score.box is None or lies_in(score.box, FRAME)
                assert score.at is None or 0 <= score.at <= duration
                assert score.until is None or (score.at is not None and score.at <= score.until <= duration + 0.1)
                assert len(score.note) <= 300

    async def test_a_map_lies_in_the_frame_and_round_its_score(self, detector, view, infer):
        """A heat map has a byte per cell, lies in the frame, is of one moment, and reaches into the score's box."""
        for scores in await judge(detector, sendable(detector, view), infer):
            for score in scores:
                if (heat := score.heat) is not None:
                    assert lies_in(heat.box, FRAME)
                    assert len(heat.cells) == heat.rows * heat.cols
                    assert score.at is not None
                    assert score.box is None or (
                        max(heat.box.x0, score.box.x0) < min(heat.box.x1, score.box.x1)
                        and max(heat.box.y0, score.box.y0) < min(heat.box.y1, score.box.y1)
                    )

    async def test_a_score_points_where_its_probe_points(self, detector, view, infer):
        """Evidence is never of another moment, face or place than what was asked about; it may be more precise."""
        probes = sendable(detector, view)
        for probe, scores in zip(probes, await judge(detector, probes, infer), strict=True):
            for score in scores:
                assert (score.at, score.track) == (probe.at, probe.track)
                assert score.box == probe.box or lies_in(score.box, probe.box or FRAME)

    @pytest.mark.parametrize(
        "empty",
        [
            pytest.param(clip_of(), id="nothing"),
            pytest.param(clip_of(audio=Audio(np.zeros(SAMPLE_RATE, np.float32))), id="sound alone"),
        ],
    )
    async def test_without_frames_and_metadata_it_does_not_apply(self, detector, empty, infer):
        """No picture and no entry: not applicable, which is not a failure and not a score."""
        report = await report_of(detector, empty, infer)
        assert (report.status, report.scores, report.coverage) == (ReportStatus.NOT_APPLICABLE, (), 1.0)

    async def test_without_faces_a_detector_of_faces_does_not_apply(self, detector, photographs, infer):
        """A cup of coffee: whoever needs faces, or a moving picture, has nothing to judge; nobody fails."""
        report = await report_of(detector, clip_of(photographs["coffee"], metadata=METADATA), infer)
        needless = detector.needs_faces or detector.closer
        assert report.status in (
            (ReportStatus.NOT_APPLICABLE,) if needless else (ReportStatus.NOT_APPLICABLE, ReportStatus.OK)
        )

    async def test_who_looks_closer_says_so_when_nothing_could_be_looked_at(self, detector, view, infer):
        """A face in a video and no closer look: that is no reassurance."""
        if detector.closer:
            report = await report_of(detector, view.clip, infer)
            assert (report.status, report.coverage) == (ReportStatus.NOT_APPLICABLE, 0.0)

    async def test_without_tracks_who_needs_them_does_not_judge(self, detector, view, infer):
        """Windows in which nobody was found: whoever looks at tracks asks nothing, and nobody breaks."""
        report = await report_on(detector, replace(view, tracks=(), faces=()), infer)
        if detector.needs_faces:
            assert (report.status, report.scores) == (ReportStatus.NOT_APPLICABLE, ())
        assert report.status in (ReportStatus.OK, ReportStatus.NOT_APPLICABLE)

    @pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (16, 16), (33, 31)])
    async def test_odd_sizes_do_no_harm(self, detector, size, infer):
        """Pictures of one pixel and slivers are judged or do not apply; they are no failure."""
        report = await report_of(detector, with_native(clip_of(picture(*size), metadata=METADATA)), infer)
        assert report.status in (ReportStatus.OK, ReportStatus.NOT_APPLICABLE)


async def test_every_detector_fits_the_repository_and_the_server(models, infer):
    """Names, types, shapes and batches: detectors, config.pbtxt and the server agree; every model has a card."""
    report = await verify(models, registry(), infer)
    assert [str(difference) for difference in report.differences] == []
    assert report.asked_server


async def test_the_whole_stage_is_deterministic(clip, film, infer):
    """The same clip twice, with everything side by side and a closer look: the same findings."""
    closer = closer_look(clip, film)
    first, second = [await detect(clip, load(), infer, closer=closer, within=4 * SECONDS) for _ in range(2)]
    assert {report.status for report in first.reports} <= {ReportStatus.OK, ReportStatus.NOT_APPLICABLE}
    assert first.windows == second.windows != ()
    assert first.detectors == second.detectors
    assert first.faces == second.faces == 3
    for one, other in zip(first.reports, second.reports, strict=True):
        assert [s.value for s in one.scores] == pytest.approx([s.value for s in other.scores], abs=1e-5)
    embeddings = [np.frombuffer(found.embedding, "<f2").astype(float) for found in (first, second)]
    assert np.linalg.norm(embeddings[0]) == pytest.approx(1, abs=1e-2)
    assert embeddings[0] @ embeddings[1] == pytest.approx(1, abs=1e-2)


async def test_the_face_is_where_the_face_is(photographs, infer):
    """The astronaut's eyes, nose and mouth lie in the box, left of and above the middle of the picture."""
    clip = clip_of(photographs["astronaut"])
    (face,) = (await load().faces(clip, infer, until=asyncio.get_running_loop().time() + SECONDS)).faces
    assert face.box.x0 < 0.44 < face.box.x1
    assert face.box.y0 < 0.23 < face.box.y1
    assert all(face.box.x0 < x < face.box.x1 and face.box.y0 < y < face.box.y1 for x, y in face.landmarks)


async def test_a_face_that_fills_the_picture_is_found(photographs, infer):
    """A tight portrait enlarged to a profile picture still has a face, at the second look if not at the first."""
    face = np.kron(photographs["astronaut"][55:185, 165:290], np.ones((7, 7, 1), np.uint8))
    found = await load().faces(clip_of(face), infer, until=asyncio.get_running_loop().time() + SECONDS)
    assert len(found.faces) == 1
