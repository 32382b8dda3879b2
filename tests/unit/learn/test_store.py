from pathlib import Path

import numpy as np

from pipeline.learn.store import FeatureStore, Reading


def _reading(seed: int, patches: int) -> Reading:
    rng = np.random.default_rng(seed)
    return Reading(
        rng.normal(size=5).astype(np.float16),
        rng.normal(size=(patches, 3)).astype(np.float16),
        rng.random(patches).astype(np.float16),
    )


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    """Twins, single crops and pictures without a face come back as they went in, whichever file they are in."""
    kept = {
        "pair": (_reading(0, 4), _reading(1, 2)),
        "plain": (_reading(2, 0),),
        "faceless": (),
        "more": (_reading(3, 7),),
    }
    store = FeatureStore(tmp_path, shard=3)
    for key, readings in kept.items():
        assert key not in store
        store.keep(key, readings)
    store.flush()
    assert len(list(tmp_path.glob("*.npz"))) == 2
    again = FeatureStore(tmp_path)
    assert "other" not in again
    for key, readings in kept.items():
        assert key in again
        for was, now in zip(readings, again[key], strict=True):
            np.testing.assert_array_equal(was.features, now.features)
            np.testing.assert_array_equal(was.patches, now.patches)
            np.testing.assert_array_equal(was.inside, now.inside)


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    """A second run leaves the folder as it is."""
    store = FeatureStore(tmp_path)
    store.flush()
    store.keep("faceless", ())
    store.flush()
    store.flush()
    assert len(list(tmp_path.glob("*.npz"))) == 1
    assert "faceless" in FeatureStore(tmp_path)
