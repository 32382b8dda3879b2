"""The built models, in this process and on one thread: training sees what the inference server would answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from pipeline.detect.port import ModelSpec, Tensors
from pipeline.models.build import build
from pipeline.models.sources import Progress


class InProcess:
    """An `Infer` without a server. Models are built, and their sources fetched, where that has not been done."""

    def __init__(
        self, names: tuple[str, ...], models_dir: Path, home: Path, progress: Progress = lambda _: None
    ) -> None:
        """Raises ConfigError."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._sessions: dict[str, Any] = {
            model.name: onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
            for model in build(models_dir, home, progress, only=names).models
        }

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:  # noqa: ARG002 - no hurry
        """The outputs of `model`."""
        names = [output.name for output in model.outputs]
        return dict(zip(names, self._sessions[model.name].run(names, dict(tensors)), strict=True))
