"""Deciding is total, blind to the order of rules, and never milder for a higher score."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.errors import Reason, Stage
from pipeline.events import MediaUploaded
from pipeline.events.values import (
    Action,
    Decision,
    Evidence,
    Failure,
    Family,
    RuleMode,
    Signal,
    SignalStatus,
    Surface,
)
from pipeline.fuse import fuse
from pipeline.policy.decide import NOTHING_FOUND, decide
from pipeline.policy.file import load
from pipeline.policy.rules import On, Policy
from tests import strategies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = MediaUploaded(media_id="m-1", uri="s3://b/k", uploaded_at=NOW)
DEFAULT = load(None)
CLEAN = {Family.FACE_SWAP: 0.05, Family.FACE_SYNTHESIS: 0.05}


def scored(**probabilities: float) -> tuple[Signal, ...]:
    """Clean signals of what the default policy requires, with these instead."""
    values = {**CLEAN, **{Family(name): value for name, value in probabilities.items()}}
    return tuple(
        Signal(
            family=family,
            status=SignalStatus.SCORED,
            probability=value,
            low=max(0.0, value - 0.05),
            high=min(1.0, value + 0.05),
            evidence=(Evidence(detector="d", score=value, at=3.27),),
        )
        for family, value in values.items()
    )


def judged(signals: tuple[Signal, ...], failure: Failure | None = None, **upload: object) -> Decision:
    return decide(signals, msgspec.structs.replace(UPLOAD, **upload), DEFAULT, NOW, failure)


def urgency(decision: Decision) -> tuple[bool, float, int]:
    """Higher is more urgent."""
    need = decision.review
    return (need is not None, -(need.deadline - NOW).total_seconds(), need.priority) if need else (False, 0.0, 0)


@given(strategies.signal_sets(), strategies.uploads, strategies.policies(), st.none() | strategies.failures)
def test_total(signals: tuple[Signal, ...], upload: MediaUploaded, policy: Policy, failure: Failure | None) -> None:
    """Every input has a decision with a reason; nothing is held without a person to ask."""
    decision = decide(signals, upload, policy, NOW, failure)
    assert decision.reasons
    assert all(decision.reasons)
    assert decision.policy_version == policy.version
    live = [hit for hit in decision.trace if hit.mode is RuleMode.LIVE]
    assert decision.action is max((hit.action for hit in live), key=lambda a: a.strength, default=Action.ALLOW)
    assert (decision.review is not None) == any(hit.queue for hit in live)
    assert decision.action is not Action.HOLD or decision.review is not None
    if decision.review:
        assert decision.review.queue in policy.queues


@given(st.data(), strategies.signal_sets(), strategies.uploads, strategies.policies(), st.none() | strategies.failures)
def test_blind_to_order(
    data: st.DataObject,
    signals: tuple[Signal, ...],
    upload: MediaUploaded,
    policy: Policy,
    failure: Failure | None,
) -> None:
    """The order of signals, rules and fail modes changes nothing."""
    mixed = msgspec.structs.replace(
        policy,
        rules=strategies.shuffled(data.draw, policy.rules),
        fail_modes=strategies.shuffled(data.draw, policy.fail_modes),
    )
    reordered = strategies.shuffled(data.draw, signals)
    assert decide(reordered, upload, mixed, NOW, failure) == decide(signals, upload, policy, NOW, failure)


@given(st.data(), strategies.signal_sets(), strategies.uploads, strategies.policies())
def test_monotone_in_each_probability(
    data: st.DataObject, signals: tuple[Signal, ...], upload: MediaUploaded, policy: Policy
) -> None:
    """A higher probability never leads to a milder action, a later deadline or no review."""
    places = [i for i, signal in enumerate(signals) if signal.probability is not None]
    assume(places)
    i = data.draw(st.sampled_from(places))
    raised = data.draw(st.floats(signals[i].probability, 1))
    higher = (*signals[:i], msgspec.structs.replace(signals[i], probability=raised), *signals[i + 1 :])
    before, after = decide(signals, upload, policy, NOW), decide(higher, upload, policy, NOW)
    assert after.action.strength >= before.action.strength
    assert urgency(after) >= urgency(before)


@given(
    strategies.policies() | st.just(DEFAULT),
    strategies.uploads,
    strategies.families,
    st.dictionaries(strategies.families, strategies.probabilities),
    st.sampled_from([1.0, 0.5, 0.1]),
)
def test_monotone_from_raw_score_to_action(
    policy: Policy, upload: MediaUploaded, swept: Family, others: dict[Family, float], coverage: float
) -> None:
    """As a detector's score sweeps from 0 to 1, through doubt and with lost coverage, nothing ever gets milder."""
    before = None
    for step in range(21):
        scores = {**others, swept: step / 20}
        reports = tuple(
            DetectorReport("d", "1", Mode.LIVE, (family,), ReportStatus.OK, (Score(family, score),), coverage)
            for family, score in scores.items()
        )
        after = decide(fuse(Findings(reports), policy.fused).signals, upload, policy, NOW)
        if before is not None:
            assert after.action.strength >= before.action.strength
            assert urgency(after) >= urgency(before)
        before = after


