"""Does the promise hold? A pure check of what the topics and the ledger say against each other.

Every upload (media_id and round) has exactly one final outcome, or a provisional one with an open review task, or one
dead letter, and never two different final outcomes in a round. Beyond that: nothing is final without a cause, what
nobody could read is buried, every request of a person shown is answered, at the end too, and topics and ledger tell the
same story.

Facts come in any order, each as small as the check allows: memory goes with the number of uploads, not with the size
of their events. `audit_facts.py` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from pipeline.events import DecidedBy, OutcomeStatus
from pipeline.events.ids import task_id as task_id_of
from pipeline.events.subject import AnswerStatus
from pipeline.events.values import Action
from pipeline.ledger.port import TaskState
from pipeline.topology import (
    DEAD_LETTER,
    DECIDED,
    ENFORCED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    SUBJECT_ANSWERED,
    SUBJECT_REQUESTED,
    UPLOADED,
)

# --- facts -----------------------------------------------------------------------------------------------------------
# `at`: seconds since the epoch, when the record was written.


class Where(StrEnum):
    """Which of the two tells it."""

    TOPIC = "topic"
    LEDGER = "ledger"


class Uploaded(NamedTuple):
    """`media.uploaded` has this upload."""

    media_id: str
    round: int
    at: float


class Decided(NamedTuple):
    """It was decided. `failed`: because it could not be judged. `request`: of a person shown, that opened the round."""

    media_id: str
    round: int
    at: float
    where: Where
    failed: bool = False
    request: str | None = None


class Asked(NamedTuple):
    """A person was asked. `state` is what the ledger says, None for a record in a queue's topic."""

    media_id: str
    round: int
    at: float
    state: TaskState | None = None


class Reviewed(NamedTuple):
    """A person answered."""

    task: UUID
    at: float
    where: Where


class Answer(NamedTuple):
    """What an outcome says. `content` is a digest of everything in it but the time and a person's own words; `words` is
    one of those, 0 once they were erased."""

    action: Action
    decided_by: DecidedBy
    content: int
    words: int = 0

    def differs(self, other: Answer) -> bool:
        """Whether they say different things; what was erased says nothing."""
        return self.content != other.content or (self.words != other.words and bool(self.words and other.words))

    def __str__(self) -> str:
        return f"{self.action} by {self.decided_by}"


class Enforced(NamedTuple):
    """There is this outcome."""

    media_id: str
    round: int
    at: float
    where: Where
    status: OutcomeStatus
    answer: Answer


class Requested(NamedTuple):
    """A person shown asked. `place`: partition and offset of the record; None where the ledger says so."""

    request: str
    at: float
    place: tuple[int, int] | None = None


class Reopened(NamedTuple):
    """The ledger says that a request opened this round. `final`: it, or a later round of the upload, is final."""

    request: str
    media_id: str
    round: int
    at: float
    final: bool


class Answered(NamedTuple):
    """A request was answered. `content` is a digest of everything in it but the time."""

    request: str
    status: AnswerStatus
    at: float
    where: Where
    content: int


class Malformed(NamedTuple):
    """A record that is no event of its topic. `read`: some agent reads that topic, and has to bury it."""

    topic: str
    partition: int
    offset: int
    at: float
    why: str
    read: bool


class Buried(NamedTuple):
    """There is a dead letter of this record. `media_id` is None when the record names none."""

    topic: str
    partition: int
    offset: int
    at: float
    media_id: str | None
    round: int


class Incomplete(NamedTuple):
    """A topic that no longer holds all that was written to it (retention, compaction).

    `review.requested` stands for the topic of any queue.
    """

    topic: str


Fact = (
    Uploaded | Decided | Asked | Reviewed | Enforced | Requested | Reopened | Answered | Malformed | Buried | Incomplete
)


# --- report ----------------------------------------------------------------------------------------------------------


