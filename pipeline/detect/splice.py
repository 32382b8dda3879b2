"""Splices along the time line: a stretch whose noise, sharpness, compression or sound has another history.

Every frame that was looked at is measured on the unscaled middle of its luminance. Every stretch between two looks, and
every beginning and end, is compared with what remains: how far the two differ, in units of what differs inside them. A
small head weighs the differences; the stretch that it finds most suspicious is the score. A cut alone changes the
content, not the camera's noise nor what earlier encodings left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.port import RGB, SAMPLE_RATE, Audio, Clip, Keyframe, Luma, Packets
from pipeline.detect import residual
from pipeline.detect.frames import spread
from pipeline.detect.head import Head, read_head
from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.events.values import Family, MediaKind

Table = NDArray[np.float64]

FEWEST_LOOKS = 3
"""With two looks, the one differs from the other as much as it may."""
SIDE = 320
"""Pixels of the unscaled part that are measured: enough for the medians, and what a look may cost."""
CHROMA_LIMIT = 4.0
"""Edges of colour count as noise up to here."""
SMALL = 256
"""Colour is measured on so many pixels of the long side, picked, not averaged."""
CHOSEN_SHARE = 0.25
"""The flattest and the busiest quarter of the blocks: noise shows in the one, sharpness in the other."""
THUMBNAIL = 12
PACKET_SPAN = 0.5
"""Seconds round a look in which packets are counted."""
SOUND_STEP = 0.02
SOUND_QUIET = 0.2
"""The quietest fifth of a stretch's sound is taken for its background."""
SOUND_FEWEST = 15
SOUND_BANDS = (1, 6, 20, 68, 120, 160)
"""× 50 Hz: up to 300, 1 000, 3 400, 6 000 and 8 000 Hz."""

