"""Making edited pictures, and learning from them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.detect.head import read_head
from pipeline.detect.local_edit import CELL_NAMES, PART_NAMES
from pipeline.errors import ConfigError
from pipeline.learn import edits
from pipeline.learn.edits import draw_mask, make_edit, read_origins, train_local_edit, treat
from pipeline.testing import picture


def photo(seed: int) -> np.ndarray:
    """A picture with grain."""
    image = cv2.resize(picture(seed=seed), (360, 300))
    return np.clip(image + np.random.default_rng(seed).normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_masks_cover_a_part(seed: int):
    """Between a hundredth and two fifths of the picture, soft at the edge at most."""
    mask = draw_mask(300, 400, np.random.default_rng(seed))
    assert mask.shape == (300, 400)
    assert 0.01 < float((mask > 0.5).mean()) < 0.4


def test_edited_pictures_say_where(monkeypatch: pytest.MonkeyPatch):
    """Only what the mask covers is changed before the last encoding; an untouched one has no mask."""
    kept: list[np.ndarray] = []
    monkeypatch.setattr(edits, "encode", lambda image, _: (kept.append(image), (b"", "png"))[1])
    monkeypatch.setattr(edits, "through_jpeg", lambda image, _: image)
    for seed in range(4):
        image = photo(seed)
        monkeypatch.setattr(edits, "_sized", lambda _image, _rng, image=image: image)
        made = make_edit(image, True, np.random.default_rng(seed))
        far = cv2.dilate(made.mask.astype(np.uint8), np.ones((41, 41))) == 0
        assert np.array_equal(kept[-1][far], image[far])
        assert made.mask.any()
        assert not make_edit(image, False, np.random.default_rng(seed)).mask.any()


def test_the_same_seed_makes_the_same_file():
    """Samples can be made again."""
    once, again = (make_edit(photo(1), True, np.random.default_rng(3)) for _ in range(2))
    assert once.data == again.data
    assert np.array_equal(once.mask, again.mask)


def test_treatments_keep_the_size():
    """Whatever is done, it is the same picture's size and type."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        treated, kind = treat(photo(1), rng)
        assert (treated.shape, treated.dtype) == ((300, 360, 3), np.uint8)
        assert kind


def manifest_of(folder: Path, owners: int, each: int = 2) -> Path:
    """Genuine pictures of several owners."""
    rows = []
    for n in range(owners * each):
        cv2.imwrite(str(folder / f"{n}.png"), photo(n))
        source, split = f"owner{n // each}/name:{n}.png", "dev" if n // each == owners - 1 else "train"
        rows.append({"file": f"{n}.png", "label": "real", "family": "real", "source": source, "split": split})
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", "label", "family", "source", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def test_owners_are_dealt_to_folds_whole(tmp_path: Path):
    """Every picture of an owner is in one fold; development pictures are in none."""
    origins = read_origins(manifest_of(tmp_path, 5))
    assert {origin.fold for origin in origins} == {0, 1, 2, 3, None}
    assert len({(origin.owner, origin.fold) for origin in origins}) == 5


def test_heads_are_trained_from_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Both heads are written as the detector reads them, a report is given, and a second run gives the same."""
    monkeypatch.setattr(edits, "FEWEST_OF_ONE", 4)
    manifest = manifest_of(tmp_path, 5)
    for name in ("a", "b"):
        report = train_local_edit(manifest, tmp_path / name / "local_edit.json", home=tmp_path / "home", rounds=1)
        assert "the map's peak lies in the edit" in str(report)
    for head, names in (("local_edit", PART_NAMES), ("local_edit_cells", CELL_NAMES)):
        assert (tmp_path / "a" / f"{head}.json").read_bytes() == (tmp_path / "b" / f"{head}.json").read_bytes()
        assert read_head(head, tmp_path / "a").file.measures == names


def test_a_manifest_without_pictures_is_refused(tmp_path: Path):
    """There is nothing to learn from."""
    with pytest.raises(ConfigError, match="no genuine picture"):
        train_local_edit(manifest_of(tmp_path, 0), tmp_path / "local_edit.json", home=tmp_path)
