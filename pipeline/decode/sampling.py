"""Which moments of a media file are looked at, and what can be said of the rest. Pure.

Looks are spread so that the longest stretch without one is as short as the budget allows: a manipulated segment that is
longer than `largest_gap` cannot have been missed entirely.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise

from pipeline.decode.port import DecodeBudget
from pipeline.events.values import Sampling


def moments(duration: float, frames: int) -> tuple[float, ...]:
    """`frames` times in seconds inside 0…`duration`, all gaps equal, ends included; no better spread exists."""
    if duration <= 0 or frames < 1:
        return (0.0,) if frames >= 1 else ()
    return tuple(duration * (i + 1) / (frames + 1) for i in range(frames))


def choose(times: Sequence[float], duration: float, frames: int) -> tuple[int, ...]:
    """Positions in `times` (ascending seconds) of at most `frames` looks, spread over the duration.

    First what lies nearest to the ideal moments; what the budget has left splits the longest gaps that can be split.
    """
    if frames < 1:
        return ()
    if len(times) <= frames:
        return tuple(range(len(times)))
    picked = {_nearest(times, moment) for moment in moments(duration, frames)}
    while len(picked) < frames:
        picked.add(_split(times, sorted(picked), duration))
    return tuple(sorted(picked))


def spread(count: int, frames: int) -> tuple[int, ...]:
    """At most `frames` of `count` positions, evenly spread, for what has an order and no clock."""
    return choose(range(count), max(0, count - 1), frames)


def largest_gap(looked_at: Iterable[float], duration: float) -> float:
    """The longest stretch (seconds) of 0…`duration` without a look; the whole of it when nothing was looked at."""
    edges = (0.0, *sorted(min(max(at, 0.0), duration) for at in looked_at), duration)
    return max(later - earlier for earlier, later in pairwise(edges))


def fill(looked_at: Sequence[float], duration: float, longest: float, looks: int) -> tuple[float, ...]:
    """At most `looks` further moments (ascending) that cut gaps of more than `longest` seconds into equal parts.

    The longest part is cut first, until none is too long or the looks are used up.
    """
    edges = (0.0, *sorted(looked_at), duration)
    gaps = [(earlier, later - earlier) for earlier, later in pairwise(edges) if later - earlier > longest]
    cuts = [0] * len(gaps)
    for _ in range(looks if gaps else 0):
        widest = max(range(len(gaps)), key=lambda i: gaps[i][1] / (cuts[i] + 1))
        if gaps[widest][1] / (cuts[widest] + 1) <= longest:
            break
        cuts[widest] += 1
    return tuple(
        start + length * (k + 1) / (n + 1) for (start, length), n in zip(gaps, cuts, strict=True) for k in range(n)
    )


def stride(frame_rate: float | None, rate: float) -> int:
    """Every how many frames one is taken to get about `rate` a second, evenly, of a video of `frame_rate`.

    25 of 30 would be uneven: all are taken. Unknown rates count as 25.
    """
    return max(1, round((frame_rate or 25.0) / rate))


def manifest(
    decoder: str,
    budget: DecodeBudget,
    *,
    looked_at: Sequence[float] = (),
    duration: float | None = None,
    audio_seconds: float = 0.0,
    complete: bool = False,
    notes: Sequence[str] = (),
) -> Sampling:
    """The sampling manifest of one file. There is no gap to speak of without a duration."""
    return Sampling(
        decoder=decoder,
        looked_at=tuple(round(at, 3) for at in looked_at),
        largest_gap=round(largest_gap(looked_at, duration), 3) if duration and looked_at else None,
        frame_budget=budget.frames,
        closer_budget=budget.closer_frames,
        audio_seconds=round(audio_seconds, 3),
        audio_budget=budget.audio_seconds,
        complete=complete,
        notes=tuple(notes),
    )


_COSTS = frozenset({"memory_bytes", "cpu_seconds", "wall_seconds"})
"""What bounds decoding and changes nothing of what it yields."""


def version(budget: DecodeBudget) -> str:
    """What findings depend on besides the detectors: `decode@1`, with a digest of what is not as it ships.

    Changes whenever the same bytes may be sampled in another way, so that known contents are judged anew.
    """
    changed = [
        (one.name, getattr(budget, one.name))
        for one in fields(budget)
        if one.name not in _COSTS and getattr(budget, one.name) != one.default
    ]
    return "decode@1" + (f"+{hashlib.sha256(repr(changed).encode()).hexdigest()[:8]}" if changed else "")


def _nearest(times: Sequence[float], moment: float) -> int:
    right = bisect_left(times, moment)
    if right == 0:
        return 0
    if right == len(times) or moment - times[right - 1] <= times[right] - moment:
        return right - 1
    return right


def _split(times: Sequence[float], picked: Sequence[int], duration: float) -> int:
    """The position, not yet picked, that lies nearest to the middle of the longest gap that holds one."""
    fences = (-1, *picked, len(times))
    gaps = [
        (times[after] if after < len(times) else duration) - (times[before] if before >= 0 else 0.0)
        if after - before > 1
        else -1.0
        for before, after in pairwise(fences)
    ]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    before, after = fences[widest], fences[widest + 1]
    start = times[before] if before >= 0 else 0.0
    end = times[after] if after < len(times) else duration
    return before + 1 + _nearest(times[before + 1 : after], (start + end) / 2)
