"""Train the voice-clone head: genuine speech against generated speech and against vocoded copies of genuine speech.

The manifest is the one that all training reads (file, label, family, source, licence, split). Genuine are sound files
and videos labelled real; generated is the family `voice_clone`. A fake whose source reads `origin+maker:file` is a
genuine recording of `origin` that the vocoder `maker` took apart and put together again: what leaves `origin` out
leaves it out too. What is of the split `dev` is judged and never learnt from. Genuine and fake alike go through rooms,
noise, gates, band limits and codecs, so that a head cannot tell them by their history.

Copies of genuine speech, the manifest's and those that training makes itself (pipeline/learn/revoice.py), are judged,
and teach the head only where the manifest has no generated speech: they keep the speaker's own tune and rhythm, by
which the head goes, and beside speech of several generators they made it worse on those that it had not heard
(docs/cards/voice_clone.md).
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Audio, Clip
from pipeline.detect import sound
from pipeline.detect.head import HeadFile, Layer
from pipeline.detect.hear_speech import HearSpeech
from pipeline.detect.port import Infer
from pipeline.detect.voice_clone import LEAST_SPEECH, measures_of, stretches
from pipeline.errors import ConfigError
from pipeline.events.values import MediaFacts, MediaKind, Sampling
from pipeline.learn import media, revoice
from pipeline.learn.heads import Estimate, Labels, Line, Matrix, Vector, auc_with_interval, fit_lda, fit_platt
from pipeline.learn.inference import InProcess
from pipeline.learn.media import CODINGS, coded, read_sound
from pipeline.models.sources import Progress, sha256_of, write_atomically

MODELS = ("voice_activity",)
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".aac", ".g722", ".mp4", ".mov", ".mkv", ".webm")
STRETCHES = 2
"""Stretches of one file, at most: more of the same voice teach little."""
SECONDS = 60.0
COPIES = 2
"""Vocoded copies of each genuine stretch, each made in a way of its own."""
SHRINKAGE = 0.5
"""How far the covariance is drawn towards its diagonal: of .05, .1, .2, .5 and .9 the best on generators left out."""
FAKE = 2.0
"""What all fakes count together, per genuine stretch."""
DEV = "dev"
CLIP = 3.0
"""Standard deviations beyond which a measure counts no more: strange channels must not shout."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the manifest that can be heard."""

    file: str
    fake: bool
    source: str
    split: str
    maker: str = ""
    """The vocoder that a genuine recording of `source` went through."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What was measured of one version of one stretch. `way`: coded, or how it was vocoded."""

    recording: Recording
    way: str
    measures: NDArray[np.float64]

    @property
    def fake(self) -> bool:
        return self.recording.fake or self.way != "coded"


@dataclass(frozen=True, slots=True)
class VoiceReport:
    """What came of a training run. `left_out`: by source, with everything of that source left out of training."""

    path: Path
    real: int
    vocoded: int
    generated: int
    left_out: tuple[tuple[str, Estimate], ...]
    resynthesised: int = 0

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterable[str]:
        """The report for people."""
        yield (
            f"voice_clone: {self.real} genuine, {self.vocoded} vocoded, {self.resynthesised} resynthesised, "
            f"{self.generated} generated; {self.path}"
        )
        yield from (f"  {name:70s}  {figure}" for name, figure in self.left_out)


