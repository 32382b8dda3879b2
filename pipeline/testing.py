"""Fakes of the ports that are real implementations of them: no network, no server, no child process.

Shipped, so that a platform's own detectors and stages are tested in the same way as those of Unmask.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, Audio, Clip, Keyframe, Span, Window
from pipeline.detect.port import ModelSpec, Tensors
from pipeline.detect.tensors import DTYPES, misfits
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.fetch.port import Media

Compute = Callable[[ModelSpec, Tensors], Tensors]
"""What a fake model answers: its outputs, computed from its inputs."""


@dataclass(frozen=True, slots=True)
class Hang:
    """The server takes the request and never answers."""


Answer = Compute | Exception | Hang


@dataclass
class FakeInfer:
    """An `Infer` that computes, fails or hangs as told, checks shapes like the real one, and remembers its calls.

    Args:
        answers: per model, one answer for every call, or a sequence of which each call takes the next and the last
            one stays. A model that is not named answers `hashed`, the face detector `no_faces`.
    """

    answers: Mapping[str, Answer | Sequence[Answer]] = field(default_factory=dict)
    calls: list[tuple[str, Tensors]] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._left = {
            name: deque(answer if isinstance(answer, Sequence) else (answer,)) for name, answer in self.answers.items()
        }

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        """The scripted answer. Raises as the inference server's adapter does."""
        self.calls.append((model.name, tensors))
        if wrong := misfits(model, model.inputs, tensors):
            raise Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, f"{model.name}: {'; '.join(wrong)}")
        answer = self._next(model.name)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            async with asyncio.timeout(within):
                await asyncio.sleep(0)
                if isinstance(answer, Hang):
                    await asyncio.Event().wait()
        except TimeoutError:
            detail = f"{model.name}: no answer within {within:.3g} s"
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, detail) from None
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        assert not isinstance(answer, Hang)
        return answer(model, tensors)

    def asked(self, model: str) -> int:
        """How often a model was asked."""
        return sum(name == model for name, _ in self.calls)

    def _next(self, model: str) -> Answer:
        if (left := self._left.get(model)) is None:
            return no_faces if model == "face_detector" else hashed
        return left.popleft() if len(left) > 1 else left[0]


def hashed(model: ModelSpec, tensors: Tensors) -> Tensors:
    """Outputs of the right shapes whose numbers (0–1) depend on the inputs alone; free dimensions are 1."""
    batch = next(iter(tensors.values())).shape[0] if model.max_batch else 0

    def numbers(name: str, shape: tuple[int, ...], i: int) -> NDArray[np.float64]:
        seen = b"".join(tensors[spec.name][i].tobytes() for spec in model.inputs)
        return np.random.default_rng(zlib.crc32(seen + name.encode())).random(shape)

    found = {}
    for spec in model.outputs:
        shape = tuple(max(1, side) for side in spec.shape)
        rows = [numbers(spec.name, shape, i) for i in range(batch)] if batch else numbers(spec.name, shape, 0)
        found[spec.name] = np.asarray(rows).astype(DTYPES[spec.dtype])
    return found


def constant(**outputs: float) -> Compute:
    """Every output that is named is filled with its number; the others are `hashed`."""

    def compute(model: ModelSpec, tensors: Tensors) -> Tensors:
        found = hashed(model, tensors)
        return {name: np.full_like(array, outputs[name]) if name in outputs else array for name, array in found.items()}

    return compute


def no_faces(model: ModelSpec, tensors: Tensors) -> Tensors:
    """The face detector's maps over a picture without a face."""
    return faces_at()(model, tensors)


