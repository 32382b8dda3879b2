"""A golden set: what the heads read of faces whose labels are certain, and which nothing is ever fitted to."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.face_forgery import FEATURES, FaceForgery, reads
from pipeline.detect.faces import crop_face
from pipeline.errors import ConfigError
from pipeline.events.values import Family
from pipeline.learn.evaluate import Item
from pipeline.learn.features import FaceReader, read_image
from pipeline.learn.refit import Labelled
from pipeline.learn.scores import LOOKED_FOR_BY
from pipeline.models.build import SEAM
from pipeline.models.seam import read_seam
from pipeline.models.sources import Progress, write_atomically


def make_golden(
    items: tuple[Item, ...],
    family: Family,
    out: Path,
    models_dir: Path,
    home: Path,
    progress: Progress = lambda _: None,
) -> Labelled:
    """Read the largest face of each still that is genuine or of this family, and write features and labels to `out`.

    The features are those that the heads read: the encoder's, and the answer of the network over patches.
    """
    seam = read_seam(models_dir / "face_forgery" / SEAM)
    chosen = [item for item in items if not item.fake or family in LOOKED_FOR_BY.get(item.made, ())]
    reader = FaceReader(models_dir, home, progress)
    features, fake, names = [], [], []
    for number, item in enumerate(chosen, 1):
        progress(f"reading {number} of {len(chosen)} faces")
        image = read_image(item.path)
        found = None if image is None else reader.largest_face(image)
        if image is not None and found is not None:
            pooled, patches = reader.read(crop_face(image, found.box, found.landmarks))
            features.append(np.append(pooled, seam(patches)).astype(np.float16))
            fake.append(item.fake)
            names.append(item.file)
    if not any(fake) or all(fake):
        raise ConfigError(f"a golden set needs genuine faces and faces of {family}: found {sum(fake)} of {len(fake)}")
    write_atomically(out, packed(np.stack(features), fake, names))
    return read_golden(out)


def packed(features: NDArray[np.float16], fake: Sequence[bool], names: Sequence[str]) -> bytes:
    """A golden set as a file (.npz): n × FEATURES numbers, n labels, n names, and which model's features they are."""
    stream = io.BytesIO()
    model = reads(FaceForgery.version)
    np.savez(stream, features=features, fake=np.array(fake), names=np.array(names), reads=np.array(model))
    return stream.getvalue()


def read_golden(path: Path) -> Labelled:
    """A golden set from its file. Raises ConfigError when it is none, or holds what another model read."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = Labelled(
                kept["features"].astype(np.float64), kept["fake"].astype(bool), tuple(map(str, kept["names"]))
            )
            model = str(kept["reads"]) if "reads" in kept else "before 7"
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: no golden set: {error}") from None
    if found.features.shape[1:] != (FEATURES,) or model != reads(FaceForgery.version):
        raise ConfigError(
            f"{path}: holds what face_forgery {model} read of faces, and this is {FaceForgery.version}; "
            "make it again (unmask models golden)"
        )
    return found