def train_voice(
    manifest: Path,
    models_dir: Path,
    out: Path,
    *,
    home: Path,
    seed: int = 0,
    progress: Progress = lambda _: None,
    per_source: int = 24,
) -> VoiceReport:
    """Train the head and write it to `out`; the same manifest and seed give the same head. Raises ConfigError.

    `per_source`: genuine, and generated, files of one source that are read at most.
    """
    recordings = chosen(read_manifest(manifest), per_source, seed)
    names, heard = _gather(recordings, manifest.parent, models_dir, home, seed, progress)
    if not any(h.fake for h in heard) or all(h.fake for h in heard):
        raise ConfigError(f"{manifest}: needs genuine speech that can be heard, {LEAST_SPEECH} s of it at a time")
    progress(f"fitting on {len(heard)} stretches")
    table = Table.of(names, heard)
    figures, held = left_out(table, seed)
    report = VoiceReport(
        out,
        int((~table.fake).sum()),
        int(table.copied.sum()),
        int((table.generated & table.learnt).sum()),
        figures,
        int((table.resynthesised & table.learnt).sum()),
    )
    trained: dict[str, str | int | float] = {
        "genuine": report.real,
        "vocoded": report.vocoded,
        "resynthesised": report.resynthesised,
        "generated": report.generated,
        "sources": len(set(table.sources)),
        "seed": seed,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "probability": "of being fake at even odds, on stretches of sources that were left out",
        **{name: round(figure.value, 4) for name, figure in figures},
    }
    write_atomically(out, msgspec.json.format(msgspec.json.encode(fit(table, held, trained)), indent=1) + b"\n")
    return report


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All stretches: measures (n × names), and of each whether it is fake, its file, its source, what made it, and
    whether a head may learn from it.

    `way`: "coded", or how training made a copy; `maker`: the vocoder of a copy that the manifest brought.
    """

    names: tuple[str, ...]
    measures: NDArray[np.float64]
    fake: Labels
    files: NDArray[np.str_]
    sources: NDArray[np.str_]
    makers: NDArray[np.str_]
    copied: Labels
    learnt: Labels

    @classmethod
    def of(cls, names: Sequence[str], heard: Sequence[Heard]) -> Table:
        """In the order that they were heard."""
        return cls(
            tuple(names),
            np.stack([h.measures for h in heard]),
            np.array([h.fake for h in heard]),
            np.array([h.recording.file for h in heard]),
            np.array([h.recording.source for h in heard]),
            np.array([h.recording.maker for h in heard]),
            np.array([not h.recording.fake and h.fake for h in heard]),
            np.array([h.recording.split != DEV for h in heard]),
        )

    @property
    def resynthesised(self) -> Labels:
        """Genuine speech that a vocoder of the manifest's went over."""
        return np.asarray(self.fake & (self.makers != ""))

    @property
    def generated(self) -> Labels:
        """Speech that was never spoken."""
        return np.asarray(self.fake & ~self.copied & (self.makers == ""))


def read_manifest(path: Path) -> list[Recording]:
    """What can be heard of a manifest. Raises ConfigError when it is missing or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [
            Recording(r["file"], r["label"] == "fake", origin, r["split"], maker)
            for r in rows
            for origin, _, maker in [r["source"].partition(":")[0].partition("+")]
            if Path(r["file"]).suffix.lower() in SOUNDS and r["family"] in ("real", "voice_clone")
        ]
    except (OSError, KeyError, csv.Error) as error:
        raise ConfigError(
            f"{path}: no manifest with file, label, family, source, licence and split: {error!r}"
        ) from error


def chosen(recordings: Sequence[Recording], per_source: int, seed: int) -> list[Recording]:
    """At most so many genuine and so many generated ones of each source and maker, drawn by the seed."""
    taken: Counter[tuple[str, bool, str]] = Counter()
    found = []
    for recording in sorted(recordings, key=lambda r: _draw(r.file, seed)):
        kind = (recording.source, recording.fake, recording.maker)
        taken[kind] += 1
        if taken[kind] <= per_source:
            found.append(recording)
    return found


def versions(
    recording: Recording, samples: sound.Samples, number: int, seed: int
) -> Iterable[tuple[str, sound.Samples]]:
    """What training hears of one stretch: itself, and of genuine speech vocoded copies, all with a history."""
    rng = np.random.default_rng(_draw(f"{recording.file} {number}", seed))
    yield "coded", worn(samples, rng)
    if not recording.fake:
        for _ in range(COPIES):
            made, way = revoice.revoice(samples, rng)
            yield way, worn(made, rng)


def worn(samples: sound.Samples, rng: np.random.Generator) -> sound.Samples:
    """Speech as it comes in: perhaps through a room, with noise, a gate, a narrow band, and a codec."""
    out = samples.astype(np.float64)
    if rng.random() < 0.3:
        out = _room(out, rng)
    if rng.random() < 0.4:
        out = out + _noise(len(out), rng) * out.std() * 10 ** (-rng.uniform(15, 45) / 20)
    if rng.random() < 0.3:
        spectrum = np.fft.rfft(out)
        hertz = np.fft.rfftfreq(len(out), 1 / SAMPLE_RATE)
        out = np.fft.irfft(spectrum * np.clip((rng.uniform(3400, 7600) - hertz) / 200 + 0.5, 0, 1), len(out))
    if rng.random() < 0.25:
        out = _gated(out, rng)
    loud = np.asarray(out / max(float(np.abs(out).max()), 1e-6) * rng.uniform(0.1, 0.9), np.float32)
    return coded(loud, CODINGS[int(rng.integers(len(CODINGS)))]) if rng.random() < 0.6 else loud


def fit(table: Table, held: Vector, trained: dict[str, str | int | float]) -> HeadFile:
    """A linear head on all stretches, calibrated on `held`: each source's scores by a head that did not hear it."""
    mean, spread = _scale(table)
    line = _line(table, table.learnt)
    known = np.isfinite(held) & table.learnt & ~_spare(table, table.learnt)
    a, b = fit_platt(held[known], table.fake[known], _share(table, known))
    return HeadFile(
        head="voice_clone",
        measures=table.names,
        mean=_short(mean),
        spread=_short(spread),
        layers=(Layer((_short(a * line.weight),), _short(np.array([a * line.bias + b]))),),
        trained=trained,
        clip=CLIP,
    )


