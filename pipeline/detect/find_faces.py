"""Where the faces are: CenterFace on the keyframes, joined into tracks by overlap and by what the faces look like.

Comes before the detectors that need faces.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Clip, Keyframe
from pipeline.detect.ask import ask, left
from pipeline.detect.faces import Letterbox, decode_centerface, letterbox
from pipeline.detect.frames import spread
from pipeline.detect.mesh import FACE_EMBEDDING, embedding_crop
from pipeline.detect.port import Face, Infer, ModelSpec, ReportStatus, Tensors, TensorSpec
from pipeline.events.values import Box, MediaKind

Embedding = NDArray[np.float32]
"""Of unit length: the cosine of two says how alike the faces are."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the step found. `faces` is None when it cannot be said that there are none; `coverage`: frames answered.

    `known`: what the face of a track looks like, for the tracks of a video whose largest face could be compared.
    """

    faces: tuple[Face, ...] | None
    coverage: float = 1.0
    status: ReportStatus = ReportStatus.OK
    detail: str = ""
    known: Mapping[int, Embedding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindFaces:
    """Asks the face detector.

    Args:
        frames: keyframes looked at at most, spread over the clip.
        fewest, every: of a video that lasts `every` × n seconds, n keyframes are looked at, at least `fewest`: a short
            clip needs fewer looks, and a face that is in doubt gets more in the second pass.
        longest: the long side, pixels, that a still is shrunk to; faces under about 10 pixels there are not found.
        moving: the same for frames of a video: there are many, and few matter whose faces are small.
        again: the long side at which a frame without a face is looked at once more: a face that fills the frame, as in
            a profile picture, is too large to be found at the first.
        min_score: the detector's own score from which something is a face.
        same_face: overlap (intersection over union) from which two boxes in consecutive keyframes are one track.
        same_person: cosine from which two tracks of a video are one, if they never appear together. Of 15 videos of one
            person each, 94 % of 194 pairs within a video lay above it, none of 3,209 pairs across (largest .40).
        compared: tracks of a video that are compared with each other, those with the largest faces.
        at_once: frames under way at once, which bounds memory.
    """

    frames: int = 24
    fewest: int = 6
    every: float = 4.0
    longest: int = 640
    moving: int = 448
    again: int = 256
    min_score: float = 0.5
    same_face: float = 0.3
    same_person: float = 0.45
    compared: int = 12
    at_once: int = 4

    name: ClassVar[str] = "find_faces"
    version: ClassVar[str] = "2"
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
        if self.every <= 0:
            raise ValueError("every must be above 0")
        if min(self.frames, self.fewest, self.at_once) < 1 or min(self.longest, self.moving, self.again) < 32:
            raise ValueError("frames, fewest and at_once must be at least 1, longest, moving and again at least 32")
        if not (0 <= self.min_score < 1 and 0 < self.same_face <= 1 and 0 < self.same_person <= 1):
            raise ValueError("min_score, same_face and same_person are shares")
        if self.compared < 0:
            raise ValueError("compared must be at least 0")

    async def __call__(self, clip: Clip, infer: Infer, *, until: float) -> Found:
        """The faces of `clip`, by the loop's time `until`. Raises for cancellation only."""
        frames = self.frames_of(clip)
        if not frames:
            return Found(())
        questions: list[Callable[[], Awaitable[list[Face]]]] = [
            partial(self._look, frame, self._side(clip), infer, until) for frame in frames
        ]
        answers = await ask(questions, until=until, at_once=self.at_once)
        coverage = answers.answered / len(frames)
        faces = tracks([answer or [] for answer in answers.given], self.same_face)
        if coverage < 1 and not faces:
            status = ReportStatus.LATE if answers.late else ReportStatus.FAILED
            detail = answers.detail or "the deadline passed"
            return Found(None, coverage, status, f"faces in {answers.answered} of {len(frames)} frames: {detail}")
        known = {} if clip.facts.kind is MediaKind.IMAGE else await self._compare(faces, frames, infer, until)
        faces, known = joined(faces, known, self.same_person)
        return Found(faces, coverage, detail=answers.detail, known=known)

    def frames_of(self, clip: Clip) -> list[Keyframe]:
        """The keyframes in which faces are looked for."""
        duration = clip.facts.duration
        looks = self.frames if duration is None else max(self.fewest, math.ceil(duration / self.every))
        return spread(clip.keyframes, min(looks, self.frames))

    async def _compare(
        self, faces: Sequence[Face], frames: Sequence[Keyframe], infer: Infer, until: float
    ) -> dict[int, Embedding]:
        """What the largest face of each track looks like. Without an answer, overlap alone has to do."""
        images = {frame.index: frame.image for frame in frames}
        largest: dict[int, Face] = {}
        for face in faces:
            if face.track is not None and len(face.landmarks) == 5:
                best = largest.get(face.track)
                if best is None or area(face.box) > area(best.box):
                    largest[face.track] = face
        chosen = sorted(largest.values(), key=lambda face: -area(face.box))[: self.compared]
        if not chosen:
            return {}

        async def ask_all() -> Sequence[Embedding]:
            crops = await asyncio.to_thread(lambda: [aligned(images[face.frame], face.landmarks) for face in chosen])
            return await embed_faces(crops, infer, until)

        answers = await ask([ask_all], until=until)
        given = answers.given[0] or ()
        return {face.track: each for face, each in zip(chosen, given, strict=False) if face.track is not None}

    async def look(self, frame: Keyframe, infer: Infer, *, until: float) -> list[Face]:
        """The faces of one frame of a video, best first. Raises as `infer` does."""
        return await self._look(frame, self.moving, infer, until)

    def _side(self, clip: Clip) -> int:
        return self.longest if clip.facts.kind is MediaKind.IMAGE else self.moving

    async def _look(self, frame: Keyframe, longest: int, infer: Infer, until: float) -> list[Face]:
        faces = await self._look_at(longest, frame, infer, until)
        if not faces and self.again < min(longest, max(frame.image.shape[:2])):
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


