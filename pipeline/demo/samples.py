"""The demo's uploads: made on the spot from freely licensed photographs, and what each should come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from PIL import Image

from pipeline.demo import credentials, media
from pipeline.errors import ConfigError
from pipeline.events.values import Consent, Purpose, Relation, Surface
from pipeline.learn.blend import self_blend
from pipeline.learn.features import FaceReader
from pipeline.models.samples import sample_photographs

_SEED = 6
"""A blend that the shipped head is sure of, in the still (.999) and in the clip (.99 a frame), so that another kind of
processor, which moves scores by hundredths, finds it too; others of the same face are too uncertain to say."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One upload. `path` None: the event itself is broken. `expect`: the queue or action that it should come to.

    `context`: what the platform says of it beside the file, as fields of `media.uploaded`.
    """

    name: str
    about: str
    path: Path | None
    expect: frozenset[str]
    context: Mapping[str, Any] = field(default_factory=dict)


def make_samples(folder: Path, models_dir: Path, home: Path, progress: Callable[[str], None]) -> tuple[Sample, ...]:
    """Write every file into `folder`. Raises ConfigError when the photographs cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = {photo.name: photo.path for photo in sample_photographs(home, models_dir, progress)}
    portrait, coffee = _read(photos["astronaut"]), _read(photos["coffee"])
    progress("blending a face with itself")
    face = FaceReader(models_dir, home).largest_face(portrait)
    if face is None:
        raise ConfigError("the face detector found no face in the sample portrait: is the model repository sound?")
    blended, _ = self_blend(portrait, face.box, face.landmarks, _SEED)

    progress("writing media")
    media.write_jpeg(folder / "portrait.jpg", portrait)
    media.write_jpeg(folder / "coffee.jpg", coffee)
    media.write_jpeg(folder / "face-blended.jpg", blended)
    media.write_jpeg(folder / "rendered.jpg", media.rendered(1))
    prompt = {
        "parameters": "portrait of nobody, 35mm\nSteps: 30, Sampler: Euler a, CFG scale: 7, Seed: 1, Model: sd-xl"
    }
    media.write_png_with_text(folder / "generated.png", media.rendered(2), prompt)
    signed = credentials.signed((folder / "coffee.jpg").read_bytes(), credentials.authority(), [credentials.GENERATED])
    (folder / "signed.jpg").write_bytes(signed)
    media.write_png_with_text(folder / "declared.png", media.rendered(3), {})
    media.write_video(folder / "clip.mp4", [(coffee, 3), (blended, 4), (coffee, 3)])
    media.write_video(folder / "clip-genuine.mp4", [(coffee, 2), (portrait, 4)])
    media.write_sound(folder / "voice.wav", 6)
    whole = (folder / "portrait.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 100])
    media.write_bomb(folder / "bomb.png")

    def sample(name: str, about: str, *expect: str, file: str | None = None, **context: Any) -> Sample:
        return Sample(name, about, folder / (file or name), frozenset(expect), context)

    agreed = Consent(relation=Relation.AUTHORISED, reference="consent-7", purposes=(Purpose.DUB,))
    return (
        sample("portrait.jpg", "a genuine portrait", "allow"),
        sample("coffee.jpg", "a photograph without a face", "allow"),
        sample("face-blended.jpg", "the portrait, its face blended with itself", "faces"),
        sample(
            "… as an ad", "the same bytes in an advertisement", "faces", file="face-blended.jpg", surface=Surface.AD
        ),
        sample(
            "… as satire", "the same, declared as satire", "allow", file="face-blended.jpg", purposes=(Purpose.SATIRE,)
        ),
        sample(
            "… on an election",
            "the same, of which the platform says that it is about an election",
            "faces",
            file="face-blended.jpg",
            tags=("election",),
        ),
        sample("rendered.jpg", "a picture that no camera took, unmarked", "allow"),
        sample("generated.png", "a picture with a generator's metadata", "label"),
        sample("signed.jpg", "Content Credentials that say a model made it", "label"),
        sample("declared.png", "declared synthetic by its uploader", "label", declared_synthetic=True),
        sample("clip.mp4", "a video with sound; a blended face in its middle", "faces"),
        sample(
            "… as a dub",
            "the same, a dub that the person shown agreed to",
            "label",
            file="clip.mp4",
            purposes=(Purpose.DUB,),
            consent=agreed,
        ),
        sample(
            "… consent ended",
            "the same, and the person shown agrees no longer",
            "requests",
            file="clip.mp4",
            purposes=(Purpose.DUB,),
            consent=replace(agreed, revoked=True),
        ),
        sample("clip-genuine.mp4", "a video with sound; the genuine portrait", "allow"),
        sample("voice.wav", "sound alone", "allow"),
        sample("portrait again", "the portrait's bytes, uploaded again", "allow", file="portrait.jpg"),
        sample("truncated.jpg", "the first hundredth of a photograph", "unreadable"),
        sample("bomb.png", "a few kilobytes that claim 3.6 thousand million pixels", "unreadable"),
        Sample("broken event", "bytes that are not an event", None, frozenset({"dead letter"})),
    )


def _read(path: Path) -> media.RGB:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)