@pytest.mark.parametrize("coverage", [1.0, 0.1])
def test_surer_than_doubtful_is_not_milder(coverage: float) -> None:
    """A fail mode that is stricter than the rule above it still holds above the abstain band and for what was seen."""
    rule = msgspec.structs.replace(DEFAULT.rules[1], when={Family.FACE_SWAP: 0.9})
    strict = tuple(
        msgspec.structs.replace(mode, action=Action.HOLD, surfaces=()) if mode.on is not On.UNJUDGED else mode
        for mode in DEFAULT.fail_modes
    )
    policy = msgspec.structs.replace(DEFAULT, rules=(rule,), fail_modes=strict)
    score = Score(Family.FACE_SWAP, 0.95)
    report = DetectorReport("d", "1", Mode.LIVE, tuple(CLEAN), ReportStatus.OK, (score,), coverage)
    assert decide(fuse(Findings((report,)), policy.fused).signals, UPLOAD, policy, NOW).action is Action.HOLD


@given(strategies.uploads, strategies.policies() | st.just(DEFAULT), strategies.failures)
def test_what_could_not_be_judged_is_never_simply_allowed(
    upload: MediaUploaded, policy: Policy, failure: Failure
) -> None:
    """Any failure, on any surface, leads to a restriction or to a person."""
    decision = decide((), upload, policy, NOW, failure)
    assert decision.review is not None or decision.action.strength >= Action.LIMIT.strength
    assert any(hit.fail_mode for hit in decision.trace)


@given(strategies.uploads, strategies.policies() | st.just(DEFAULT), st.data())
def test_a_missing_required_family_is_never_simply_allowed(
    upload: MediaUploaded, policy: Policy, data: st.DataObject
) -> None:
    """Absent, missing or hardly looked at: the fail mode applies."""
    assume(policy.fusion.requires)
    family = data.draw(st.sampled_from(policy.fusion.requires))
    missing = Signal(family=family, status=SignalStatus.MISSING, coverage=0.0)
    for signals in ((), (missing,)):
        decision = decide(signals, upload, policy, NOW)
        assert decision.review is not None or decision.action.strength >= Action.LIMIT.strength


# What the default policy does.


def test_clean() -> None:
    """Nothing found: allowed at once, and said so."""
    decision = judged(scored())
    assert (decision.action, decision.review, decision.reasons) == (Action.ALLOW, None, (NOTHING_FOUND,))


def test_likely_face_swap() -> None:
    """Reach is limited and people look within hours; the reason has the moment and the numbers."""
    decision = judged(scored(face_swap=0.91))
    assert decision.action is Action.LIMIT
    assert decision.review is not None
    assert (decision.review.queue, decision.review.deadline) == ("faces", NOW + timedelta(hours=4))
    assert decision.reasons == ("Possible face swap at 00:03.2: probability 0.91 (0.86–0.96), at or above 0.83.",)


def test_likely_face_swap_in_an_advertisement() -> None:
    """Two rules fire; the stronger acts and speaks, the more urgent chooses the deadline."""
    decision = judged(scored(face_swap=0.91), surface=Surface.AD)
    assert decision.action is Action.HOLD
    assert decision.review is not None
    assert (decision.review.harm, decision.review.deadline) == ("fraud", NOW + timedelta(hours=2))
    assert len(decision.reasons) == 1
    assert [hit.rule for hit in decision.trace] == [
        "likely-face-swap-in-ad",
        "likely-face-swap",
        "face-swap-in-doubt-ad",
        "face-swap-in-doubt",
    ]


def test_possible_synthetic_face() -> None:
    """It stays up while a person looks; as somebody's profile picture it is limited; declared, it is labelled."""
    post = judged(scored(face_synthesis=0.9))
    assert post.action is Action.ALLOW
    assert post.review is not None
    assert post.review.queue == "synthetic"
    assert judged(scored(face_synthesis=0.9), surface=Surface.PROFILE).action is Action.LIMIT
    declared = judged(scored(face_synthesis=0.1), declared_synthetic=True)
    assert (declared.action, declared.review) == (Action.LABEL, None)
    assert declared.label == "AI-generated, as the uploader says"


def test_generator_metadata_is_labelled_without_a_person() -> None:
    """The file's own words are enough for a label."""
    decision = judged(scored(generator_metadata=0.95))
    assert (decision.action, decision.review) == (Action.LABEL, None)


