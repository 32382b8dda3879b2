"""Training of lip-sync on made-up speakers: the map is found, shifts are told, the files are read back."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE, Audio
from pipeline.detect.head import read_head
from pipeline.detect.lip_sync import BANDS, MEASURES, TAPS, read_match
from pipeline.detect.port import Speech
from pipeline.errors import ConfigError
from pipeline.learn import mouth as subject
from pipeline.learn.mouth import Speaker, train_lip_sync

HEADER = "file,label,family,source,licence,split\n"


def speaker(seed: int, late: float = 0.0, seconds: float = 7.0) -> Speaker:
    """Noise in syllables, and a mouth that opens with them, `late` seconds before them."""
    rng = np.random.default_rng(seed)
    loud = np.zeros(round((seconds + 2) * 100))
    at = 0
    while at < len(loud):
        length = int(rng.integers(12, 30))
        loud[at : at + length] = (np.hanning(length) * rng.uniform(0.3, 1.0))[: len(loud) - at]
        at += length + int(rng.integers(0, 12))
    count = round(seconds * SAMPLE_RATE)
    size = np.interp(np.arange(count) / 160, np.arange(len(loud)), 0.002 + loud)
    audio = Audio((0.1 * rng.normal(size=count) * size).astype(np.float32))
    clock = np.arange(0, seconds - 0.3, 0.04)
    opening = np.interp(clock + late, np.arange(len(loud)) / 100, loud)[:, None]
    mouth = np.hstack([0.2 * opening, 0.5 + 0.3 * opening, 0.4 - 0.1 * opening, 0.1 + 0.1 * opening])
    mouth += 0.01 * rng.normal(size=mouth.shape)
    return Speaker(f"clip{seed}", audio, Speech(np.full(300, 0.9, np.float32)), ((clock, mouth),), (1.5, 1.6))


@pytest.fixture
def speakers() -> list[Speaker]:
    return [speaker(seed) for seed in range(4)]


def test_a_clip_whose_own_sound_is_late_is_aligned_before_the_map_learns():
    """Its offset is found by a map of the others, to two frames; theirs is nought."""
    offsets = subject.align([speaker(0), speaker(1), speaker(2), speaker(3, late=0.2)])
    assert offsets[3] == pytest.approx(0.2, abs=0.08)
    assert np.abs(offsets[:3]).max() <= 0.08


def test_every_stretch_is_seen_with_its_own_a_shifted_and_anothers_sound(speakers):
    """By a map without that clip; genuine matches stand above shifted and replaced ones."""
    rows = subject.rows_without(0, speakers, [0.0] * 4, seed=1)
    match = {
        kind: np.mean([row.measures[0] for row in rows if row.kind == kind])
        for kind in ("genuine", "shifted", "replaced")
    }
    assert match["genuine"] > 0.6
    assert match["genuine"] > match["shifted"] + 0.3
    assert match["genuine"] > match["replaced"] + 0.3
    assert {row.seconds for row in rows} == set(subject.LENGTHS)


def test_a_silent_or_still_person_gives_no_stretch(speakers):
    """No speech, or a mouth that does not move: nothing to learn from."""
    one = speakers[0]
    silent = Speaker("a", one.audio, Speech(np.zeros(300, np.float32)), one.runs, ())
    still = Speaker("b", one.audio, one.speech, ((one.runs[0][0], np.zeros_like(one.runs[0][1])),), ())
    assert subject.talks(one, 6.0)
    assert not subject.talks(silent, 6.0)
    assert not subject.talks(still, 6.0)


def test_head_and_map_are_written_and_come_out_the_same_again(speakers, tmp_path, monkeypatch):
    """The files are what the detector reads; figures are of clips that were left out."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(HEADER, "utf-8")
    monkeypatch.setattr(subject, "gather", lambda *_: speakers)
    report = train_lip_sync(manifest, tmp_path, tmp_path / "lip_sync.json", home=tmp_path, seed=3)
    first = [(tmp_path / name).read_bytes() for name in ("lip_sync.json", "lip_sync_match.json")]
    train_lip_sync(manifest, tmp_path, tmp_path / "lip_sync.json", home=tmp_path, seed=3)
    assert first == [(tmp_path / name).read_bytes() for name in ("lip_sync.json", "lip_sync_match.json")]
    assert read_head("lip_sync", tmp_path).file.measures == MEASURES
    match = read_match(tmp_path / "lip_sync_match.json")
    assert (match.file.taps, match.file.bands) == (TAPS, BANDS)
    assert match.file.match > 0.6
    assert all(figure.value > 0.9 for _, figure in report.figures)
    assert "4 clips" in str(report)


def test_too_few_clips_are_refused(speakers, tmp_path, monkeypatch):
    """Two people cannot show what is common to all."""
    (tmp_path / "m.csv").write_text(HEADER, "utf-8")
    monkeypatch.setattr(subject, "gather", lambda *_: speakers[:2])
    with pytest.raises(ConfigError, match="2 clips of people who talk"):
        train_lip_sync(tmp_path / "m.csv", tmp_path, tmp_path / "out.json", home=tmp_path)


def test_clips_are_watched_once_and_only_genuine_ones(tmp_path, monkeypatch):
    """A second run reads what the first kept; pictures and fakes are left alone."""
    watched: list[str] = []

    async def watch(path: Path, infer: object) -> Speaker:
        watched.append(path.name)
        return speaker(5)

    monkeypatch.setattr(subject, "watch", watch)
    monkeypatch.setattr(subject, "InProcess", lambda *_: None)
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([HEADER.strip().split(","), ["a.mp4", "real", "real", "x", "MIT", "train"]])
        writer.writerow(["b.mp4", "fake", "lip_sync", "x", "MIT", "train"])
        writer.writerow(["c.jpg", "real", "real", "x", "MIT", "train"])
    for _ in range(2):
        (found,) = subject.gather(manifest, tmp_path, tmp_path, lambda _: None)
        assert found.name == "a.mp4"
        assert found.runs[0][1] == pytest.approx(speaker(5).runs[0][1])
    assert watched == ["a.mp4"]


def test_a_manifest_without_columns_is_refused(tmp_path):
    """The message says what is wanted."""
    (tmp_path / "m.csv").write_text("name\nx\n", "utf-8")
    with pytest.raises(ConfigError, match="file and label"):
        subject.gather(tmp_path / "m.csv", tmp_path, tmp_path, lambda _: None)
