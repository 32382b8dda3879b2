"""Video and sound: the only door to FFmpeg. Runs inside the sandbox.

Keyframes are decoded, each on its own: seek, read one packet, decode it, drain. A two-hour video therefore costs
what a short one costs, in time and in memory. Only where keyframes are too sparse to say anything of what lies between
are some frames decoded onwards from them, within a bound. One thread: more of them decode
single keyframes no faster and cost a little more CPU (measured).

What is partly decodable is judged by what could be decoded: one good keyframe is enough for a video, one second's
worth of packets for sound; the notes of the manifest say what was lost. A video none of whose frames can be decoded is
`media_corrupt`, however good its sound is.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Discard, Disposition

from pipeline.decode import sampling
from pipeline.decode.geometry import UPRIGHT, Turn, fit, middle, solid, turn_of
from pipeline.decode.handover import FrameAt, LumaAt, Outbox, PacketsAt, Report, SoundAt, WindowAt
from pipeline.decode.metadata import Entries, bounded, from_xmp, prefixed
from pipeline.decode.port import RGB, SAMPLE_RATE, DecodeBudget, Luma, Span
from pipeline.errors import Permanent, Reason, Stage
from pipeline.events.values import MediaFacts, MediaKind, TrackFacts

DECODER = f"PyAV {av.__version__}"

# FFmpeg reads hundreds of formats, of games and of old hardware; uploads come in these. Nothing here opens other files.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ogg,asf,"
    "wav,w64,aiff,flac,mp3,aac,ac3,eac3,amr,caf,au"
)
_VIDEO_CODECS = (
    "h264,hevc,vp8,vp9,libdav1d,av1,libaom-av1,mpeg4,msmpeg4,msmpeg4v2,msmpeg4v3,mpeg1video,mpeg2video,h263,flv,"
    "mjpeg,theora,prores,dnxhd,wmv1,wmv2,wmv3,vc1,png,rawvideo"
)
_AUDIO_CODECS = (
    "aac,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,opus,libopus,vorbis,flac,alac,ac3,eac3,amrnb,amrwb,"
    "libopencore_amrnb,libopencore_amrwb,wmav1,wmav2,wmapro,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,gsm,gsm_ms,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_u8,pcm_s8,"
    "pcm_mulaw,pcm_alaw"
)
_DECODERS = frozenset(f"{_VIDEO_CODECS},{_AUDIO_CODECS}".split(","))

_INDEXED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv"})
"""Containers that carry a list of their keyframes."""
_EARLY = 1.0
"""Seconds: containers without a list are sought by decoding times, which lie before what is asked for."""
_EARLIER = (5.0, 15.0)
"""Seconds: how far before a moment its keyframe is looked for, in turn."""
_READ_PACKETS = 20_000
"""Packets read after one seek in search of a keyframe: the far end of a ten-minute stretch without one."""
_SWEEP_PACKETS = 1_000_000
"""Packets read in a file that cannot be sought through: about two hours of video and sound."""
_SOUND_PACKETS = 100_000
_LISTED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi"})
"""Containers whose list names every packet, not only the keyframes."""
_PACKET_BYTES = 512 * 1024**2
"""Bytes of packets that are read to tell of their sizes, where no list does."""
_PLAUSIBLE_RATES = range(1_000, 768_001)

av.logging.set_level(None)
av.logging.set_skip_repeated(False)
for _module in pkgutil.walk_packages(av.__path__, "av."):
    if _module.name not in {"av.__main__", "av.datasets"}:
        importlib.import_module(_module.name)  # PyAV imports late, and the sandbox opens no files


@dataclass(frozen=True, slots=True)
class _Seen:
    """What became of looking at a video track. `duration`: seconds, as known after looking."""

    frames: tuple[FrameAt, ...] = ()
    turn: Turn = UPRIGHT
    duration: float | None = None
    notes: tuple[str, ...] = ()


def decode(file: BinaryIO, budget: DecodeBudget, out: Outbox, *, known: bool = False) -> Report:
    """Decode one video or sound file from an open, seekable, unbuffered file object.

    `known`: its first bytes are those of a media format, so what cannot be read is damaged, not unknown.
    """
    try:
        return _decode(file, budget, out, known)
    except MemoryError:
        raise
    except av.error.PatchWelcomeError as error:
        raise _permanent(Reason.MEDIA_UNSUPPORTED, str(error)) from error
    except (av.error.FFmpegError, ValueError) as error:  # PyAV raises ValueError for some damage of its own
        raise _permanent(Reason.MEDIA_CORRUPT, f"{type(error).__name__}: {error}"[:300]) from error


def _decode(file: BinaryIO, budget: DecodeBudget, out: Outbox, known: bool) -> Report:
    with _opened(file, budget, known) as container:
        video = _video_track(container)
        audio = next((s for s in container.streams.audio if s.codec_context), None)
        if video is None and audio is None:
            raise _permanent(Reason.MEDIA_UNSUPPORTED, f"{container.format.name}: no picture and no sound to decode")
        duration = _duration(container, video, budget)
        metadata = _metadata(container)
        seen = _look(container, video, duration, budget, out) if video is not None else _Seen(duration=duration)
        sound, sound_notes = _listen(container, audio, budget, out, rewind=video is not None) if audio else (None, ())
        if video is None and sound is None:
            raise _permanent(Reason.MEDIA_CORRUPT, "; ".join(sound_notes))
        return Report(
            _facts(container, video, seen, metadata),
            sampling.manifest(
                DECODER,
                budget,
                looked_at=[frame.at for frame in seen.frames],
                duration=seen.duration,
                audio_seconds=sound.count / SAMPLE_RATE if sound else 0.0,
                complete=video is not None and 0 < video.frames == len(seen.frames),
                notes=(*seen.notes, *sound_notes),
            ),
            seen.frames,
            sound,
            _told(container, video, budget, out) if video is not None else None,
        )


def closer(file: BinaryIO, spans: Sequence[Span], budget: DecodeBudget, out: Outbox) -> tuple[WindowAt, ...]:
    """Look closely at stretches of a video that was decoded before: a window per span, whatever became of it."""
    try:
        with _opened(file, budget, known=True) as container:
            video = _video_track(container)
            if video is None:
                return tuple(WindowAt(note="no picture") for _ in spans)
            _check(video.codec_context, budget)
            return tuple(_windows(container, video, spans, budget, out))
    except (av.error.FFmpegError, ValueError) as error:
        raise _permanent(Reason.MEDIA_CORRUPT, f"{type(error).__name__}: {error}"[:300]) from error


def _opened(file: BinaryIO, budget: DecodeBudget, known: bool) -> InputContainer:
    options = {
        "format_whitelist": _FORMATS,
        "codec_whitelist": f"{_VIDEO_CODECS},{_AUDIO_CODECS}",
        "protocol_whitelist": "none",  # the bytes come through `file`; nothing else may be opened
        "max_pixels": str(budget.max_pixels),
        "max_streams": "100",
        "threads": "1",
        "export_xmp": "1",
    }
    try:
        return av.open(file, "r", options=options, metadata_errors="replace")
    except av.error.InvalidDataError:
        if known:
            raise _permanent(Reason.MEDIA_CORRUPT, "damaged: its header cannot be read") from None
        raise _permanent(Reason.MEDIA_UNSUPPORTED, "no known media format") from None
    except (av.error.ArgumentError, av.error.ProtocolNotFoundError) as error:
        raise _permanent(Reason.MEDIA_UNSUPPORTED, f"a format that is not accepted ({error.strerror})") from error
    except av.error.EOFError:
        raise _permanent(Reason.MEDIA_CORRUPT, "ends before anything could be read") from None


def _video_track(container: InputContainer) -> Any:
    """The first real video track; cover pictures and thumbnails are none."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return next((s for s in container.streams.video if s.codec_context and not s.disposition & pictures), None)


