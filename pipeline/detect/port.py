"""The detector port: two pure functions round a model.

A detector is one small file: `prepare(view) → probes` says what to ask the model, `interpret(probe, outputs) → scores`
says what its answers mean. It does no I/O: the ensemble sends the probes to the inference server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Clip, Span, Window
from pipeline.detect.crop import Crop
from pipeline.events.values import Box, Family, FrameHash, Heat, WindowLook

Tensors = Mapping[str, NDArray[Any]]
"""Named tensors of one inference request or response, batch dimension included where the model batches."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model, as in its config.pbtxt. `shape` without the batch dimension; −1 is free.

    `dtype` as the server calls it: `UINT8`, `FP32` …
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model on the inference server. `max_batch` 0: the model has no batch dimension."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int = 0


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one keyframe. `landmarks`: eyes, nose, mouth corners as (x, y) in shares of the frame."""

    frame: int
    at: float
    box: Box
    landmarks: tuple[tuple[float, float], ...]
    score: float
    track: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MeshedFace:
    """One face in one frame of a window, with its mesh.

    `points`: 478 × 3 float32; x and y in shares of the frame's width and height, z in shares of its width (smaller is
    nearer). The 468 points of MediaPipe's face mesh, lips and eyes refined, then 5 points per iris (left, right).
    `presence`: how surely this is a face, 0–1.
    """

    frame: int
    at: float
    box: Box
    points: NDArray[np.float32]
    presence: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person through one window, frame after frame, without a gap of more than a few frames.

    `person`: the track number of the same face among the keyframes, when one overlaps. `embeddings`: n × 256 float32
    of unit length, of the frames `embedded` (indices into `faces`).
    """

    number: int
    window: int
    faces: tuple[MeshedFace, ...]
    person: int | None = None
    embeddings: NDArray[np.float32] | None = None
    embedded: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """Where somebody speaks: one probability per `step` seconds from `start` on."""

    probability: NDArray[np.float32]
    start: float = 0.0
    step: float = 512 / 16_000


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a detector may look at.

    `faces` in the keyframes; None when the face detector failed. `speech` is None without sound or when it could not be
    judged. `windows` and the `tracks` in them are there for detectors that look closer; `tracks` is None when the faces
    could not be followed.
    """

    clip: Clip
    faces: tuple[Face, ...] | None = ()
    speech: Speech | None = None
    windows: tuple[Window, ...] = ()
    tracks: tuple[Track, ...] | None = ()

    def image(self, frame: int) -> RGB:
        """The picture of a frame, by its index, of the clip or of a window. Raises KeyError."""
        for kept in (self.clip.keyframes, *(window.frames for window in self.windows)):
            if kept and kept[0].index <= frame <= kept[-1].index:
                return kept[frame - kept[0].index].image
        raise KeyError(frame)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One question to a model, and the moment and place that its answer will point at.

    `skipped` says why a question that belongs here cannot be put: it is not sent. It lowers the coverage, so that what
    was not judged does not look judged, unless it was not `due`: nobody would expect an answer (a face of ten pixels),
    and the reason alone is reported. `crop`: how a face was cut out, to lead a map over the crop back into the frame.
    """

    tensors: Tensors
    at: float | None = None
    box: Box | None = None
    track: int | None = None
    skipped: str = ""
    due: bool = True
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What one answer says of one family: a raw score 0–1, where it points, in what words.

    `until`: the end of a stretch that begins at `at`. `features`: what the head read, as little-endian float16, for
    learning from what people say of it; those of the highest face score of a clip are kept.
    """

    family: Family
    value: float
    at: float | None = None
    box: Box | None = None
    track: int | None = None
    note: str = ""
    until: float | None = None
    heat: Heat | None = None
    features: bytes | None = None


class Mode(StrEnum):
    """A live detector counts; a shadow detector is asked and recorded, and decides nothing."""

    LIVE = "live"
    SHADOW = "shadow"


class ReportStatus(StrEnum):
    """What became of asking a detector."""

    OK = "ok"
    NOT_APPLICABLE = "not_applicable"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What one detector said of one clip. `coverage`: the share of its probes that were answered."""

    detector: str
    version: str
    mode: Mode
    families: tuple[Family, ...]
    status: ReportStatus
    scores: tuple[Score, ...] = ()
    coverage: float = 1.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What all detectors said of one clip. `detectors`: `name@version` of all that were asked, sorted.

    `windows`: where a closer look was taken. `hashes`: for banks of known content. `notes`: what was looked at less
    than the sampling manifest would make believe.
    """

    reports: tuple[DetectorReport, ...]
    faces: int = 0
    embedding: bytes | None = None
    detectors: tuple[str, ...] = field(default=())
    windows: tuple[WindowLook, ...] = ()
    hashes: tuple[FrameHash, ...] = ()
    face_features: bytes | None = None
    notes: tuple[str, ...] = ()


class Detector(Protocol):
    """A model and what it means.

    `model` is None where the evidence needs none (metadata): a probe's own tensors are then its answer.
    `needs_faces`: cannot judge while the face detector does not answer. `closer`: looks at windows and their tracks, so
    it is asked after them; with `needs_faces` it cannot judge when the faces could not be followed.
    """

    @property
    def name(self) -> str:
        """As in the detectors file; with `version`, what a stored score is known by."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same clip may get another score."""
        ...

    @property
    def families(self) -> tuple[Family, ...]:
        """What the scores speak of."""
        ...

    @property
    def model(self) -> ModelSpec | None:
        """Whom to ask; `max_batch` is the largest batch that the detector sends."""
        ...

    @property
    def needs_faces(self) -> bool:
        """Whether `view.faces` is what it looks at."""
        ...

    @property
    def closer(self) -> bool:
        """Whether `view.windows` and `view.tracks` are what it looks at."""
        ...

    def prepare(self, view: View) -> Sequence[Probe]:
        """What to ask. Empty: not applicable to this clip."""
        ...

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """What the answer to one probe means."""
        ...


class Infer(Protocol):
    """Ask the inference server. Raises `Transient` (down, busy, late) or `Permanent` (the request is wrong)."""

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        """The outputs of `model` for one request; `within`: seconds."""
        ...


class Closer(Protocol):
    """Look closely at stretches of the clip that is being judged. Raises `Permanent` or `Transient`."""

    async def __call__(self, spans: Sequence[Span]) -> tuple[Window, ...]:
        """A window per span."""
        ...