class Violation(StrEnum):
    """What can be wrong."""

    UNANSWERED = "unanswered"
    CONTRADICTION = "contradiction"
    WITHOUT_CAUSE = "without_cause"
    UNKNOWN_UPLOAD = "unknown_upload"
    NOT_BURIED = "not_buried"
    UNREADABLE = "unreadable"
    TASK_NOT_PUBLISHED = "task_not_published"
    TASK_NOT_RECORDED = "task_not_recorded"
    REVIEW_NOT_SETTLED = "review_not_settled"
    OUTCOME_NOT_PUBLISHED = "outcome_not_published"
    OUTCOME_NOT_RECORDED = "outcome_not_recorded"
    OUTCOME_DIFFERS = "outcome_differs"
    REQUEST_UNANSWERED = "request_unanswered"
    UNKNOWN_REQUEST = "unknown_request"
    ANSWER_DIFFERS = "answer_differs"


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation, in words. `media_id` and `round` are None for a record that names no upload."""

    kind: Violation
    words: str
    media_id: str | None = None
    round: int | None = None

    def __str__(self) -> str:
        subject = "" if self.media_id is None else f"{self.media_id} round {self.round}: "
        return f"{self.kind}: {subject}{self.words}"


@dataclass(slots=True)
class Counts:
    """How many distinct ones there are. `final` to `buried_only` say how the uploads stand; `pending` were not judged.

    `reopened`: rounds that a request of a person shown opened, counted like uploads. `superseded`: provisional, and a
    later round took the question over.
    """

    uploads: int = 0
    reopened: int = 0
    final: int = 0
    waiting: int = 0
    superseded: int = 0
    buried_only: int = 0
    pending: int = 0
    dead_letters: int = 0
    malformed: int = 0
    reviews: int = 0
    requests: int = 0


@dataclass(slots=True)
class Duplicates:
    """Records beyond the first for the same thing: harmless, the price of delivery at least once."""

    uploaded: int = 0
    decided: int = 0
    asked: int = 0
    reviewed: int = 0
    enforced: int = 0
    requested: int = 0
    answered: int = 0
    dead_letters: int = 0

    @property
    def total(self) -> int:
        records = self.uploaded + self.decided + self.asked + self.reviewed + self.enforced
        return records + self.requested + self.answered + self.dead_letters


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All that an audit found. Encodes to JSON as it is (`msgspec.json.encode`)."""

    violations: tuple[Finding, ...]
    counts: Counts
    duplicates: Duplicates
    incomplete: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.violations


# --- the check -------------------------------------------------------------------------------------------------------


class _Seen:
    """Bits of `_Case.seen`. Plain integers: an audit sets millions, and an IntFlag costs ten times as much."""

    UPLOADED = 1
    DECIDED = 2
    FAILED = 4
    BURIED = 8
    ASKED = 16
    YOUNG = 32
    LEDGER_DECIDED = 64
    REOPENED = 128
    OPENED = UPLOADED | REOPENED


class _Case:
    """What is known of one upload and round. `…_recorded` is the ledger's word, the other the topic's."""

    __slots__ = ("final", "final_recorded", "provisional", "provisional_recorded", "seen", "task")

    def __init__(self) -> None:
        self.seen = 0
        self.task: TaskState | None = None
        self.provisional: Answer | None = None
        self.final: Answer | None = None
        self.provisional_recorded: Answer | None = None
        self.final_recorded: Answer | None = None


@dataclass(slots=True)
class _Request:
    """What is known of one request. Answers by status: the digests that were seen."""

    asked: set[tuple[int, int]] = field(default_factory=set)
    recorded: bool = False
    open: bool = False
    reopened: list[tuple[str, int]] = field(default_factory=list)
    told: dict[AnswerStatus, set[int]] = field(default_factory=dict)
    noted: dict[AnswerStatus, int] = field(default_factory=dict)
    young: bool = False


@dataclass(slots=True)
class _File:
    """Everything that was read."""

    until: float | None
    cases: dict[tuple[str, int], _Case] = field(default_factory=dict)
    requests: dict[str, _Request] = field(default_factory=dict)
    reviewed: set[int] = field(default_factory=set)
    reviewed_recorded: set[int] = field(default_factory=set)
    young_reviews: set[int] = field(default_factory=set)
    buried: set[tuple[str, int, int]] = field(default_factory=set)
    rivals: dict[tuple[str, int, OutcomeStatus], set[Answer]] = field(default_factory=dict)
    malformed: list[Malformed] = field(default_factory=list)
    incomplete: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    duplicates: Duplicates = field(default_factory=Duplicates)

    def young(self, at: float) -> bool:
        return self.until is not None and at > self.until

    def case(self, media_id: str, round_: int, at: float) -> _Case:
        case = self.cases.get((media_id, round_))
        if case is None:
            case = self.cases[media_id, round_] = _Case()
        if self.young(at):
            case.seen |= _Seen.YOUNG
        return case

    def request(self, request_id: str, at: float) -> _Request:
        request = self.requests.setdefault(request_id, _Request())
        request.young |= self.young(at)
        return request