def _duration(container: InputContainer, video: Any, budget: DecodeBudget) -> float | None:
    """Seconds: the video track's own where it has one, since a longer sound track hides no picture."""
    whole = container.duration / av.time_base if container.duration and container.duration > 0 else None
    track = _seconds(video.duration, video.time_base) if video is not None and (video.duration or 0) > 0 else None
    claims = max(whole or 0.0, track or 0.0)
    if claims > budget.max_duration:
        raise _permanent(Reason.MEDIA_BOMB, f"claims to last {claims:.0f} s")
    return track or whole


# Looking


def _look(container: InputContainer, video: Any, duration: float | None, budget: DecodeBudget, out: Outbox) -> _Seen:
    codec = video.codec_context
    _check(codec, budget)
    codec.skip_frame = "NONKEY"
    for stream in container.streams:
        stream.discard = Discard.nonkey if stream is video else Discard.all
    start = _start(container)
    frames: dict[float, FrameAt] = {}
    turn, lost = UPRIGHT, None
    count, hidden = 0, False

    def keep(frame: Any, at: float) -> None:
        if at not in frames:
            native = _native(frame, budget.native_side)
            frames[at] = _put(turn(_rgb(frame, video, budget.max_side)), at, out, native)

    def look(packet: Any, guess: float | None) -> None:
        nonlocal turn, lost, count, hidden
        frame = _decoded(codec, packet)
        if frame is None:
            lost = lost or packet
            if packet.is_discard:
                hidden = True
            else:
                count += 1
            return
        turn = _turn(frame)
        keep(frame, guess if guess is not None else max(0.0, _seconds(frame.pts or 0, video.time_base) - start))

    if duration is not None:
        for packet in _sought(container, video, duration, budget.frames):
            look(packet, None)
    ideal = duration / (budget.frames + 1) if duration is not None else 0.0
    if duration is None or (
        not _indexed_to_the_end(video, duration) and sampling.largest_gap(frames, duration) > 3 * ideal
    ):
        end, packets = _swept(container, video, budget.frames - len(frames), rewind=duration is not None)
        duration = max(duration or 0.0, end) or None
        for packet, guess in packets:
            look(packet, guess)
    if duration is not None and (frames or hidden) and len(frames) < budget.frames and budget.forward_frames:
        for frame in _between(container, video, sorted(frames), duration, budget):
            turn = _turn(frame)
            keep(frame, max(0.0, _seconds(frame.pts, video.time_base) - start))
    if not frames:
        raise _undecodable(codec, lost, budget.max_pixels)
    found = tuple(frames[at] for at in sorted(frames))
    notes = [f"{count} of {count + len(found)} keyframes could not be decoded"] if count else []
    looked_at = [frame.at for frame in found]
    if duration and duration - looked_at[-1] > 2 * sampling.largest_gap(looked_at, looked_at[-1]) > 0:
        notes.append(f"nothing was looked at after {found[-1].at:.1f} s of {duration:.1f} s")
    if len(container.streams.video) > 1:
        notes.append(f"looked at 1 of {len(container.streams.video)} picture tracks")
    return _Seen(found, turn, max(duration, found[-1].at) if duration else None, tuple(notes))


