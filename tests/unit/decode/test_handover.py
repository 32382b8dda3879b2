"""How frames and sound get from a child to the worker."""

import mmap
import os
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from pipeline.decode.handover import (
    REPORT_BYTES,
    FrameAt,
    Look,
    LumaAt,
    Outbox,
    PacketsAt,
    Refusal,
    Report,
    SoundAt,
    WindowAt,
    capacity,
    closer_capacity,
    collect,
    collect_windows,
    create,
)
from pipeline.decode.port import Clip, DecodeBudget, Span
from pipeline.errors import Reason
from pipeline.events.values import MediaFacts, MediaKind, Sampling

SIZE = REPORT_BYTES + 100_000
FACTS = MediaFacts(kind=MediaKind.VIDEO, container="x")
SAMPLING = Sampling(decoder="x")


@pytest.fixture
def spool() -> Iterator[int]:
    """A memory file as the pool makes it."""
    fd = create(SIZE)
    yield fd
    os.close(fd)


def test_frames_and_sound_arrive_unchanged(spool: int) -> None:
    """What a child puts is what the worker sees, without a copy and read-only."""
    out = Outbox(spool, SIZE)
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    tone = np.linspace(-1, 1, 33, dtype=np.float32)
    frame = FrameAt(1.5, 5, 7, out.put(picture))
    out.file(Report(FACTS, SAMPLING, (frame,), SoundAt(0.25, 33, out.put(tone))))
    clip = collect(spool, SIZE)
    assert isinstance(clip, Clip)
    assert clip.audio is not None
    assert np.array_equal(clip.keyframes[0].image, picture)
    assert np.array_equal(clip.audio.samples, tone)
    assert (clip.keyframes[0].at, clip.audio.start) == (1.5, 0.25)
    assert not clip.keyframes[0].image.flags.writeable


def test_frames_outlive_the_descriptor() -> None:
    """The pool closes the file at once; the clip keeps its memory."""
    fd = create(SIZE)
    out = Outbox(fd, SIZE)
    out.file(Report(FACTS, SAMPLING, (FrameAt(0.0, 1, 1, out.put(np.full((1, 1, 3), 7, np.uint8))),)))
    clip = collect(fd, SIZE)
    os.close(fd)
    assert isinstance(clip, Clip)
    assert clip.keyframes[0].image.tolist() == [[[7, 7, 7]]]


def test_brightness_and_packets_arrive_unchanged(spool: int) -> None:
    """The unscaled part of a frame, and three columns of packets."""
    out = Outbox(spool, SIZE)
    luma = np.arange(16 * 8, dtype=np.uint8).reshape(16, 8)
    at, size, key = np.array([0.0, 0.04]), np.array([900, 30], np.int32), np.array([True, False])
    frame = FrameAt(0.0, 1, 1, out.put(np.zeros((1, 1, 3), np.uint8)), LumaAt(16, 8, out.put(luma)))
    packets = PacketsAt(2, out.put(at), out.put(size), out.put(key))
    out.file(Report(FACTS, SAMPLING, (frame,), packets=packets))
    clip = collect(spool, SIZE)
    assert isinstance(clip, Clip)
    assert clip.packets is not None
    assert np.array_equal(clip.keyframes[0].native, luma)
    assert (clip.packets.at.tolist(), clip.packets.size.tolist()) == ([0.0, 0.04], [900, 30])
    assert clip.packets.key.tolist() == [True, False]


SPANS = (Span(0, 1, 25, "a"), Span(2, 3, 25, "b"))


def test_windows_arrive_numbered(spool: int) -> None:
    """Frames count on over the windows from the number that was given."""
    out = Outbox(spool, SIZE)
    frames = [FrameAt(i / 25, 2, 2, out.put(np.full((2, 2, 3), i, np.uint8))) for i in range(3)]
    out.file(Look((WindowAt(tuple(frames[:2])), WindowAt((frames[2],), "cut"))))
    windows = collect_windows(spool, SIZE, SPANS, 24)
    assert not isinstance(windows, Refusal)
    assert [[frame.index for frame in window.frames] for window in windows] == [[24, 25], [26]]
    assert (windows[0].span, windows[1].note) == (SPANS[0], "cut")
    assert int(windows[1].frames[0].image[0, 0, 0]) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Look((WindowAt(),)),
        Look((WindowAt(), WindowAt((FrameAt(0.0, 1000, 1000, REPORT_BYTES),)))),
        Report(FACTS, SAMPLING),
    ],
)
def test_a_look_that_is_not_what_was_asked_for_is_refused(spool: int, reply: Look | Report) -> None:
    """Too few windows, frames outside the file, another kind of answer."""
    Outbox(spool, SIZE).file(reply)
    with pytest.raises(ValueError, match=r"no look|outside"):
        collect_windows(spool, SIZE, SPANS, 0)


