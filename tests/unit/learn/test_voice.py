"""Training of the voice-clone head on tones and noise: what is heard, what is left out, what is written."""

import csv
import wave
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode.port import SAMPLE_RATE
from pipeline.detect.head import read_head
from pipeline.errors import ConfigError
from pipeline.learn import voice as subject
from pipeline.learn.heads import auc
from pipeline.learn.media import CODINGS, coded, read_sound
from pipeline.learn.revoice import WAYS, revoice
from pipeline.learn.voice import Heard, Recording, Table, train_voice

HEADER = ["file", "label", "family", "source", "licence", "split"]


def hum(seed: int, seconds: float = 2.0) -> np.ndarray:
    """A buzz of wavering pitch in syllables, with noise under it."""
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 110 + 30 * rng.random() + 5 * np.sin(2 * np.pi * 5 * at)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave_ = sum(np.cos(k * phase) / k for k in range(1, 30)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at))
    return (0.05 * wave_ + 0.002 * rng.normal(size=len(at))).astype(np.float32)


def manifest(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows(
            [HEADER, *((file, label, family, source, "MIT", "train") for file, label, family, source in rows)]
        )
    return path


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_vocoded_copy_is_as_long_and_as_loud_and_not_the_same(way, monkeypatch):
    """Every way gives finite samples of the same length and level that differ from the original."""
    monkeypatch.setattr("pipeline.learn.revoice.WAYS", {way: WAYS[way]})
    samples = hum(0)
    made, told = revoice(samples, np.random.default_rng(1))
    assert told == way
    assert made.shape == samples.shape
    assert np.isfinite(made).all()
    assert made.std() == pytest.approx(samples.std(), rel=0.2)
    assert np.abs(made - samples).mean() > 0.05 * np.abs(samples).mean()


def test_the_same_draw_gives_the_same_copy():
    """Training can be repeated."""
    first, second = (revoice(hum(0), np.random.default_rng(7)) for _ in range(2))
    assert first[1] == second[1]
    assert np.array_equal(first[0], second[0])


@pytest.mark.parametrize("coding", CODINGS, ids=lambda c: f"{c.codec}-{c.bits}")
def test_a_codec_changes_sound_and_leaves_it_in_its_place(coding):
    """The coded copy is as long, correlates with the original without delay, and is not the same."""
    samples = hum(1)
    back = coded(samples, coding)
    assert back.shape == samples.shape
    assert np.corrcoef(samples, back)[0, 1] > 0.9
    assert not np.array_equal(samples, back)


def test_sound_is_read_at_its_rate_and_only_so_far(tmp_path):
    """A stereo file of 8 kHz comes out mono at 16 kHz, cut at the limit."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 8000)).astype("<i2")
        out.writeframes(np.repeat(tone, 2).tobytes())
    samples, start = read_sound(tmp_path / "a.wav", limit=2.0)
    assert (len(samples), start) == (2 * SAMPLE_RATE, 0.0)
    assert np.abs(np.fft.rfft(samples)).argmax() / 2 == pytest.approx(440, abs=1)


def test_worn_speech_keeps_its_length_and_range():
    """Rooms, noise, gates and codecs in any mixture."""
    for seed in range(12):
        out = subject.worn(hum(seed), np.random.default_rng(seed))
        assert out.shape == hum(seed).shape
        assert np.isfinite(out).all()
        assert 0 < np.abs(out).max() <= 1.5


def test_what_can_be_heard_is_read_from_the_manifest(tmp_path):
    """Sounds and genuine videos; pictures, and fakes of other families, are not."""
    path = manifest(
        tmp_path,
        ("a.wav", "real", "real", "x/y:a"),
        ("b.mp3", "fake", "voice_clone", "x/y:b"),
        ("c.jpg", "real", "real", "x/y:c"),
        ("d.mp4", "fake", "lip_sync", "x/y:d"),
        ("e.mp4", "real", "real", "z:e"),
        ("f.wav", "fake", "voice_clone", "x/y+world:a"),
    )
    assert subject.read_manifest(path) == [
        Recording("a.wav", False, "x/y", "train"),
        Recording("b.mp3", True, "x/y", "train"),
        Recording("e.mp4", False, "z", "train"),
        Recording("f.wav", True, "x/y", "train", "world"),
    ]
    (tmp_path / "bad.csv").write_text("file\na.wav\n", "utf-8")
    with pytest.raises(ConfigError, match="family, source"):
        subject.read_manifest(tmp_path / "bad.csv")


def test_no_source_counts_for_more_than_the_limit():
    """So many genuine and so many generated files of each, and as many copies by each vocoder."""
    recordings = [Recording(f"{i}", i % 3 == 0, "ab"[i % 2], "train") for i in range(60)]
    recordings += [Recording(f"{i} again", True, "a", "train", "world") for i in range(10)]
    found = subject.chosen(recordings, 4, seed=1)
    assert len(found) == 20
    assert found == subject.chosen(recordings[::-1], 4, seed=1)


def table(shift: float = 2.0, *, generated: str = "c", copies: float = 0.0, split: str = "train") -> Table:
    """Two measures, the first higher in fakes, of three sources with levels of their own in the second.

    Sources in `generated` have generated speech, and a vocoder made copies of a, of this split, the second measure
    moved by `copies`.
    """
    rng = np.random.default_rng(0)
    heard = []
    for s, source in enumerate("abc"):
        for way, fake, maker in (
            ("coded", False, ""),
            ("coarse", False, ""),
            ("coded", True, ""),
            ("coded", True, "world"),
        ):
            if fake and (source not in generated if not maker else source != "a"):
                continue
            for i in range(30):
                moved = np.array([shift * (fake or way != "coded"), s + copies * bool(maker)])
                row = rng.normal(size=2) + moved
                told = Recording(f"{source}{fake}{maker}{i // 2}", fake, source, split if maker else "train", maker)
                heard.append(Heard(told, way, row))
    return Table.of(("jump_0", "jump_1000"), heard)


def test_sources_are_judged_by_heads_that_did_not_hear_them():
    """A real difference shows in every figure, none at all shows in none."""
    figures, held = subject.left_out(table(), seed=0)
    names = [name for name, _ in figures]
    assert {"generated", "generated, per file", "generated, c", "generated, c, against its own genuine"} <= set(names)
    assert {"resynthesised, world", "vocoded copies", "vocoded copies, a"} <= set(names)
    assert all(figure.value > 0.8 for _, figure in figures)
    assert np.isfinite(held).all()
    figures, _ = subject.left_out(table(shift=0.0), seed=0)
    assert all(0.25 < figure.value < 0.75 for _, figure in figures)


def test_a_file_counts_once():
    """Two stretches of a file are one together, and surer than either."""
    figures = dict(subject.left_out(table(shift=1.0), seed=0)[0])
    assert (figures["generated"].real, figures["generated"].fake) == (90, 30)
    assert (figures["generated, per file"].real, figures["generated, per file"].fake) == (45, 15)
    assert figures["generated, per file"].value > figures["generated"].value


def test_copies_teach_only_where_nothing_was_generated(monkeypatch):
    """Training's own and the manifest's are left aside beside generated speech, and are all there is without it."""
    learnt = []
    fit = subject.fit_lda

    def watched(features: np.ndarray, fake: np.ndarray, shrinkage: float) -> object:
        learnt.append((int((~fake).sum()), int(fake.sum()), len(np.unique(features[fake], axis=0))))
        return fit(features, fake, shrinkage)

    monkeypatch.setattr(subject, "fit_lda", watched)
    for rows, distinct in ((table(), 30), (table(generated=""), 90 + 30)):
        subject.fit(rows, subject.left_out(rows, seed=0)[1], {})
        assert learnt[-1] == (90, 180, distinct)


def test_development_speech_is_judged_and_not_learnt_from():
    """It has scores of its own, and whatever it is the head stays the same."""
    heads = []
    for copies in (0.0, 5.0):
        rows = table(copies=copies, split="dev")
        figures, held = subject.left_out(rows, seed=0)
        assert "resynthesised, world" in dict(figures)
        assert np.isfinite(held[rows.makers == "world"]).all()
        heads.append(subject.fit(rows, held, {}))
    assert heads[0] == heads[1]


def test_a_head_that_does_not_generalise_is_not_sure_of_itself():
    """Calibrated on left-out sources, a difference of chance gives probabilities near a half."""
    rows = table(shift=0.0, generated="abc")
    _, held = subject.left_out(rows, seed=0)
    head = subject.fit(rows, held, {})
    (weight,) = head.layers[0].weight
    assert np.abs(weight).max() < 0.5


def test_a_head_is_trained_written_and_read(tmp_path, monkeypatch):
    """From files to a head that the detector can read; a second run hears no file again and writes the same."""
    listened: list[str] = []

    async def listen(recording: Recording, root: Path, infer: object, seed: int) -> list[tuple[str, dict[str, float]]]:
        listened.append(recording.file)
        rng = np.random.default_rng(len(listened))
        ways = ["coded"] if recording.fake else ["coded", "coarse"]
        return [
            (way, {"jump_0": rng.normal() + 3 * (recording.fake or way != "coded"), "waver": float("nan")})
            for way in ways
            for _ in range(8)
        ]

    monkeypatch.setattr(subject, "listen", listen)
    monkeypatch.setattr(subject, "InProcess", lambda *_: None)
    path = manifest(
        tmp_path,
        *((f"r{i}.wav", "real", "real", f"{'abc'[i % 3]}:r{i}") for i in range(9)),
        *((f"f{i}.wav", "fake", "voice_clone", f"a:f{i}") for i in range(3)),
    )
    out = tmp_path / "voice_clone.json"
    report = train_voice(path, tmp_path, out, home=tmp_path, seed=2)
    first = out.read_bytes()
    assert (report.real, report.vocoded, report.generated) == (72, 72, 24)
    assert "72 genuine" in str(report)
    head = read_head("voice_clone", tmp_path)
    rows = np.array([[0.0, np.nan], [3.0, np.nan]])
    assert head.many(rows)[0] < 0.3 < 0.7 < head.many(rows)[1]
    train_voice(path, tmp_path, out, home=tmp_path, seed=2)
    assert (out.read_bytes(), len(listened)) == (first, 12)


def test_speech_of_one_kind_cannot_train(tmp_path, monkeypatch):
    """Without anything that can be heard, the message says what is needed."""

    async def listen(*_: object) -> list[tuple[str, dict[str, float]]]:
        return []

    monkeypatch.setattr(subject, "listen", listen)
    monkeypatch.setattr(subject, "InProcess", lambda *_: None)
    path = manifest(tmp_path, ("r.wav", "real", "real", "a:r"))
    with pytest.raises(ConfigError, match="genuine speech"):
        train_voice(path, tmp_path, tmp_path / "out.json", home=tmp_path)


def test_scores_rank_vocoded_above_genuine():
    """The line that `fit` writes separates what it was fitted on."""
    rows = table()
    _, held = subject.left_out(rows, seed=0)
    assert auc(held, rows.fake) > 0.8
