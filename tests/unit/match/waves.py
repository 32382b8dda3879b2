"""Pictures with structure at low frequencies, as photographs have, made of a few waves."""

from __future__ import annotations

import numpy as np

from pipeline.decode.port import RGB


def waves(height: int, width: int, seed: int) -> RGB:
    """Twelve plane waves in random directions and colours; another seed is an unrelated picture."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for _ in range(12):
        across, down = rng.uniform(0, 9, 2)
        phase = rng.uniform(0, 6.28)
        colour = rng.uniform(0, 1, 3)
        image += np.sin(2 * np.pi * (across * x / width + down * y / height) + phase)[..., None] * colour
    image = (image - image.min()) / (image.max() - image.min()) * 255
    return np.rint(image).astype(np.uint8)
