"""Small ONNX models for the real Triton server, and what the broker tests send and read with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.stack.triton import Triton
from tests.integration.stack.tiny_models import write_repository


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of graphs with one node each."""
    return write_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def served(triton: Callable[[Path], Triton], tiny_models: Path) -> Triton:
    """The real server over the tiny models, for tests that leave it whole."""
    return triton(tiny_models)
