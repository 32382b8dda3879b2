"""Deciding is total and pure, blind to the order of rules, the same region by region, and never milder for a higher
score."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.errors import Reason, Stage
from pipeline.events import MediaUploaded
from pipeline.events.values import (
    Action,
    Consent,
    Decision,
    Failure,
    Family,
    Match,
    RequestFacts,
    RequestKind,
    RuleMode,
    Signal,
    SignalStatus,
    Surface,
)
from pipeline.fuse import fuse
from pipeline.policy.case import Case, case_of
from pipeline.policy.decide import NOTHING_FOUND, decide
from pipeline.policy.file import load, parse
from pipeline.policy.rules import Mode as RuleState
from pipeline.policy.rules import On, Policy
from tests import strategies
from tests.strategies import with_rules
from tests.unit.policy.sample import CALIBRATED, NOW, POLICY, UPLOAD, case, scored, with_rule

DEFAULT = load(None)
policies = strategies.policies() | st.just(DEFAULT)


def urgency(decision: Decision) -> tuple[bool, float, int]:
    """Higher is more urgent."""
    need = decision.review
    if need is None or need.start_by is None:
        return (False, 0.0, 0)
    return (True, -(need.start_by - NOW).total_seconds(), need.priority)


def there(decision: Decision, region: str) -> tuple[Action, str | None, tuple[str, ...]]:
    """What applies in a region."""
    for each in decision.regional:
        if region in each.regions:
            return each.action, each.label, each.reasons
    return decision.action, decision.label, decision.reasons


def deciding(text: str, given: Case) -> Decision:
    return decide(given, parse(text, "p.yaml", CALIBRATED))


def enforced(decision: Decision) -> tuple[object, ...]:
    """All of a decision that anybody acts on."""
    return decision.action, decision.label, decision.review, decision.regional, decision.harm


@given(strategies.cases(), policies)
def test_total(given: Case, policy: Policy) -> None:
    """Every input has a decision with a reason; nothing is held without a person to ask."""
    decision = decide(given, policy)
    assert decision.reasons
    assert all(decision.reasons)
    assert decision.policy_version == policy.version
    acting = [hit for hit in decision.trace if hit.acts]
    strongest = max((hit.action for hit in acting), key=lambda a: a.strength, default=Action.ALLOW)
    applied = [decision.action, *(each.action for each in decision.regional)]
    assert strongest is max(applied, key=lambda a: a.strength)
    assert (decision.review is not None) == any(hit.queue for hit in acting)
    assert Action.HOLD not in applied or decision.review is not None
    assert (decision.harm is not None) == bool(acting)
    if decision.review:
        assert decision.review.queue in policy.queues
        assert decision.review.start_by is not None
        assert decision.review.start_by < decision.review.deadline


@given(strategies.cases(), policies)
def test_pure(given: Case, policy: Policy) -> None:
    """The same upload has the same decision, and deciding leaves it as it was."""
    before = copy.deepcopy(given)
    assert decide(given, policy) == decide(given, policy)
    assert given == before


@given(st.data(), strategies.cases(), policies)
def test_blind_to_order(data: st.DataObject, given: Case, policy: Policy) -> None:
    """The order of signals, rules and fail modes changes nothing."""
    mixed = with_rules(
        policy,
        strategies.shuffled(data.draw, policy.rules),
        strategies.shuffled(data.draw, policy.fail_modes),
    )
    reordered = replace(given, signals=strategies.shuffled(data.draw, given.signals))
    assert decide(reordered, mixed) == decide(given, policy)


@given(strategies.cases(), policies)
def test_what_does_not_act_changes_nothing(given: Case, policy: Policy) -> None:
    """Without its shadow rules, its rules that are off, and those that are exempted, a policy does the same."""
    decision = decide(given, policy)
    live = [rule for rule in policy.rules if rule.mode is RuleState.LIVE]
    assert enforced(decide(given, with_rules(policy, live))) == enforced(decision)
    exempted = {(hit.rule, hit.exempted_by) for hit in decision.trace if hit.exempted_by}
    names = {name for name, _ in exempted}
    kept = [rule for rule in live if rule.name not in names]
    modes = [mode for mode in policy.fail_modes if mode.name not in names]
    assert enforced(decide(given, with_rules(policy, kept, modes))) == enforced(decision)


def named(policy: Policy) -> list[str]:
    """The regions that a policy speaks of, and one of which it does not."""
    places = {place for each in (*policy.rules, *policy.file.clocks.values()) for place in each.jurisdictions}
    return [*sorted(policy.file.regions(places)), "ZW"]


@given(strategies.cases(), policies)
def test_each_region_has_the_outcome_that_it_would_have_alone(given: Case, policy: Policy) -> None:
    """One evaluation gives each region what a decision for an upload shown only there gives."""
    decision = decide(given, policy)
    regions = given.upload.regions or named(policy)
    alone = {
        region: decide(replace(given, upload=structs.replace(given.upload, regions=(region,))), policy)
        for region in regions
    }
    for region, only in alone.items():
        action, label, reasons = there(decision, region)
        assert (action, label) == (only.action, only.label)
        if any(hit.acts for hit in only.trace):
            assert reasons == only.reasons
    assert urgency(decision) == max(urgency(only) for only in alone.values())
    covered = [region for each in decision.regional for region in each.regions]
    assert len(covered) == len(set(covered))


@given(st.data(), strategies.cases(failure=False), policies)
def test_monotone_in_each_probability(data: st.DataObject, given: Case, policy: Policy) -> None:
    """A higher probability never leads to a milder action, a later start or no review, in any region."""
    places = [i for i, signal in enumerate(given.signals) if signal.probability is not None]
    assume(places)
    i = data.draw(st.sampled_from(places))
    raised = data.draw(st.floats(given.signals[i].probability, 1))
    higher = structs.replace(given.signals[i], probability=raised)
    before = decide(given, policy)
    after = decide(replace(given, signals=(*given.signals[:i], higher, *given.signals[i + 1 :])), policy)
    for region in ("DE", "FR", "NO", "IN", "US"):
        assert there(after, region)[0].strength >= there(before, region)[0].strength
    assert urgency(after) >= urgency(before)


@given(
    policies,
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
        found = fuse(Findings(reports), policy.fused)
        after = decide(Case(upload, NOW, found.signals, agreement=found.agreement), policy)
        if before is not None:
            assert after.action.strength >= before.action.strength
            assert urgency(after) >= urgency(before)
        before = after


@pytest.mark.parametrize("coverage", [1.0, 0.1])
def test_surer_than_doubtful_is_not_milder(coverage: float) -> None:
    """A fail mode that is stricter than the rule above it still holds above the abstain band and for what was seen."""
    strict = [
        structs.replace(mode, action=Action.HOLD) if mode.on is not On.UNJUDGED else mode for mode in POLICY.fail_modes
    ]
    policy = with_rules(POLICY, POLICY.rules[:2], strict)
    report = DetectorReport(
        "d", "1", Mode.LIVE, (Family.FACE_SWAP,), ReportStatus.OK, (Score(Family.FACE_SWAP, 0.999),), coverage
    )
    assert decide(Case(UPLOAD, NOW, fuse(Findings((report,)), policy.fused).signals), policy).action is Action.HOLD


@given(strategies.cases(failure=True), policies)
def test_what_could_not_be_judged_is_never_simply_allowed(given: Case, policy: Policy) -> None:
    """Any failure, on any surface, leads to a restriction or to a person."""
    decision = decide(given, policy)
    assert decision.review is not None or decision.action.strength >= Action.LIMIT.strength
    assert any(hit.fail_mode for hit in decision.trace)


@given(strategies.uploads, policies, st.data())
def test_a_missing_required_family_is_never_simply_allowed(
    upload: MediaUploaded, policy: Policy, data: st.DataObject
) -> None:
    """Absent, missing or hardly looked at: the fail mode applies."""
    assume(policy.fusion.requires)
    family = data.draw(st.sampled_from(policy.fusion.requires))
    missing = Signal(family=family, status=SignalStatus.MISSING, coverage=0.0)
    for signals in ((), (missing,)):
        decision = decide(Case(upload, NOW, signals), policy)
        assert decision.review is not None or decision.action.strength >= Action.LIMIT.strength


@given(strategies.decided)
def test_what_was_recorded_can_be_decided_again(decided) -> None:
    """A recorded decision holds all that a policy looks at."""
    again = case_of(decided)
    assert (again.upload, again.signals, again.now) == (decided.upload, decided.signals, decided.decided_at)
    assert decide(again, POLICY).policy_version == POLICY.version


# What the words of a policy do.


def test_clean() -> None:
    """Nothing found: allowed at once, and said so."""
    decision = decide(case(), POLICY)
    assert (decision.action, decision.review, decision.reasons) == (Action.ALLOW, None, (NOTHING_FOUND,))
    assert decision.harm is None


def test_a_reason_has_the_moment_and_the_numbers() -> None:
    """Through a definition and a named threshold too; the trace has every value that the rule saw."""
    decision = decide(case(*scored(face_swap=0.91)), POLICY)
    assert (decision.action, decision.harm) == (Action.LIMIT, "impersonation")
    assert decision.review is not None
    assert (decision.review.queue, decision.review.deadline) == ("faces", NOW + timedelta(hours=4))
    assert decision.review.start_by == decision.review.deadline - timedelta(minutes=6)
    assert decision.reasons == ("Possible face swap at 00:03.2: probability 0.91 (0.86–0.96), at or above 0.83.",)
    hit = decision.trace[0]
    assert (hit.family, hit.observed, hit.threshold) == (Family.FACE_SWAP, 0.91, 0.83)
    assert [(saw.field, saw.value) for saw in hit.saw] == [("face_swap.probability", 0.91)]


def test_the_stronger_acts_and_speaks_the_more_urgent_asks() -> None:
    """Two rules fire; one reason is given, the earlier start decides the queue."""
    decision = decide(case(*scored(face_swap=0.91), surface=Surface.AD), POLICY)
    assert (decision.action, decision.harm, len(decision.reasons)) == (Action.HOLD, "fraud", 1)
    assert decision.review is not None
    assert decision.review.deadline == NOW + timedelta(hours=2)
    assert [hit.rule for hit in decision.trace] == ["likely-swap-in-ad", "likely-swap", "swap-in-doubt"]


def test_several_signals_are_each_named() -> None:
    """A rule on two families names both, with the numbers of each."""
    (reason, *_) = decide(case(*scored(nudity=0.9, face_swap=0.55)), POLICY).reasons
    assert reason == (
        "Possible intimate imagery with a swapped face: face swap at 00:03.2 0.55 (0.50–0.60), at or above 0.50; "
        "nudity at 00:03.2 0.90 (0.85–0.95), at or above 0.80."
    )


def test_an_exemption_leaves_alone_and_says_so() -> None:
    """With consent the same manipulation is left alone; the trace and the reason say why."""
    decision = decide(case(*scored(face_swap=0.91), consent=Consent(reference="c-1")), POLICY)
    assert (decision.action, decision.review) == (Action.ALLOW, None)
    assert {hit.exempted_by for hit in decision.trace} == {"consented"}
    assert decision.reasons[0].endswith("Left alone: The person shown agreed.")
    assert "consent.given" in {saw.field for saw in decision.trace[0].saw}


def test_triton_down() -> None:
    """A detector that did not answer: the fail mode applies, and says which family was not judged."""
    down = DetectorReport("d", "1", Mode.LIVE, (Family.FACE_SWAP,), ReportStatus.FAILED, coverage=0.0)
    decision = decide(case(*fuse(Findings((down,)), POLICY.fused).signals), POLICY)
    assert decision.action is Action.LIMIT
    assert decision.reasons == ("Not judged in full: face swap.",)


def test_unreadable() -> None:
    """What cannot be screened is held; the reason names the cause and not the detail, which may name hosts."""
    failure = Failure(stage=Stage.DECODE, reason=Reason.MEDIA_CORRUPT, detail="moov atom not found in x.mp4")
    decision = decide(Case(UPLOAD, NOW, failure=failure), POLICY)
    assert decision.action is Action.HOLD
    assert decision.reasons == ("Could not be screened: media corrupt (decode).",)


def test_a_score_of_a_part_does_not_hide_what_was_not_seen() -> None:
    """A high score with little coverage fires its rule and the fail mode."""
    report = DetectorReport(
        "d", "1", Mode.LIVE, (Family.FACE_SWAP,), ReportStatus.OK, (Score(Family.FACE_SWAP, 0.999),), coverage=0.1
    )
    decision = decide(case(*fuse(Findings((report,)), POLICY.fused).signals), POLICY)
    assert {hit.rule for hit in decision.trace} >= {"likely-swap", "not-judged-in-full"}
    assert "Not judged in full: face swap (looked at 10 %)." in decision.reasons


RULE = """
name: only
harm: fraud
reason: Found
when: >-
  {when}