# What is measured of a look, how far it strays from look to look within one take (the median step between
# looks a second apart, over genuine single takes of twelve sources, rounded), and its name in a note.
MEASURES: Mapping[str, tuple[float, str]] = {
    "noise": (0.06, "noise"),
    "flat_noise": (0.09, "noise in flat parts"),
    "flat_middle": (0.07, "grain in flat parts"),
    "flat_slope": (0.07, "spectrum of the noise"),
    "busy_high": (0.06, "fine detail"),
    "busy_top": (0.06, "finest detail"),
    "sharpness": (0.02, "sharpness"),
    "edge_width": (0.03, "width of edges"),
    "grid": (0.06, "blocking"),
    "macro_grid": (0.1, "blocking of macroblocks"),
    "other_grid": (0.04, "blocking off the grid"),
    "zeros": (0.025, "share of empty coefficients"),
    "low_zeros": (0.02, "share of empty low coefficients"),
    "interpolation": (0.13, "trace of enlargement"),
    "chroma_noise": (0.06, "noise in colour"),
    "saturation": (0.02, "saturation"),
    "cast_blue": (0.01, "blue cast"),
    "cast_red": (0.01, "red cast"),
    "black": (0.01, "black level"),
    "white": (0.01, "white level"),
    "light": (0.015, "brightness"),
    "contrast": (0.02, "contrast"),
    "rate": (0.2, "bytes per second"),
    "repeats": (0.05, "share of repeated frames"),
    "sound_low": (0.3, "background sound under 300 Hz"),
    "sound_middle": (0.4, "background sound"),
    "sound_high": (0.5, "background sound over 3.4 kHz"),
    "sound_level": (0.2, "loudness"),
    "sound_constant": (0.01, "constant part of the sound"),
}
SOUND = tuple(name for name in MEASURES if name.startswith("sound_"))
NAMES = tuple(MEASURES)
STRAY = np.array([stray for stray, _ in MEASURES.values()])
_BANDS = np.stack(
    [band / band.sum() for band in (residual.LOW, residual.MIDDLE, residual.HIGH, residual.TOP)], axis=1
).astype(np.float32)
STRETCH_NAMES = (
    *(f"{name}_gap" for name in NAMES),
    *(f"{name}_sure" for name in NAMES),
    *("cut", "cut_sure", "other_cuts", "goes_on", "open", "share", "looks", "rest"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """A time line as the splice detector sees it.

    `at` in seconds; `table`: looks × measures; `tiny`: looks × pixels of a thumbnail; `bounds`: where the time of a
    look begins and that of the last one ends, half-way between looks.
    """

    at: Table
    table: Table
    tiny: Table
    bounds: Table


@dataclass(frozen=True, slots=True)
class Stretch:
    """Looks `first` up to, not including, `last`: from `start` to `end` seconds."""

    first: int
    last: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Splice:
    """Compares every stretch of the time line with the rest. `looks`: frames that are measured at most."""

    looks: int = 24

    name: ClassVar[str] = "splice"
    families: ClassVar[tuple[Family, ...]] = (Family.SPLICE,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    @property
    def version(self) -> str:
        """The head's digest is part of it."""
        return f"1+{read_head('splice').digest}"

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe with the most suspicious stretch; none for what has no time line or too few looks."""
        clip = view.clip
        if clip.facts.kind not in (MediaKind.VIDEO, MediaKind.ANIMATION):
            return []
        looks = look_at(clip, self.looks)
        if looks is None:
            return []
        found, value = worst(looks, read_head("splice"))
        values = np.array([[found.start, found.end, value]])
        words = np.array([[describe(looks, found)]])
        return [Probe({"stretch": values, "differs": words}, at=found.start)]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:
        """The score of the stretch that differs most."""
        start, end, value = (float(x) for x in outputs["stretch"][0])
        note = str(outputs["differs"][0, 0])
        return [Score(Family.SPLICE, value, at=probe.at, until=max(start, end), note=note)]


# Measuring looks


def look_at(clip: Clip, most: int = 24) -> Looks | None:
    """The measures of a clip's looks; None when too few frames have their unscaled part."""
    usable = [frame for frame in clip.keyframes if frame.native is not None and min(frame.native.shape) >= 64]
    frames = spread(usable, most)
    if len(frames) < FEWEST_LOOKS:
        return None
    at = np.array([frame.at for frame in frames])
    ending = max(clip.facts.duration or 0.0, float(at[-1]) + 1e-3)
    bounds = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [ending]])
    seen = np.array([list(measured.values()) for measured in _measured(frames, clip.packets)])
    table = np.hstack([_without_key_bias(seen, _key_looks(at, clip.packets)), sound_measures(clip.audio, bounds)])
    return Looks(at, _filled(table), np.array([thumbnail(frame.image) for frame in frames]), bounds)


def _measured(frames: Sequence[Keyframe], packets: Packets | None) -> Iterator[dict[str, float]]:
    for frame in frames:
        assert frame.native is not None
        yield {**luma_measures(frame.native), **colour_measures(frame.image), **packet_measures(packets, frame.at)}


def luma_measures(native: Luma) -> dict[str, float]:
    """Noise, sharpness and compression of the unscaled luminance."""
    top, left = (max(0, (length - SIDE) // 32 * 16) for length in native.shape)
    luma = native[top : top + SIDE, left : left + SIDE]
    coefficients = residual.blocks(luma)
    magnitudes = np.abs(coefficients)
    flatness, *energies = np.moveaxis(magnitudes.reshape(-1, residual.BLOCK**2) @ _BANDS, 1, 0)
    # Clipped or empty parts (letter boxes) carry no noise and say nothing.
    level = coefficients[..., 0].ravel() / residual.BLOCK + 128
    lit = (level > 20) & (level < 235)
    bands = dict(zip(("middle", "high", "top"), energies, strict=True))
    chosen = np.flatnonzero(lit)
    if chosen.size < 16:
        chosen = np.arange(level.size)
    order = chosen[np.argsort(flatness[chosen], kind="stable")]
    share = max(8, int(CHOSEN_SHARE * order.size))
    flat, busy = order[:share], order[-share:]
    noise = residual.noise_map(luma)
    per_block = cv2.resize(noise, (coefficients.shape[1], coefficients.shape[0]), interpolation=cv2.INTER_AREA).ravel()
    fine, coarse = residual.gradients(luma)
    strong = coarse > np.percentile(coarse[::4, ::4], 90)
    sharpness = float(fine[strong].sum() / max(float(coarse[strong].sum()), 1e-6)) if strong.any() else math.nan
    peaks = float(np.percentile(fine[::2, ::2], 99.5)) / (float(np.percentile(coarse[::2, ::2], 99.5)) + 0.5)
    empty = (magnitudes < 0.5).mean(axis=(0, 1))
    phases = residual.grid_phases(luma)
    rest = np.delete(phases, [7, 15])
    middle = float(np.median(rest))
    log = residual.robust_log
    return {
        "noise": log(per_block[order]),
        "flat_noise": log(per_block[flat]),
        "flat_middle": log(bands["middle"][flat]),
        "flat_slope": log(bands["top"][flat]) - log(bands["middle"][flat]),
        "busy_high": log(bands["high"][busy]) - log(bands["middle"][busy]),
        "busy_top": log(bands["top"][busy]) - log(bands["high"][busy]),
        "sharpness": math.log(sharpness + 0.01),
        "edge_width": math.log(peaks + 0.01),
        "grid": float(phases[7]) - middle,
        "macro_grid": float(phases[15]) - middle,
        "other_grid": float(rest.max()) - middle,
        "zeros": float(empty @ _BANDS[:, 2]),
        "low_zeros": float(empty @ _BANDS[:, 1]),
        "interpolation": residual.interpolation(luma),
    }


def colour_measures(image: RGB) -> dict[str, float]:
    """Colour, black and white level, and the noise of colour, of the frame as it is shown."""
    colours = cv2.cvtColor(_picked(image), cv2.COLOR_RGB2YCrCb).astype(np.float32)
    light, red, blue = colours[..., 0], colours[..., 1] - 128, colours[..., 2] - 128
    low, middle, high = (float(x) / 255 for x in np.percentile(light, [1, 50, 99]))
    top, left = (max(0, (length - 256) // 2) for length in image.shape[:2])
    patch = cv2.cvtColor(np.ascontiguousarray(image[top : top + 256, left : left + 256]), cv2.COLOR_RGB2YCrCb)
    # Chroma is coded at half the size: every other pixel is one that was coded.
    grain = np.minimum(residual.noise_map(np.ascontiguousarray(patch[::2, ::2, 1])), CHROMA_LIMIT)
    return {
        "chroma_noise": math.log(float(grain.mean()) + 0.05),
        "saturation": math.log(float(np.abs(red).mean() + np.abs(blue).mean()) + 1),
        "cast_blue": float(blue.mean()) / 128,
        "cast_red": float(red.mean()) / 128,
        "black": low,
        "white": high,
        "light": middle,
        "contrast": math.log(float(light.std()) + 1),
    }


def packet_measures(packets: Packets | None, at: float) -> dict[str, float]:
    """How much is spent round a moment, key frames apart, and how many packets are as good as empty."""
    if packets is None or packets.at.size < 10:
        return {"rate": math.nan, "repeats": math.nan}
    plain = ~packets.key
    near = plain & (np.abs(packets.at - at) < PACKET_SPAN)
    if near.sum() < 4:
        return {"rate": math.nan, "repeats": math.nan}
    size = packets.size[near].astype(np.float64)
    # A frame that repeats the one before costs next to nothing: a cadence that tells of another frame rate.
    return {
        "rate": math.log(float(size.mean()) + 1),
        "repeats": float((size < 0.12 * np.percentile(size, 75)).mean()),
    }


def thumbnail(image: RGB) -> Table:
    """What is in a frame, very small: brightness, for telling cuts."""
    grey = cv2.cvtColor(_picked(image), cv2.COLOR_RGB2GRAY)
    tiny = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(tiny, np.float64).ravel() / 255


def _picked(image: RGB) -> RGB:
    step = max(1, max(image.shape[:2]) // SMALL)
    return np.ascontiguousarray(image[::step, ::step])


def _key_looks(at: Table, packets: Packets | None) -> NDArray[np.bool_]:
    """Which looks are keyframes: they are coded better than what lies between, and measure differently."""
    if packets is None or not packets.key.any():
        return np.ones(at.size, bool)
    keys = np.sort(packets.at[packets.key])
    place = np.clip(np.searchsorted(keys, at), 1, max(1, keys.size - 1))
    near = np.minimum(np.abs(keys[place - 1] - at), np.abs(keys[np.minimum(place, keys.size - 1)] - at))
    return np.asarray(near < 1e-3, bool)


def _filled(table: Table) -> Table:
    """A measure that is missing in fewer than half of the looks (a black frame has no edges) is its median there."""
    missing = np.isnan(table)
    few = missing.any(axis=0) & (missing.sum(axis=0) * 2 < len(table))
    filled = table.copy()
    for column in np.flatnonzero(few):
        filled[missing[:, column], column] = np.nanmedian(table[:, column])
    return filled


def _without_key_bias(table: Table, key: NDArray[np.bool_]) -> Table:
    """The medians of keyframes and of frames between brought together, where there are enough of both."""
    if min(int(key.sum()), int((~key).sum())) < 3:
        return table
    levelled = table.copy()
    levelled[key] += np.nan_to_num(np.nanmedian(table[~key], axis=0) - np.nanmedian(table[key], axis=0))
    return levelled


# Comparing stretches


def worst(looks: Looks, head: Head) -> tuple[Stretch, float]:
    """The stretch that the head finds most suspicious, and how suspicious it is."""
    found, table = stretches(looks)
    chances = head.many(table)
    best = int(np.argmax(chances))
    return found[best], float(chances[best])


def stretches(looks: Looks) -> tuple[tuple[Stretch, ...], Table]:
    """Every stretch of at most half of the looks, and how it differs from the rest: stretches × `STRETCH_NAMES`."""
    count = looks.at.size
    jumps = np.abs(np.diff(looks.tiny, axis=0)).mean(axis=1)
    bounds = looks.bounds
    found, rows = [], []
    for first in range(count):
        for last in range(first + 1, min(count, first + count // 2) + 1):
            found.append(Stretch(first, last, float(bounds[first]), float(bounds[last])))
            rows.append(np.concatenate([_differences(looks.table, first, last), _cuts(looks.tiny, jumps, first, last)]))
    return tuple(found), np.array(rows)


def _differences(table: Table, first: int, last: int) -> Table:
    """Per measure: the gap in usual deviations, then in deviations inside the two parts, on a logarithmic scale."""
    inside, outside = table[first:last], np.concatenate([table[:first], table[last:]])
    middle, rest = _median(inside), _median(outside)
    gap = np.abs(middle - rest)
    stray = (np.abs(inside - middle).sum(axis=0) + np.abs(outside - rest).sum(axis=0)) / len(table)
    return np.concatenate([np.log1p(gap / STRAY), np.log1p(gap / np.hypot(stray, STRAY))])


def _median(rows: Table) -> Table:
    """Column by column; NaN where one is missing. Sorting a few rows is faster than numpy's own."""
    ordered = np.sort(rows, axis=0)  # NaN comes last
    half = len(rows) // 2
    middle = ordered[half] if len(rows) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return np.asarray(middle + 0 * ordered[-1])


def _cuts(tiny: Table, jumps: Table, first: int, last: int) -> Table:
    """How the content changes where the stretch begins and ends, against elsewhere, and whether the rest goes on."""
    count = len(tiny)
    edges = [i - 1 for i in (first, last) if 0 < i < count]
    others = np.delete(jumps, edges)
    least, usual = float(jumps[edges].min()), float(np.median(others)) if others.size else math.nan
    goes_on = math.nan
    if first > 0 and last < count:
        goes_on = float(np.abs(tiny[first - 1] - tiny[last]).mean()) / (float(jumps[edges].mean()) + 0.01)
    return np.array(
        [
            math.log(least + 0.01),
            math.log((least + 0.01) / (usual + 0.01)),
            math.log(float(others.max()) + 0.01) if others.size else math.nan,
            math.log(goes_on + 0.05),
            float(first == 0 or last == count),
            (last - first) / count,
            math.log(last - first),
            math.log(count - last + first),
        ]
    )


# Sound


def sound_measures(audio: Audio | None, bounds: Table) -> Table:
    """The background of each look's time: looks × `SOUND`; NaN without sound."""
    out = np.full((bounds.size - 1, len(SOUND)), np.nan)
    step = int(SOUND_STEP * SAMPLE_RATE)
    if audio is None or audio.samples.size < SAMPLE_RATE:
        return out
    count = audio.samples.size // step
    x = audio.samples[: count * step].reshape(count, step).astype(np.float32)
    power = np.abs(np.fft.rfft(x * np.hanning(step).astype(np.float32), axis=1)) ** 2
    bands = np.stack([np.log10(power[:, a:b].mean(axis=1) + 1e-9) for a, b in pairwise(SOUND_BANDS)], axis=1)
    at = audio.start + SOUND_STEP * np.arange(count)
    for number, (start, end) in enumerate(pairwise(bounds)):
        now = (at >= start) & (at < end)
        if now.sum() < SOUND_FEWEST:
            continue
        floors = np.quantile(bands[now], SOUND_QUIET, axis=0)
        constant = float(x[now].mean())
        level = float(np.median(bands[now][:, :3]))
        out[number] = (floors[0], floors[1:3].mean(), floors[3:].mean(), level, constant * 100)
    return out


def describe(looks: Looks, stretch: Stretch) -> str:
    """The three measures that differ most surely, in words."""
    table = looks.table
    inside = table[stretch.first : stretch.last]
    outside = np.concatenate([table[: stretch.first], table[stretch.last :]])
    sure = np.nan_to_num(_differences(table, stretch.first, stretch.last)[len(NAMES) :])
    ranked = [NAMES[i] for i in np.argsort(-sure, kind="stable")]
    told: list[str] = []
    for name in ranked[:3]:
        number = NAMES.index(name)
        change = float(np.median(inside[:, number]) - np.median(outside[:, number]))
        words = MEASURES[name][1]
        if name in _LOGS:
            told.append(f"{words} {math.exp(change):.2g}× the rest")
        else:
            told.append(f"{words} {'higher' if change > 0 else 'lower'} than in the rest")
    return f"{stretch.start:.1f}–{stretch.end:.1f} s: {', '.join(told)}"


_LOGS = frozenset(
    (
        *("noise", "flat_noise", "flat_middle", "flat_slope", "busy_high", "busy_top", "sharpness", "edge_width"),
        *("chroma_noise", "saturation", "contrast", "rate"),
    )
)