def faces_at(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Compute:
    """The face detector's maps over a picture with faces at `boxes`: x0, y0, x1, y1, pixels of the picture it sees."""

    def compute(_: ModelSpec, tensors: Tensors) -> Tensors:
        batch, height, width = tensors["image"].shape[:3]
        rows, cols = height // 4, width // 4
        maps = {
            name: np.zeros((batch, channels, rows, cols), np.float32)
            for name, channels in (("heatmap", 1), ("scale", 2), ("offset", 2), ("landmarks", 10))
        }
        for x0, y0, x1, y1 in boxes:
            y, x = (y0 + y1) / 8 - 0.5, (x0 + x1) / 8 - 0.5
            row, col = min(rows - 1, max(0, round(y))), min(cols - 1, max(0, round(x)))
            maps["heatmap"][:, 0, row, col] = score
            maps["scale"][:, :, row, col] = np.log([(y1 - y0) / 4, (x1 - x0) / 4])
            maps["offset"][:, :, row, col] = (y - row, x - col)
            # y, x of left eye, right eye, nose, left and right corner of the mouth, in shares of the box
            maps["landmarks"][:, :, row, col] = (0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65)
        return maps

    return compute


def meshed(presence: float = 0.99) -> Compute:
    """The mesh model's answer for a face that fills the middle of its crop: points on a spiral, the mouth half open.

    Cut out again by its mesh, the face stays where it is.
    """

    def compute(model: ModelSpec, tensors: Tensors) -> Tensors:
        batch = tensors["face"].shape[0]
        turn = np.linspace(0, 40 * np.pi, 468)
        reach = np.linspace(8, 56, 468)
        mesh = np.column_stack([96 + reach * np.cos(turn), 96 + reach * np.sin(turn), 0.3 * (reach - 60)])
        mesh[[33, 133, 362, 263, 4, 61, 291, 13, 14, 10, 152, 234, 454], :2] = (
            [60, 76], [84, 76], [108, 76], [132, 76], [96, 100], [78, 130], [114, 130], [96, 126], [96, 136],
            [96, 32], [96, 160], [32, 96], [160, 96],
        )  # fmt: skip
        second = {"lips": (80, 128.0, 96.0), "left_eye": (71, 76.0, 72.0), "right_eye": (71, 76.0, 120.0)}
        second |= {"left_iris": (5, 76.0, 72.0), "right_iris": (5, 76.0, 120.0)}
        found: dict[str, NDArray[np.float64]] = {"mesh": mesh, "presence": np.array([presence])}
        for name, (count, y, x) in second.items():
            around = np.linspace(0, 2 * np.pi, count, endpoint=False)
            found[name] = np.column_stack([x + 6 * np.cos(around), y + 4 * np.sin(around)])
        return {spec.name: np.stack([found[spec.name]] * batch).astype(np.float32) for spec in model.outputs}

    return compute


def picture(width: int = 320, height: int = 240, seed: int = 0) -> RGB:
    """A smooth coloured picture that differs with `seed`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.float64)
    rows, cols = np.linspace(0, 3, height), np.linspace(0, 4, width)
    y, x = np.minimum(rows.astype(int), 2), np.minimum(cols.astype(int), 3)
    down, right = (rows - y)[:, None, None], (cols - x)[None, :, None]
    upper = coarse[y][:, x] * (1 - right) + coarse[y][:, x + 1] * right
    lower = coarse[y + 1][:, x] * (1 - right) + coarse[y + 1][:, x + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, np.uint8)


def clip_of(
    *images: RGB,
    every: float = 2.0,
    metadata: Iterable[tuple[str, str]] = (),
    audio: Audio | None = None,
) -> Clip:
    """A clip of keyframes `every` seconds apart: one image is a still, none is sound alone."""
    kind = (MediaKind.AUDIO, MediaKind.IMAGE)[len(images)] if len(images) < 2 else MediaKind.VIDEO
    moments = tuple(i * every for i in range(len(images)))
    height, width = images[0].shape[:2] if images else (None, None)
    facts = MediaFacts(
        kind=kind,
        container={MediaKind.IMAGE: "png", MediaKind.AUDIO: "wav", MediaKind.VIDEO: "mp4"}[kind],
        duration=None if kind is MediaKind.IMAGE else max(every, len(images) * every),
        width=width,
        height=height,
        metadata=tuple(metadata),
    )
    keyframes = tuple(Keyframe(i, at, image) for i, (at, image) in enumerate(zip(moments, images, strict=True)))
    return Clip(facts, Sampling(decoder="fake", looked_at=moments, complete=len(images) == 1), keyframes, audio)


@dataclass(frozen=True, slots=True)
class FakeFetch:
    """A `Fetch` over a folder: the last part of the URI is the file's name. Nothing is copied, nothing is deleted."""

    folder: Path

    @asynccontextmanager
    async def __call__(self, uri: str, *, sha256: str | None = None, size: int | None = None) -> AsyncIterator[Media]:
        """The file. Raises Permanent when it is not there or not what the event says."""
        path = self.folder / Path(unquote(urlsplit(uri).path)).name
        if not path.is_file():
            raise Permanent(Stage.FETCH, Reason.SOURCE_NOT_FOUND, uri)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if sha256 not in (None, digest) or size not in (None, len(content)):
            raise Permanent(Stage.FETCH, Reason.DIGEST_MISMATCH, f"{uri}: {len(content)} bytes, sha256 {digest}")
        yield Media(path, len(content), digest, uri)


@dataclass
class FakeDecode:
    """A `Decode` that returns the clip of the file's name, or `default`; where that is an exception, it raises it.

    `film`: what a closer look shows at a moment (seconds); without one, or where it is an exception, as for clips.
    """

    clips: Mapping[str, Clip | Exception] = field(default_factory=dict)
    default: Clip | Exception | None = None
    decoded: list[str] = field(default_factory=list)
    film: Callable[[float], RGB] | Exception | None = None
    looked: list[Span] = field(default_factory=list)

    async def __call__(self, path: Path) -> Clip:
        """The clip of this name. Raises Permanent for a name without one."""
        self.decoded.append(path.name)
        clip = self.clips.get(path.name, self.default)
        if isinstance(clip, Exception):
            raise clip
        if clip is None:
            raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, f"{path.name}: no clip of that name")
        return clip

    async def closer(self, path: Path, spans: Sequence[Span], first_index: int) -> tuple[Window, ...]:
        """Windows of the film. Raises Permanent without one."""
        self.looked.extend(spans)
        if isinstance(self.film, Exception):
            raise self.film
        if self.film is None:
            raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, f"{path.name}: no film")
        return windows_of(self.film, spans, first_index)


def windows_of(film: Callable[[float], RGB], spans: Sequence[Span], first_index: int = 0) -> tuple[Window, ...]:
    """The windows that a film, which has a picture for every moment, shows in the spans."""
    windows = []
    for span in spans:
        moments = [span.start + i / span.rate for i in range(round((span.end - span.start) * span.rate))]
        frames = tuple(Keyframe(i, at, film(at)) for i, at in enumerate(moments, start=first_index))
        windows.append(Window(span, frames))
        first_index += len(frames)
    return tuple(windows)
