"""What follows when a part is really down, late, missing or undecided: per harm and surface what the policy names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.audit_facts import run_audit
from pipeline.demo.media import rendered, write_jpeg
from pipeline.detect import registry
from pipeline.events import DecidedBy, MediaDecided, MediaUploaded, OutcomeStatus
from pipeline.events.values import Action, Family, SignalStatus, Surface
from pipeline.local import judging
from pipeline.models.build import build
from pipeline.models.samples import sample_photographs
from pipeline.policy.file import load
from pipeline.settings import Settings
from pipeline.stack.triton import Triton
from tests.stacks import MODELS, Platform, platform_on, stack_options

POLICY = load(None)

# What is uploaded, and what becomes of it while nobody can judge it: action, queue, hours, and the fail mode behind it.
NOT_JUDGED: dict[str, tuple[dict[str, Any], Action, str, float, str]] = {
    "post": ({}, Action.LIMIT, "triage", 24, "not-judged-in-full"),
    "ad": ({"surface": Surface.AD}, Action.HOLD, "triage", 8, "not-judged-in-full-ad"),
    "profile": ({"surface": Surface.PROFILE}, Action.LIMIT, "triage", 8, "identity-not-judged"),
    "election": ({"tags": ("election",)}, Action.LIMIT, "triage", 2, "civic-not-judged"),
    "adult": ({"tags": ("adult",)}, Action.HOLD, "intimate", 2, "adult-not-judged"),
    "declared": ({"declared_synthetic": True}, Action.LIMIT, "triage", 24, "not-judged-in-full"),
}
UNREADABLE: dict[str, tuple[dict[str, Any], Action, str, float, str]] = {
    "damaged post": ({}, Action.HOLD, "unreadable", 8, "unreadable"),
    "damaged ad": ({"surface": Surface.AD}, Action.HOLD, "unreadable", 4, "not-screened-ad"),
    "damaged adult": ({"tags": ("adult",)}, Action.HOLD, "intimate", 2, "not-screened-adult"),
}


@pytest.fixture(scope="module")
def platform(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("fail-modes")
    environment = {"UNMASK_ITEM_DEADLINE": "10", "UNMASK_CONCURRENCY": "8"}
    with platform_on(stack_options(home, folder, environment, broker="kafka")) as platform:
        yield platform


def decided(platform: Platform, upload: MediaUploaded) -> MediaDecided:
    found = platform.ledger.decision(upload.media_id, 1)
    assert found is not None
    return found


def holds(platform: Platform, upload: MediaUploaded, action: Action, queue: str, hours: float, rule: str) -> None:
    """The upload got this fail mode: at once provisionally, with a task under its deadline."""
    outcome, task = platform.outcome(upload), platform.task(upload)
    assert (outcome.action, outcome.status, outcome.decided_by) == (
        action,
        OutcomeStatus.PROVISIONAL,
        DecidedBy.FAIL_MODE,
    )
    event = decided(platform, upload)
    assert (task.queue, task.deadline - event.decided_at) == (queue, timedelta(hours=hours))
    assert rule in {hit.rule for hit in event.decision.trace if hit.acts and hit.fail_mode}


def test_triton_killed_under_load_leads_to_each_harms_fail_mode(platform: Platform) -> None:
    """Some uploads are judged, the rest get what the policy names for their harm and surface, and the audit holds."""
    triton = platform.stack.triton
    assert triton is not None
    number = 0

    def upload(**context: Any) -> MediaUploaded:
        nonlocal number
        number += 1
        path = platform.media / f"{number}.jpg"
        write_jpeg(path, rendered(100 + number))
        return platform.upload(path, **context)

    under_load = [(kind, upload(**NOT_JUDGED[kind][0])) for kind in (*NOT_JUDGED, *NOT_JUDGED)]
    platform.until(lambda: bool(platform.outcomes))
    triton.kill()
    afterwards = [(kind, upload(**context)) for kind, (context, *_) in NOT_JUDGED.items()]
    whole = (platform.media / "1.jpg").read_bytes()
    (platform.media / "damaged.jpg").write_bytes(whole[: len(whole) // 50])
    damaged = [(kind, platform.upload(platform.media / "damaged.jpg", **row[0])) for kind, row in UNREADABLE.items()]

    for kind, event in afterwards:
        holds(platform, event, *NOT_JUDGED[kind][1:])
    for kind, event in damaged:
        holds(platform, event, *UNREADABLE[kind][1:])
    for kind, event in under_load:
        outcome = platform.outcome(event)
        if outcome.decided_by is DecidedBy.FAIL_MODE and outcome.action is not Action.ALLOW:
            holds(platform, event, *NOT_JUDGED[kind][1:])
            continue
        # Killed between two questions: what is required was answered, a hint perhaps not: shown, and somebody looks.
        signals = {signal.family: signal.status for signal in decided(platform, event).signals}
        assert SignalStatus.MISSING not in (signals[Family.FACE_SWAP], signals[Family.FACE_SYNTHESIS])
        if outcome.decided_by is DecidedBy.FAIL_MODE:
            assert outcome.status is OutcomeStatus.PROVISIONAL
    report = run_audit(platform.config, platform.ledger)
    assert report.violations == ()
    assert report.counts.uploads == len(under_load) + len(afterwards) + len(damaged)


@pytest.fixture(scope="module")
def judge(
    triton: Callable[[Path], Triton], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Surface], MediaDecided]:
    """Judges a genuine portrait by the detectors of a file's text, on the real server."""
    folder = tmp_path_factory.mktemp("detectors")
    build(MODELS, home)
    photo = next(p for p in sample_photographs(home, MODELS) if p.name == "astronaut")
    path = folder / "portrait.jpg"
    with Image.open(photo.path) as image:
        write_jpeg(path, np.asarray(image.convert("RGB"), np.uint8))
    url = triton(MODELS).addresses.grpc

    def judged(detectors: str, surface: Surface) -> MediaDecided:
        file = folder / "detectors.yaml"
        file.write_text(detectors, "utf-8")
        settings = Settings(triton_url=url, home=home, detectors_file=file)

        async def run() -> MediaDecided:
            async with judging(settings, POLICY, [folder], surface) as (judge, _):
                return (await judge(path)).decided

        return asyncio.run(run())

    return judged


