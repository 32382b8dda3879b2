"""The real models on the real server, built and started once for all detectors; the clip that all are tried on."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.decode.port import RGB, Clip
from pipeline.detect.memo import Memo
from pipeline.detect.port import Detector, View
from pipeline.detect.triton import Triton
from pipeline.models.build import build
from pipeline.models.samples import sample_photographs
from pipeline.stack.triton import Triton as Server
from tests.conformance.scene import Film, clip_from, every_detector, film_of, view_of
from tests.integration.conftest import REPOSITORY, home, triton

__all__ = ["home", "triton"]  # fixtures

EVERY = every_detector()
LATENCY = "unmask/latency"
"""Where pytest's cache keeps what the last run measured: .pytest_cache/v/unmask/latency, JSON."""
_measured = pytest.StashKey[dict[str, Any]]()


@pytest.fixture(scope="session")
def models(home: Path) -> Path:
    """The model repository, up to date; that of a server that runs elsewhere as it is."""
    folder = Path(os.environ.get("UNMASK_MODELS_DIR") or REPOSITORY / "models").absolute()
    if not os.environ.get("UNMASK_TRITON_URL"):
        build(folder, home)
    return folder


@pytest.fixture(scope="session")
def server(triton: Callable[[Path], Server], models: Path) -> Server:
    """The real server over the real models."""
    return triton(models)


@pytest.fixture
async def infer(request: pytest.FixtureRequest) -> AsyncIterator[Triton]:
    """A connection of this test's own loop: to the server at UNMASK_TRITON_URL if set, else to one started here."""
    url = os.environ.get("UNMASK_TRITON_URL") or request.getfixturevalue("server").addresses.grpc
    connected = Triton(url, timeout=60)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def given() -> dict[bytes, Any]:
    """Answers that were given, by question."""
    return {}


@pytest.fixture
def answers(infer: Triton, given: dict[bytes, Any]) -> Memo:
    """The server, asked once for each question in a whole run: for tests of what is made of answers."""
    memo = Memo(infer)
    memo._given = given
    return memo


@pytest.fixture(scope="session")
def photographs(home: Path) -> dict[str, RGB]:
    """Photographs by name; `astronaut` has one clear face."""
    return {
        photo.name: np.asarray(Image.open(photo.path).convert("RGB"))
        for photo in sample_photographs(home, REPOSITORY / "models")
    }


@pytest.fixture(params=sorted(EVERY))
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each registered detector in turn; `-k NAME` picks one."""
    return EVERY[request.param]


@pytest.fixture(scope="session")
def film(photographs: Mapping[str, RGB]) -> Film:
    """What a closer look at the video shows."""
    return film_of(photographs)


@pytest.fixture(scope="session")
def clip(photographs: Mapping[str, RGB], film: Film) -> Clip:
    """A video that has all that a file can have."""
    return clip_from(film, photographs)


@pytest.fixture(scope="session")
def seen() -> dict[str, View]:
    """The view, once it was made: looking at it takes seconds."""
    return {}


@pytest.fixture
async def view(clip: Clip, film: Film, infer: Triton, seen: dict[str, View]) -> View:
    """The clip as detectors see it, faces, speech, windows and tracks included."""
    if "view" not in seen:
        seen["view"] = await view_of(clip, film, infer)
    return seen["view"]


@pytest.fixture(scope="session")
def latencies(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Detector → what it took; told at the end of the run and kept in pytest's cache."""
    return pytestconfig.stash.setdefault(_measured, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A table of what each detector took. Nothing is asserted of it: machines that run tests are busy."""
    rows = config.stash.get(_measured, {})
    if not rows:
        return
    terminalreporter.section("what a question takes, milliseconds")
    columns = ("prepare", "median", "p95", "slowest")
    terminalreporter.write_line(f"{'detector':<22}{'questions':>10}" + "".join(f"{name:>10}" for name in columns))
    for name, row in sorted(rows.items(), key=lambda pair: -pair[1]["median"]):
        numbers = "".join(f"{row[column]:>10.1f}" for column in columns)
        terminalreporter.write_line(f"{name:<22}{row['questions']:>10}{numbers}")
    if config.pluginmanager.hasplugin("cacheprovider"):
        config.cache.set(LATENCY, rows)
        terminalreporter.write_line(f"kept in {config.getini('cache_dir')}/v/{LATENCY}")