def audit(facts: Iterable[Fact], *, until: float | None = None) -> AuditReport:
    """Judge the facts.

    Args:
        facts: what the topics and the ledger say, in any order.
        until: seconds since the epoch; an upload of which anything was written later is still under way: it is
            counted as pending, not judged. None: everything has come to rest.
    """
    file = _File(until)
    for fact in facts:
        _take(fact, file)
    published_later = _latest(file.cases) if ENFORCED in file.incomplete else {}
    for (media_id, round_), case in file.cases.items():
        if case.seen & _Seen.YOUNG:
            file.counts.pending += bool(case.seen & _Seen.OPENED)
            continue
        latest = published_later.get(media_id, (0, False))
        for kind, words in _check(media_id, round_, case, latest, file):
            file.findings.append(Finding(kind, words, media_id, round_))
    file.findings.extend(_unread(file))
    file.findings.extend(_unsettled(file))
    file.findings.extend(_unanswered(file))
    order = sorted(
        set(file.findings), key=lambda found: (found.media_id or "", found.round or 0, found.kind, found.words)
    )
    return AuditReport(tuple(order), file.counts, file.duplicates, tuple(sorted(file.incomplete)))


def _take(fact: Fact, file: _File) -> None:
    match fact:
        case Uploaded(media_id, round_, at):
            case = file.case(media_id, round_, at)
            if case.seen & _Seen.UPLOADED:
                file.duplicates.uploaded += 1
            else:
                file.counts.uploads += 1
            case.seen |= _Seen.UPLOADED
        case Decided(media_id, round_, at, Where.TOPIC, failed, request):
            case = file.case(media_id, round_, at)
            file.duplicates.decided += bool(case.seen & _Seen.DECIDED)
            # What was re-opened was judged before, and buried then if it had to be.
            case.seen |= _Seen.DECIDED | (_Seen.FAILED if failed and request is None else 0)
            if request is not None:
                _reopen(request, media_id, round_, at, file)
        case Decided(media_id, round_, at, Where.LEDGER):
            file.case(media_id, round_, at).seen |= _Seen.LEDGER_DECIDED
        case Asked(media_id, round_, at, None):
            case = file.case(media_id, round_, at)
            file.duplicates.asked += bool(case.seen & _Seen.ASKED)
            case.seen |= _Seen.ASKED
        case Asked(media_id, round_, at, state):
            file.case(media_id, round_, at).task = state
        case Reviewed(task, at, Where.TOPIC):
            if task.int in file.reviewed:
                file.duplicates.reviewed += 1
            else:
                file.counts.reviews += 1
            file.reviewed.add(task.int)
            if file.young(at):
                file.young_reviews.add(task.int)
        case Reviewed(task, _, Where.LEDGER):
            file.reviewed_recorded.add(task.int)
        case Enforced():
            _take_outcome(fact, file)
        case Requested(request, at, None):
            file.request(request, at).recorded = True
        case Requested(request, at, (partition, offset)):
            asked = file.request(request, at).asked
            file.duplicates.requested += bool(asked)
            asked.add((partition, offset))
        case Reopened(request, media_id, round_, at, final):
            file.request(request, at).open |= not final
            _reopen(request, media_id, round_, at, file)
        case Answered(request, status, at, Where.TOPIC, content):
            told = file.request(request, at).told
            file.duplicates.answered += status in told
            told.setdefault(status, set()).add(content)
        case Answered(request, status, at, Where.LEDGER, content):
            file.request(request, at).noted[status] = content
        case Malformed():
            file.malformed.append(fact)
            file.counts.malformed += 1
        case Buried(topic, partition, offset, at, media_id, round_):
            if (topic, partition, offset) in file.buried:
                file.duplicates.dead_letters += 1
            else:
                file.counts.dead_letters += 1
            file.buried.add((topic, partition, offset))
            if media_id is not None:
                file.case(media_id, round_, at).seen |= _Seen.BURIED
        case Incomplete(topic):
            file.incomplete.add(topic)


def _reopen(request: str, media_id: str, round_: int, at: float, file: _File) -> None:
    case = file.case(media_id, round_, at)
    file.counts.reopened += not case.seen & _Seen.REOPENED
    case.seen |= _Seen.REOPENED
    file.request(request, at).reopened.append((media_id, round_))


