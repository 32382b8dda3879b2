"""From pictures to what the heads read: find the face, cut it out, run the frozen encoder.

The crop is the live detector's own (pipeline/detect/faces.py) and the encoder is built by the same code as the model
that Triton serves, so a head sees in production what it saw in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pipeline.detect.faces import Image, decode_centerface, letterbox
from pipeline.models import graphs
from pipeline.models.sources import Progress, fetch, read_sources


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """The largest face of a picture, in pixels of it."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float


class FaceReader:
    """The two models of training, in this process and on one thread: the face detector and the headless encoder."""

    def __init__(self, models_dir: Path, home: Path, progress: Progress = lambda _: None, threads: int = 1) -> None:
        """Fetches the pinned sources where they are missing. Raises ConfigError."""
        files = fetch(read_sources(models_dir / "sources.toml"), ["centerface", "clip-vit-b16"], home, progress)
        self._detector = _session(graphs.face_detector(onnx.load(files["centerface"])), threads)
        self._encoder = _session(graphs.face_features(graphs.read_clip(onnx.load(files["clip-vit-b16"]))), threads)

    def largest_face(self, image: Image, min_score: float = 0.6) -> FoundFace | None:
        """The largest face in a picture, or None. Looks twice: a face that fills a large frame is only found small."""
        for longest in (640, 256):
            boxed = letterbox(image, longest)
            heatmap, scale, offset, landmarks = self._detector.run(
                ["heatmap", "scale", "offset", "landmarks"], {"image": boxed.image[None]}
            )
            found = decode_centerface(heatmap[0], scale[0], offset[0], landmarks[0], boxed, min_score=min_score)
            if len(found.boxes):
                sides = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
                best = int(np.argmax(sides))
                x0, y0, x1, y1 = (float(v) for v in found.boxes[best])
                return FoundFace((x0, y0, x1, y1), found.landmarks[best], float(found.scores[best]))
        return None

    def read(self, crop: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The pooled features of one face crop (224 × 224 × 3), and those of its 196 patches: n and 196 × m."""
        features, patches = self._encoder.run(["features", "patches"], {"face": crop[None]})
        return np.asarray(features[0], np.float32), np.asarray(patches[0], np.float32)


class FrameReader:
    """The whole-frame model of training, in this process and on one thread."""

    def __init__(self, models_dir: Path, home: Path, progress: Progress = lambda _: None, threads: int = 1) -> None:
        """Fetches the pinned source where it is missing. Raises ConfigError."""
        files = fetch(read_sources(models_dir / "sources.toml"), ["clip-vit-b16"], home, progress)
        self._encoder = _session(graphs.clip_embedding(graphs.read_clip(onnx.load(files["clip-vit-b16"]))), threads)

    def __call__(self, frame: Image) -> dict[str, NDArray[np.float32]]:
        """The model's answer about one frame (224 × 224 × 3), by name, as the server gives it."""
        names = [output.name for output in self._encoder.get_outputs()]
        return dict(zip(names, self._encoder.run(names, {"image": frame[None]}), strict=True))


def read_image(path: Path) -> Image | None:
    """A picture as RGB, or None when it cannot be decoded."""
    pixels: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if pixels is None else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _session(model: onnx.ModelProto, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
