"""The face models as they are served, against a reference conversion of the same weights.

`golden/faces.json` holds what tf2onnx 1.17 with TensorFlow 2.21 made of them for one crop of the public-domain
portrait: every sixth point of the mesh, all points of the second look, and the embedding. Neither is needed here.
"""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode.port import RGB
from pipeline.detect.mesh import FACE_EMBEDDING, FACE_MESH
from pipeline.detect.triton import Triton

GOLDEN = json.loads((Path(__file__).parent / "golden" / "faces.json").read_text("utf-8"))
SECONDS = 60


@pytest.fixture
def crop(photographs: dict[str, RGB]) -> RGB:
    """192 × 192 pixels round the face, as they are: no resampling can differ."""
    return photographs["astronaut"][25:217, 125:317]


async def test_the_mesh_is_the_reference_conversions(infer: Triton, crop: RGB) -> None:
    """Within .15 pixels of 192; the published constants of the second look are rounded to 16 bits, ours are not."""
    outputs = await infer(FACE_MESH, {"face": crop[None]}, within=SECONDS)
    assert outputs["mesh"][0, ::6] == pytest.approx(np.array(GOLDEN["mesh"]), abs=0.02)
    for name in ("lips", "left_eye", "right_eye", "left_iris", "right_iris"):
        assert outputs[name][0] == pytest.approx(np.array(GOLDEN[name]), abs=0.15), name
    assert outputs["presence"][0] == pytest.approx(GOLDEN["presence"], abs=0.001)


async def test_the_embedding_is_the_reference_conversions(infer: Triton, crop: RGB) -> None:
    """Number by number."""
    outputs = await infer(FACE_EMBEDDING, {"face": crop[None, 45:157, 40:152]}, within=SECONDS)
    assert outputs["embedding"][0] == pytest.approx(np.array(GOLDEN["embedding"]), abs=0.0005)


async def test_a_face_does_not_depend_on_its_neighbours(infer: Triton, crop: RGB) -> None:
    """Bit for bit the same alone, between noise and darkness, and when others ask at the same time."""
    noise = np.random.default_rng(0).integers(0, 256, crop.shape).astype(np.uint8)
    crowd = {"face": np.stack([noise, crop, np.zeros_like(crop)])}
    alone, together, *_ = await asyncio.gather(
        *(infer(FACE_MESH, {"face": faces}, within=SECONDS) for faces in (crop[None], crowd["face"], noise[None]))
    )
    for name, values in alone.items():
        assert (values[0] == together[name][1]).all(), name