def _take_outcome(fact: Enforced, file: _File) -> None:
    case = file.case(fact.media_id, fact.round, fact.at)
    if fact.where is Where.LEDGER:
        # The topic's own object where it says the same: a fifth of the memory of a large audit.
        if fact.status is OutcomeStatus.FINAL:
            case.final_recorded = case.final if case.final == fact.answer else fact.answer
        else:
            case.provisional_recorded = case.provisional if case.provisional == fact.answer else fact.answer
        return
    final = fact.status is OutcomeStatus.FINAL
    first = case.final if final else case.provisional
    answer = fact.answer
    if first is not None:
        file.duplicates.enforced += 1
        if first.differs(answer):
            file.rivals.setdefault((fact.media_id, fact.round, fact.status), {first}).add(answer)
        answer = min(first, answer)  # not the first that was read, so that the report does not depend on the order
    if final:
        case.final = answer
    else:
        case.provisional = answer


def _latest(cases: dict[tuple[str, int], _Case]) -> dict[str, tuple[int, bool]]:
    """For each media_id the newest outcome in the topic: (round, is it final)."""
    latest: dict[str, tuple[int, bool]] = {}
    for (media_id, round_), case in cases.items():
        if case.final is not None or case.provisional is not None:
            latest[media_id] = max(latest.get(media_id, (0, False)), (round_, case.final is not None))
    return latest


def _check(
    media_id: str, round_: int, case: _Case, latest: tuple[int, bool], file: _File
) -> Iterator[tuple[Violation, str]]:
    """What is wrong with one upload and round. `latest`: older outcomes than this may have been compacted away."""
    seen = case.seen
    final, provisional = case.final, case.provisional
    if final is None and (round_, True) < latest:
        final = case.final_recorded
    if provisional is None and (round_, False) < latest:
        provisional = case.provisional_recorded

    for status, told, recorded in (
        (OutcomeStatus.FINAL, final, case.final_recorded),
        (OutcomeStatus.PROVISIONAL, provisional, case.provisional_recorded),
    ):
        if rivals := file.rivals.get((media_id, round_, status)):
            listed = "; ".join(sorted(map(str, rivals)))
            yield Violation.CONTRADICTION, f"{len(rivals)} different {status} outcomes: {listed}"
        else:
            yield from _outcomes_agree(status, told, recorded)
    yield from _answered(case, final, provisional, file)
    yield from _caused(media_id, round_, case, final, provisional, file)

    if not seen & _Seen.OPENED and UPLOADED not in file.incomplete and _came_of_an_upload(case):
        yield Violation.UNKNOWN_UPLOAD, "there are results, and no such upload"
    if seen & _Seen.FAILED and not seen & _Seen.BURIED and DEAD_LETTER not in file.incomplete:
        yield Violation.NOT_BURIED, "it could not be judged, and there is no dead letter"
    if seen & _Seen.ASKED and case.task is None:
        yield Violation.TASK_NOT_RECORDED, "a review task was published that the ledger does not have"
    if case.task is TaskState.OPEN and not seen & _Seen.ASKED and REVIEW_REQUESTED not in file.incomplete:
        yield Violation.TASK_NOT_PUBLISHED, "the ledger has an open review task that was never published"


def _came_of_an_upload(case: _Case) -> bool:
    return bool(case.seen & (_Seen.DECIDED | _Seen.ASKED)) or case.final is not None or case.provisional is not None


def _answered(
    case: _Case, final: Answer | None, provisional: Answer | None, file: _File
) -> Iterator[tuple[Violation, str]]:
    """It is final, or waits for a person, or is buried."""
    uploaded = bool(case.seen & _Seen.OPENED)
    if final is not None:
        file.counts.final += uploaded
    elif provisional is not None and case.task is TaskState.OPEN:
        file.counts.waiting += uploaded
    elif provisional is not None and case.task is TaskState.SUPERSEDED:
        file.counts.superseded += uploaded
    elif provisional is not None:
        state = "was decided, and no final outcome followed" if case.task else "does not exist"
        yield Violation.UNANSWERED, f"provisionally {provisional}, but its review task {state}"
    elif case.seen & _Seen.BURIED:
        file.counts.buried_only += uploaded
    elif uploaded:
        decided = "decided, but never enforced" if case.seen & _Seen.DECIDED else "never decided"
        yield Violation.UNANSWERED, f"no outcome, no review, no dead letter: {decided}"
    elif case.seen & _Seen.DECIDED:
        yield Violation.UNANSWERED, "decided, but never enforced"


