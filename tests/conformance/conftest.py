"""The real models on the real server, built and started once for all detectors."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.decode.port import RGB
from pipeline.detect.triton import Triton
from pipeline.models.build import build
from pipeline.models.samples import sample_photographs
from pipeline.stack.triton import Triton as Server
from tests.integration.conftest import REPOSITORY, home, triton

__all__ = ["home", "triton"]  # fixtures


@pytest.fixture(scope="session")
def models(home: Path) -> Path:
    """The model repository, up to date."""
    folder = Path(os.environ.get("UNMASK_MODELS_DIR") or REPOSITORY / "models").absolute()
    build(folder, home)
    return folder


@pytest.fixture(scope="session")
def server(triton: Callable[[Path], Server], models: Path) -> Server:
    """The real server over the real models."""
    return triton(models)


@pytest.fixture
async def infer(server: Server) -> AsyncIterator[Triton]:
    """A connection of this test's own loop."""
    connected = Triton(server.addresses.grpc, timeout=60)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def photographs(home: Path, models: Path) -> dict[str, RGB]:
    """Photographs by name; `astronaut` has one clear face."""
    return {photo.name: np.asarray(Image.open(photo.path).convert("RGB")) for photo in sample_photographs(home, models)}
