"""Hypothesis strategies for what crosses the wire and the pure stages: events, signals, findings, policies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pipeline.calibration import Band, Calibration, FamilyCalibration, Isotonic, Platt, Stratum
from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.errors import Reason, Stage
from pipeline.events import (
    DeadLetter,
    DecidedBy,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    ReviewDecided,
    ReviewRequested,
    SubjectAnswered,
    SubjectRequested,
    Versions,
)
from pipeline.events.subject import AnswerStatus, Reopened, SubjectMatch
from pipeline.events.values import (
    Action,
    Box,
    Decision,
    Evidence,
    Failure,
    Family,
    MediaFacts,
    MediaKind,
    RequestKind,
    ReviewNeed,
    RuleHit,
    RuleMode,
    Sampling,
    Signal,
    SignalStatus,
    Surface,
    TrackFacts,
)
from pipeline.fuse import FamilyFusion, Fused, Fusion
from pipeline.policy.rules import FailMode, On, Policy, PolicyFile, Review, Rule, versioned

# The same examples on every run, and none fails because the machine was busy.
settings.register_profile("unmask", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unmask")

T = TypeVar("T")
NOW = datetime(2026, 1, 1, tzinfo=UTC)

families = st.sampled_from(Family)
surfaces = st.sampled_from(Surface)
actions = st.sampled_from(Action)
regions = st.from_regex(r"[A-Z]{2}", fullmatch=True)
probabilities = st.floats(0, 1)
texts = st.text(max_size=20)
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
rounds = st.integers(1, 2**31 - 1)
sizes = st.integers(0, 2**63 - 1)
seconds = st.floats(0, 1e6)
moments = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))) | st.just(UTC),
)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """The value, or None."""
    return st.none() | strategy


def tuples_of(strategy: st.SearchStrategy[T], most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """A tuple of up to `most` values."""
    return st.lists(strategy, max_size=most).map(tuple)


uploads = st.builds(
    MediaUploaded,
    media_id=names,
    uri=names,
    uploaded_at=moments,
    content_type=maybe(names),
    size=maybe(sizes),
    sha256=maybe(digests),
    uploader_id=maybe(names),
    regions=tuples_of(regions),
    surface=surfaces,
    caption=texts,
    declared_synthetic=st.booleans(),
    attributes=st.dictionaries(texts, texts, max_size=3),
)
boxes = st.builds(Box, x0=probabilities, y0=probabilities, x1=probabilities, y1=probabilities)
evidence = st.builds(
    Evidence,
    detector=texts,
    score=probabilities,
    at=maybe(seconds),
    box=maybe(boxes),
    track=maybe(st.integers(0, 9)),
    note=texts,
)
failures = st.builds(
    Failure, stage=st.sampled_from(Stage).map(str), reason=st.sampled_from(Reason).map(str), detail=texts
)


@st.composite
def signals(draw: st.DrawFn, family: Family | None = None) -> Signal:
    """A signal as `fuse` may yield it."""
    status = draw(st.sampled_from(SignalStatus))
    judged = status in (SignalStatus.SCORED, SignalStatus.ABSTAINED)
    low, probability, high = sorted(draw(st.tuples(probabilities, probabilities, probabilities)))
    return Signal(
        family=family or draw(families),
        status=status,
        probability=probability if judged else None,
        low=low if judged else None,
        high=high if judged else None,
        coverage=draw(probabilities),
        evidence=draw(tuples_of(evidence, 2)),
        detectors=draw(tuples_of(texts, 2)),
        note=draw(texts),
    )


def signal_sets() -> st.SearchStrategy[tuple[Signal, ...]]:
    """At most one signal per family, in any order."""
    return st.lists(signals(), unique_by=lambda signal: signal.family, max_size=len(Family)).map(tuple)


rule_hits = st.builds(
    RuleHit,
    rule=texts,
    harm=texts,
    action=actions,
    mode=st.sampled_from(RuleMode),
    because=texts,
    family=maybe(families),
    observed=maybe(probabilities),
    threshold=maybe(probabilities),
    queue=maybe(texts),
    priority=maybe(st.integers(0, 100)),
    fail_mode=st.booleans(),
)
review_needs = st.builds(
    ReviewNeed, queue=st.sampled_from(["faces", "triage"]), harm=texts, priority=st.integers(0, 100), deadline=moments
)
decisions = st.builds(
    Decision,
    action=actions,
    reasons=tuples_of(texts),
    policy_version=texts,
    review=maybe(review_needs),
    trace=tuples_of(rule_hits, 2),
    label=maybe(texts),
)
tracks = st.builds(
    TrackFacts,
    kind=texts,
    codec=texts,
    width=maybe(st.integers(0, 9999)),
    height=maybe(st.integers(0, 9999)),
    frame_rate=maybe(seconds),
    sample_rate=maybe(st.integers(0, 192_000)),
    channels=maybe(st.integers(0, 8)),
    bit_rate=maybe(sizes),
)
facts = st.builds(
    MediaFacts,
    kind=st.sampled_from(MediaKind),
    container=texts,
    duration=maybe(seconds),
    width=maybe(st.integers(0, 9999)),
    height=maybe(st.integers(0, 9999)),
    rotation=st.sampled_from([0, 90, 180, 270]),
    tracks=tuples_of(tracks, 2),
    metadata=tuples_of(st.tuples(texts, texts)),
)
samplings = st.builds(
    Sampling,
    decoder=texts,
    looked_at=tuples_of(seconds),
    largest_gap=maybe(seconds),
    frame_budget=st.integers(0, 99),
    audio_seconds=seconds,
    audio_budget=seconds,
    complete=st.booleans(),
    notes=tuples_of(texts),
)
decided = st.builds(
    MediaDecided,
    decision_id=st.uuids(),
    media_id=names,
    upload=uploads,
    decided_at=moments,
    decision=decisions,
    versions=st.builds(Versions, unmask=texts, policy=texts, detectors=tuples_of(texts)),
    round=rounds,
    sha256=maybe(digests),
    size=maybe(sizes),
    facts=maybe(facts),
    sampling=maybe(samplings),
    signals=tuples_of(signals(), 2),
    shadow=tuples_of(signals(), 2),
    failure=maybe(failures),
    reused_from=maybe(names),
    embedding=maybe(st.binary(max_size=20)),
)
tasks = st.builds(
    ReviewRequested,
    task_id=st.uuids(),
    media_id=names,
    round=rounds,
    queue=texts,
    harm=texts,
    priority=st.integers(0, 100),
    requested_at=moments,
    deadline=moments,
    provisional=actions,
    reasons=tuples_of(texts),
    decision_id=st.uuids(),
    upload=uploads,
    sha256=maybe(digests),
    facts=maybe(facts),
    sampling=maybe(samplings),
    signals=tuples_of(signals(), 2),
    label=maybe(texts),
)
reviews = st.builds(
    ReviewDecided,
    review_id=st.uuids(),
    task_id=st.uuids(),
    media_id=names,
    action=actions.filter(lambda action: action is not Action.HOLD),
    decided_at=moments,
    reviewer_id=names,
    round=rounds,
    reason=texts,
    notes=texts,
    label=maybe(texts),
)
enforced = st.builds(
    MediaEnforced,
    outcome_id=st.uuids(),
    media_id=names,
    round=rounds,
    status=st.sampled_from(OutcomeStatus),
    action=actions,
    decided_by=st.sampled_from(DecidedBy),
    reasons=tuples_of(texts),
    enforced_at=moments,
    decision_id=st.uuids(),
    task_id=maybe(st.uuids()),
    label=maybe(texts),
    policy_version=maybe(texts),
)
dead_letters = st.builds(
    DeadLetter,
    dead_letter_id=st.uuids(),
    topic=texts,
    partition=st.integers(0, 999),
    offset=sizes,
    value=st.binary(max_size=50),
    failure=failures,
    buried_at=moments,
    key=maybe(st.binary(max_size=20)),
    headers=tuples_of(st.tuples(texts, st.binary(max_size=20))),
    media_id=maybe(names),
    round=rounds,
    attempts=st.integers(1, 99),
)
requests = st.builds(
    lambda name, by_consent, **more: SubjectRequested(
        media_id=None if by_consent else name, consent_reference=name if by_consent else None, **more
    ),
    names,
    st.booleans(),
    request_id=names,
    kind=st.sampled_from(RequestKind),
    received_at=moments,
    jurisdiction=maybe(regions),
    harm=names,
)
answers = st.builds(
    SubjectAnswered,
    answer_id=st.uuids(),
    request_id=names,
    kind=st.sampled_from(RequestKind),
    status=st.sampled_from(AnswerStatus),
    answered_at=moments,
    uploads=tuples_of(
        st.builds(Reopened, media_id=names, round=rounds, match=st.sampled_from(SubjectMatch), action=maybe(actions))
    ),
    deadline=maybe(moments),
    in_time=maybe(st.booleans()),
    left_out=st.integers(0, 2**53),
)
events: st.SearchStrategy[Event] = st.one_of(
    uploads, decided, tasks, reviews, enforced, requests, answers, dead_letters
)


# Findings, as the ensemble may yield them, broken detectors included.


@st.composite
def reports(draw: st.DrawFn, mode: Mode | None = None, sound: bool = False) -> DetectorReport:
    """One detector's report. Unless `sound`, scores may be out of range or not a number."""
    judges = draw(st.lists(families, min_size=1, max_size=2, unique=True))
    values = probabilities if sound else probabilities | st.floats()
    score = st.builds(
        Score,
        family=st.sampled_from(judges),
        value=values,
        at=maybe(st.sampled_from([0.0, 0.5, 3.2, 60.0])),
        box=maybe(st.just(Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2))),
        track=maybe(st.integers(0, 2)),
    )
    return DetectorReport(
        detector=draw(st.sampled_from(["a", "b", "c"])),
        version="1",
        mode=mode or draw(st.sampled_from(Mode)),
        families=tuple(judges),
        status=draw(st.sampled_from([ReportStatus.OK, ReportStatus.OK, *ReportStatus])),
        scores=draw(tuples_of(score, 6)),
        coverage=draw(probabilities),
        detail=draw(st.sampled_from(["", "the deadline passed"])),
    )