def _outcomes_agree(status: str, told: Answer | None, recorded: Answer | None) -> Iterator[tuple[Violation, str]]:
    if told is None and recorded is not None:
        yield Violation.OUTCOME_NOT_PUBLISHED, f"the ledger's {status} outcome ({recorded}) was never published"
    elif told is not None and recorded is None:
        yield Violation.OUTCOME_NOT_RECORDED, f"a {status} outcome ({told}) was published that the ledger does not have"
    elif told is not None and recorded is not None and told.differs(recorded):
        yield Violation.OUTCOME_DIFFERS, f"the {status} outcome is {told} in the topic and {recorded} in the ledger"


def _caused(
    media_id: str,
    round_: int,
    case: _Case,
    final: Answer | None,
    provisional: Answer | None,
    file: _File,
) -> Iterator[tuple[Violation, str]]:
    """What a person decided has that person's answer, what the policy decided has a decision."""
    decided = case.seen & _Seen.DECIDED or (case.seen & _Seen.LEDGER_DECIDED and DECIDED in file.incomplete)
    if final is not None and final.decided_by is DecidedBy.PERSON:
        task = task_id_of(media_id, round_).int
        reviewed = task in file.reviewed or (task in file.reviewed_recorded and REVIEW_DECIDED in file.incomplete)
        if not reviewed:
            yield Violation.WITHOUT_CAUSE, f"final ({final}) without any review"
    elif final is not None and not decided:
        yield Violation.WITHOUT_CAUSE, f"final ({final}) without a decision"
    if provisional is not None and not decided:
        yield Violation.WITHOUT_CAUSE, f"provisional ({provisional}) without a decision"


def _unread(file: _File) -> Iterator[Finding]:
    """Records that are no events."""
    for record in file.malformed:
        if file.young(record.at):
            continue
        place = f"{record.topic} partition {record.partition} offset {record.offset}"
        if not record.read:
            yield Finding(Violation.UNREADABLE, f"{place}: {record.why}")
        elif record[:3] not in file.buried and DEAD_LETTER not in file.incomplete:
            yield Finding(Violation.NOT_BURIED, f"{place} is no event ({record.why}), and there is no dead letter")


def _unsettled(file: _File) -> Iterator[Finding]:
    """Answers of people that nobody acted upon."""
    for (media_id, round_), case in file.cases.items():
        if case.task is not TaskState.OPEN or case.seen & _Seen.YOUNG:
            continue
        task = task_id_of(media_id, round_).int
        if task in file.reviewed and task not in file.young_reviews:
            yield Finding(Violation.REVIEW_NOT_SETTLED, "reviewed, but the task is still open", media_id, round_)


def _unanswered(file: _File) -> Iterator[Finding]:
    """Requests of persons shown that got no answer, or not the one on record, and rounds that nobody asked for."""
    for name, request in file.requests.items():
        if request.young:
            continue
        file.counts.requests += bool(request.asked)
        for kind, words in _wrong_with(request, file):
            yield Finding(kind, f"request {name}: {words}")


def _wrong_with(request: _Request, file: _File) -> Iterator[tuple[Violation, str]]:
    told, noted = request.told, request.noted
    all_told = SUBJECT_ANSWERED not in file.incomplete
    buried = any((SUBJECT_REQUESTED, *place) in file.buried for place in request.asked)
    if not told and not (noted and not all_told) and not (buried and not request.recorded):
        yield Violation.REQUEST_UNANSWERED, "there is no answer"
    for status, contents in told.items():
        if len(contents) > 1:
            yield Violation.CONTRADICTION, f"{len(contents)} different answers `{status}`"
        elif status not in noted:
            yield Violation.ANSWER_DIFFERS, f"the answer `{status}` was published, and the ledger does not have it"
        elif noted[status] not in contents:
            yield Violation.ANSWER_DIFFERS, f"the answer `{status}` is another in the topic than in the ledger"
    for status in noted.keys() - told.keys():
        if all_told:
            yield Violation.REQUEST_UNANSWERED, f"the answer `{status}` is in the ledger and was never published"
    if AnswerStatus.RECEIVED in noted and not request.open and AnswerStatus.DONE not in noted:
        yield Violation.REQUEST_UNANSWERED, "all that it re-opened is final, and nobody was told"
    if not request.asked and SUBJECT_REQUESTED not in file.incomplete:
        what = f"{len(set(request.reopened))} rounds were opened" if request.reopened else "it was answered"
        yield Violation.UNKNOWN_REQUEST, f"{what}, and nobody asked"
