"""Training reads pictures with the real models: by several processes as by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.learn import train as subject
from pipeline.learn.features import FaceReader
from pipeline.learn.manifest import Picture
from pipeline.learn.samples import Sample
from pipeline.models.samples import sample_photographs
from tests.integration.conftest import REPOSITORY


def test_two_processes_see_what_one_sees(home: Path) -> None:
    """The same crops, features and patches in the same order; a file that is no picture has no crops in either."""
    models = REPOSITORY / "models"
    portrait = {photo.name: photo.path for photo in sample_photographs(home, models)}["astronaut"]
    where = subject._Where(portrait.parent, models, home, 0)
    pictures = [Picture(name, False, "real", "a/x", "train") for name in (portrait.name, "nothing.jpg")]
    samples = [Sample(picture, kind) for kind in ("pair", "filmed") for picture in pictures]
    reader = FaceReader(models, home)
    one, two = (list(subject._all_looks(samples, where, reader, workers)) for workers in (1, 2))
    assert [sample for sample, _ in one] == [sample for sample, _ in two] == samples
    assert [len(looks) for _, looks in one] == [2, 0, 2, 0]
    for (_, here), (_, there) in zip(one, two, strict=True):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a[0].image, b[0].image)
            np.testing.assert_array_equal(a[1], b[1])
            np.testing.assert_array_equal(a[2], b[2])
