"""Training of the whole-frame heads, without an encoder."""

import csv
import json

import cv2
import numpy as np
import pytest

from pipeline.detect.embed import PATCH_MEANS, SIZE
from pipeline.detect.whole_image import FEATURE_COUNT
from pipeline.errors import ConfigError
from pipeline.learn import whole_image as module
from pipeline.learn.whole_image import (
    FOLDS,
    MOST_PER_SOURCE,
    Picture,
    leave_out_folds,
    level,
    read_pictures,
    train_whole_image,
    training_rows,
)
from pipeline.testing import picture


def many(count: int, source: str, label: str = "real", family: str = "real", split: str = "train") -> list[Picture]:
    return [Picture(f"{source}-{i}.jpg", label == "fake", family, source, source, split) for i in range(count)]


def test_no_source_gives_more_than_its_share():
    """A large source must not be what a head learns; the rest comes from the others, in turn."""
    rows = training_rows("image_synthesis", many(MOST_PER_SOURCE + 50, "large") + many(3, "small"), 0, None)
    sources = [row.picture.source for row in rows]
    assert sources.count("large") == MOST_PER_SOURCE
    assert "small" in sources[:2]


def test_a_style_head_learns_from_painted_copies_and_from_paintings():
    """Each photograph once as it is and once painted; generated photographs are no style."""
    pictures = many(4, "photos") + many(2, "p", "fake", "painting") + many(2, "d", "fake", "diffusion_image")
    rows = training_rows("style_transfer", pictures, 0, None)
    assert sum(row.variant == "styled" for row in rows) == 4
    assert sum(row.fake for row in rows) == 6
    assert not any(row.picture.family == "diffusion_image" for row in rows)


def test_what_is_kept_for_development_is_not_trained_on():
    """The split is honoured, and so is the limit per label."""
    pictures = many(5, "a") + many(5, "b", split="dev") + many(5, "c", "fake", "diffusion_image")
    rows = training_rows("image_synthesis", pictures, 0, 2)
    assert [row.picture.source for row in rows] == ["a", "a", "c", "c"]


def test_folds_hold_whole_groups_of_both_labels():
    """A group is in one fold, and no fold takes all photographs or all fakes."""
    groups = np.repeat([f"g{i:02d}" for i in range(24)], 5)
    fake = np.repeat(np.arange(24) % 2 == 1, 5)
    folds = leave_out_folds(groups, fake)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert len(set(folds)) == FOLDS
    for fold in range(FOLDS):
        assert (folds != fold)[fake].any()
        assert (folds != fold)[~fake].any()


def test_levelling_never_enlarges_and_repeats_with_its_seed():
    """Between a share of the picture and the picture, and the same for the same seed."""
    image = picture(400, 300)
    for seed in range(8):
        small = level(image, np.random.default_rng(seed))
        assert small.shape[0] <= 300
        assert small.shape[1] <= 400
        assert min(small.shape[:2]) >= 16
        assert np.array_equal(small, level(image, np.random.default_rng(seed)))


def test_a_manifest_without_groups_or_splits_is_read(tmp_path):
    """The source is the group, and everything may be trained on; what is no picture is passed over."""
    path = tmp_path / "m.csv"
    path.write_text("file,label,family,source\nx.png,fake,diffusion_image,me/it:x\ny.mp4,real,real,me/it:y\n")
    assert read_pictures(path) == (Picture("x.png", True, "diffusion_image", "me/it", "me/it", "train"),)
    with pytest.raises(ConfigError, match="manifest"):
        read_pictures(tmp_path / "none.csv")


@pytest.fixture
def manifest(tmp_path):
    """Twelve groups of five grey pictures; those of the fakes are brighter."""
    rows = []
    for group in range(12):
        fake = group % 2 == 1
        for i in range(5):
            shade = 150 + 5 * i + group if fake else 60 + 5 * i + group
            cv2.imwrite(str(tmp_path / f"{group}-{i}.png"), np.full((40, 50, 3), shade, np.uint8))
            rows.append(
                {
                    "file": f"{group}-{i}.png",
                    "label": "fake" if fake else "real",
                    "family": "diffusion_image" if fake else "real",
                    "source": f"s{group}:{i}",
                }
            )
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


class Reader:
    """An encoder whose last two numbers are the brightness."""

    def __init__(self, *_):
        pass

    def __call__(self, frame):
        rng = np.random.default_rng(int(frame.sum()) % 2**32)
        found = {"features": rng.normal(0, 0.1, (1, PATCH_MEANS)), "embedding": rng.normal(0, 0.1, (1, SIZE))}
        for values in found.values():
            values[0, -1] = frame.mean() / 50
        return found


def test_the_same_manifest_and_seed_give_the_same_head(tmp_path, manifest, monkeypatch):
    """Computed or read from the store; the head ranks what it never saw."""
    monkeypatch.setattr(module, "FrameReader", Reader)
    first = train_whole_image("image_synthesis", manifest, tmp_path, tmp_path / "a.json", home=tmp_path)
    monkeypatch.setattr(module, "FrameReader", None)
    train_whole_image("image_synthesis", manifest, tmp_path, tmp_path / "b.json", home=tmp_path)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert first.all.value > 0.9
    assert first.real == first.fake == 30
    weight = json.loads((tmp_path / "a.json").read_bytes())["weight"]
    assert len(weight) == FEATURE_COUNT
    assert np.argmax(weight) in (FEATURE_COUNT - 1, FEATURE_COUNT - SIZE - 1)
    assert "image_synthesis: 30 real" in str(first)


def test_one_kind_alone_cannot_be_learnt(tmp_path, manifest, monkeypatch):
    """Said in words, as is a head that does not exist."""
    monkeypatch.setattr(module, "FrameReader", Reader)
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "fake" not in line))
    with pytest.raises(ConfigError, match="both kinds"):
        train_whole_image("image_synthesis", manifest, tmp_path, tmp_path / "a.json", home=tmp_path)
    with pytest.raises(ConfigError, match="no such head"):
        train_whole_image("swap", manifest, tmp_path, tmp_path / "a.json", home=tmp_path)