def test_a_look_is_no_clip(spool: int) -> None:
    """A child cannot answer another question than was asked."""
    Outbox(spool, SIZE).file(Look(()))
    with pytest.raises(ValueError, match="no report"):
        collect(spool, SIZE)


def test_refusal_arrives(spool: int) -> None:
    """A typed cause takes the same way."""
    Outbox(spool, SIZE).file(Refusal(Reason.MEDIA_BOMB, "why"))
    assert collect(spool, SIZE) == Refusal(Reason.MEDIA_BOMB, "why")


@pytest.mark.parametrize(
    "frame",
    [
        FrameAt(0.0, 1000, 1000, REPORT_BYTES),
        FrameAt(0.0, 1, 1, SIZE - 1),
        FrameAt(0.0, 1, 1, 0),
        FrameAt(0.0, 2**62, 2**62, REPORT_BYTES),
    ],
)
def test_reports_that_point_outside_are_refused(spool: int, frame: FrameAt) -> None:
    """A hostile child cannot make the worker read beyond the file or the report itself as pixels."""
    Outbox(spool, SIZE).file(Report(FACTS, SAMPLING, (frame,)))
    with pytest.raises(ValueError, match="outside"):
        collect(spool, SIZE)


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 100, (50).to_bytes(8, "little") + b'{"type":"report"}'])
def test_garbage_is_no_report(spool: int, garbage: bytes) -> None:
    """Whatever stands where the report should be, the error is a ValueError."""
    os.pwrite(spool, garbage, 0)
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        collect(spool, SIZE)


def test_the_file_cannot_change_its_size(spool: int) -> None:
    """A child can neither grow the file nor pull it from under the reader."""
    with pytest.raises(PermissionError):
        os.ftruncate(spool, 0)
    with pytest.raises(PermissionError):
        os.ftruncate(spool, SIZE * 2)


def test_the_file_cannot_change_after_it_was_read(spool: int) -> None:
    """What was checked stays as it is: writing is sealed before reading."""
    Outbox(spool, SIZE).file(Refusal(Reason.MEDIA_CORRUPT, ""))
    collect(spool, SIZE)
    with pytest.raises(PermissionError):
        os.pwrite(spool, b"x", 0)


def test_a_child_that_keeps_writing_is_noticed(spool: int) -> None:
    """While someone maps the file for writing, it is not read."""
    Outbox(spool, SIZE).file(Refusal(Reason.MEDIA_CORRUPT, ""))
    with mmap.mmap(spool, SIZE), pytest.raises(OSError, match="busy"):
        collect(spool, SIZE)


def test_a_clip_cannot_exceed_its_budget(spool: int) -> None:
    """More pixels than the budget has room for end as a memory error in the child."""
    with pytest.raises(MemoryError):
        Outbox(spool, SIZE).put(np.zeros(SIZE, np.uint8))
    with pytest.raises(MemoryError):
        Outbox(spool, SIZE).file(Refusal(Reason.MEDIA_CORRUPT, "x" * REPORT_BYTES))


def test_capacity_has_room_for_every_frame() -> None:
    """The file is as large as a clip that uses the whole budget."""
    budget = DecodeBudget(frames=3, max_side=100, audio_seconds=1, native_side=64, packets=10)
    size = capacity(budget)
    fd = create(size)
    try:
        out = Outbox(fd, size)
        for _ in range(3):
            out.put(np.zeros((100, 100, 3), np.uint8))
            out.put(np.zeros((64, 64), np.uint8))
        out.put(np.zeros(16_000, np.float32))
        for kind in (np.float64, np.int32, np.bool_):
            out.put(np.zeros(10, kind))
        out.file(Report(FACTS, SAMPLING))
    finally:
        os.close(fd)


def test_capacity_has_room_for_a_closer_look() -> None:
    """As many frames as may be kept, each as large as a square of the side."""
    budget = DecodeBudget(closer_frames=2, closer_side=50)
    assert closer_capacity(budget) >= REPORT_BYTES + 2 * 50 * 50 * 3


def test_reports_survive_encoding() -> None:
    """The report's own types round-trip."""
    report = Report(FACTS, SAMPLING, (FrameAt(0.0, 1, 2, REPORT_BYTES),), None)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
