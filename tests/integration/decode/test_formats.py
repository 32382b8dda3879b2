"""Every common format, through the sandbox: what it is, what was looked at, what it says of itself."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import SAMPLE_RATE, Clip, DecodeBudget
from pipeline.errors import Permanent
from pipeline.events.values import MediaKind
from tests import media
from tests.integration.decode.conftest import DecodeBytes

pytestmark = pytest.mark.asyncio(loop_scope="module")


def stamps(clip: Clip) -> list[int]:
    """The seconds that the looked-at frames were stamped with."""
    return [media.stamp_of(frame.image) for frame in clip.keyframes]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP"])
async def test_still_images(decode: DecodeBytes, kind: str) -> None:
    """A still image of any format is one upright RGB frame, looked at completely."""
    clip = await decode(media.image(kind))
    assert clip.facts.kind is MediaKind.IMAGE
    assert (clip.facts.container, clip.facts.width, clip.facts.height) == (kind.lower(), 320, 180)
    assert clip.sampling.complete
    (frame,) = clip.keyframes
    difference = np.abs(frame.image.astype(int) - media.texture().astype(int))
    assert difference.mean() < 25
    assert clip.audio is None


async def test_large_images_are_scaled_to_the_budget(decode: DecodeBytes) -> None:
    """What models need is enough: the long side is cut to the budget, the facts keep the true size."""
    clip = await decode(media.image("JPEG", 1000, 1600))
    assert clip.keyframes[0].image.shape == (1280, 800, 3)
    assert (clip.facts.width, clip.facts.height) == (1000, 1600)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("RGBA", 255), ("LA", 255), ("L", 0), ("1", 0), ("CMYK", 255), ("I;16", 0)],
)
async def test_unusual_modes_become_rgb(decode: DecodeBytes, mode: str, expected: int) -> None:
    """Transparency shows white, as in viewers; grey, bilevel, 16-bit and CMYK pictures become RGB."""
    from PIL import Image

    picture = Image.new(mode, (20, 10))
    clip = await decode(media._saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert clip.keyframes[0].image.shape == (10, 20, 3)
    assert np.all(clip.keyframes[0].image == expected)


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_exif_orientation_is_honoured(decode: DecodeBytes, orientation: int) -> None:
    """A phone's photograph comes out upright whichever way it was held or mirrored."""
    clip = await decode(media.rotated_photo(orientation))
    assert clip.keyframes[0].image.shape == (180, 320, 3)
    assert stamps(clip) == [7]
    assert (clip.facts.width, clip.facts.height) == (320, 180)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
async def test_animations(decode: DecodeBytes, kind: str) -> None:
    """An animated image has a duration and frames at their times."""
    clip = await decode(media.animation(kind, frames=10, milliseconds=500))
    assert clip.facts.kind is MediaKind.ANIMATION
    assert clip.facts.duration == pytest.approx(5.0)
    assert stamps(clip) == list(range(10))
    assert clip.sampling.looked_at == tuple(i / 2 for i in range(10))
    assert clip.sampling.complete


async def test_long_animations_are_sampled(decode: DecodeBytes) -> None:
    """An animation with more frames than the budget is looked at across its whole length."""
    clip = await decode(media.animation("GIF", 100, 48, 32, milliseconds=100))
    assert len(clip.keyframes) == 24
    assert clip.sampling.largest_gap == pytest.approx(0.5, abs=0.11)
    assert not clip.sampling.complete


@pytest.mark.parametrize(
    ("container", "codec", "audio"),
    [
        ("mp4", "libx264", "aac"),
        ("mov", "libx264", "aac"),
        ("mp4", "libx265", None),
        ("mp4", "libsvtav1", None),
        ("3gp", "mpeg4", None),
        ("webm", "libvpx-vp9", "libopus"),
        ("webm", "libvpx", "libopus"),
        ("matroska", "libx264", "flac"),
        ("avi", "mpeg4", "libmp3lame"),
        ("flv", "libx264", "aac"),
        ("mpegts", "libx264", "aac"),
        ("ogg", "libvpx", None),
    ],
)
async def test_videos(decode: DecodeBytes, container: str, codec: str, audio: str | None) -> None:
    """Each keyframe of a short video is looked at, at its time, and its sound is 16 kHz mono."""
    clip = await decode(media.video(container, codec, audio=audio, seconds=4))
    assert clip.facts.kind is MediaKind.VIDEO
    assert clip.facts.duration == pytest.approx(4.0, abs=0.2)
    assert stamps(clip) == [0, 1, 2, 3]
    assert clip.sampling.looked_at == pytest.approx((0, 1, 2, 3), abs=0.15)
    assert clip.sampling.largest_gap == pytest.approx(1.0, abs=0.25)
    assert [track.kind for track in clip.facts.tracks] == ["video", "audio"][: 2 if audio else 1]
    if audio:
        assert clip.audio is not None
        assert len(clip.audio.samples) == pytest.approx(4 * SAMPLE_RATE, abs=1500)
        assert clip.sampling.audio_seconds == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov", "avi", "flv", "mpegts"])
