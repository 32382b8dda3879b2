"""Ask every detector about one clip, in two passes, each under its deadline.

First the faces and the speech; then, side by side, every detector that looks at keyframes, sound and metadata. Where
somebody speaks at a face, or a face is still in doubt, frames are then looked at closely: faces are followed through
them, the detectors that look closer are asked, and whoever left a face in doubt is asked about it again.

Nothing that goes wrong with a detector leaves here as an exception: it becomes a report, and the policy's fail mode for
that family decides what an unanswered question means.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from pipeline.decode.port import Clip, Window
from pipeline.detect.ask import ask, left
from pipeline.detect.closer import Doubt, by_person, standing
from pipeline.detect.find_faces import Found
from pipeline.detect.follow_faces import Followed
from pipeline.detect.frames import spread
from pipeline.detect.known_content import frame_hashes
from pipeline.detect.memo import Memo
from pipeline.detect.port import (
    Closer,
    Detector,
    DetectorReport,
    Face,
    Findings,
    Infer,
    Probe,
    ReportStatus,
    Score,
    Speech,
    View,
)
from pipeline.detect.registry import Entry, Registry
from pipeline.events.values import Family, MediaKind, WindowLook

_FIRST_PASS = 0.6
"""The share of its time that the first look at a video may take, where a second may follow."""
_FACES_PER_ROUND = 4
"""Faces of a person in doubt that are asked about again before it is seen whether the doubt is gone."""


class _Unjudged(NamedTuple):
    """Why a detector cannot judge."""

    status: ReportStatus
    coverage: float
    detail: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What a closer look gave. `without`: why there are no windows."""

    view: View
    windows: tuple[Window, ...] = ()
    followed: Followed | None = None
    without: _Unjudged | None = None


async def detect(
    clip: Clip, registry: Registry, infer: Infer, *, closer: Closer | None = None, within: float
) -> Findings:
    """What all detectors say of `clip`, within `within` seconds, reports in the order of the registry.

    `closer` looks closely at stretches of the clip; without it nothing is looked at twice. Raises for cancellation
    only, and leaves nothing running then. `infer` brings its own retries and circuit breaker.
    """
    now = asyncio.get_running_loop().time
    until = now() + within
    twice = closer is not None and clip.facts.kind is MediaKind.VIDEO and clip.sampling.closer_budget > 0
    first_until = now() + within * _FIRST_PASS if twice else until
    shared = Memo(infer)

    async with asyncio.TaskGroup() as group:
        finding = group.create_task(
            registry.faces(clip, infer, until=min(first_until, now() + registry.faces_deadline))
        )
        hearing = group.create_task(
            registry.speech(clip, infer, until=min(first_until, now() + registry.speech_deadline))
        )
    found, speech = finding.result(), hearing.result()
    view = View(clip, found.faces, speech)
    async with asyncio.TaskGroup() as group:
        hashes = group.create_task(asyncio.to_thread(frame_hashes, clip))
        embedding = group.create_task(_embed(clip, registry, shared, min(first_until, now() + registry.embed_deadline)))
        first = [
            group.create_task(_report(entry, view, _faces(found), shared, min(first_until, now() + entry.deadline)))
            for entry in registry.entries
            if not entry.detector.closer
        ]
    reports = {report.detector: report for report in (task.result() for task in first)}

    doubts = registry.closer.doubts(list(reports.values()))
    look = await _look(clip, registry, found, speech, doubts, infer, closer if twice else None, until)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_settle(registry, look, reports, doubts, shared, until))
        second = [
            group.create_task(_closer_report(entry, look, found, shared, min(until, now() + entry.deadline)))
            for entry in registry.entries
            if entry.detector.closer
        ]
    settled, changes = asking.result()
    closely = [task.result() for task in second]
    reports |= settled | {report.detector: report for report in closely}
    return Findings(
        reports=tuple(reports[entry.detector.name] for entry in registry.entries),
        faces=len(found.faces or ()),
        embedding=embedding.result(),
        hashes=hashes.result(),
        detectors=registry.versions,
        windows=tuple(_told(window, changes, closely) for window in look.windows),
        face_features=_features(reports.values()),
        notes=_notes(clip, registry),
    )


async def _embed(clip: Clip, registry: Registry, infer: Infer, until: float) -> bytes | None:
    """None without a picture, and when the model does not answer: an upload is judged without it."""
    if not clip.keyframes:
        return None
    answers = await ask([partial(registry.embed, clip, infer, until=until)], until=until)
    return answers.given[0]


# One detector


