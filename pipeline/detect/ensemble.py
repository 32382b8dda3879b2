"""Ask every detector about one clip: the faces first, then all side by side, each under its deadline.

Nothing that goes wrong with a detector leaves here as an exception: it becomes a report, and the policy's fail mode for
that family decides what an unanswered question means.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial

from pipeline.decode.port import Clip
from pipeline.detect.ask import ask, left
from pipeline.detect.find_faces import Found
from pipeline.detect.known_content import frame_hashes
from pipeline.detect.port import Detector, DetectorReport, Findings, Infer, Probe, ReportStatus, Score, View
from pipeline.detect.registry import Entry, Registry


async def detect(clip: Clip, registry: Registry, infer: Infer, *, within: float) -> Findings:
    """What all detectors say of `clip`, within `within` seconds, reports in the order of the registry.

    Raises for cancellation only, and leaves nothing running then. `infer` brings its own retries and circuit breaker.
    """
    now = asyncio.get_running_loop().time
    until = now() + within
    found = await registry.faces(clip, infer, until=min(until, now() + registry.faces_deadline))
    view = View(clip, found.faces)
    async with asyncio.TaskGroup() as group:
        hashes = group.create_task(asyncio.to_thread(frame_hashes, clip))
        embedding = group.create_task(_embed(clip, registry, infer, min(until, now() + registry.embed_deadline)))
        reports = [
            group.create_task(_report(entry, view, found, infer, min(until, now() + entry.deadline)))
            for entry in registry.entries
        ]
    return Findings(
        reports=tuple(task.result() for task in reports),
        faces=len(found.faces or ()),
        embedding=embedding.result(),
        hashes=hashes.result(),
        detectors=registry.versions,
    )


async def _embed(clip: Clip, registry: Registry, infer: Infer, until: float) -> bytes | None:
    """None without a picture, and when the model does not answer: an upload is judged without it."""
    if not clip.keyframes:
        return None
    answers = await ask([partial(registry.embed, clip, infer, until=until)], until=until)
    return answers.given[0]


async def _report(entry: Entry, view: View, found: Found, infer: Infer, until: float) -> DetectorReport:
    detector = entry.detector
    say = partial(DetectorReport, detector.name, detector.version, entry.mode, detector.families)
    if detector.needs_faces and view.faces is None:
        return say(found.status, coverage=0.0, detail=found.detail)
    seen = found.coverage if detector.needs_faces else 1.0

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
        coverage=seen * answers.answered / sum(probe.due for probe in probes),
        detail=detail,
    )


async def _ask(detector: Detector, probe: Probe, infer: Infer, until: float) -> Sequence[Score]:
    """One question and what its answer means. A score that is no probability is a bug, and no score."""
    if detector.model is None:
        outputs = probe.tensors
    else:
        outputs = await infer(detector.model, probe.tensors, within=left(until))
    scores = detector.interpret(probe, outputs)
    for score in scores:
        if not (math.isfinite(score.value) and 0 <= score.value <= 1):
            raise ValueError(f"{detector.name}: a score of {score.value}")
    return scores