def _check(codec: Any, budget: DecodeBudget) -> None:
    """Refuse what is not decoded here, and bound the rest."""
    if codec.name not in _DECODERS:
        raise _permanent(Reason.MEDIA_UNSUPPORTED, f"video codec {codec.name}")
    if codec.width * codec.height > budget.max_pixels:
        raise _permanent(Reason.MEDIA_BOMB, f"{codec.width} × {codec.height} pixels in one frame")
    codec.thread_count = 1
    codec.options = {"max_pixels": str(budget.max_pixels)}


def _put(image: RGB, at: float, out: Outbox, native: Luma | None = None) -> FrameAt:
    whole = solid(image)
    part = None if native is None else LumaAt(native.shape[0], native.shape[1], out.put(native))
    return FrameAt(at, whole.shape[0], whole.shape[1], out.put(whole), part)


def _sought(container: InputContainer, video: Any, duration: float, frames: int) -> Iterator[Any]:
    """Packets of keyframes found by seeking, spread over the duration, each once."""
    first = video.start_time or 0
    early = first - int(_EARLY / video.time_base)
    blind = [early, *(first + int(moment / video.time_base) for moment in sampling.moments(duration, frames - 1))]
    seen: set[int | None] = set()
    for goal in _indexed(container, video, duration, frames) or blind:
        packet = _at(container, video, goal)
        if packet is not None and _stamp(packet) not in seen:
            seen.add(_stamp(packet))
            yield packet