action: limit
{more}
"""


def rule(when: str = "is.swapped", more: str = "") -> str:
    return with_rule(RULE.format(when=when, more=more))


@pytest.mark.parametrize(
    ("regions", "action", "regional"),
    [
        ((), Action.ALLOW, [("DE", "NO", "SE")]),
        (("DE",), Action.LIMIT, []),
        (("NO", "DE"), Action.LIMIT, []),
        (("FR", "DE"), Action.ALLOW, [("DE",)]),
        (("FR",), Action.ALLOW, []),
    ],
)
def test_jurisdictions(regions: tuple[str, ...], action: Action, regional: list[tuple[str, ...]]) -> None:
    """A rule acts where it applies and the upload is shown; one that names no region is shown everywhere."""
    text = rule(more="jurisdictions: [DE, NORDIC]")
    decision = deciding(text, case(*scored(face_swap=0.9), regions=regions))
    assert decision.action is action
    assert [each.regions for each in decision.regional] == regional
    assert all(each.action is Action.LIMIT for each in decision.regional)


@pytest.mark.parametrize(
    ("now", "fires"), [("2025-12-31T23:59:59", False), ("2026-01-01T00:00:00", True), ("2026-02-01T00:00:00", False)]
)
def test_since_and_until(now: str, fires: bool) -> None:
    """From the beginning of one day to, not including, the beginning of the other, UTC."""
    moment = datetime.fromisoformat(f"{now}+00:00")
    given = replace(case(*scored(face_swap=0.9)), now=moment)
    decision = deciding(rule(more="since: 2026-01-01\nuntil: 2026-02-01"), given)
    assert ("only" in {hit.rule for hit in decision.trace}) is fires


@pytest.mark.parametrize(("mode", "traced"), [("shadow", True), ("off", False)])
def test_modes(mode: str, traced: bool) -> None:
    """A shadow rule is only recorded; one that is off is not looked at."""
    decision = deciding(rule("upload.declared_synthetic", f"mode: {mode}"), case(declared_synthetic=True))
    assert (decision.action, decision.review, decision.reasons) == (Action.ALLOW, None, (NOTHING_FOUND,))
    assert [hit.mode for hit in decision.trace] == ([RuleMode.SHADOW] if traced else [])


def test_what_cannot_be_answered_does_not_hold_and_says_why() -> None:
    """A key that is not there: the rule does not act, and the trace tells the owner."""
    text = rule("upload.attributes.campaign == 'x'")
    assert deciding(text, case(attributes={"campaign": "x"})).action is Action.LIMIT
    decision = deciding(text, case())
    assert decision.action is Action.ALLOW
    (hit,) = decision.trace
    assert not hit.acts
    assert "could not be answered" in hit.because
    assert "campaign" in hit.because


@pytest.mark.parametrize("when", ["voice_clone.probability >= 0.0", "voice_clone.probability < 1.0"])
@pytest.mark.parametrize("signal", [None, Signal(family=Family.VOICE_CLONE, status=SignalStatus.MISSING)])
def test_what_was_not_judged_is_neither_high_nor_low(when: str, signal: Signal | None) -> None:
    """Suspicion and reassurance both need somebody who looked."""
    given = case(*scored(), *((signal,) if signal else ()))
    assert deciding(rule(f"{when} && face_swap.judged"), given).action is Action.ALLOW


def test_known_content_may_be_removed_at_once() -> None:
    """A bank of known content vouches for it; a bank that is only tried out does not."""
    text = rule("'ncii' in known.banks").replace("action: limit", "action: remove", 1)
    known = Match(bank="ncii", hash_id="1", kind="pdq")
    assert deciding(text, replace(case(), matches=(known,))).action is Action.REMOVE
    assert deciding(text, replace(case(), matches=(structs.replace(known, live=False),))).action is Action.ALLOW


def asked(hours: float, jurisdiction: str | None = None) -> RequestFacts:
    received = NOW - timedelta(hours=hours)
    return RequestFacts(
        request_id="r", kind=RequestKind.REMOVAL, received_at=received, jurisdiction=jurisdiction, harm="intimate"
    )


CLOCKED = rule(more="review: {queue: faces, priority: 1, deadline: 4h, clocks: [take-down, complaint, promise]}")


@pytest.mark.parametrize(
    ("request_", "regions", "clock", "minutes"),
    [
        (None, (), "promise", 30),
        (asked(1.75), (), "complaint", 15),
        (asked(1.75), ("IN", "US"), "complaint", 15),
        (asked(1.75), ("US",), "promise", 30),
        (asked(47.75), ("US",), "take-down", 15),
        (asked(1.75, "IN"), ("US",), "complaint", 15),
        (asked(47.75, "US"), ("IN",), "take-down", 15),
        (asked(1.75, "DE"), ("IN",), "promise", 30),
        (asked(50), ("US",), "take-down", -120),
    ],
)
def test_clocks(request_: RequestFacts | None, regions: tuple[str, ...], clock: str, minutes: int) -> None:
    """The earliest clock that runs sets the deadline: by the law that is invoked, or else where the upload is shown."""
    given = replace(case(*scored(face_swap=0.9), regions=regions), request=request_)
    need = deciding(CLOCKED, given).review
    assert need is not None
    assert (need.clock, need.deadline) == (clock, NOW + timedelta(minutes=minutes))
    hit = deciding(CLOCKED, given).trace[0]
    assert (hit.clock, hit.until) == (need.clock, need.deadline)


def test_the_clock_of_a_place_where_the_rule_does_not_apply_does_not_run() -> None:
    """A rule for Germany starts no Indian clock, also where the upload is shown in India."""
    text = CLOCKED.replace("clocks: [take-down, complaint, promise]}", "clocks: [complaint]}\n    jurisdictions: [DE]")
    given = replace(case(*scored(face_swap=0.9), regions=("DE", "IN")), request=asked(1))
    need = deciding(text, given).review
    assert need is not None
    assert (need.clock, need.deadline) == (None, NOW + timedelta(hours=4))


def test_the_earliest_start_wins_then_the_highest_priority() -> None:
    """Of several reviews the one to be begun first names the queue."""
    swap = POLICY.rules[1]

    def asking(name: str, queue: str, deadline: str, priority: int) -> object:
        review = structs.replace(swap.review, queue=queue, deadline=deadline, priority=priority)
        return structs.replace(swap, name=name, review=review)

    def first(*rules: object) -> str:
        texts = POLICY.conditions.rules[swap.name]
        policy = with_rules(POLICY, rules)
        known = {rule.name: texts for rule in rules}
        policy = replace(policy, conditions=replace(policy.conditions, rules=known))
        need = decide(case(*scored(face_swap=0.84)), policy).review
        assert need is not None
        return need.queue

    assert first(asking("a", "triage", "60m", 99), asking("b", "faces", "61m", 1)) == "faces"
    assert first(asking("a", "triage", "1h", 1), asking("b", "triage", "60m", 2)) == "triage"
