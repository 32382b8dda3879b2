"""Who is where in the windows of a closer look: each face with its mesh, frame after frame.

Anchors first, some tenths of a second apart: the face detector looks at the first and at some of the others, and the
mesh follows a face from anchor to anchor, cut out where it was last. Where it is lost there, the detector looks again.
Then the frames: each is cut out where the meshes of the anchors round it say that the face is, and asked about in
batches, which costs a third less than one after the other (measured). All frames are cut out in the same way, so that
what trembles in a track is the face and not the cutting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Keyframe, Window
from pipeline.detect.ask import ask, left
from pipeline.detect.find_faces import Embedding, FindFaces, aligned, area, embed_faces, overlap
from pipeline.detect.mesh import (
    FACE_MESH,
    Affine,
    bounds,
    five_points,
    mesh_crop,
    mesh_crop_again,
    mesh_points,
)
from pipeline.detect.port import Face, Infer, MeshedFace, ModelSpec, ReportStatus, Tensors, Track
from pipeline.events.values import Box

Points = NDArray[np.float32]
Cut = tuple[RGB, Affine]
Detect = Callable[[int], Awaitable[list[Face]]]
"""The detector's faces at a place in the window."""

_SHORTEST = 3
"""Frames that make a track."""
_LONGEST_GAP = 3
"""Frames without a face inside a track."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What the step found. `tracks` is None when nothing could be followed; `coverage`: windows that were.

    `faces`: what the face detector itself saw in windows, `Face.track` being the person among the keyframes.
    """

    tracks: tuple[Track, ...] | None
    faces: tuple[Face, ...] = ()
    coverage: float = 1.0
    status: ReportStatus = ReportStatus.OK
    detail: str = ""


@dataclass(eq=False, slots=True)
class _Trail:
    """One face from anchor to anchor: place in the window → mesh."""

    anchors: dict[int, Points] = field(default_factory=dict)
    lost: bool = False

    @property
    def last(self) -> Points:
        return self.anchors[max(self.anchors)]