def left_out(table: Table, seed: int) -> tuple[tuple[tuple[str, Estimate], ...], Vector]:
    """Each source, judged by a head that heard nothing of it: figures by kind of fake, and the scores themselves.

    What a vocoder of the manifest's made is judged by a head that heard neither its source nor that vocoder.
    """
    held = np.full(len(table.fake), np.nan)
    scaled = _scaled(table)
    for source, maker in sorted(set(zip(table.sources.tolist(), table.makers.tolist(), strict=True))):
        own = (table.sources == source) & (table.makers == maker)
        rest = (table.sources != source) & table.learnt
        if maker:
            rest &= table.makers != maker
        if table.fake[rest].any() and not table.fake[rest].all():
            held[own] = _line(table, rest)(scaled[own])
    return tuple(_figures(table, held, seed)), held


def _figures(table: Table, held: Vector, seed: int) -> Iterator[tuple[str, Estimate]]:
    """Per stretch and per file; against genuine speech of all sources, and of the same."""
    genuine = ~table.fake

    def figure(name: str, rows: Labels) -> Iterator[tuple[str, Estimate]]:
        rows = rows & np.isfinite(held)
        if table.fake[rows].any() and not table.fake[rows].all():
            yield name, auc_with_interval(held[rows], table.fake[rows], seed)

    yield from figure("generated", genuine | table.generated)
    yield from _per_file("generated, per file", table, held, genuine | table.generated, seed)
    for source in sorted(set(table.sources[table.generated])):
        own = table.sources == source
        yield from figure(f"generated, {source}", genuine | (table.generated & own))
        yield from _per_file(f"generated, {source}, per file", table, held, genuine | (table.generated & own), seed)
        yield from figure(f"generated, {source}, against its own genuine", own & (genuine | table.generated))
    for maker in sorted(set(table.makers[table.resynthesised])):
        own = table.makers == maker
        alike = np.isin(table.sources, table.sources[own])
        yield from figure(f"resynthesised, {maker}", alike & (genuine | own))
    yield from figure("vocoded copies", genuine | table.copied)
    for source in sorted(set(table.sources[table.copied])):
        yield from figure(f"vocoded copies, {source}", (table.sources == source) & (genuine | table.copied))


def _per_file(name: str, table: Table, held: Vector, rows: Labels, seed: int) -> Iterator[tuple[str, Estimate]]:
    """Stretches of one file together, by their mean."""
    rows = rows & np.isfinite(held)
    files = sorted(set(table.files[rows]))
    scores = np.array([held[rows & (table.files == file)].mean() for file in files])
    fake = np.array([table.fake[rows & (table.files == file)].any() for file in files])
    if fake.any() and not fake.all():
        yield name, auc_with_interval(scores, fake, seed)


def _spare(table: Table, rows: Labels) -> Labels:
    """What is left aside among these: copies of genuine speech, where speech that was generated is at hand."""
    return np.asarray((table.copied | table.resynthesised) & bool((table.generated & rows).any()))


def _line(table: Table, rows: Labels) -> Line:
    """Fakes are repeated, or thinned out, until they count what they shall, and each maker by the root of its number:
    many files of one generator must not drown the others."""
    rows = rows & ~_spare(table, rows)
    chosen = [np.flatnonzero(rows & ~table.fake)]
    genuine = len(chosen[0])
    names = np.char.add(np.where(table.generated, table.sources, ""), table.makers)
    groups = [np.flatnonzero(rows & table.fake & (names == name)) for name in sorted(set(names[rows & table.fake]))]
    roots = np.sqrt([len(group) for group in groups])
    for group, root in zip(groups, roots, strict=True):
        chosen.append(np.resize(group, max(1, round(genuine * FAKE * root / roots.sum()))))
    every = np.concatenate(chosen)
    return fit_lda(_scaled(table)[every], table.fake[every], SHRINKAGE)


def _share(table: Table, rows: Labels) -> Vector:
    """Each source's rows count together as one, so that the curve is not that of the fullest."""
    names = np.char.add(table.sources[rows], table.makers[rows])
    _, place, counts = np.unique(names, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(counts[place]), np.float64)


