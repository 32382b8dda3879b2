"""Manipulated copies of genuine files, for measuring: a face blended with itself, moved sound, a treated stretch.

Each takes a genuine file, the path of the copy without its ending, and a seed; it returns the copy, or None where it
does not apply. Nobody's face or voice is put on anybody else. What the copies are found by is not what real forgeries
are found by: figures on them say whether a method sees what it is meant to see, and no more.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.decode.port import SAMPLE_RATE
from pipeline.demo.credentials import GENERATED, Authority, authority, signed
from pipeline.demo.media import write_png_with_text
from pipeline.learn.blend import self_blend
from pipeline.learn.edits import make_edit
from pipeline.learn.face_reels import CHANGES, Change, blended, tampered, untouched
from pipeline.learn.features import FaceReader, read_image
from pipeline.learn.manifest import SOUNDS, STILLS, VIDEOS
from pipeline.learn.media import read_sound
from pipeline.learn.reel import Encoding, Reel, read_reel, write_reel
from pipeline.learn.revoice import revoice
from pipeline.learn.splices import spliced
from pipeline.learn.stylise import stylise
from pipeline.settings import Settings

Maker = Callable[[Path, Path, int], Path | None]

_SECONDS = 20.0
_QUALITY = 90
_ENCODING = Encoding("libx264", {"preset": "veryfast", "crf": "21"})
_LEAST_SOUND = 4.0


def blended_face(source: Path, out: Path, seed: int) -> Path | None:
    """The largest face of a still, blended with an altered copy of itself."""
    image = read_image(source) if source.suffix.lower() in STILLS else None
    found = _reader().largest_face(image) if image is not None else None
    if image is None or found is None:
        return None
    blended, _ = self_blend(image, found.box, found.landmarks, seed)
    return _still(out, blended)


def edited_part(source: Path, out: Path, seed: int) -> Path | None:
    """A part of a still, treated and put back."""
    image = read_image(source) if source.suffix.lower() in STILLS else None
    if image is None or min(image.shape[:2]) < 128:
        return None
    made = make_edit(image, True, np.random.default_rng(seed))
    copy = out.with_suffix({b"\xff\xd8": ".jpg", b"\x89P": ".png"}.get(made.data[:2], ".webp"))
    copy.write_bytes(made.data)
    return copy


def painted(source: Path, out: Path, seed: int) -> Path | None:
    """A still that was made to look painted or drawn."""
    image = read_image(source) if source.suffix.lower() in STILLS else None
    return None if image is None or min(image.shape[:2]) < 128 else _still(out, stylise(image, seed))


def treated_stretch(source: Path, out: Path, seed: int) -> Path | None:
    """A video with a stretch that has another history than the rest."""
    reel = _reel(source)
    if reel is None or reel.seconds < 4:
        return None
    return _video(out, spliced(reel, (), np.random.default_rng(seed)).reel)


def shifted_sound(source: Path, out: Path, seed: int) -> Path | None:
    """A video whose sound comes 0.3 to 1.5 seconds too early or too late."""
    rng = np.random.default_rng(seed)
    return _with_sound_moved(source, out, float(rng.uniform(0.3, 1.5) * rng.choice([-1, 1])))


def replaced_sound(source: Path, out: Path, seed: int) -> Path | None:
    """A video with the sound of another part of itself: what is heard has nothing to do with what is seen."""
    reel = _reel(source)
    return None if reel is None else _with_sound_moved(source, out, reel.seconds / 2 + seed % 7 / 10)


def revoiced(source: Path, out: Path, seed: int) -> Path | None:
    """Speech that went through the analysis and synthesis of a vocoder: the same words, another origin."""
    if source.suffix.lower() not in SOUNDS:
        return None
    samples, _ = read_sound(source)
    if len(samples) < _LEAST_SOUND * SAMPLE_RATE:
        return None
    made, _ = revoice(samples, np.random.default_rng(seed))
    copy = out.with_suffix(".wav")
    with wave.open(str(copy), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes((np.clip(made, -1, 1) * 32767).astype("<i2").tobytes())
    return copy


def with_generator_entry(source: Path, out: Path, seed: int) -> Path | None:  # noqa: ARG001 - nothing is drawn
    """A still as a PNG that says of itself what image generators write."""
    image = read_image(source) if source.suffix.lower() in STILLS else None
    if image is None:
        return None
    copy = out.with_suffix(".png")
    write_png_with_text(copy, image, {"parameters": "a portrait\nSteps: 30, Sampler: Euler a, CFG scale: 7, Seed: 1"})
    return copy


def signed_as_generated(source: Path, out: Path, seed: int) -> Path | None:  # noqa: ARG001 - nothing is drawn
    """A still with Content Credentials, by an authority that nobody trusts, which say that a model made it."""
    image = read_image(source) if source.suffix.lower() in STILLS else None
    if image is None:
        return None
    copy = _still(out, image)
    copy.write_bytes(signed(copy.read_bytes(), _authority(), [GENERATED]))
    return copy


def with_face(change: Change) -> Maker:
    """A maker of videos whose face is changed so, frame by frame."""

    def make(source: Path, out: Path, seed: int) -> Path | None:
        settings = Settings()
        reel = tampered(source, change, seed, settings.models_dir, settings.home)
        return None if reel is None else _video(out, reel)

    return make


MAKERS: Mapping[str, Maker] = {
    "face_swap": blended_face,
    "face_swap_in_video": with_face(blended()),
    "local_edit": edited_part,
    "style_transfer": painted,
    "splice": treated_stretch,
    "shifted_sound": shifted_sound,
    "replaced_sound": replaced_sound,
    "voice_clone": revoiced,
    "generator_metadata": with_generator_entry,
    "signed_as_generated": signed_as_generated,
    **{kind: with_face(change) for changes in CHANGES.values() for kind, change in changes.items()},
}
"""Kind of manipulation, as `LOOKED_FOR_BY` calls it, and what makes one."""

TWINS: Mapping[str, Maker] = {"encoded_again": with_face(untouched)}
"""Genuine copies: the same window of a video as those with a changed face, encoded alike, so that neither its size nor
its codec tells a manipulated copy."""


@cache
def _authority() -> Authority:
    return authority()


@cache
def _reader() -> FaceReader:
    settings = Settings()
    return FaceReader(settings.models_dir, settings.home)


def _still(out: Path, image: np.ndarray) -> Path:
    copy = out.with_suffix(".jpg")
    if not cv2.imwrite(str(copy), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
        raise OSError(f"{copy} cannot be written")
    return copy


def _reel(source: Path) -> Reel | None:
    return read_reel(source, _SECONDS) if source.suffix.lower() in VIDEOS else None


def _video(out: Path, reel: Reel) -> Path:
    copy = out.with_suffix(".mp4")
    write_reel(copy, reel, _ENCODING)
    return copy


def _with_sound_moved(source: Path, out: Path, seconds: float) -> Path | None:
    """The sound turned round by so many seconds: what falls off one end comes in at the other."""
    reel = _reel(source)
    if reel is None or reel.sound is None or len(reel.sound) < _LEAST_SOUND * SAMPLE_RATE:
        return None
    return _video(out, replace(reel, sound=np.roll(reel.sound, round(seconds * SAMPLE_RATE))))
