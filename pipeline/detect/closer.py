"""Where to look closely, and what is still in doubt. Pure.

A second look costs some hundred frames, so it goes where it can tell something: where somebody speaks at a large face,
where a face's scores leave it open, and else once at a face, since the way it moves says something by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.decode.port import Clip, Keyframe, Span
from pipeline.decode.sampling import stride
from pipeline.detect.frames import spread
from pipeline.detect.port import DetectorReport, Face, Mode, ReportStatus, Score, Speech
from pipeline.events.values import Family, MediaKind

STRONGEST = 3
"""Looks at a person whose mean tells whether it is in doubt: the verdict too is of the strongest, of no fewer."""
_CANDIDATES = 2000
_LEAD_COST = 0.05
"""What a second between the keyframe and the window costs, in shares of speech: it is decoded and not looked at."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A person whose scores of one family leave it open. `at`: the moments of the scores, the highest first."""

    detector: str
    family: Family
    person: int
    score: float
    at: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LookCloser:
    """Chooses the spans; how many frames they may have is the decoder's budget.

    Args:
        smallest_face: shorter side of a face's box in a keyframe, pixels, from which looking closely is worth it.
        speech_rate: frames a second where somebody speaks: lips move up to some eight times a second.
        rate: frames a second elsewhere.
        shortest, longest: seconds of a window.
        speaks: probability from which it is speech.
        spoken: share of a window that has to be speech.
        doubt: per family the score of a person, the mean of its strongest looks, from which, and up to which, it is in
            doubt. These are the scores whose probability lies in the calibration's band (`calibration.scores_at`).
        again: faces of a person in doubt that are asked about again, at most.
    """

    smallest_face: int = 80
    speech_rate: float = 25.0
    rate: float = 12.5
    shortest: float = 3.0
    longest: float = 6.0
    speaks: float = 0.5
    spoken: float = 0.4
    doubt: tuple[tuple[Family, float, float], ...] = ()
    again: int = 8

    name: ClassVar[str] = "closer"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest:
            raise ValueError("shortest must be above 0 and at most longest")
        if min(self.speech_rate, self.rate) <= 0 or self.smallest_face < 1 or self.again < 0:
            raise ValueError("speech_rate and rate must be above 0, smallest_face at least 1, again at least 0")
        if not (0 < self.speaks < 1 and 0 < self.spoken <= 1):
            raise ValueError("speaks and spoken are shares")
        for family, low, high in self.doubt:
            if not 0 <= low < high <= 1:
                raise ValueError(f"doubt of {family}: {low} to {high} is no stretch of scores")

    def doubts(self, reports: Sequence[DetectorReport]) -> tuple[Doubt, ...]:
        """Who is in doubt by the live reports, the likeliest first."""
        found = []
        for report in reports:
            if report.mode is not Mode.LIVE or report.status is not ReportStatus.OK:
                continue
            for family, low, high in self.doubt:
                for person, scores in by_person(report.scores, family).items():
                    score = standing(scores)
                    if low <= score < high:
                        ranked = sorted(scores, key=lambda each: (-each.value, each.at or 0.0))
                        moments = tuple(each.at for each in ranked if each.at is not None)
                        found.append(Doubt(report.detector, family, person, score, moments))
        return tuple(sorted(found, key=lambda doubt: (-doubt.score, doubt.person, doubt.family)))

    def open(self, family: Family, score: float) -> bool:
        """Whether this score of a person leaves it open."""
        return any(family is each and low <= score < high for each, low, high in self.doubt)

    def spans(
        self,
        clip: Clip,
        looked_at: Sequence[Keyframe],
        faces: Sequence[Face],
        speech: Speech | None,
        doubts: Sequence[Doubt],
    ) -> tuple[Span, ...]:
        """Where to look closely, in order of time. `looked_at`: the keyframes in which faces were looked for."""
        duration = clip.facts.duration or 0.0
        large = self._large(looked_at, faces)
        if clip.facts.kind is not MediaKind.VIDEO or duration <= 0 or not large:
            return ()
        rates = {want: _true_rate(clip, want) for want in (self.speech_rate, self.rate)}
        left = clip.sampling.closer_budget
        chosen: list[Span] = []
        starts = _starts(clip, duration, self.shortest)
        presence = _presence([frame.at for frame in looked_at], large)

        def take(start: float, seconds: float, rate: float, why: str) -> None:
            nonlocal left
            seconds = min(seconds, duration - start, left / rates[rate])
            if seconds * rates[rate] >= 1:
                chosen.append(Span(round(start, 3), round(start + seconds, 3), rate, why))
                left -= round(seconds * rates[rate])

        def speak(seconds: float) -> bool:
            spot = self._spoken(starts, seconds, duration, speech, presence, chosen)
            if spot is not None:
                take(spot, seconds, self.speech_rate, "somebody speaks and a face is there")
            return spot is not None

        speak(self.longest if not doubts else (self.shortest + self.longest) / 2)
        for doubt in doubts:
            if not any(span.start <= at < span.end for span in chosen for at in doubt.at) and doubt.at:
                start = max(0.0, min(doubt.at[0], duration - self.shortest))
                why = f"{doubt.family.value.replace('_', ' ')} of person {doubt.person} in doubt ({doubt.score:.2f})"
                if not any(start < span.end and span.start < start + self.shortest for span in chosen):
                    take(start, self.shortest, self.rate, why)
        if not chosen:
            take(_calmest(starts, self.longest, duration, presence), self.longest, self.rate, "a face is there")
        while left >= self.shortest * rates[self.speech_rate] and speak(self.longest):
            pass
        return tuple(sorted(chosen, key=lambda span: span.start))

    def _large(self, looked_at: Sequence[Keyframe], faces: Sequence[Face]) -> frozenset[float]:
        """Moments of keyframes with a face that is worth it."""
        sizes = {frame.index: frame.image.shape[:2] for frame in looked_at}

        def side(face: Face) -> float:
            height, width = sizes[face.frame]
            return float(min((face.box.x1 - face.box.x0) * width, (face.box.y1 - face.box.y0) * height))

        return frozenset(face.at for face in faces if face.frame in sizes and side(face) >= self.smallest_face)

    def _spoken(
        self,
        starts: Sequence[tuple[float, float]],
        seconds: float,
        duration: float,
        speech: Speech | None,
        presence: Callable[[float], float],
        chosen: Sequence[Span],
    ) -> float | None:
        """The start of the best window in which somebody speaks, apart from those that are chosen."""
        if speech is None or not len(speech.probability):
            return None
        total = np.concatenate([[0.0], np.cumsum(speech.probability >= self.speaks)])

        def spoken(start: float, end: float) -> float:
            """The share of a stretch that is speech."""
            a, b = (round((at - speech.start) / speech.step) for at in (start, end))
            a, b = max(0, min(a, len(total) - 1)), max(0, min(b, len(total) - 1))
            return float(total[b] - total[a]) * float(speech.step) / (end - start)

        best: tuple[float, float] | None = None
        for start, lead in starts:
            end = min(start + seconds, duration)
            share = spoken(start, end)
            there = sum(presence(at) for at in (start, (start + end) / 2, end)) / 3
            if share < self.spoken or there <= 0 or any(start < s.end and s.start < end for s in chosen):
                continue
            apart = min((abs(start - span.start) for span in chosen), default=0.0) / duration
            value = (share + 0.5 * apart) * there - _LEAD_COST * lead
            if best is None or value > best[0]:
                best = value, start
        return best[1] if best else None