async def _report(
    entry: Entry, view: View, seen: tuple[float, _Unjudged | None], infer: Infer, until: float
) -> DetectorReport:
    """What one detector says of a view. `seen`: the share of the faces' frames that were answered, or why none was."""
    detector = entry.detector
    say = partial(DetectorReport, detector.name, detector.version, entry.mode, detector.families)
    share, blind = seen if detector.needs_faces else (1.0, None)
    if blind is not None:
        return say(blind.status, coverage=blind.coverage, detail=blind.detail)

    prepared = await ask([partial(asyncio.to_thread, detector.prepare, view)], until=until)
    if (probes := prepared.given[0]) is None:
        status = ReportStatus.LATE if prepared.late else ReportStatus.FAILED
        return say(status, coverage=0.0, detail=prepared.detail or "the deadline passed")
    if not probes:
        return say(ReportStatus.NOT_APPLICABLE)
    skipped = "; ".join(f"skipped: {why}" for why in dict.fromkeys(p.skipped for p in probes if p.skipped))
    questions = [partial(_ask, detector, probe, infer, until) for probe in probes if not probe.skipped]
    if not questions:
        return say(ReportStatus.NOT_APPLICABLE, coverage=0.0, detail=skipped)

    answers = await ask(questions, until=until)
    detail = "; ".join(filter(None, (answers.detail, skipped)))
    if not answers.answered:
        status = ReportStatus.LATE if answers.late else ReportStatus.FAILED
        return say(status, coverage=0.0, detail=detail or "the deadline passed")
    if answers.late and not answers.detail:
        detail = "; ".join(filter(None, ("the deadline passed", skipped)))
    return say(
        ReportStatus.OK,
        scores=tuple(score for scores in answers.given if scores is not None for score in scores),
        coverage=share * answers.answered / sum(probe.due for probe in probes),
        detail=detail,
    )


async def _ask(detector: Detector, probe: Probe, infer: Infer, until: float) -> Sequence[Score]:
    """One question and what its answer means. A score that is no probability is a bug, and no score."""
    if detector.model is None:
        outputs = probe.tensors
        scores = await asyncio.to_thread(detector.interpret, probe, outputs)
    else:
        outputs = await infer(detector.model, probe.tensors, within=left(until))
        scores = detector.interpret(probe, outputs)
    for score in scores:
        if not (math.isfinite(score.value) and 0 <= score.value <= 1):
            raise ValueError(f"{detector.name}: a score of {score.value}")
    return scores


def _faces(found: Found) -> tuple[float, _Unjudged | None]:
    if found.faces is None:
        return 0.0, _Unjudged(found.status, 0.0, found.detail)
    return found.coverage, None


# The closer look


async def _look(
    clip: Clip,
    registry: Registry,
    found: Found,
    speech: Speech | None,
    doubts: Sequence[Doubt],
    infer: Infer,
    closer: Closer | None,
    until: float,
) -> _Look:
    """Look closely where it is called for, and follow the faces there."""
    view = View(clip, found.faces, speech)

    def without(status: ReportStatus, coverage: float, detail: str) -> _Look:
        return _Look(view, without=_Unjudged(status, coverage, detail))

    if found.faces is None:
        return without(found.status, 0.0, found.detail)
    if closer is None:
        due = clip.facts.kind is MediaKind.VIDEO and bool(found.faces)
        return without(ReportStatus.NOT_APPLICABLE, 0.0 if due else 1.0, "nothing is looked at twice" if due else "")
    spans = registry.closer.spans(clip, registry.faces.frames_of(clip), found.faces, speech, doubts)
    if not spans:
        small = bool(found.faces)
        return without(ReportStatus.NOT_APPLICABLE, 0.0 if small else 1.0, "no face is large enough" if small else "")
    now = asyncio.get_running_loop().time
    answers = await ask([partial(closer, spans)], until=min(until, now() + registry.closer_deadline))
    windows = answers.given[0]
    if windows is None or not any(window.frames for window in windows):
        status = ReportStatus.LATE if answers.late else ReportStatus.FAILED
        detail = answers.detail or ("the deadline passed" if windows is None else "; ".join(w.note for w in windows))
        return without(status, 0.0, f"no closer look: {detail}")
    followed = await registry.follow(
        windows, registry.faces, found.faces, found.known, infer, until=min(until, now() + registry.follow_deadline)
    )
    return _Look(replace(view, windows=windows, tracks=followed.tracks), windows, followed)