def joined(
    faces: Sequence[Face], known: Mapping[int, Embedding], same_person: float
) -> tuple[tuple[Face, ...], dict[int, Embedding]]:
    """The faces, and what is known of each track, with tracks of the same person made one: the most alike first.

    Two tracks that appear in one frame are two people, however alike. A joined track keeps the lower number.
    """
    together: dict[int, set[int]] = {track: set() for track in known}
    by_frame: dict[int, set[int]] = {}
    for face in faces:
        if face.track is not None:
            by_frame.setdefault(face.frame, set()).add(face.track)
    for tracks_there in by_frame.values():
        for track in tracks_there & together.keys():
            together[track] |= tracks_there - {track}
    kept = dict(known)
    into: dict[int, int] = {}
    while True:
        pairs = [(float(np.dot(kept[a], kept[b])), a, b) for a in kept for b in kept if a < b and b not in together[a]]
        best = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]), default=None)
        if best is None or best[0] < same_person:
            break
        _, a, b = best
        into[b] = a
        kept[a] = _unit(kept[a] + kept.pop(b))
        together[a] |= together.pop(b)
        for others in together.values():
            if b in others:
                others.add(a)

    def final(track: int) -> int:
        while track in into:
            track = into[track]
        return track

    return tuple(face if face.track is None else replace(face, track=final(face.track)) for face in faces), kept


async def embed_faces(crops: Sequence[RGB], infer: Infer, until: float) -> list[Embedding]:
    """What aligned faces look like, as many in one request as the model takes. Raises as `infer` does."""
    found: list[Embedding] = []
    for start in range(0, len(crops), FACE_EMBEDDING.max_batch):
        batch = np.stack(crops[start : start + FACE_EMBEDDING.max_batch])
        outputs = await infer(FACE_EMBEDDING, {"face": batch}, within=left(until))
        found.extend(_unit(row) for row in outputs["embedding"])
    return found


def aligned(image: RGB, landmarks: Sequence[tuple[float, float]]) -> RGB:
    """A face as the embedding model wants it; `landmarks` in shares of the frame."""
    height, width = image.shape[:2]
    return embedding_crop(image, np.array(landmarks, np.float64) * (width, height))


def _unit(vector: NDArray[Any]) -> Embedding:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def area(box: Box) -> float:
    """The share of the frame that a box takes."""
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0–1."""
    wide, tall = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0.0, wide) * max(0.0, tall)
    union = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared
    return shared / union if union > 0 else 0.0
