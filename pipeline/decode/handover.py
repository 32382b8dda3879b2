"""How frames and sound get from a decoder child to the worker: through one sealed, anonymous memory file.

The worker makes the file, fixes its size by seals (so that a hostile child can neither grow it nor pull it from under
the reader) and hands the child a descriptor. The child writes pixels, then its report into the reserved first part.
Before the worker reads, it seals the file against writing: what was checked cannot change afterwards. The file has no
name, so nothing is left behind whoever dies, and the frames are never copied or pickled.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from pipeline.decode.port import SAMPLE_RATE, Audio, Clip, DecodeBudget, Keyframe, Packets, Span, Window
from pipeline.errors import Reason
from pipeline.events.values import MediaFacts, Sampling

REPORT_BYTES = 2 * 1024**2
_LENGTH = 8
_ALIGN = 64

Count = Annotated[int, Meta(ge=0)]


class LumaAt(msgspec.Struct, frozen=True):
    """Where the unscaled part of a frame lies in the file."""

    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    offset: Count


class FrameAt(msgspec.Struct, frozen=True):
    """Where a frame lies in the file."""

    at: float
    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    offset: Count
    native: LumaAt | None = None


class SoundAt(msgspec.Struct, frozen=True):
    """Where the sound lies in the file. `count`: samples."""

    start: float
    count: Count
    offset: Count


class PacketsAt(msgspec.Struct, frozen=True):
    """Where times, sizes and key flags of `count` packets lie in the file."""

    count: Count
    at: Count
    size: Count
    key: Count


class Report(msgspec.Struct, frozen=True, tag="report"):
    """What a child found."""

    facts: MediaFacts
    sampling: Sampling
    frames: tuple[FrameAt, ...] = ()
    sound: SoundAt | None = None
    packets: PacketsAt | None = None


class WindowAt(msgspec.Struct, frozen=True):
    """The frames of one span, and why there are no more."""

    frames: tuple[FrameAt, ...] = ()
    note: str = ""


class Look(msgspec.Struct, frozen=True, tag="look"):
    """What a child saw in the spans that it was asked about, in their order."""

    windows: tuple[WindowAt, ...]


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """Why a child could not decode the file."""

    reason: Reason
    detail: str


Reply = Report | Look | Refusal

_REPLY = msgspec.json.Decoder(Reply)
_PACKET_BYTES = 8 + 4 + 1


def capacity(budget: DecodeBudget) -> int:
    """Bytes that a clip may take at most: the report, every frame square, all the sound, every packet."""
    pixels = budget.frames * (budget.max_side**2 * 3 + budget.native_side**2 + 2 * _ALIGN)
    sound = int(budget.audio_seconds * SAMPLE_RATE) * 4 + _ALIGN
    return REPORT_BYTES + pixels + sound + budget.packets * _PACKET_BYTES + 3 * _ALIGN


def closer_capacity(budget: DecodeBudget) -> int:
    """Bytes that a closer look may take at most."""
    return REPORT_BYTES + budget.closer_frames * (budget.closer_side**2 * 3 + _ALIGN)


def create(size: int) -> int:
    """A descriptor of a new memory file whose size nobody can change. Memory is taken only as it is written."""
    fd = os.memfd_create("unmask-clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


class Outbox:
    """The child's side: appends arrays, then the report."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._end = REPORT_BYTES

    def put(self, array: NDArray[Any]) -> int:
        """Append an array's bytes; the offset where they lie."""
        return self.put_parts([np.ascontiguousarray(array).data.cast("B")])

    def put_parts(self, parts: Iterable[bytes | memoryview]) -> int:
        """Append bytes that come in parts, so that whoever makes them never holds them all; the offset of the first.

        Memory that a child touches for the first time is what it pays most for.
        """
        start = end = -(-self._end // _ALIGN) * _ALIGN
        for part in parts:
            if end + len(part) > self._size:
                raise MemoryError("the clip is larger than its budget")
            self._write(memoryview(part), end)
            end += len(part)
        self._end = end
        return start

    def file(self, reply: Reply) -> None:
        """Write the report; nothing may follow."""
        data = msgspec.json.encode(reply)
        if len(data) > REPORT_BYTES - _LENGTH:
            raise MemoryError("the report is larger than its budget")
        self._write(memoryview(len(data).to_bytes(_LENGTH, "little") + data), 0)

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            written = os.pwrite(self._fd, data, offset)
            data, offset = data[written:], offset + written


def collect(fd: int, size: int) -> Clip | Refusal:
    """The worker's side: what the child left, trusted in nothing but its bytes.

    Raises ValueError when the report is malformed or points outside the file, OSError when the child can still write.
    """
    view, reply = _received(fd, size)
    if isinstance(reply, Refusal):
        return reply
    if not isinstance(reply, Report):
        raise ValueError("no report")
    sound = reply.sound
    audio = Audio(_array(view, size, np.float32, sound.offset, sound.count), sound.start) if sound else None
    packets = _packets(view, size, reply.packets) if reply.packets else None
    return Clip(reply.facts, reply.sampling, _frames(view, size, reply.frames, 0), audio, packets)


def collect_windows(fd: int, size: int, spans: Sequence[Span], first_index: int) -> tuple[Window, ...] | Refusal:
    """The worker's side of a closer look. Raises as `collect` does."""
    view, reply = _received(fd, size)
    if isinstance(reply, Refusal):
        return reply
    if not isinstance(reply, Look) or len(reply.windows) != len(spans):
        raise ValueError("no look at what was asked for")
    windows: list[Window] = []
    for span, seen in zip(spans, reply.windows, strict=True):
        windows.append(Window(span, _frames(view, size, seen.frames, first_index), seen.note[:500]))
        first_index += len(seen.frames)
    return tuple(windows)


def _received(fd: int, size: int) -> tuple[mmap.mmap, Reply]:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
    view = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    length = int.from_bytes(view[:_LENGTH], "little")
    if not 0 < length <= REPORT_BYTES - _LENGTH:
        raise ValueError("no report")
    return view, _REPLY.decode(view[_LENGTH : _LENGTH + length])


def _frames(view: mmap.mmap, size: int, frames: Sequence[FrameAt], first_index: int) -> tuple[Keyframe, ...]:
    def luma(part: LumaAt | None) -> NDArray[np.uint8] | None:
        if part is None:
            return None
        return _array(view, size, np.uint8, part.offset, part.height * part.width).reshape(part.height, part.width)

    return tuple(
        Keyframe(
            i,
            f.at,
            _array(view, size, np.uint8, f.offset, f.height * f.width * 3).reshape(f.height, f.width, 3),
            luma(f.native),
        )
        for i, f in enumerate(frames, start=first_index)
    )


def _packets(view: mmap.mmap, size: int, told: PacketsAt) -> Packets:
    return Packets(
        _array(view, size, np.float64, told.at, told.count),
        _array(view, size, np.int32, told.size, told.count),
        _array(view, size, np.uint8, told.key, told.count) != 0,
    )


def _array(view: mmap.mmap, size: int, dtype: type[Any], offset: int, count: int) -> NDArray[Any]:
    if offset < REPORT_BYTES or offset + count * np.dtype(dtype).itemsize > size:
        raise ValueError("the report points outside the file")
    return np.frombuffer(view, dtype, count, offset)