def _indexed(container: InputContainer, video: Any, duration: float, frames: int) -> list[int]:
    """Time stamps of the keyframes to look at, when the container lists them up to its end; else nothing.

    The list is searched, never walked: it may have millions of entries. Some containers list decoding times, which lie
    before the presentation times that seeking goes by; the first keyframe tells by how much.
    """
    base = video.time_base
    first = video.start_time or 0
    opening = _at(container, video, first)  # Matroska reads its index at the first seek
    if opening is None or opening.pts is None or not _indexed_to_the_end(video, duration):
        return []
    entries = video.index_entries
    stamps: list[int] = []
    place = entries.search_timestamp(entries[0].timestamp, backward=False)
    while place >= 0 and len(stamps) <= frames:
        stamps.append(entries[place].timestamp)
        place = entries.search_timestamp(stamps[-1] + 1, backward=False)
    if len(stamps) > frames:
        near = (
            entries.search_timestamp(first + int(moment / base), backward=backward)
            for moment in sampling.moments(duration, frames)
            for backward in (True, False)
        )
        stamps = sorted({entries[place].timestamp for place in near if place >= 0})
    times = [_seconds(stamp - first, base) for stamp in stamps]
    shift = opening.pts - stamps[0] if stamps and opening.dts == stamps[0] else 0
    return [stamps[i] + shift for i in sampling.choose(times, duration, frames)]


def _indexed_to_the_end(video: Any, duration: float) -> bool:
    """Whether the keyframe list can be trusted to be whole: many readers only list what they have passed so far."""
    entries = video.index_entries
    if video.container.format.name not in _INDEXED or not len(entries):
        return False
    return _seconds(entries[len(entries) - 1].timestamp - (video.start_time or 0), video.time_base) >= duration / 2


def _at(container: InputContainer, video: Any, goal: int) -> Any:
    """The packet of the keyframe at, or last before, a time stamp; None where the file has none left."""
    try:
        container.seek(goal, stream=video)
        for count, packet in enumerate(container.demux(video)):
            if packet.is_keyframe and packet.size and _stamp(packet) is not None:
                return packet
            if count == _READ_PACKETS:
                break
    except av.error.FFmpegError:
        return None
    return None


def _stamp(packet: Any) -> int | None:
    """When a packet is shown; when it is decoded, where only that is known."""
    stamp: int | None = packet.dts if packet.pts is None else packet.pts
    return stamp


def _swept(
    container: InputContainer, video: Any, frames: int, *, rewind: bool
) -> tuple[float, list[tuple[Any, float | None]]]:
    """Read a file that cannot be sought through from end to end, thinning out the keyframes on the way.

    Where it ends, in seconds, and the keyframes; with the time of each where the file has none itself (a raw stream).
    At most twice as many as wanted are held: each time that is reached, every other one is dropped.
    """
    kept: list[tuple[Any, float | None]] = []
    stride, keys, end = 1, 0, 0.0
    rate = float(video.guessed_rate or video.average_rate or 25)
    start = _start(container)
    if rewind:
        with suppress(av.error.FFmpegError):
            container.seek(container.start_time or 0)
    with suppress(av.error.FFmpegError):  # what came before the damage is kept
        for number, packet in enumerate(container.demux(video)):
            if number == _SWEEP_PACKETS or frames < 1:
                break
            if not packet.size:
                continue
            at = number / rate if packet.pts is None else _seconds(packet.pts, packet.time_base) - start
            end = max(end, at + 1 / rate)
            if not packet.is_keyframe:
                continue
            if keys % stride == 0:
                kept.append((packet, at if packet.pts is None else None))
            keys += 1
            if len(kept) == 2 * frames:
                kept, stride = kept[::2], stride * 2
    return end, [kept[place] for place in sampling.spread(len(kept), frames)]


