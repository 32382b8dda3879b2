"""A week of recorded uploads, drawn and written straight into a ledger.

`python -m tests.generate_week URL [--count N]`. Every upload is drawn as a handful of numbers (`Drawn`), which a test
can count by itself, without the code that decides.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

import msgspec
from sqlalchemy import insert

from pipeline import VERSION
from pipeline.errors import Reason, Stage
from pipeline.events import MediaDecided, MediaUploaded, ReviewDecided, ReviewRequested, Versions
from pipeline.events.ids import decision_id
from pipeline.events.values import (
    Action,
    Box,
    Consent,
    Decision,
    Evidence,
    Failure,
    Family,
    FrameHash,
    MediaFacts,
    MediaKind,
    Sampling,
    Signal,
    SignalStatus,
    Surface,
    TrackFacts,
)
from pipeline.fuse import calibrated
from pipeline.ledger import ledger as rows
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.port import TaskState
from pipeline.ledger.tables import decisions, outcomes, reviews, tasks, uploads
from pipeline.policy.case import case_of
from pipeline.policy.decide import decide
from pipeline.policy.file import CALIBRATION, parse, read_calibration
from pipeline.policy.rules import Policy
from pipeline.route import route
from pipeline.settle import settle

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
LENGTH = timedelta(days=7)

POLICY = """\
name: week
harms:
  intimate-imagery: {what: sexual imagery without consent, severity: 5}
  impersonation: {what: a person is made to do what they did not, severity: 3}
  fraud: {what: a false face that asks for money, severity: 3}
  undisclosed-synthesis: {what: synthetic media that is not said to be, severity: 1}
  not-judged: {what: could not be looked at, severity: 2}
queues:
  intimate: {what: possible intimate imagery, handling: 5m}
  faces: {what: possible face swaps, handling: 6m}
  synthetic: {what: possible synthetic faces, handling: 3m}
  triage: {what: what is in doubt, handling: 4m}
  unreadable: {what: what could not be screened, handling: 3m}
jurisdictions:
  EUROPE: {regions: [DE, FR]}
thresholds: {swap: 0.80, beside_nudity: 0.50, synthetic: 0.75, nude: 0.80}
fusion:
  evidence: 5
  requires: [face_swap, face_synthesis]
  default:
    top_share: 0.1
    min_coverage: 0.5
    margin: 0.05
    # A probability is the score that was drawn, whatever calibration is in use.
    calibration: {method: isotonic, points: [[0, 0], [1, 1]]}
    abstain: {low: 0.60, high: 0.75}
exemptions:
  consented: {when: consent.given, reason: the person shown consented}
rules:
  - name: declared
    harm: undisclosed-synthesis
    reason: Declared as synthetic
    when: upload.declared_synthetic
    action: label
    label: AI-generated, as the uploader says
  - name: likely-swap
    harm: impersonation
    reason: Possible face swap
    when: face_swap.probability >= threshold.swap
    unless: [consented]
    action: limit
    review: {queue: faces, priority: 60, deadline: 4h}
  - name: likely-swap-in-ad
    harm: fraud
    reason: Possible face swap in an advertisement
    when: face_swap.probability >= threshold.swap && upload.surface == 'ad'
    action: hold
    review: {queue: faces, priority: 80, deadline: 2h}
  - name: intimate-swap
    harm: intimate-imagery
    reason: Possible intimate imagery with a swapped face
    when: nudity.probability >= threshold.nude && face_swap.probability >= threshold.beside_nudity
    action: hold
    review: {queue: intimate, priority: 100, deadline: 1h}
  - name: synthetic-face
    harm: undisclosed-synthesis
    reason: Possible synthetic face
    when: face_synthesis.probability >= threshold.synthetic && !upload.declared_synthetic
    action: allow
    review: {queue: synthetic, priority: 30, deadline: 1d}
  - name: synthetic-face-in-europe
    harm: undisclosed-synthesis
    reason: A synthetic face has to be labelled here
    when: face_synthesis.probability >= threshold.synthetic
    jurisdictions: [EUROPE]
    action: label
    label: Possibly AI-generated
  - name: synthetic-identity
    harm: fraud
    reason: Possible synthetic face as an identity
    when: face_synthesis.probability >= threshold.synthetic && upload.surface in ['ad', 'profile']
    action: limit
    review: {queue: synthetic, priority: 50, deadline: 8h}