async def test_reordered_frames(decode: DecodeBytes, container: str) -> None:
    """With B-frames, decoding and presentation times differ; each keyframe is still found once, at its time."""
    options = {"preset": "medium", "sc_threshold": "0", "bf": "3"}
    clip = await decode(media.video(container, seconds=5, options=options))
    assert stamps(clip) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
async def test_long_videos_are_sampled_across(decode: DecodeBytes, container: str) -> None:
    """More keyframes than the budget: looks are spread over the whole duration."""
    clip = await decode(media.video(container, seconds=100, fps=5, gop=5))
    assert len(clip.keyframes) == 24
    assert clip.sampling.largest_gap is not None
    assert clip.sampling.largest_gap <= 8.0
    assert stamps(clip) == [round(at) % 24 for at in clip.sampling.looked_at]


async def test_raw_stream_without_times(decode: DecodeBytes) -> None:
    """A raw H.264 stream knows no times and no length; both are counted from its frame rate."""
    clip = await decode(media.video("h264", seconds=5, fps=25, gop=25))
    assert stamps(clip) == [0, 1, 2, 3, 4]
    assert clip.facts.duration == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize(("seconds", "gap"), [(30, 1.5), (90, 10.0)])
async def test_one_keyframe_cannot_hide_the_rest(decode: DecodeBytes, container: str, seconds: int, gap: float) -> None:
    """Where keyframes are too sparse, frames between them are looked at, more densely in what is short."""
    clip = await decode(media.video(container, seconds=seconds, fps=5, gop=10_000))
    assert clip.sampling.largest_gap == pytest.approx(gap, abs=0.5)
    assert stamps(clip) == [int(at + 0.01) % 24 for at in clip.sampling.looked_at]


async def test_looking_between_keyframes_is_bounded(tmp_path: Path) -> None:
    """With no frames to spend between keyframes only the keyframe is looked at, and the manifest shows the gap."""
    path = tmp_path / "sparse"
    path.write_bytes(media.video(seconds=30, fps=5, gop=10_000))
    async with DecodePool(1, DecodeBudget(forward_frames=0)) as pool:
        clip = await pool(path)
    assert clip.sampling.looked_at == (0.0,)
    assert clip.sampling.largest_gap == 30.0


@pytest.mark.parametrize(("seconds", "looks"), [(8.0, 4), (3.0, 1)])
async def test_a_video_trimmed_behind_its_only_keyframe_is_looked_at(
    decode: DecodeBytes, seconds: float, looks: int
) -> None:
    """A video whose only keyframe was trimmed away is looked at from the first frame that it shows."""
    clip = await decode(media.trimmed_video(2.5, seconds=seconds, gop=10_000))
    assert clip.facts.duration == pytest.approx(seconds - 2.5, abs=0.1)
    assert (clip.sampling.looked_at[0], len(clip.sampling.looked_at), clip.sampling.notes) == (0.0, looks, ())
    assert stamps(clip) == [int(at + 2.51) for at in clip.sampling.looked_at]


async def test_what_cannot_be_decoded_says_why_in_words(tmp_path: Path) -> None:
    """Where the decoder gives neither a picture nor a reason, the refusal says so instead of ending in a colon."""
    path = tmp_path / "trimmed"
    path.write_bytes(media.trimmed_video(2.5, seconds=8, gop=10_000))
    async with DecodePool(1, DecodeBudget(forward_frames=0)) as pool:
        with pytest.raises(Permanent, match="decoder gave neither a picture nor a reason"):
            await pool(path)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