def _between(
    container: InputContainer, video: Any, looked_at: Sequence[float], duration: float, budget: DecodeBudget
) -> Iterator[Any]:
    """Frames inside the stretches without a keyframe: decoded forward from the keyframe before, within a bound.

    A video that was trimmed without being encoded again may begin after its only keyframe. A player decodes that one
    and does not show it, and neither does FFmpeg hand it out: then the first frame that is shown is looked at as well.
    """
    gap = min(budget.short_gap, budget.longest_gap) if duration <= budget.short else budget.longest_gap
    first = () if looked_at else (0.0,)
    goals = deque([*first, *sampling.fill(looked_at or first, duration, gap, budget.frames - len(looked_at or first))])
    codec, base = video.codec_context, video.time_base
    codec.skip_frame, video.discard = "NONREF", Discard.default
    start, left = _start(container), budget.forward_frames
    early = 0.0 if container.format.name in _INDEXED else _EARLY
    with suppress(av.error.FFmpegError):  # a stretch that cannot be decoded stays a gap, and the manifest says so
        while goals and left > 0:
            before = max((at for at in looked_at if at <= goals[0]), default=0.0) - early
            container.seek(int((before + start) / base), stream=video)
            until = next((at for at in looked_at if at > goals[0]), duration)
            for packet in container.demux(video):
                for frame in codec.decode(packet if packet.size else None):
                    left -= 1
                    at = _seconds(frame.pts, video.time_base) - start if frame.pts is not None else -1.0
                    if goals and at >= goals[0]:
                        goals.popleft()
                        yield frame
                if left <= 0 or not goals or goals[0] >= until or not packet.size:
                    break
            while goals and goals[0] < until:  # the file ends before its time
                goals.popleft()


def _decoded(codec: Any, packet: Any) -> Any:
    """The frame of one keyframe packet, decoded on its own."""
    try:
        frames = [*codec.decode(packet), *codec.decode(None)]
    except av.error.FFmpegError:
        frames = []
    codec.flush_buffers()
    return frames[0] if frames else None


def _rgb(frame: Any, video: Any, max_side: int) -> RGB:
    """The picture as shown, before the turn: scaled and converted in one pass of swscale."""
    aspect = float(video.sample_aspect_ratio or 1)
    width, height = fit(frame.width, frame.height, max_side, aspect)
    shown = frame.reformat(width, height, "rgb24", interpolation="AREA", threads=1)
    plane = shown.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:height, : width * 3].reshape(height, width, 3)


def _native(frame: Any, side: int) -> Luma | None:
    """The coded brightness of the middle: the first plane as it is; 8 of its bits where it has more."""
    if side <= 0:
        return None
    name = frame.format.name
    if not name.startswith(("yuv", "gray", "nv12", "nv21")) or name.endswith("be"):
        frame, name = frame.reformat(format="gray", threads=1), "gray"
    bits = frame.format.components[0].bits
    depth: type[np.unsignedinteger[Any]] = np.uint8 if bits <= 8 else np.uint16
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size).view(depth)
    x0, y0, x1, y1 = middle(frame.width, frame.height, side)
    part = rows[y0:y1, x0:x1]
    return part.astype(np.uint8) if bits <= 8 else (part >> (bits - 8)).astype(np.uint8)


def _turn(frame: Any) -> Turn:
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    if matrix is None or len(bytes(matrix)) < 36:
        return UPRIGHT
    return turn_of(struct.unpack("=9i", bytes(matrix)[:36]))


def _undecodable(codec: Any, packet: Any, max_pixels: int) -> Permanent:
    """Why not one keyframe could be decoded, in FFmpeg's words: it keeps them to its log."""
    if packet is None:
        return _permanent(Reason.MEDIA_CORRUPT, "no keyframe was found")
    fresh = av.CodecContext.create(codec.name, "r")
    fresh.extradata, fresh.options = codec.extradata, {"max_pixels": str(max_pixels)}
    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture() as lines:
        _decoded(fresh, packet)
    av.logging.set_level(None)
    words = " ".join(line for _, _, line in lines).strip()[:200] or "the decoder gave neither a picture nor a reason"
    if "Picture size" in words:
        return _permanent(Reason.MEDIA_BOMB, words)
    return _permanent(Reason.MEDIA_CORRUPT, f"no keyframe could be decoded: {words}")