def lines(*changed: str) -> str:
    """The detectors that ship, with these lines instead of those of the same name, or beside them."""
    text = registry.DEFAULT.read_text("utf-8")
    for line in changed:
        name = line.split("name: ")[1].split(",")[0]
        kept = [old for old in text.splitlines() if f"name: {name}," not in old]
        text = "\n".join((*kept, f"  - {{{line}}}")) + "\n"
    return text


def without(text: str, name: str) -> str:
    return "\n".join(line for line in text.splitlines() if f"name: {name}," not in line) + "\n"


@pytest.mark.parametrize(
    ("surface", "action", "rule"),
    [
        (Surface.POST, Action.LIMIT, "not-judged-in-full"),
        (Surface.AD, Action.HOLD, "not-judged-in-full-ad"),
        (Surface.PROFILE, Action.LIMIT, "identity-not-judged"),
    ],
)
def test_a_detector_that_is_late(
    judge: Callable[[str, Surface], MediaDecided], surface: Surface, action: Action, rule: str
) -> None:
    """No answer within its time is no answer: the fail mode for missing families applies, by surface."""
    late = judge(lines("name: face_forgery, mode: live, deadline: 0.001"), surface)
    assert late.decision.action is action
    assert rule in {hit.rule for hit in late.decision.trace if hit.acts}
    assert late.decision.review is not None


def test_a_required_family_that_no_detector_looks_for(judge: Callable[[str, Surface], MediaDecided]) -> None:
    """Whoever leaves a detector out of the file has not judged what the policy requires."""
    left_out = judge(without(lines(), "face_forgery"), Surface.POST)
    assert left_out.decision.action is Action.LIMIT
    assert "Not judged in full: face swap." in left_out.decision.reasons


def test_a_detector_whose_model_is_not_there(judge: Callable[[str, Surface], MediaDecided]) -> None:
    """A voice in an advertisement that nobody judged is published and listened to; the rest is judged as ever."""
    text = lines("name: absent, mode: live, deadline: 5, module: 'tests.integration.detectors_that_fail:Absent'")
    found = judge(without(text, "voice_clone"), Surface.AD).decision
    assert found.action is Action.ALLOW
    assert found.review is not None
    assert found.review.queue == "voices"
    assert [hit.rule for hit in found.trace if hit.acts] == ["voice-not-judged"]


@pytest.mark.parametrize(
    ("surface", "action", "rules"),
    [
        (Surface.POST, Action.ALLOW, ["face-swap-in-doubt"]),
        (Surface.AD, Action.LIMIT, ["face-swap-in-doubt-ad", "face-swap-in-doubt"]),
    ],
)
def test_a_detector_that_abstains(
    judge: Callable[[str, Surface], MediaDecided], surface: Surface, action: Action, rules: list[str]
) -> None:
    """A score inside the band of doubt reassures nobody: somebody looks, and an advertisement loses reach meanwhile."""
    curve, band = POLICY.fused.curve(Family.FACE_SWAP, None), POLICY.fused.abstain(Family.FACE_SWAP)
    assert curve is not None
    assert band is not None
    score = next(step / 1000 for step in range(1000) if curve(step / 1000) >= (band.low + band.high) / 2)
    where = f"module: 'tests.integration.detectors_that_fail:Undecided', options: {{score: {score}}}"
    found = judge(without(lines(f"name: undecided, mode: live, deadline: 5, {where}"), "face_forgery"), surface)
    (swap,) = (signal for signal in found.signals if signal.family is Family.FACE_SWAP)
    assert swap.status is SignalStatus.ABSTAINED
    assert found.decision.action is action
    assert [hit.rule for hit in found.decision.trace if hit.acts] == rules
