"""Where the faces are: CenterFace on the keyframes, joined into tracks. Comes before the detectors that need faces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from pipeline.decode.port import Clip, Keyframe
from pipeline.detect.ask import ask, left
from pipeline.detect.faces import Letterbox, decode_centerface, letterbox
from pipeline.detect.frames import spread
from pipeline.detect.port import Face, Infer, ModelSpec, ReportStatus, Tensors, TensorSpec
from pipeline.events.values import Box


@dataclass(frozen=True, slots=True)
class Found:
    """What the step found. `faces` is None when it cannot be said that there are none; `coverage`: frames answered."""

    faces: tuple[Face, ...] | None
    coverage: float = 1.0
    status: ReportStatus = ReportStatus.OK
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FindFaces:
    """Asks the face detector.

    Args:
        frames: keyframes looked at, spread over the clip.
        longest: the long side, pixels, that a frame is shrunk to; faces under about 10 pixels there are not found.
        again: the long side at which a frame without a face is looked at once more: a face that fills the frame, as in
            a profile picture, is too large to be found at the first.
        min_score: the detector's own score from which something is a face.
        same_face: overlap (intersection over union) from which two boxes in consecutive keyframes are one track.
        at_once: frames under way at once, which bounds memory.
    """

    frames: int = 24
    longest: int = 640
    again: int = 256
    min_score: float = 0.5
    same_face: float = 0.3
    at_once: int = 4

    name: ClassVar[str] = "find_faces"
    version: ClassVar[str] = "1"
    model: ClassVar[ModelSpec] = ModelSpec(
        "face_detector",
        inputs=(TensorSpec("image", "UINT8", (-1, -1, 3)),),
        outputs=(
            TensorSpec("heatmap", "FP32", (1, -1, -1)),
            TensorSpec("scale", "FP32", (2, -1, -1)),
            TensorSpec("offset", "FP32", (2, -1, -1)),
            TensorSpec("landmarks", "FP32", (10, -1, -1)),
        ),
        max_batch=1,
    )

    def __post_init__(self) -> None:
        if self.frames < 1 or self.at_once < 1 or min(self.longest, self.again) < 32:
            raise ValueError("frames and at_once must be at least 1, longest and again at least 32")
        if not (0 <= self.min_score < 1 and 0 < self.same_face <= 1):
            raise ValueError("min_score and same_face are shares")

    async def __call__(self, clip: Clip, infer: Infer, *, until: float) -> Found:
        """The faces of `clip`, by the loop's time `until`. Raises for cancellation only."""
        frames = spread(clip.keyframes, self.frames)
        if not frames:
            return Found(())
        questions: list[Callable[[], Awaitable[list[Face]]]] = [
            partial(self._look, frame, infer, until) for frame in frames
        ]
        answers = await ask(questions, until=until, at_once=self.at_once)
        coverage = answers.answered / len(frames)
        faces = tracks([answer or [] for answer in answers.given], self.same_face)
        if coverage < 1 and not faces:
            status = ReportStatus.LATE if answers.late else ReportStatus.FAILED
            detail = answers.detail or "the deadline passed"
            return Found(None, coverage, status, f"faces in {answers.answered} of {len(frames)} frames: {detail}")
        return Found(faces, coverage, detail=answers.detail)

    async def _look(self, frame: Keyframe, infer: Infer, until: float) -> list[Face]:
        faces = await self._look_at(self.longest, frame, infer, until)
        if not faces and self.again < min(self.longest, max(frame.image.shape[:2])):
            faces = await self._look_at(self.again, frame, infer, until)
        return faces

    async def _look_at(self, longest: int, frame: Keyframe, infer: Infer, until: float) -> list[Face]:
        boxed = await asyncio.to_thread(letterbox, frame.image, longest)
        outputs = await infer(self.model, {"image": boxed.image[None]}, within=left(until))
        return await asyncio.to_thread(self.read, frame, boxed, outputs)

    def read(self, frame: Keyframe, boxed: Letterbox, outputs: Tensors) -> list[Face]:
        """The faces of one frame, best first, from the detector's maps."""
        heatmap, scale, offset, landmarks = (outputs[spec.name][0] for spec in self.model.outputs)
        found = decode_centerface(heatmap, scale, offset, landmarks, boxed, min_score=self.min_score)
        height, width = boxed.size
        return [
            Face(
                frame=frame.index,
                at=frame.at,
                box=Box(x0=float(x0) / width, y0=float(y0) / height, x1=float(x1) / width, y1=float(y1) / height),
                landmarks=tuple((float(x) / width, float(y) / height) for x, y in marks),
                score=min(1.0, float(score)),
            )
            for (x0, y0, x1, y1), score, marks in zip(found.boxes, found.scores, found.landmarks, strict=True)
        ]


def tracks(frames: Sequence[Sequence[Face]], same_face: float) -> tuple[Face, ...]:
    """The faces of consecutive frames, numbered by person as far as overlap tells: the best pairs first.

    Keyframes lie seconds apart, so one person may get several tracks; a track is never more than a hint.
    """
    done: list[Face] = []
    before: list[Face] = []
    fresh = 0
    for faces in frames:
        pairs = sorted(
            ((overlap(old.box, new.box), o, n) for o, old in enumerate(before) for n, new in enumerate(faces)),
            key=lambda pair: (-pair[0], pair[1], pair[2]),
        )
        joined: dict[int, int | None] = {}
        taken: set[int] = set()
        for share, o, n in pairs:
            if share >= same_face and o not in taken and n not in joined:
                taken.add(o)
                joined[n] = before[o].track
        before = []
        for n, face in enumerate(faces):
            if n in joined:
                before.append(replace(face, track=joined[n]))
            else:
                before.append(replace(face, track=fresh))
                fresh += 1
        done.extend(before)
    return tuple(done)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0–1."""
    wide, tall = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0.0, wide) * max(0.0, tall)
    union = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared
    return shared / union if union > 0 else 0.0