def _start(container: InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _seconds(stamp: int, base: Fraction | None) -> float:
    return float(stamp * (base or 0))


# Looking closer


def _windows(
    container: InputContainer, video: Any, spans: Sequence[Span], budget: DecodeBudget, out: Outbox
) -> Iterator[WindowAt]:
    """Each span decoded forward from the keyframe before it, until its end or until the budget is used up."""
    for stream in container.streams:
        stream.discard = Discard.default if stream is video else Discard.all
    codec = video.codec_context
    frame_rate = float(video.average_rate or video.guessed_rate or 0) or 25.0
    kept, decoded = budget.closer_frames, budget.closer_decoded
    for span in spans:
        if kept <= 0 or decoded <= 0:
            yield WindowAt(note="the budget was used up before")
            continue
        step = sampling.stride(frame_rate, span.rate) / frame_rate
        frames: list[FrameAt] = []
        note, goal = "", span.start
        try:
            for frame, at in _onwards(container, video, span):
                wanted = at >= goal - 0.5 / frame_rate
                if decoded <= 0 or (wanted and kept <= 0):
                    note = f"cut after {len(frames)} frames: {'no more are kept' if kept <= 0 else 'decoding costs'}"
                    break
                decoded -= 1
                if wanted:
                    goal = max(goal, at - step / 2) + step
                    turn = _turn(frame)
                    frames.append(_put(turn(_rgb(frame, video, _side(frame, budget))), max(0.0, at), out))
                    kept -= 1
        except (av.error.FFmpegError, ValueError) as error:
            note = f"cut after {len(frames)} frames: {type(error).__name__}: {error}"[:200]
        codec.flush_buffers()
        yield WindowAt(tuple(frames), note or ("" if frames else "no frame could be decoded"))


def _side(frame: Any, budget: DecodeBudget) -> int:
    """Longest side in a window. Where the pixels are no more than a square of `closer_side`, scaling is not worth it:
    it costs as much as decoding does (3.6 ms for a frame of 720 lines, .5 ms without)."""
    if frame.width * frame.height <= budget.closer_side**2:
        return int(max(frame.width, frame.height))
    return budget.closer_side


def _onwards(container: InputContainer, video: Any, span: Span) -> Iterator[tuple[Any, float]]:
    """Every frame that has to be decoded for a span, with its time; those before it too, since they cost the same."""
    codec, start = video.codec_context, _start(container)
    _seek_before(container, video, span.start)
    codec.flush_buffers()
    for packet in container.demux(video):
        # What nothing is predicted from need not be decoded before the span begins.
        ahead = packet.pts is not None and _seconds(packet.pts, video.time_base) - start < span.start - 1.0
        codec.skip_frame = "NONREF" if ahead else "DEFAULT"
        for frame in codec.decode(packet if packet.size else None):
            at = _seconds(frame.pts, video.time_base) - start if frame.pts is not None else -math.inf
            if at >= span.end:
                return
            yield frame, at
        if not packet.size:
            return


def _seek_before(container: InputContainer, video: Any, moment: float) -> None:
    """Seek to a keyframe at or before a moment. Containers without a list are sought ever earlier, until one is met."""
    start, base = _start(container), video.time_base
    if container.format.name in _INDEXED:
        container.seek(int((moment + start) / base), stream=video)
        return
    for early in (_EARLY, *_EARLIER, moment):
        goal = int((max(0.0, moment - early) + start) / base)
        packet = _at(container, video, goal)
        container.seek(goal, stream=video)
        if early >= moment or (packet is not None and _seconds(_stamp(packet) or 0, base) - start <= moment):
            return


# Packets


def _told(container: InputContainer, video: Any, budget: DecodeBudget, out: Outbox) -> PacketsAt | None:
    """What the container tells of the packets of the video track: from its list, or by reading them."""
    found = _listed(container, video, budget.packets) or _read(container, video, budget.packets)
    if not found:
        return None
    at, size, key = (np.array(column) for column in zip(*found, strict=True))
    return PacketsAt(
        len(found), out.put(at.astype(np.float64)), out.put(size.astype(np.int32)), out.put(key.astype(np.bool_))
    )


def _listed(container: InputContainer, video: Any, most: int) -> list[tuple[float, int, bool]]:
    """Time, size and key flag from the container's own list, where that is whole; else nothing."""
    entries = video.index_entries
    if container.format.name not in _LISTED or not 0 < video.frames <= len(entries):
        return []
    base, first = video.time_base, entries[0].timestamp
    return [
        (_seconds(entry.timestamp - first, base), entry.size, bool(entry.is_keyframe))
        for entry in (entries[i] for i in range(min(len(entries), most)))
    ]


def _read(container: InputContainer, video: Any, most: int) -> list[tuple[float, int, bool]]:
    """Time, size and key flag of packets that are read and not decoded."""
    for stream in container.streams:
        stream.discard = Discard.default if stream is video else Discard.all
    rate = float(video.guessed_rate or video.average_rate or 25)
    start, total = _start(container), 0
    found: list[tuple[float, int, bool]] = []
    with suppress(av.error.FFmpegError):  # what came before the damage is told
        container.seek(container.start_time or 0)
        for packet in container.demux(video):
            if len(found) >= most or total > _PACKET_BYTES:
                break
            if packet.size:
                stamp = _stamp(packet)
                at = len(found) / rate if stamp is None else _seconds(stamp, video.time_base) - start
                found.append((at, packet.size, packet.is_keyframe))
                total += packet.size
    return found


# Listening


def _listen(
    container: InputContainer, audio: Any, budget: DecodeBudget, out: Outbox, *, rewind: bool
) -> tuple[SoundAt | None, Sequence[str]]:
    """The first `audio_seconds` as 16 kHz mono, and notes on what was wrong with it."""
    codec = audio.codec_context
    if codec.name not in _DECODERS or codec.sample_rate not in _PLAUSIBLE_RATES:
        return None, (f"sound not decoded: {codec.name}, {codec.sample_rate} Hz",)
    wanted = int(budget.audio_seconds * SAMPLE_RATE)
    codec.thread_count = 1
    for stream in container.streams:
        stream.discard = Discard.default if stream is audio else Discard.all
    chunks: list[np.ndarray[Any, Any]] = []
    have, bad, start = 0, 0, None
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    try:
        if rewind:
            container.seek(container.start_time or 0)
        for number, packet in enumerate(container.demux(audio)):
            if have >= wanted or number == _SOUND_PACKETS:
                break
            try:
                for frame in codec.decode(packet if packet.size else None):
                    if start is None and frame.pts is not None:
                        start = max(0.0, _seconds(frame.pts, audio.time_base) - _start(container))
                    for part in resampler.resample(frame):
                        samples = part.to_ndarray().reshape(-1)
                        chunks.append(samples)
                        have += len(samples)
            except (av.error.FFmpegError, ValueError):  # PyAV raises ValueError when the sound's format changes midway
                bad += 1
    except av.error.FFmpegError:
        bad += 1
    notes = (f"{bad} packets of sound could not be decoded",) if bad else ()
    if not have:
        return None, (*notes, "no sound could be decoded")
    samples = np.nan_to_num(np.concatenate(chunks)[:wanted].astype(np.float32))
    return SoundAt(start or 0.0, len(samples), out.put(np.clip(samples, -1, 1))), notes


# What the file says of itself


def _facts(container: InputContainer, video: Any, seen: _Seen, metadata: Entries) -> MediaFacts:
    width, height = (video.codec_context.width, video.codec_context.height) if video is not None else (None, None)
    if seen.turn.transpose:
        width, height = height, width
    return MediaFacts(
        kind=MediaKind.AUDIO if video is None else MediaKind.VIDEO,
        container=container.format.name,
        duration=round(seen.duration, 3) if seen.duration is not None else None,
        width=width,
        height=height,
        rotation=seen.turn.degrees,
        tracks=tuple(_track(stream) for stream in list(container.streams)[:16]),
        metadata=metadata,
    )


def _track(stream: Any) -> TrackFacts:
    codec = stream.codec_context
    if codec is None:
        return TrackFacts(kind=stream.type, codec="unknown")
    video = stream.type == "video"
    return TrackFacts(
        kind="attached_picture" if stream.disposition & Disposition.attached_pic else stream.type,
        codec=codec.name,
        width=codec.width if video else None,
        height=codec.height if video else None,
        frame_rate=round(float(stream.average_rate), 3) if video and stream.average_rate else None,
        sample_rate=codec.sample_rate if stream.type == "audio" else None,
        channels=codec.channels if stream.type == "audio" else None,
        bit_rate=codec.bit_rate or None,
    )


def _metadata(container: InputContainer) -> Entries:
    entries: list[tuple[str, object]] = []
    for name, value in container.metadata.items():
        entries += from_xmp(value) if name == "xmp" else [(f"container:{name}", value)]
    for stream in container.streams:
        entries += prefixed(stream.type, stream.metadata)
    return bounded(entries)


def _permanent(reason: Reason, detail: str) -> Permanent:
    return Permanent(Stage.DECODE, reason, detail)