def test_nudity_routes_and_does_nothing_alone() -> None:
    """Nudity alone fires nothing; with a suspicion of a swap it is the most urgent case there is."""
    assert judged(scored(nudity=0.99)).trace == ()
    decision = judged(scored(nudity=0.9, face_swap=0.55))
    assert decision.action is Action.HOLD
    assert decision.review is not None
    assert (decision.review.queue, decision.review.priority) == ("intimate", 100)
    (reason,) = decision.reasons
    assert reason == (
        "Possible intimate imagery with a swapped face: face swap at 00:03.2 0.55 (0.50–0.60), at or above 0.50; "
        "nudity at 00:03.2 0.90 (0.85–0.95), at or above 0.80."
    )
    alone = judged(scored(nudity=0.9, face_swap=0.95))
    assert alone.review is not None
    assert alone.review.queue == "intimate"


def test_doubt() -> None:
    """Inside the abstain band somebody looks when there is time."""
    (swap, *rest) = scored(face_swap=0.7)
    decision = judged((msgspec.structs.replace(swap, status=SignalStatus.ABSTAINED), *rest))
    assert decision.action is Action.ALLOW
    assert decision.review is not None
    assert decision.review.queue == "triage"
    assert decision.reasons[0].endswith("probability 0.70 (0.65–0.75), too uncertain to say.")


def test_triton_down() -> None:
    """Detectors that did not answer: limited, or held in advertisements, until people catch up."""
    down = tuple(DetectorReport("d", "1", Mode.LIVE, (family,), ReportStatus.FAILED, coverage=0.0) for family in CLEAN)
    signals = fuse(Findings(down), DEFAULT.fused).signals
    decision = judged(signals)
    assert decision.action is Action.LIMIT
    assert decision.review is not None
    assert decision.review.queue == "triage"
    assert decision.reasons == ("Not judged in full: face swap.", "Not judged in full: face synthesis.")
    assert judged(signals, surface=Surface.AD).action is Action.HOLD


def test_unreadable() -> None:
    """What cannot be screened is held; the reason names the cause and not the detail, which may name hosts."""
    failure = Failure(stage=Stage.DECODE, reason=Reason.MEDIA_CORRUPT, detail="moov atom not found in x.mp4")
    decision = judged((), failure=failure)
    assert decision.action is Action.HOLD
    assert decision.review is not None
    assert decision.review.queue == "unreadable"
    assert decision.reasons == ("Could not be screened: media corrupt (decode).",)


def test_a_score_of_a_part_does_not_hide_what_was_not_seen() -> None:
    """A high score with little coverage fires its rule and the fail mode."""
    report = DetectorReport(
        "d", "1", Mode.LIVE, (Family.FACE_SWAP,), ReportStatus.OK, (Score(Family.FACE_SWAP, 0.99),), coverage=0.1
    )
    decision = judged(fuse(Findings((report,)), DEFAULT.fused).signals)
    assert {hit.rule for hit in decision.trace} >= {"likely-face-swap", "not-judged-in-full"}
    assert "Not judged in full: face swap (looked at 10 %)." in decision.reasons


# Conditions.


@pytest.mark.parametrize(("regions", "fires"), [((), True), (("DE",), True), (("FR", "DE"), True), (("FR",), False)])
def test_regions(regions: tuple[str, ...], fires: bool) -> None:
    """A rule for regions fires where the upload is shown there, and where nobody said where it is shown."""
    rule = msgspec.structs.replace(DEFAULT.rules[2], regions=("DE", "AT"))
    policy = msgspec.structs.replace(DEFAULT, rules=(rule,))
    upload = msgspec.structs.replace(UPLOAD, regions=regions)
    decision = decide(scored(face_swap=0.9), upload, policy, NOW)
    assert (rule.name in {hit.rule for hit in decision.trace}) is fires


def test_a_shadow_rule_is_only_recorded() -> None:
    """A shadow rule is in the trace and changes neither action, review, reasons nor label."""
    rules = tuple(msgspec.structs.replace(rule, mode=RuleMode.SHADOW) for rule in DEFAULT.rules)
    policy = msgspec.structs.replace(DEFAULT, rules=rules)
    upload = msgspec.structs.replace(UPLOAD, declared_synthetic=True)
    decision = decide(scored(generator_metadata=0.9), upload, policy, NOW)
    assert (decision.action, decision.review, decision.label) == (Action.ALLOW, None, None)
    assert decision.reasons == (NOTHING_FOUND,)
    assert {hit.rule for hit in decision.trace} == {"generator-metadata", "declared-synthetic"}


def test_the_earliest_deadline_wins_then_the_highest_priority() -> None:
    """Of several reviews the most urgent names the queue."""
    swap = DEFAULT.rules[2]
    assert swap.review is not None

    def rule(name: str, deadline: str, priority: int) -> object:
        review = msgspec.structs.replace(swap.review, queue=name, deadline=deadline, priority=priority)
        return msgspec.structs.replace(swap, name=name, review=review)

    rules = (rule("faces", "60m", 1), rule("triage", "1h", 2), rule("synthetic", "2h", 99))
    decision = decide(scored(face_swap=0.9), UPLOAD, msgspec.structs.replace(DEFAULT, rules=rules), NOW)
    assert decision.review is not None
    assert decision.review.queue == "triage"