def findings(sound: bool = False) -> st.SearchStrategy[Findings]:
    """What up to four detectors said."""
    return st.builds(Findings, reports=tuples_of(reports(sound=sound), 4))


def _rises(points: list[tuple[float, float]]) -> bool:
    return len({x for x, _ in points}) == len(points)


def _rising(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple(zip(sorted(x for x, _ in points), sorted(y for _, y in points), strict=True))


bands = st.builds(lambda low, width: Band(low=low / 10, high=(low + width) / 10), st.integers(1, 6), st.integers(1, 3))
platts = st.builds(Platt, slope=st.floats(0.1, 5), intercept=st.floats(-3, 3))
isotonics = (
    st.lists(st.tuples(probabilities, probabilities), min_size=2, max_size=5)
    .filter(_rises)
    .map(lambda points: Isotonic(points=_rising(points)))
)
curves = platts | isotonics
family_fusions = st.builds(
    FamilyFusion,
    top_share=st.floats(0.01, 1),
    looks=st.integers(1, 5),
    margin=maybe(st.floats(0, 0.5)),
    min_coverage=st.sampled_from([0.0, 0.3, 1.0]) | probabilities,
    calibration=maybe(curves),
    abstain=maybe(bands),
)
strata = st.builds(
    Stratum,
    curve=curves,
    kinds=tuples_of(st.sampled_from(MediaKind), 2),
    min_side=st.sampled_from([0, 480]),
    max_side=st.sampled_from([None, 720]),
)
calibrations = st.builds(
    Calibration,
    name=st.just("drawn"),
    families=st.dictionaries(
        families,
        st.builds(
            FamilyCalibration,
            curve=curves,
            strata=tuples_of(strata, 2),
            abstain=maybe(bands),
            margin=st.floats(0, 0.5),
        ),
        max_size=3,
    ),
)
fusions = st.builds(
    Fusion,
    evidence=st.integers(0, 5),
    default=family_fusions,
    requires=st.lists(families, unique=True, max_size=2).map(tuple),
    families=st.dictionaries(families, family_fusions, max_size=3),
)


fused = st.builds(Fused, fusion=fusions, calibration=calibrations)

# Policies that the loader would accept.

_QUEUES = {"one": "the first", "two": "the second", "three": "the third"}
review_specs = st.builds(
    Review,
    queue=st.sampled_from(sorted(_QUEUES)),
    priority=st.integers(0, 100),
    deadline=st.sampled_from(["30m", "4h", "4h", "2d"]),
)
_some_surfaces = st.lists(surfaces, unique=True, max_size=3).map(tuple)


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    """A sound rule."""
    when = draw(st.dictionaries(families, st.floats(0.01, 1), max_size=2))
    declared = draw(st.sampled_from([None, True, False] if when else [True, False]))
    action = draw(actions.filter(lambda action: not when or action is not Action.REMOVE))
    needs_review = action in (Action.ALLOW, Action.HOLD)
    review = draw(review_specs if needs_review else maybe(review_specs)) if action is not Action.REMOVE else None
    return Rule(
        name=name,
        harm=draw(st.sampled_from(["fraud", "impersonation"])),
        reason="Found",
        action=action,
        when=when,
        declared_synthetic=declared,
        surfaces=draw(_some_surfaces),
        regions=draw(st.lists(st.sampled_from(["DE", "FR", "NO"]), unique=True, max_size=2).map(tuple)),
        review=review,
        label=f"Label of {name}" if action is Action.LABEL else None,
        mode=draw(st.sampled_from(RuleMode)),
    )


@st.composite
def fail_modes(draw: st.DrawFn, name: str, on: On | None = None, everywhere: bool = False) -> FailMode:
    """A sound fail mode; `everywhere`: for all surfaces, families and causes."""
    on = on or draw(st.sampled_from(On))
    action = draw(st.sampled_from([Action.ALLOW, Action.LIMIT, Action.HOLD]))
    some = st.lists(families, unique=True, min_size=1, max_size=2).map(tuple)
    judged: Sequence[Family] = ()
    if on is not On.UNJUDGED:
        judged = tuple(Family) if everywhere else draw(some)
    return FailMode(
        name=name,
        harm="not-judged",
        reason="Not judged",
        on=on,
        action=action,
        families=tuple(judged),
        causes=draw(tuples_of(st.sampled_from(Reason))) if on is On.UNJUDGED and not everywhere else (),
        surfaces=() if everywhere else draw(_some_surfaces),
        review=draw(maybe(review_specs) if action is Action.LIMIT else review_specs),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A sound policy."""
    return versioned(
        PolicyFile(
            name="drawn",
            queues=_QUEUES,
            fusion=draw(fusions),
            rules=tuple(draw(rules(f"rule-{i}")) for i in range(draw(st.integers(1, 4)))),
            fail_modes=(
                *(draw(fail_modes(f"{on.value}-everywhere", on, everywhere=True)) for on in On),
                *(draw(fail_modes(f"mode-{i}")) for i in range(draw(st.integers(0, 3)))),
            ),
        ),
        draw(calibrations),
    )


def shuffled(draw: st.DrawFn, values: Sequence[T]) -> tuple[T, ...]:
    """The same values in another order."""
    return tuple(draw(st.permutations(list(values))))