async def _closer_report(entry: Entry, look: _Look, found: Found, infer: Infer, until: float) -> DetectorReport:
    detector = entry.detector
    if look.without is not None:
        status, coverage, detail = look.without
        return DetectorReport(
            detector.name, detector.version, entry.mode, detector.families, status, coverage=coverage, detail=detail
        )
    followed = look.followed
    assert followed is not None
    blind = None if followed.tracks is not None else _Unjudged(followed.status, 0.0, followed.detail)
    return await _report(entry, look.view, (found.coverage * followed.coverage, blind), infer, until)


@dataclass(frozen=True, slots=True)
class _Change:
    """What asking again changed, in words, and the moments that were asked about."""

    words: str
    at: tuple[float, ...]


async def _settle(
    registry: Registry,
    look: _Look,
    reports: dict[str, DetectorReport],
    doubts: Sequence[Doubt],
    infer: Infer,
    until: float,
) -> tuple[dict[str, DetectorReport], list[_Change]]:
    """Ask about each person in doubt again, on the faces of the windows, until the doubt is gone or faces are."""
    if look.followed is None:
        return {}, []
    entries = {entry.detector.name: entry for entry in registry.entries}
    settled: dict[str, DetectorReport] = {}
    changes: list[_Change] = []
    frames = tuple(frame for window in look.windows for frame in window.frames)
    asked: dict[str, set[int]] = {}
    for doubt in doubts:
        if doubt.person in asked.setdefault(doubt.detector, set()):
            continue  # one question is answered for all families of a detector
        asked[doubt.detector].add(doubt.person)
        entry = entries[doubt.detector]
        deadline = min(until, asyncio.get_running_loop().time() + entry.deadline)
        faces = spread([face for face in look.followed.faces if face.track == doubt.person], registry.closer.again)
        report = settled.get(doubt.detector, reports[doubt.detector])
        more: list[Score] = []
        for part in _rounds(faces):
            again = await _report(
                entry,
                replace(look.view, clip=replace(look.view.clip, keyframes=frames), faces=part),
                (1.0, None),
                infer,
                deadline,
            )
            more += again.scores
            if not again.scores or not any(
                registry.closer.open(family, standing(scores))
                for family in report.families
                if (scores := by_person([*report.scores, *more], family).get(doubt.person))
            ):
                break
        if more:
            settled[doubt.detector] = replace(report, scores=(*report.scores, *more))
            changes += _changes(registry, doubt, report, settled[doubt.detector], more)
    return settled, changes


def _rounds(faces: Sequence[Face]) -> list[tuple[Face, ...]]:
    """The faces in rounds, each spread over all of them."""
    count = math.ceil(len(faces) / _FACES_PER_ROUND)
    return [tuple(faces[i::count]) for i in range(count)]


def _changes(
    registry: Registry, doubt: Doubt, before: DetectorReport, after: DetectorReport, more: Sequence[Score]
) -> list[_Change]:
    """For each family that was in doubt: the score before and after."""
    found = []
    for family in before.families:
        old, new = (by_person(report.scores, family).get(doubt.person) for report in (before, after))
        if not old or not new or not registry.closer.open(family, standing(old)):
            continue
        still = "still" if registry.closer.open(family, standing(new)) else "no longer"
        words = f"{_words(family)} of person {doubt.person} {standing(old):.2f} → {standing(new):.2f}, {still} in doubt"
        found.append(_Change(words, tuple(score.at for score in more if score.at is not None)))
    return found


def _told(window: Window, changes: Sequence[_Change], closely: Sequence[DetectorReport]) -> WindowLook:
    """For the sampling manifest: where, how much, what for and what it changed."""
    start = window.frames[0].at if window.frames else window.span.start
    end = window.frames[-1].at if window.frames else window.span.start

    def here(moments: Sequence[float | None]) -> bool:
        return bool(window.frames) and any(at is None or start <= at <= end for at in moments)

    judged = dict.fromkeys(_words(score.family) for report in closely for score in report.scores if here([score.at]))
    bought = [change.words for change in changes if here(change.at)]
    if judged:
        bought.append(f"judged: {', '.join(judged)}")
    why = f"{window.span.why} ({window.note})" if window.note else window.span.why
    return WindowLook(round(start, 3), round(end, 3), len(window.frames), why, "; ".join(bought))


def _words(family: Family) -> str:
    return family.value.replace("_", " ")


def _notes(clip: Clip, registry: Registry) -> tuple[str, ...]:
    looked, kept = len(registry.faces.frames_of(clip)), len(clip.keyframes)
    return (f"faces were looked for in {looked} of {kept} frames",) if looked < kept else ()


def _features(reports: Iterable[DetectorReport]) -> bytes | None:
    """What the head read of the most suspicious face."""
    scores = [score for report in reports for score in report.scores if score.features is not None]
    return max(scores, key=lambda score: score.value).features if scores else None