def by_person(scores: Sequence[Score], family: Family) -> dict[int, list[Score]]:
    """The scores of one family that speak of a person."""
    found: dict[int, list[Score]] = {}
    for score in scores:
        if score.family is family and score.track is not None:
            found.setdefault(score.track, []).append(score)
    return found


def standing(scores: Sequence[Score]) -> float:
    """What the looks at a person come to: the mean of the strongest."""
    strongest = sorted((score.value for score in scores), reverse=True)[:STRONGEST]
    return sum(strongest) / len(strongest)


def _true_rate(clip: Clip, rate: float) -> float:
    """Frames a second that the decoder will give for this rate."""
    frame_rate = next((track.frame_rate for track in clip.facts.tracks if track.kind == "video"), None) or 25.0
    return frame_rate / stride(frame_rate, rate)


def _starts(clip: Clip, duration: float, shortest: float) -> list[tuple[float, float]]:
    """Where a window may begin, and seconds since the keyframe before: at each keyframe and every second after it."""
    last = max(0.0, duration - shortest)
    if clip.packets is not None and clip.packets.key.any():
        keys = sorted({max(0.0, float(at)) for at in clip.packets.at[clip.packets.key]})
    else:
        keys = [frame.at for frame in clip.keyframes]
    keys = [at for at in keys if at <= last] or [0.0]
    step = max(1.0, duration / _CANDIDATES)
    found = []
    for key, after in zip(keys, [*keys[1:], last + 1e-6], strict=True):
        found += [(key + i * step, i * step) for i in range(max(1, int(np.ceil((after - key) / step))))]
    return spread([start for start in found if start[0] <= last] or [(0.0, 0.0)], _CANDIDATES)


def _presence(looked_at: Sequence[float], large: frozenset[float]) -> Callable[[float], float]:
    """How likely a large face is there at a moment: whether the looks before and after it saw one."""
    looks = sorted(looked_at)

    def presence(at: float) -> float:
        after = bisect_right(looks, at)
        near = looks[max(0, after - 1) : after + 1]
        return sum(each in large for each in near) / len(near)

    return presence


def _calmest(
    starts: Sequence[tuple[float, float]], seconds: float, duration: float, presence: Callable[[float], float]
) -> float:
    """Where a face is surest to be there and least is decoded in vain; towards the middle of the clip."""

    def value(start: tuple[float, float]) -> float:
        at, lead = start
        there = sum(presence(at + share * seconds) for share in (0.0, 0.5, 1.0)) / 3
        return there - _LEAD_COST * lead - 0.1 * abs(at + seconds / 2 - duration / 2) / duration

    return max(starts, key=value)[0]
