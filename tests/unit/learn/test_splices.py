"""Making time lines, and learning from them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE
from pipeline.detect.head import read_head
from pipeline.detect.splice import STRETCH_NAMES, Stretch
from pipeline.errors import ConfigError
from pipeline.learn import splices
from pipeline.learn.reel import Encoding, Reel, join, of_rgb, read_reel, split, write_reel
from pipeline.learn.splices import honest, overlap, read_sources, spliced, train_splice
from pipeline.testing import picture

RATE = 12.0


def reel(seed: int, seconds: float = 5.0, sound: bool = False) -> Reel:
    """A few pictures under a slow shift."""
    image = cv2.resize(picture(seed=seed), (192, 144))
    frames = tuple(of_rgb(np.roll(image, n, axis=1)) for n in range(int(seconds * RATE)))
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
    return Reel(frames, RATE, samples if sound else None)


def test_planes_are_split_and_joined_without_loss():
    """Y, U and V of a frame make the frame again."""
    planes = of_rgb(picture(seed=1))
    assert np.array_equal(join(*split(planes)), planes)


def test_a_reel_survives_being_written_and_read(tmp_path: Path):
    """Size, rate, number of frames and sound are kept; the picture nearly."""
    made = reel(1, 2.0, sound=True)
    write_reel(tmp_path / "a.mp4", made, Encoding("libx264", {"crf": "10", "preset": "ultrafast"}))
    read = read_reel(tmp_path / "a.mp4", 10)
    assert read is not None
    assert read.sound is not None
    assert (read.size, read.rate, len(read.frames)) == (made.size, made.rate, len(made.frames))
    assert np.abs(read.frames[5].astype(int) - made.frames[5]).mean() < 3
    window = read_reel(tmp_path / "a.mp4", 10, window=64)
    assert window is not None
    assert window.size == (64, 64)


@pytest.mark.parametrize("seed", range(6))
def test_only_the_foreign_stretch_is_exchanged(seed: int, monkeypatch: pytest.MonkeyPatch):
    """Outside the stretch that is named the host keeps its frames, inside they are others; its length stays."""
    monkeypatch.setattr(splices, "through", lambda made, _: made)
    host = reel(1, sound=True)
    made = spliced(host, [reel(2)], np.random.default_rng(seed))
    assert made.spliced is not None
    first, last = (round(at * RATE) for at in made.spliced)
    assert len(made.reel.frames) == len(host.frames)
    same = [np.array_equal(a, b) for a, b in zip(made.reel.frames, host.frames, strict=True)]
    assert all(same[:first])
    assert all(same[last:])
    assert not all(same[first:last])
    assert 0.9 <= made.spliced[1] - made.spliced[0] <= max(1.0, splices.LARGEST_SHARE * host.seconds) + 0.1


def test_honest_time_lines_name_no_stretch():
    """Takes and cuts last as long as their host, about."""
    for seed in range(4):
        made = honest(reel(1, sound=True), np.random.default_rng(seed))
        assert made.spliced is None
        assert made.reel.seconds == pytest.approx(5.0, abs=1.0)


def test_the_same_seed_makes_the_same_time_line():
    """Samples can be made again."""
    once, again = (spliced(reel(1), [reel(2)], np.random.default_rng(4)) for _ in range(2))
    assert once.spliced == again.spliced
    assert all(np.array_equal(a, b) for a, b in zip(once.reel.frames, again.reel.frames, strict=True))


def test_overlap_is_intersection_over_union():
    """Apart 0, the same 1, half shared a third."""
    stretch = Stretch(0, 1, 1.0, 3.0)
    assert [overlap(stretch, true) for true in ((4.0, 5.0), (1.0, 3.0), (2.0, 4.0))] == [0, 1, pytest.approx(1 / 3)]


def manifest_of(folder: Path, clips: int) -> Path:
    """Genuine clips of as many owners."""
    rows = []
    for n in range(clips):
        write_reel(folder / f"{n}.mp4", reel(n), Encoding("libx264", {"crf": "20", "preset": "ultrafast"}))
        source = f"owner{n}/name:{n}.mp4"
        rows.append({"file": f"{n}.mp4", "label": "real", "family": "real", "source": source, "split": "train"})
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", "label", "family", "source", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def test_owners_are_dealt_to_folds_whole(tmp_path: Path):
    """Every clip of an owner is in one fold, and no fold is empty."""
    sources = read_sources(manifest_of(tmp_path, 4))
    assert {source.fold for source in sources} == {0, 1, 2}
    assert len({(source.owner, source.fold) for source in sources}) == len({source.owner for source in sources})


def test_a_head_is_trained_from_a_manifest(tmp_path: Path):
    """Samples are made and measured, a head is written that the detector can read, and a second run gives the same."""
    manifest = manifest_of(tmp_path, 3)
    for name in ("a", "b"):
        out = tmp_path / name / "splice.json"
        report = train_splice(manifest, out, home=tmp_path / "home", rounds=1)
        assert "left-out sources" in str(report)
    assert (tmp_path / "a" / "splice.json").read_bytes() == (tmp_path / "b" / "splice.json").read_bytes()
    head = read_head("splice", tmp_path / "a")
    assert head.file.measures == STRETCH_NAMES
    assert 0 <= head.many(np.zeros((1, len(STRETCH_NAMES))))[0] <= 1


def test_a_manifest_without_clips_is_refused(tmp_path: Path):
    """There is nothing to learn from."""
    with pytest.raises(ConfigError, match="no clip"):
        train_splice(manifest_of(tmp_path, 0), tmp_path / "splice.json", home=tmp_path)