fail_modes:
  - name: unreadable
    harm: not-judged
    reason: Could not be screened
    on: unjudged
    action: hold
    review: {queue: unreadable, priority: 40, deadline: 8h}
  - name: not-judged-in-full
    harm: not-judged
    reason: Not judged in full
    on: missing
    families: [face_swap, face_synthesis]
    action: limit
    review: {queue: triage, priority: 20, deadline: 1d}
  - name: in-doubt
    harm: impersonation
    reason: It cannot be ruled out
    on: uncertain
    families: [face_swap, face_synthesis]
    unless: [consented]
    action: allow
    review: {queue: triage, priority: 10, deadline: 2d}
"""

_SURFACES = ((Surface.POST, 50), (Surface.STORY, 18), (Surface.AD, 12), (Surface.PROFILE, 10), (Surface.MESSAGE, 10))
_REGIONS = (((), 30), (("US",), 30), (("DE",), 15), (("DE", "US"), 15), (("IN",), 10))
_IDLE = (Family.LIP_SYNC, Family.VOICE_CLONE, Family.SPLICE, Family.REENACTMENT)
_QUIET = tuple(f for f in Family if f not in (Family.FACE_SWAP, Family.FACE_SYNTHESIS, Family.NUDITY, *_IDLE))
_REVIEWED = 0.8
_MISTAKES = 0.04
_SECONDS = {"intimate": 70, "faces": 150, "synthetic": 60, "triage": 90, "unreadable": 40}
_REVIEWERS = 12
_BATCH = 1_000
_REASONS = (Reason.MEDIA_CORRUPT, Reason.SOURCE_NOT_FOUND, Reason.DEADLINE)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One upload in one round, in numbers. `None`: a detector that was missing. `manipulated`: the truth."""

    media_id: str
    round: int
    at: datetime
    surface: Surface
    regions: tuple[str, ...]
    declared: bool
    consented: bool
    failed: bool
    swap: float | None
    synthesis: float | None
    nudity: float
    manipulated: bool


def week_policy() -> Policy:
    """`POLICY` with the calibration that ships."""
    return parse(POLICY, "week", read_calibration(CALIBRATION))


def draw(count: int, seed: int) -> Iterator[Drawn]:
    """`count` uploads, oldest first; one in fifty is judged a second time at the end."""
    rng = random.Random(seed)
    again = []
    for i in range(count):
        one = _drawn(rng, f"upload-{seed}-{i:06}", 1, BEGIN + LENGTH * 0.99 * (i / count))
        yield one
        if rng.random() < 0.02:
            again.append(one)
    for i, one in enumerate(again):
        second = _drawn(rng, one.media_id, 2, BEGIN + LENGTH * (0.99 + 0.01 * i / len(again)))
        yield second


def _drawn(rng: random.Random, media_id: str, round_: int, at: datetime) -> Drawn:
    manipulated = rng.random() < 0.06
    swapped, made = (manipulated and rng.random() < 0.6), (manipulated and rng.random() < 0.5)
    return Drawn(
        media_id=media_id,
        round=round_,
        at=at,
        surface=_weighted(rng, _SURFACES),
        regions=_weighted(rng, _REGIONS),
        declared=rng.random() < (0.25 if made else 0.02),
        consented=rng.random() < (0.2 if swapped else 0.03),
        failed=rng.random() < 0.01,
        swap=None if rng.random() < 0.01 else round(rng.betavariate(6, 1.5) if swapped else rng.betavariate(1, 7), 4),
        synthesis=None if rng.random() < 0.01 else round(rng.betavariate(5, 2) if made else rng.betavariate(1, 6), 4),
        nudity=round(rng.betavariate(5, 1) if rng.random() < 0.08 else rng.betavariate(1, 9), 4),
        manipulated=manipulated,
    )


def _weighted(rng: random.Random, choices: Sequence[tuple[object, int]]):  # type: ignore[no-untyped-def]
    return rng.choices([value for value, _ in choices], [weight for _, weight in choices])[0]