@dataclass(frozen=True, slots=True)
class _Bounded:
    """An `Infer` that has so many requests under way at once; those that wait do so under their own deadline."""

    infer: Infer
    slots: asyncio.Semaphore

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        until = asyncio.get_running_loop().time() + within
        async with self.slots:
            return await self.infer(model, tensors, within=until - asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """A track before it has a number. `seen`: places in the window."""

    faces: tuple[MeshedFace, ...]
    embedded: tuple[int, ...] = ()
    embeddings: tuple[Embedding, ...] = ()

    def likeness(self) -> Embedding | None:
        """What this face looks like, on the whole."""
        if not self.embeddings:
            return None
        mean = np.mean(self.embeddings, axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


@dataclass(frozen=True, slots=True)
class FollowFaces:
    """Asks the face detector, the mesh and the embedding model about windows.

    Args:
        faces: faces followed in a window, the largest first.
        smallest_face: shorter side of a face's box, pixels, under which it is not followed.
        anchor: seconds between anchors.
        again: seconds between looks of the face detector, for faces that come in later.
        embed: seconds between embeddings of a track.
        presence: the mesh model's own probability under which there is no face.
        same_face: overlap from which a detected box is a face that is being followed.
        same_person: cosine from which a track is a person of the keyframes, where it overlaps with none.
        at_once: requests under way at once, which bounds memory.
    """

    faces: int = 3
    smallest_face: int = 48
    anchor: float = 0.4
    again: float = 2.0
    embed: float = 0.8
    presence: float = 0.5
    same_face: float = 0.3
    same_person: float = 0.45
    at_once: int = 2

    name: ClassVar[str] = "follow_faces"
    version: ClassVar[str] = "1"
    model: ClassVar[ModelSpec] = FACE_MESH

    def __post_init__(self) -> None:
        if self.faces < 1 or self.smallest_face < 1 or self.at_once < 1:
            raise ValueError("faces, smallest_face and at_once must be at least 1")
        if min(self.anchor, self.again, self.embed) <= 0:
            raise ValueError("anchor, again and embed must be above 0")
        if not (0 < self.presence < 1 and 0 < self.same_face <= 1 and 0 < self.same_person <= 1):
            raise ValueError("presence, same_face and same_person are shares")

    async def __call__(
        self,
        windows: Sequence[Window],
        find: FindFaces,
        known: Sequence[Face],
        likeness: Mapping[int, Embedding],
        infer: Infer,
        *,
        until: float,
    ) -> Followed:
        """The tracks in `windows`, by the loop's time `until`. Raises for cancellation only.

        `known`: the faces of the keyframes; `likeness`: what their tracks look like.
        """
        bounded = _Bounded(infer, asyncio.Semaphore(self.at_once))
        answers = await ask(
            [partial(self._window, window, find, bounded, until) for window in windows if window.frames], until=until
        )
        if answers.given and not answers.answered:
            status = ReportStatus.LATE if answers.late else ReportStatus.FAILED
            detail = f"faces could not be followed: {answers.detail or 'the deadline passed'}"
            return Followed(None, coverage=0.0, status=status, detail=detail)
        tracks: list[Track] = []
        seen: list[Face] = []
        places = [number for number, window in enumerate(windows) if window.frames]
        for number, found in zip(places, answers.given, strict=True):
            if found is None:
                continue
            paths, detected = found
            persons = persons_of(paths, known, likeness, self.same_face, self.same_person)
            for path, person in zip(paths, persons, strict=True):
                stacked = np.stack(path.embeddings) if path.embeddings else None
                tracks.append(Track(len(tracks), number, path.faces, person, stacked, path.embedded))
            seen += _named(detected, paths, persons, self.same_face)
        coverage = answers.answered / len(answers.given) if answers.given else 1.0
        return Followed(tuple(tracks), tuple(seen), coverage, detail=answers.detail)

    # One window

    async def _window(
        self, window: Window, find: FindFaces, infer: Infer, until: float
    ) -> tuple[list[_Path], list[Face]]:
        frames = window.frames
        rate = (len(frames) - 1) / max(frames[-1].at - frames[0].at, 1e-3) if len(frames) > 1 else 1.0
        step = max(1, round(self.anchor * rate))
        anchors = list(dict.fromkeys([*range(0, len(frames), step), len(frames) - 1]))
        looks = anchors[:: max(1, round(self.again / self.anchor))]

        async def detect(place: int) -> list[Face]:
            return [face for face in await find.look(frames[place], infer, until=until) if self._large(face, frames)]

        found = await asyncio.gather(*(detect(place) for place in looks))
        seen = dict(zip(looks, found, strict=True))
        trails: list[_Trail] = []
        for place in anchors:
            await self._anchor(trails, place, frames[place], seen, detect, infer, until)
        paths = await self._fill(trails, frames, infer, until)
        embedded = [await self._embed(path, frames, rate, infer, until) for path in paths]
        return embedded, [face for place in sorted(seen) for face in seen[place]]

    def _large(self, face: Face, frames: Sequence[Keyframe]) -> bool:
        height, width = frames[0].image.shape[:2]
        box = face.box
        return bool(min((box.x1 - box.x0) * width, (box.y1 - box.y0) * height) >= self.smallest_face)

    async def _anchor(
        self,
        trails: list[_Trail],
        place: int,
        frame: Keyframe,
        seen: dict[int, list[Face]],
        detect: Detect,
        infer: Infer,
        until: float,
    ) -> None:
        """Follow every trail to this anchor, and begin new ones where the detector sees faces that none follows."""
        image = frame.image
        active = [trail for trail in trails if not trail.lost]
        fresh = [
            face
            for face in sorted(seen.get(place, ()), key=lambda face: -area(face.box))
            if all(overlap(face.box, _bounds(trail.last)) < self.same_face for trail in active)
        ][: max(0, self.faces - len(active))]
        begun = [_Trail() for _ in fresh]
        cuts = [
            *(mesh_crop_again(image, trail.last) for trail in active),
            *(mesh_crop(image, face.box, face.landmarks) for face in fresh),
        ]
        meshes = await self._meshes(cuts, [image.shape[:2]] * len(cuts), infer, until)
        missing: list[_Trail] = []
        for trail, (points, presence) in zip([*active, *begun], meshes, strict=True):
            if presence >= self.presence and _inside(points):
                trail.anchors[place] = points
            elif trail.anchors:
                missing.append(trail)
        if missing:
            if place not in seen:
                seen[place] = await detect(place)
            free = [
                face
                for face in seen[place]
                if all(overlap(face.box, _bounds(each.last)) < self.same_face for each in active if each not in missing)
            ]
            await self._find_again(missing, free, place, frame, infer, until)
        trails += [trail for trail in begun if trail.anchors]
        for trail in _doubled([trail for trail in trails if not trail.lost]):
            trail.lost = True

    async def _find_again(
        self, missing: Sequence[_Trail], free: list[Face], place: int, frame: Keyframe, infer: Infer, until: float
    ) -> None:
        """Faces that the mesh lost, where the detector sees some that nobody follows; else their trails end."""
        for trail in missing:
            trail.lost = True
            there = _bounds(trail.last)
            near = max(free, key=partial(_overlap_with, there), default=None)
            if near is None or overlap(near.box, there) < self.same_face / 2:
                continue
            free.remove(near)
            cut = mesh_crop(frame.image, near.box, near.landmarks)
            ((points, presence),) = await self._meshes([cut], [frame.image.shape[:2]], infer, until)
            if presence >= self.presence and _inside(points):
                trail.anchors[place], trail.lost = points, False

    async def _fill(
        self, trails: Sequence[_Trail], frames: Sequence[Keyframe], infer: Infer, until: float
    ) -> list[_Path]:
        """Every frame between the first and the last anchor of each trail."""
        jobs = [
            (number, place, guess) for number, trail in enumerate(trails) for place, guess in between(trail.anchors)
        ]
        sizes = [frames[place].image.shape[:2] for _, place, _ in jobs]

        def cut(batch: Sequence[tuple[int, int, Points]]) -> list[Cut]:
            return [mesh_crop_again(frames[place].image, guess) for _, place, guess in batch]

        async def batch(start: int) -> list[tuple[Points, float]]:
            end = start + FACE_MESH.max_batch
            cuts = await asyncio.to_thread(cut, jobs[start:end])
            return await self._meshes(cuts, sizes[start:end], infer, until)

        answers = await asyncio.gather(*(batch(start) for start in range(0, len(jobs), FACE_MESH.max_batch)))
        found: dict[int, list[tuple[int, MeshedFace]]] = {}
        for (number, place, _), (points, presence) in zip(
            jobs, [mesh for rows in answers for mesh in rows], strict=True
        ):
            if presence >= self.presence and _inside(points):
                frame = frames[place]
                face = MeshedFace(frame.index, frame.at, bounds(points), points, min(1.0, presence))
                found.setdefault(number, []).append((place, face))
        return [_Path(run) for number in sorted(found) for run in runs(found[number])]

    async def _embed(self, path: _Path, frames: Sequence[Keyframe], rate: float, infer: Infer, until: float) -> _Path:
        chosen = range(0, len(path.faces), max(1, round(self.embed * rate)))
        first = frames[0].index

        def cut() -> list[RGB]:
            return [
                aligned(frames[face.frame - first].image, [(float(x), float(y)) for x, y in five_points(face.points)])
                for face in (path.faces[i] for i in chosen)
            ]

        embeddings = await embed_faces(await asyncio.to_thread(cut), infer, until)
        return replace(path, embedded=tuple(chosen), embeddings=tuple(embeddings))

    async def _meshes(
        self, cuts: Sequence[Cut], sizes: Sequence[tuple[int, int]], infer: Infer, until: float
    ) -> list[tuple[Points, float]]:
        """Mesh and presence per crop, in one request."""
        if not cuts:
            return []
        outputs = await infer(FACE_MESH, {"face": np.stack([image for image, _ in cuts])}, within=left(until))
        return [
            (mesh_points(outputs, way, size, row), float(outputs["presence"][row, 0]))
            for row, ((_, way), size) in enumerate(zip(cuts, sizes, strict=True))
        ]


def between(anchors: Mapping[int, Points]) -> list[tuple[int, Points]]:
    """Where a face is taken to be in each frame from the first anchor to the last: on the straight way between two."""
    places = sorted(anchors)
    guessed = [
        (place, (anchors[a] + (anchors[b] - anchors[a]) * ((place - a) / (b - a))).astype(np.float32))
        for a, b in pairwise(places)
        for place in range(a, b)
    ]
    return [*guessed, (places[-1], anchors[places[-1]])]


def runs(seen: Sequence[tuple[int, MeshedFace]]) -> list[tuple[MeshedFace, ...]]:
    """The faces of one trail, by place, cut where too many frames are missing; what is too short is left out."""
    found: list[list[MeshedFace]] = []
    before: int | None = None
    for place, face in seen:
        if before is None or place - before > _LONGEST_GAP + 1:
            found.append([])
        found[-1].append(face)
        before = place
    return [tuple(run) for run in found if len(run) >= _SHORTEST]


def persons_of(
    paths: Sequence[_Path],
    known: Sequence[Face],
    likeness: Mapping[int, Embedding],
    same_face: float,
    same_person: float,
) -> list[int | None]:
    """Which track of the keyframes each path is: the most alike; where none is, what overlaps in a keyframe nearby."""
    found: list[int | None] = []
    for path in paths:
        looks = path.likeness()
        alike = {} if looks is None else {person: float(np.dot(looks, each)) for person, each in likeness.items()}
        best = max(alike, key=lambda person: (alike[person], -person), default=None)
        if best is not None and alike[best] >= same_person:
            found.append(best)
            continue
        near = [
            (overlap(face.box, there.box), face.track)
            for face in known
            if face.track is not None
            for there in (min(path.faces, key=lambda each: abs(each.at - face.at)),)
            if abs(there.at - face.at) < _NEARBY
        ]
        share, person = max(near, key=lambda pair: (pair[0], -pair[1]), default=(0.0, None))
        found.append(person if share >= same_face else None)
    return found


_NEARBY = 0.3
"""Seconds between a keyframe and a frame of a window within which a face has hardly moved."""


def _named(
    detected: Sequence[Face], paths: Sequence[_Path], persons: Sequence[int | None], same_face: float
) -> list[Face]:
    """Detected faces that were followed, each with its person."""
    found = []
    for face in detected:
        for path, person in zip(paths, persons, strict=True):
            there = next((each for each in path.faces if each.frame == face.frame), None)
            if person is not None and there is not None and overlap(face.box, there.box) >= same_face:
                found.append(replace(face, track=person))
                break
    return found


def _overlap_with(box: Box, face: Face) -> float:
    return overlap(box, face.box)


def _doubled(trails: Sequence[_Trail]) -> list[_Trail]:
    """Trails that have come to follow the face of an earlier one."""
    return [
        later
        for i, later in enumerate(trails)
        if any(overlap(_bounds(earlier.last), _bounds(later.last)) > _ONE_FACE for earlier in trails[:i])
    ]


_ONE_FACE = 0.7
"""Overlap from which two meshes lie on the same face."""
_NOWHERE = Box(x0=0.0, y0=0.0, x1=1e-9, y1=1e-9)


def _bounds(points: Points) -> Box:
    return bounds(points) if _inside(points) else _NOWHERE


def _inside(points: Points) -> bool:
    """Whether some of a mesh lies in the frame."""
    low, high = np.clip(points[:, :2].min(axis=0), 0, 1), np.clip(points[:, :2].max(axis=0), 0, 1)
    return bool(np.isfinite(points).all() and (high - low > 1e-3).all())