async def test_display_matrix_is_honoured(decode: DecodeBytes, degrees: int) -> None:
    """A phone's video comes out as it is to be shown: the stamp of the recording turns with it."""
    clip = await decode(media.rotated_video(degrees))
    image = clip.keyframes[0].image
    assert image.shape == ((180, 320, 3) if degrees in (0, 180) else (320, 180, 3))
    assert (clip.facts.height, clip.facts.width, clip.facts.rotation) == (*image.shape[:2], degrees)
    assert media.stamp_of(np.rot90(image, degrees // 90)) == 0


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp3", "libmp3lame"),
        ("wav", "pcm_s16le"),
        ("flac", "flac"),
        ("ogg", "libopus"),
        ("adts", "aac"),
        ("ipod", "aac"),
        ("aiff", "pcm_s16be"),
    ],
)
async def test_sound_files(decode: DecodeBytes, container: str, codec: str) -> None:
    """A sound file has no frames; its tone survives the way to 16 kHz mono."""
    clip = await decode(media.sound(container, codec))
    assert clip.facts.kind is MediaKind.AUDIO
    assert clip.keyframes == ()
    assert clip.audio is not None
    spectrum = np.abs(np.fft.rfft(clip.audio.samples[:SAMPLE_RATE]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert clip.audio.samples.dtype == np.float32
    assert np.abs(clip.audio.samples).max() == pytest.approx(0.4, abs=0.15)


async def test_sound_has_a_budget_of_its_own(tmp_path: Path) -> None:
    """Only so much sound is decoded, and the manifest says how much."""
    path = tmp_path / "long"
    path.write_bytes(media.sound(seconds=20))
    async with DecodePool(1, DecodeBudget(audio_seconds=5)) as pool:
        clip = await pool(path)
    assert clip.audio is not None
    assert len(clip.audio.samples) == 5 * SAMPLE_RATE
    assert (clip.sampling.audio_seconds, clip.sampling.audio_budget) == (5.0, 5.0)
    assert clip.facts.duration == 20.0


async def test_cover_pictures_are_no_video(decode: DecodeBytes) -> None:
    """A song with a cover is sound."""
    clip = await decode(media.song_with_cover())
    assert clip.facts.kind is MediaKind.AUDIO
    assert [track.kind for track in clip.facts.tracks] == ["audio", "attached_picture"]


async def test_generator_text_is_kept(decode: DecodeBytes) -> None:
    """The text chunks that image generators write arrive as they stand."""
    metadata = dict((await decode(media.generated_png("a face, Steps: 20", workflow='{"nodes": []}'))).facts.metadata)
    assert metadata["png:parameters"] == "a face, Steps: 20"
    assert metadata["png:workflow"] == '{"nodes": []}'


async def test_camera_tags_and_xmp_are_kept(decode: DecodeBytes) -> None:
    """Make, model, software and the IPTC digital source type arrive."""
    camera = dict((await decode(media.rotated_photo())).facts.metadata)
    assert (camera["exif:Make"], camera["exif:Model"], camera["exif:Software"]) == (
        "Maker",
        "Model One",
        "Firmware 1.2",
    )
    synthetic = dict((await decode(media.synthetic_photo())).facts.metadata)
    assert synthetic["xmp:DigitalSourceType"].endswith("trainedAlgorithmicMedia")


async def test_container_tags_are_kept(decode: DecodeBytes) -> None:
    """Encoder and comment of a video arrive."""
    clip = await decode(media.video(metadata={"comment": "made by a model"}))
    metadata = dict(clip.facts.metadata)
    assert metadata["container:comment"] == "made by a model"
    assert metadata["container:encoder"].startswith("Lavf")


async def test_the_same_file_gives_the_same_clip(decode: DecodeBytes) -> None:
    """Decoding is deterministic: same facts, same manifest, same pixels, same samples."""
    data = media.video(audio="aac", seconds=6)
    one, two = await decode(data), await decode(data)
    assert (one.facts, one.sampling) == (two.facts, two.sampling)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one.keyframes, two.keyframes, strict=True))
    assert one.audio is not None
    assert two.audio is not None
    assert np.array_equal(one.audio.samples, two.audio.samples)