def generate(ledger: Ledger, count: int, seed: int = 1, policies: Sequence[Policy] = ()) -> list[Drawn]:
    """Write a week; the drawn numbers come back.

    Args:
        ledger: migrated, without these uploads.
        count: uploads; second rounds come on top.
        seed: the same seed draws the same week.
        policies: in force one after the other, each for the same part of the week; `POLICY` when none is given.
    """
    in_force = policies or (week_policy(),)
    rng = random.Random(seed + 1)
    drawn, batch, waiting = [], [], []
    for one in draw(count, seed):
        policy = in_force[min(len(in_force) - 1, int(len(in_force) * ((one.at - BEGIN) / LENGTH)))]
        decided = recorded(one, policy)
        task = route(decided).task
        if task is not None and rng.random() < _REVIEWED:
            waiting.append((task, one.manipulated != (rng.random() < _MISTAKES), rng.expovariate(1.0)))
        drawn.append(one)
        batch.append(decided)
        if len(batch) == _BATCH:
            _write(ledger, batch)
            batch = []
    _write(ledger, batch)
    answered = _answered(waiting)
    for start in range(0, len(answered), _BATCH):
        _write_reviews(ledger, answered[start : start + _BATCH])
    return drawn


def recorded(one: Drawn, policy: Policy) -> MediaDecided:
    """The decision that would have been recorded, as heavy as real ones are."""
    clip = int(one.media_id[-6:]) % 4 == 0
    upload = MediaUploaded(
        media_id=one.media_id,
        uri=f"s3://uploads/{one.media_id}",
        uploaded_at=one.at - timedelta(seconds=3),
        surface=one.surface,
        regions=one.regions,
        declared_synthetic=one.declared,
        consent=Consent(reference="release-form") if one.consented else None,
        uploader_id=f"user-{hash_of(one) % 5000}",
    )
    failure = None
    if one.failed:
        failure = Failure(stage=Stage.DECODE, reason=_REASONS[hash_of(one) % len(_REASONS)], detail="made up")
    decided = MediaDecided(
        decision_id=decision_id(one.media_id, one.round),
        media_id=one.media_id,
        round=one.round,
        upload=upload,
        decided_at=one.at,
        decision=_UNDECIDED,
        versions=Versions(unmask=VERSION, policy=policy.version, detectors=(policy.fusion_version, "made-up@1")),
        sha256=None if one.failed else f"{hash_of(one):064x}",
        size=None if one.failed else 400_000,
        facts=None if one.failed else (_CLIP if clip else _STILL),
        sampling=None if one.failed else _SAMPLING,
        signals=() if one.failed else tuple(_signals(one, policy, clip)),
        failure=failure,
        embedding=None if one.failed else bytes(1024),
        face_features=bytes(9218) if clip and not one.failed else None,
        hashes=() if one.failed else _HASHES[: 12 if clip else 1],
    )
    return msgspec.structs.replace(decided, decision=decide(case_of(decided), policy))


def hash_of(one: Drawn) -> int:
    """A number that depends on the upload alone."""
    return uuid5(NAMESPACE_OID, f"{one.media_id}/{one.round}").int


def _signals(one: Drawn, policy: Policy, clip: bool) -> Iterator[Signal]:
    scores = {Family.FACE_SWAP: one.swap, Family.FACE_SYNTHESIS: one.synthesis, Family.NUDITY: one.nudity}
    for family in Family:
        if family in scores:
            yield _signal(family, scores[family], policy)
        elif family in _IDLE and not clip:
            yield Signal(family=family, status=SignalStatus.NOT_APPLICABLE, detectors=_DETECTORS)
        elif family in _QUIET or clip:
            yield _signal(family, 0.03, policy)


def _signal(family: Family, score: float | None, policy: Policy) -> Signal:
    if score is None:
        note = "made_up: failed: no answer"
        return Signal(family=family, status=SignalStatus.MISSING, coverage=0.0, detectors=_DETECTORS, note=note)
    evidence = _EVIDENCE if family in (Family.FACE_SWAP, Family.FACE_SYNTHESIS) else _EVIDENCE[:1]
    said = Signal(family=family, status=SignalStatus.SCORED, pooled=score, evidence=evidence, detectors=_DETECTORS)
    return calibrated(said, policy.fused, None)