def _scale(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of each measure over what may be learnt from; 0 and 1 of one that was never taken."""
    measures = table.measures[table.learnt]
    known = np.isfinite(measures)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, measures, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, measures - mean, 0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 1e-6, spread, 1.0)


def _scaled(table: Table) -> Matrix:
    """As `Head` brings them to one measure."""
    mean, spread = _scale(table)
    return np.asarray(np.clip(np.nan_to_num((table.measures - mean) / spread), -CLIP, CLIP), np.float32)


def _gather(
    recordings: Sequence[Recording], root: Path, models_dir: Path, home: Path, seed: int, progress: Progress
) -> tuple[tuple[str, ...], list[Heard]]:
    """Measures of all versions of all stretches, kept per file under `home/learn/voice/`."""
    code = [sha256_of(Path(str(module.__file__))) for module in (sound, revoice, media)]
    models: InProcess | None = None
    names: tuple[str, ...] = ()
    heard = []
    for done, recording in enumerate(recordings, 1):
        told = f"{(root / recording.file).resolve()} {seed} {COPIES} {STRETCHES} {code}"
        store = home / "learn" / "voice" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
        if not store.is_file():
            models = models or InProcess(MODELS, models_dir, home, progress)
            _save(store, asyncio.run(listen(recording, root, models, seed)))
            if done % 20 == 0 or done == len(recordings):
                progress(f"heard {done} of {len(recordings)} files")
        with np.load(store, allow_pickle=False) as kept:
            if len(kept["ways"]):
                names = tuple(str(name) for name in kept["names"])
            heard += [
                Heard(recording, str(way), row.astype(np.float64))
                for way, row in zip(kept["ways"], kept["measures"], strict=True)
            ]
    return names, heard


async def listen(recording: Recording, root: Path, infer: Infer, seed: int) -> list[tuple[str, dict[str, float]]]:
    """(way, measures) of every version of every stretch of one file."""
    samples, start = read_sound(root / recording.file, SECONDS)
    audio = Audio(samples, start)
    clip = Clip(MediaFacts(MediaKind.AUDIO, Path(recording.file).suffix), Sampling("training"), audio=audio)
    speech = await HearSpeech()(clip, infer, until=asyncio.get_running_loop().time() + 3600)
    if speech is None:
        return []
    found = list(stretches(audio, speech))
    if len(found) > STRETCHES:
        found = [found[round(i)] for i in np.linspace(0, len(found) - 1, STRETCHES)]
    return [
        (way, measures_of(made, spoken))
        for number, (first, spoken) in enumerate(found)
        for way, made in versions(recording, samples[first : first + len(spoken) * sound.HOP], number, seed)
    ]


def _save(store: Path, found: Sequence[tuple[str, dict[str, float]]]) -> None:
    packed = io.BytesIO()
    names = list(found[0][1]) if found else []
    rows = np.array([[row[name] for name in names] for _, row in found], np.float32)
    np.savez(
        packed,
        allow_pickle=False,
        names=np.array(names, np.str_),
        ways=np.array([way for way, _ in found], np.str_),
        measures=rows.reshape(len(found), len(names)),
    )
    write_atomically(store, packed.getvalue())


def _room(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Reverberation: noise that dies away within 50–400 ms, beside the direct sound."""
    length = int(SAMPLE_RATE * rng.uniform(0.05, 0.4))
    echo = rng.normal(size=length) * np.exp(-6.9 * np.arange(length) / length)
    echo[0] = np.sqrt(np.sum(echo**2)) * 10 ** (rng.uniform(0, 15) / 20)
    size = len(samples) + length
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)])


def _noise(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """From white to pink and beyond, of spread 1."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    made = np.fft.irfft(spectrum / (np.arange(len(spectrum)) + 20.0) ** rng.uniform(0, 1), count)
    return np.asarray(made / made.std())


def _gated(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Pauses turned down, as noise suppression does."""
    step = 320
    level = samples[: len(samples) // step * step].reshape(-1, step).std(axis=1)
    loud = level >= np.percentile(level, 90) * 10 ** (-rng.uniform(25, 40) / 20)
    gain = np.where(loud, 1.0, 10 ** (-rng.uniform(15, 40) / 20))
    return np.asarray(samples * np.interp(np.arange(len(samples)), np.arange(len(gain)) * step + step / 2, gain))


def _draw(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:6], "big")


def _short(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Six digits: the measures are not known better."""
    return tuple(float(f"{value:.6g}") for value in values)
