"""Decisions that restrict, with the rules behind them, for tests of what is said about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.events import (
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    ReviewDecided,
    Versions,
    ids,
)
from pipeline.events.values import (
    Action,
    Decision,
    Family,
    MediaFacts,
    MediaKind,
    RegionalDecision,
    RequestFacts,
    RequestKind,
    ReviewNeed,
    RuleHit,
    RuleMode,
    Saw,
    Signal,
    SignalStatus,
)
from pipeline.ledger.port import Standing
from pipeline.policy.rules import Ground, Harm
from pipeline.route import route
from pipeline.settle import settle

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)

HARMS = {
    "intimate": Harm(
        what="sexual imagery of a person who did not consent",
        severity=5,
        ground=Ground.ILLEGAL,
        category="STATEMENT_CATEGORY_CYBER_VIOLENCE",
        keywords=("KEYWORD_NON_CONSENSUAL_MATERIAL_DEEPFAKE",),
        rule_text="Directive (EU) 2024/1385, Article 5",
    ),
    "fraud": Harm(
        what="a false face that asks for money",
        severity=3,
        category="STATEMENT_CATEGORY_SCAMS_AND_FRAUD",
        keywords=("KEYWORD_IMPERSONATION_ACCOUNT_HIJACKING", "KEYWORD_MISINFORMATION_DISINFORMATION"),
        rule_text="Terms of the platform, section 4: https://platform.example/terms#4.",
    ),
    "unsaid": Harm(what="synthetic media that is not said to be", severity=1),
}

SWAP = Signal(family=Family.FACE_SWAP, status=SignalStatus.SCORED, probability=0.91, low=0.85, high=0.95)
NUDE = Signal(family=Family.NUDITY, status=SignalStatus.SCORED, probability=0.97, low=0.9, high=1.0)
REQUEST = RequestFacts(request_id="req-1", kind=RequestKind.REMOVAL, received_at=NOON, harm="intimate")


def hit(action: Action, harm: str, **changes: Any) -> RuleHit:
    """A rule that acted on a face swap."""
    fields: dict[str, Any] = {
        "rule": f"{harm}-{action}",
        "mode": RuleMode.LIVE,
        "because": "Possible face swap at 00:03.2: probability 0.91 (0.85–0.95), at or above 0.80.",
        "family": Family.FACE_SWAP,
        "saw": (Saw(field="face_swap.probability", value=0.91),),
        **changes,
    }
    return RuleHit(harm=harm, action=action, **fields)


def restricted(
    action: Action,
    harm: str = "fraud",
    *,
    round_: int = 1,
    hits: tuple[RuleHit, ...] | None = None,
    review: bool = False,
    label: str | None = None,
    regional: tuple[RegionalDecision, ...] = (),
    signals: tuple[Signal, ...] = (SWAP,),
    request: RequestFacts | None = None,
    kind: MediaKind | None = MediaKind.VIDEO,
    media_id: str = "m-1",
    **upload: Any,
) -> MediaDecided:
    """A decision; with `review` one that a person has to look at."""
    trace = (hit(action, harm, label=label),) if hits is None else hits
    need = ReviewNeed(queue="faces", harm=harm, priority=50, deadline=NOON + timedelta(hours=4))
    fields: dict[str, Any] = {
        "uri": f"s3://uploads/{media_id}.mp4",
        "uploaded_at": NOON - timedelta(days=2),
        "uploader_id": "uploader-7",
        **upload,
    }
    return MediaDecided(
        decision_id=ids.decision_id(media_id, round_),
        media_id=media_id,
        round=round_,
        upload=MediaUploaded(media_id=media_id, **fields),
        decided_at=NOON + timedelta(hours=round_ - 1),
        decision=Decision(
            action=action,
            reasons=tuple(each.because for each in trace),
            policy_version="p@1",
            review=need if review else None,
            trace=trace,
            label=label,
            regional=regional,
            harm=harm,
        ),
        versions=Versions(unmask="0", policy="p@1"),
        sha256="ab" * 32,
        facts=MediaFacts(kind=kind, container="mp4") if kind else None,
        signals=signals,
        request=request,
    )


def outcome_of(decided: MediaDecided) -> MediaEnforced:
    """What applies by the decision."""
    return route(decided).outcome


def answer(decided: MediaDecided, action: Action, **changes: Any) -> ReviewDecided:
    """A person's answer to the task that the decision led to."""
    task = route(decided).task
    assert task is not None
    return ReviewDecided(
        review_id=ids.task_id(decided.media_id, 99),
        task_id=task.task_id,
        media_id=decided.media_id,
        action=action,
        decided_at=decided.decided_at + timedelta(hours=1),
        reviewer_id="reviewer-3",
        round=decided.round,
        **changes,
    )


def final(decided: MediaDecided, review: ReviewDecided) -> MediaEnforced:
    """The outcome that a person's answer leads to."""
    task = route(decided).task
    assert task is not None
    return settle(review, task)


def standing(decided: MediaDecided) -> Standing:
    """How things stand after the decision, before a person's."""
    return Standing(decided, outcome_of(decided))