def _answered(waiting: list[tuple[ReviewRequested, bool, float]]) -> list[tuple[ReviewRequested, ReviewDecided]]:
    """Who comes to which task when: whoever is free first takes the task that came first."""
    free = [(BEGIN, f"reviewer-{i:02}") for i in range(_REVIEWERS)]
    done = []
    for task, bad, effort in sorted(waiting, key=lambda each: (each[0].requested_at, each[0].media_id)):
        since, reviewer = heapq.heappop(free)
        end = max(since, task.requested_at) + timedelta(seconds=5 + effort * (_SECONDS[task.queue] - 5))
        heapq.heappush(free, (end, reviewer))
        saw = tuple(family for family in (Family.FACE_SWAP, Family.FACE_SYNTHESIS) if _named(task, family))
        review = ReviewDecided(
            review_id=uuid5(NAMESPACE_OID, f"review/{task.task_id}"),
            task_id=task.task_id,
            media_id=task.media_id,
            round=task.round,
            action=(Action.REMOVE if task.queue == "intimate" else Action.LABEL) if bad else Action.ALLOW,
            decided_at=end,
            reviewer_id=reviewer,
            confirmed=saw if bad else (),
            denied=() if bad else saw,
        )
        done.append((task, review))
    return done


def _named(task: ReviewRequested, family: Family) -> bool:
    return any(signal.family is family and (signal.probability or 0.0) >= 0.5 for signal in task.signals)


def _write(ledger: Ledger, batch: Sequence[MediaDecided]) -> None:
    if not batch:
        return
    routed = [route(decided) for decided in batch]
    with ledger._writes.begin() as connection:
        connection.execute(insert(uploads), [rows._upload_row(each) for each in batch])
        connection.execute(insert(decisions), [rows._decision_row(each) for each in batch])
        if asked := [rows._task_row(each.task, TaskState.OPEN) for each in routed if each.task]:
            connection.execute(insert(tasks), asked)
        connection.execute(insert(outcomes), [rows._outcome_row(each.outcome) for each in routed])


def _write_reviews(ledger: Ledger, answered: Sequence[tuple[ReviewRequested, ReviewDecided]]) -> None:
    with ledger._writes.begin() as connection:
        connection.execute(insert(reviews), [rows._review_row(review, task.round) for task, review in answered])
        connection.execute(insert(outcomes), [rows._outcome_row(settle(review, task)) for task, review in answered])
        for task, _ in answered:
            connection.execute(rows._CLOSE_TASK, {"id": task.task_id})


_UNDECIDED = Decision(action=Action.ALLOW, reasons=(), policy_version="")
_DETECTORS = ("face_forgery@4", "find_faces@2")
_EVIDENCE = tuple(
    Evidence(detector="face_forgery@4", score=0.5, at=float(i), box=Box(x0=0.25, y0=0.2, x1=0.5, y1=0.625), track=0)
    for i in range(5)
)
_HASHES = tuple(FrameHash(at=float(i), pdq=bytes(range(32)), quality=90) for i in range(12))
_STILL = MediaFacts(
    kind=MediaKind.IMAGE, container="jpeg", width=1280, height=960,
    tracks=(TrackFacts(kind="image", codec="jpeg", width=1280, height=960),),
    metadata=(("exif:Model", "made up"), ("exif:Software", "made up 1.0")), quantization=(tuple(range(1, 65)),) * 2,
)  # fmt: skip
_CLIP = MediaFacts(
    kind=MediaKind.VIDEO, container="mov,mp4,m4a,3gp,3g2,mj2", duration=12.0, width=1280, height=720,
    tracks=(TrackFacts(kind="video", codec="h264", width=1280, height=720, frame_rate=25.0),),
    metadata=(("container:major_brand", "isom"), ("container:encoder", "made up")),
)  # fmt: skip
_SAMPLING = Sampling(decoder="made up", looked_at=tuple(map(float, range(12))), largest_gap=1.0, frame_budget=24)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the ledger, such as sqlite:///week.sqlite")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ledger = Ledger(arguments.url)
    ledger.migrate()
    written = generate(ledger, arguments.count, arguments.seed)
    ledger.close()
    print(f"{len(written)} decisions from {BEGIN:%Y-%m-%d} to {BEGIN + LENGTH:%Y-%m-%d}")


if __name__ == "__main__":
    main()
