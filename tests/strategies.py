"""Hypothesis strategies for what crosses the wire and the pure stages: events, signals, findings, policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec import structs

from pipeline.calibration import Band, Calibration, FamilyCalibration, Isotonic, Platt, Stratum
from pipeline.detect.port import DetectorReport, Findings, ReportStatus, Score
from pipeline.detect.port import Mode as DetectorMode
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
    Consent,
    Credentials,
    CredentialState,
    Decision,
    Evidence,
    Failure,
    Family,
    Match,
    MediaFacts,
    MediaKind,
    Purpose,
    Relation,
    RequestFacts,
    RequestKind,
    ReviewNeed,
    RuleHit,
    RuleMode,
    Sampling,
    Signal,
    SignalStatus,
    Surface,
    TrackFacts,
    UploaderFacts,
)
from pipeline.fuse import FamilyFusion, Fused, Fusion
from pipeline.policy.case import Case
from pipeline.policy.rules import (
    Clock,
    Exemption,
    FailMode,
    Harm,
    Jurisdiction,
    Mode,
    On,
    Policy,
    PolicyFile,
    Queue,
    Review,
    Rule,
    Starts,
    versioned,
)

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


consents = st.builds(
    Consent,
    relation=st.sampled_from(Relation),
    reference=maybe(names),
    purposes=tuples_of(st.sampled_from(Purpose)),
    until=maybe(moments),
    revoked=st.booleans(),
)
counts = st.integers(0, 2**53)
uploaders = st.builds(
    UploaderFacts,
    verified=maybe(st.booleans()),
    account_days=maybe(counts),
    followers=maybe(counts),
    strikes=maybe(counts),
)
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
    attributes=st.dictionaries(
        st.sampled_from(["exempt", "campaign"]) | texts, st.sampled_from(["yes", "x"]) | texts, max_size=3
    ),
    tags=tuples_of(st.sampled_from(["election", "crisis", "public-figure"])),
    purposes=tuples_of(st.sampled_from(Purpose)),
    consent=maybe(consents),
    uploader=maybe(uploaders),
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
    lambda name, by_consent, kind, **more: SubjectRequested(
        kind=kind,
        media_id=None if by_consent and kind is not RequestKind.APPEAL else name,
        consent_reference=name if by_consent and kind is not RequestKind.APPEAL else None,
        **more,
    ),
    names,
    st.booleans(),
    st.sampled_from(RequestKind),
    request_id=names,
    statement=names,
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
def reports(draw: st.DrawFn, mode: DetectorMode | None = None, sound: bool = False) -> DetectorReport:
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
        mode=mode or draw(st.sampled_from(DetectorMode)),
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

# What a policy decides on.

matches = st.builds(
    Match,
    bank=st.sampled_from(["intimate", "scams"]),
    hash_id=texts,
    kind=st.just("pdq"),
    distance=st.sampled_from([0, 8, 31]),
    share=probabilities,
    live=st.booleans(),
)
request_facts = st.builds(
    RequestFacts,
    request_id=names,
    kind=st.sampled_from(RequestKind),
    received_at=st.sampled_from([NOW - timedelta(hours=hours) for hours in (0, 1, 30)]),
    jurisdiction=maybe(st.sampled_from(["DE", "FR", "NO", "IN"])),
)
credentials = st.just(Credentials()) | st.builds(
    Credentials,
    state=st.sampled_from([state for state in CredentialState if state is not CredentialState.ABSENT]),
    issuer=maybe(texts),
    identity=maybe(texts),
    source_types=tuples_of(st.sampled_from(["digitalCapture", "trainedAlgorithmicMedia"])),
)


@st.composite
def cases(draw: st.DrawFn, failure: bool | None = None) -> Case:
    """An upload as `screen` may hand it to the policy, shown in places that drawn policies know, or everywhere."""
    where = draw(st.lists(st.sampled_from(["DE", "FR", "NO", "IN", "US"]), unique=True, max_size=3).map(tuple))
    failed = draw(st.booleans()) if failure is None else failure
    known = None if failed else draw(maybe(facts))
    return Case(
        upload=structs.replace(draw(uploads), regions=where),
        now=NOW,
        signals=() if failed else draw(signal_sets()),
        matches=draw(tuples_of(matches, 2)),
        facts=structs.replace(known, credentials=draw(maybe(credentials))) if known else None,
        sampling=None if failed else draw(maybe(samplings)),
        request=draw(maybe(request_facts)),
        failure=draw(failures) if failed else None,
    )


# Policies that the loader would accept, and in which a higher score never makes a condition false.

_QUEUES = {
    "one": Queue(what="the first", handling="10m"),
    "two": Queue(what="the second"),
    "three": Queue(what="the third", handling="1h"),
}
_HARMS = {name: Harm(what=name, severity=3) for name in ("fraud", "impersonation", "not-judged")}
_JURISDICTIONS = {"NORDIC": Jurisdiction(regions=("NO", "SE"))}
_CLOCKS = {
    "asked": Clock(within="2h", source="a law", jurisdictions=("IN", "NORDIC")),
    "asked-anywhere": Clock(within="1d", source="a promise"),
    "decided": Clock(within="1h", source="a law", starts=Starts.DECISION, jurisdictions=("DE",)),
}
_EXEMPTIONS = {
    "consented": Exemption(when="consent.given", reason="The person shown agreed"),
    "satire": Exemption(when="'satire' in upload.purposes && upload.declared_synthetic", reason="Declared satire"),
    "own-rule": Exemption(when="upload.attributes.exempt == 'yes'", reason="The platform says so"),
}
review_specs = st.builds(
    Review,
    queue=st.sampled_from(sorted(_QUEUES)),
    priority=st.integers(0, 100),
    deadline=st.sampled_from(["30m", "4h", "4h", "2d"]),
    clocks=st.lists(st.sampled_from(sorted(_CLOCKS)), unique=True, max_size=2).map(tuple),
)
_some_surfaces = st.lists(surfaces, unique=True, max_size=3).map(tuple)
_some_exemptions = st.lists(st.sampled_from(sorted(_EXEMPTIONS)), unique=True, max_size=2).map(tuple)
_circumstances = st.sampled_from(
    [
        "upload.declared_synthetic",
        "!upload.declared_synthetic",
        "upload.surface in ['ad', 'profile']",
        "upload.tags.exists(t, t == 'election')",
        "uploader.followers >= 1000.0",
        "credentials.state != 'trusted'",
        "upload.attributes.campaign == 'x'",  # fails where the key is not there
        "request.kind == 'removal' || consent.revoked",
    ]
)


@st.composite
def conditions(draw: st.DrawFn, removes: bool = False) -> str:
    """A condition that no higher score makes false."""
    suspicions = st.builds(
        lambda family, what, least: f"{family}.{what} >= {least!r}",
        families,
        st.sampled_from(["probability", "probability", "low", "high"]),
        st.floats(0.01, 1),
    )
    either = st.tuples(suspicions, suspicions).map(lambda pair: f"({pair[0]} || {pair[1]})")
    parts = draw(st.lists(suspicions | either, max_size=2)) + draw(st.lists(_circumstances, max_size=2))
    if removes:
        parts.append("'intimate' in known.banks")
    return " && ".join(parts or ["!upload.declared_synthetic"])


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    """A sound rule."""
    action = draw(actions)
    needs_review = action in (Action.ALLOW, Action.HOLD)
    review = draw(review_specs if needs_review else maybe(review_specs)) if action is not Action.REMOVE else None
    labelled = action is Action.LABEL or (action is Action.LIMIT and draw(st.booleans()))
    return Rule(
        name=name,
        harm=draw(st.sampled_from(["fraud", "impersonation"])),
        reason="Found",
        action=action,
        when=draw(conditions(action is Action.REMOVE)),
        unless=draw(_some_exemptions),
        jurisdictions=draw(st.lists(st.sampled_from(["DE", "FR", "NORDIC"]), unique=True, max_size=2).map(tuple)),
        review=review,
        label=f"Label of {name}" if labelled else None,
        mode=draw(st.sampled_from([Mode.LIVE, *Mode])),
        since=draw(st.sampled_from([None, None, date(2025, 12, 31), date(2026, 1, 2)])),
        until=draw(st.sampled_from([None, None, date(2026, 1, 3)])),
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
        when=None if everywhere else draw(maybe(_circumstances)),
        families=tuple(judged),
        causes=draw(tuples_of(st.sampled_from(Reason))) if on is On.UNJUDGED and not everywhere else (),
        surfaces=() if everywhere else draw(_some_surfaces),
        unless=draw(_some_exemptions) if on is On.UNCERTAIN and not everywhere else (),
        review=draw(maybe(review_specs) if action is Action.LIMIT else review_specs),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A sound policy."""
    return versioned(
        PolicyFile(
            name="drawn",
            harms=_HARMS,
            queues=_QUEUES,
            jurisdictions=_JURISDICTIONS,
            clocks=_CLOCKS,
            exemptions=_EXEMPTIONS,
            fusion=draw(fusions),
            rules=tuple(draw(rules(f"rule-{i}")) for i in range(draw(st.integers(1, 4)))),
            fail_modes=(
                *(draw(fail_modes(f"{on.value}-everywhere", on, everywhere=True)) for on in On),
                *(draw(fail_modes(f"mode-{i}")) for i in range(draw(st.integers(0, 3)))),
            ),
        ),
        draw(calibrations),
    )


def with_rules(policy: Policy, rules: Sequence[Rule], fail_modes: Sequence[FailMode] | None = None) -> Policy:
    """The same policy with some of its rules, or in another order; the version stays, so that decisions compare."""
    modes = policy.fail_modes if fail_modes is None else tuple(fail_modes)
    return replace(policy, file=structs.replace(policy.file, rules=tuple(rules), fail_modes=modes))


def shuffled(draw: st.DrawFn, values: Sequence[T]) -> tuple[T, ...]:
    """The same values in another order."""
    return tuple(draw(st.permutations(list(values))))
