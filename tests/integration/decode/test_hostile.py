"""Broken, hostile and mislabelled files: each ends as a typed cause, or is judged by what can be decoded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events.values import MediaKind
from tests import media
from tests.integration.decode.conftest import DecodeBytes

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (media.empty, Reason.MEDIA_EMPTY),
        (media.noise, Reason.MEDIA_UNSUPPORTED),
        (media.hls_playlist, Reason.MEDIA_UNSUPPORTED),
        (media.concat_script, Reason.MEDIA_UNSUPPORTED),
        (media.svg, Reason.MEDIA_UNSUPPORTED),
        (media.archive, Reason.MEDIA_UNSUPPORTED),
        (lambda: b"plain text, no media at all\n" * 40, Reason.MEDIA_UNSUPPORTED),
        (lambda: bytes(100_000), Reason.MEDIA_UNSUPPORTED),
        (lambda: media.truncated(media.image("JPEG")), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.image("PNG")), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.image("WEBP")), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.image("AVIF")), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.image("HEIF")), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.image("GIF"), 0.3), Reason.MEDIA_CORRUPT),
        (lambda: media.truncated(media.video("mp4")), Reason.MEDIA_CORRUPT),
        (lambda: media.video("mp4")[:40], Reason.MEDIA_CORRUPT),
        (media.pixel_bomb_png, Reason.MEDIA_BOMB),
        (media.inflating_png, Reason.MEDIA_BOMB),
        (media.text_bomb_png, Reason.MEDIA_BOMB),
        (media.pixel_bomb_jpeg, Reason.MEDIA_BOMB),
        (media.pixel_bomb_gif, Reason.MEDIA_BOMB),
        (media.pixel_bomb_webm, Reason.MEDIA_BOMB),
        (media.duration_bomb_mp4, Reason.MEDIA_BOMB),
    ],
)
async def test_hopeless_files_end_as_a_typed_cause(
    decode: DecodeBytes, make: Callable[[], bytes], reason: Reason
) -> None:
    """What cannot be judged ends as a permanent error of the decode stage with its cause."""
    with pytest.raises(Permanent) as caught:
        await decode(make())
    assert (caught.value.stage, caught.value.reason) == (Stage.DECODE, reason), caught.value.detail


@pytest.mark.parametrize("name", ["photo.mp4", "song.jpg", "readme.txt"])
async def test_names_count_for_nothing(pool: DecodePool, tmp_path: Path, name: str) -> None:
    """Content decides what a file is, whatever it is called."""
    path = tmp_path / name
    path.write_bytes(media.image("PNG"))
    assert (await pool(path)).facts.kind is MediaKind.IMAGE


async def test_truncated_video_is_judged_by_what_is_there(decode: DecodeBytes) -> None:
    """The first half of a video is judged; the manifest shows the gap and says where it ends."""
    clip = await decode(media.truncated(media.video("matroska", seconds=20)))
    assert 5 <= len(clip.keyframes) < 20
    assert clip.sampling.largest_gap is not None
    assert clip.sampling.largest_gap > 5
    assert any("nothing was looked at after" in note for note in clip.sampling.notes)


async def test_truncated_transport_stream_is_judged(decode: DecodeBytes) -> None:
    """A format made for loss loses only what is missing."""
    clip = await decode(media.truncated(media.video("mpegts", seconds=10)))
    assert len(clip.keyframes) == 5


async def test_damaged_keyframes_are_counted(decode: DecodeBytes) -> None:
    """Keyframes that cannot be decoded are left out and the notes say how many."""
    data = bytearray(media.video("matroska", "mjpeg", seconds=4, fps=1, gop=1, pixel_format="yuvj420p"))
    at = data.index(b"\xff\xd8\xff", len(data) // 2)
    data[at : at + 4000] = bytes(4000)
    clip = await decode(bytes(data))
    assert len(clip.keyframes) == 3
    assert any("1 of 4 keyframes" in note for note in clip.sampling.notes)


async def test_damaged_animation_is_judged_up_to_the_damage(decode: DecodeBytes) -> None:
    """The frames before the damage are looked at, and the manifest says so."""
    clip = await decode(media.truncated(media.animation("GIF", frames=10)))
    assert 3 <= len(clip.keyframes) < 10
    assert clip.sampling.notes


async def test_frame_bombs_are_walked_only_so_far(tmp_path: Path) -> None:
    """An animation of thousands of frames at the pixel limit costs a bounded number of them."""
    path = tmp_path / "bomb"
    path.write_bytes(media.frame_bomb_gif(frames=3000, side=500))
    async with DecodePool(1, DecodeBudget(max_pixels=500 * 500)) as pool:
        clip = await pool(path)
    assert len(clip.keyframes) == 5
    assert any("were walked" in note for note in clip.sampling.notes)


async def test_data_references_are_not_followed(decode: DecodeBytes) -> None:
    """A QuickTime file that points at another file for its data is read from its own bytes or not at all."""
    clip = await decode(media.mp4_with_outside_data())
    assert media.stamp_of(clip.keyframes[0].image) == 0


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "device"])
async def test_only_regular_files_are_read(pool: DecodePool, tmp_path: Path, kind: str) -> None:
    """A path that is no regular file is refused at once."""
    import os

    path = Path("/dev/zero") if kind == "device" else tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(Permanent) as caught:
        await pool(path)
    assert caught.value.reason is Reason.MEDIA_UNSUPPORTED


_SEEDS: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: media.image("JPEG", 96, 64),
    "png": media.generated_png,
    "gif": lambda: media.animation("GIF", 4, 48, 32),
    "webp": lambda: media.animation("WEBP", 4, 48, 32),
    "avif": lambda: media.image("AVIF", 96, 64),
    "heif": lambda: media.image("HEIF", 96, 64),
    "tiff": lambda: media.image("TIFF", 48, 32),
    "mp4": lambda: media.video(width=96, height=64, seconds=2, audio="aac"),
    "webm": lambda: media.video("webm", "libvpx-vp9", width=96, height=64, seconds=2, audio="libopus"),
    "matroska": lambda: media.video("matroska", width=96, height=64, seconds=2),
    "mpegts": lambda: media.video("mpegts", width=96, height=64, seconds=2),
    "avi": lambda: media.video("avi", "mpeg4", width=96, height=64, seconds=2),
    "flac": lambda: media.sound("flac", "flac", seconds=1),
    "mp3": lambda: media.song_with_cover(seconds=1),
}


@pytest.mark.parametrize("name", _SEEDS)
async def test_damage_never_escapes(decode: DecodeBytes, name: str) -> None:
    """Thirty mutations of a valid file each end as a clip or a typed cause of the file's own, never as our bug."""
    source = _SEEDS[name]()
    typed = {Reason.MEDIA_EMPTY, Reason.MEDIA_UNSUPPORTED, Reason.MEDIA_CORRUPT, Reason.MEDIA_BOMB}
    ends = [await _end(decode, media.mutated(source, seed)) for seed in range(30)]
    assert [(seed, end) for seed, end in enumerate(ends) if end is not None and end.reason not in typed] == []


async def _end(decode: DecodeBytes, data: bytes) -> Permanent | None:
    """What a file ends with; None when something in it could be looked at or listened to."""
    try:
        clip = await decode(data)
    except Permanent as error:
        return error
    assert clip.keyframes or clip.audio is not None
    return None
