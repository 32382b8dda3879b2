"""The audit's check: true histories hold, and whatever breaks the promise is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import answer
from pipeline.answer import Opened
from pipeline.audit import (
    Answer,
    Answered,
    Asked,
    AuditReport,
    Buried,
    Decided,
    Enforced,
    Fact,
    Incomplete,
    Malformed,
    Reopened,
    Requested,
    Reviewed,
    Uploaded,
    Violation,
    Where,
    audit,
)
from pipeline.audit_facts import fact
from pipeline.events import (
    DeadLetter,
    DecidedBy,
    Event,
    MediaDecided,
    MediaEnforced,
    MediaUploaded,
    OutcomeStatus,
    SubjectAnswered,
)
from pipeline.events.cloudevents import ROUND
from pipeline.events.codec import encode
from pipeline.events.ids import dead_letter_id
from pipeline.events.subject import AnswerStatus, SubjectMatch
from pipeline.events.values import Action, Failure, RequestFacts, RequestKind
from pipeline.ledger.port import TaskState
from pipeline.ledger.purge import ERASED
from pipeline.scan import Stored
from pipeline.topology import (
    DEAD_LETTER,
    DECIDED,
    ENFORCED,
    REVIEW_DECIDED,
    REVIEW_REQUESTED,
    SUBJECT_ANSWERED,
    SUBJECT_REQUESTED,
    UPLOADED,
    review_topic,
)
from tests.asked import asking
from tests.records import NOON, decided, reviewed, routed, settled, upload

FAILURE = Failure(stage="decode", reason="media_corrupt", detail="no frame")


@dataclass
class History:
    """Plays the agents, and notes what the topics and the ledger then say."""

    facts: list[Fact] = field(default_factory=list)
    offsets: count[int] = field(default_factory=count)

    def publish(self, topic: str, value: bytes, round_: int = 1, at: float = 1_000.0) -> Stored:
        headers = ((ROUND, str(round_).encode()),) if round_ > 1 else ()
        record = Stored(topic, 0, next(self.offsets), at, b"key", value, headers)
        self.facts.append(fact(record))
        return record

    def event(self, topic: str, event: Event, times: int = 1) -> None:
        for _ in range(times):
            self.publish(topic, encode(event))

    def upload(self, media_id: str, round_: int = 1) -> Stored:
        return self.publish(UPLOADED, encode(upload(media_id)), round_)

    def route(self, event: MediaDecided, times: int = 1) -> None:
        """Decide, record and publish; `times` says how often each topic repeats it."""
        self.event(DECIDED, event, times)
        task, outcome = routed(event)
        self.facts.append(Decided(event.media_id, event.round, 1_000.0, Where.LEDGER))
        if task is not None:
            self.facts.append(Asked(event.media_id, event.round, 1_000.0, TaskState.OPEN))
            self.event(review_topic(task.queue), task, times)
        self.enforce(outcome, times)

    def enforce(self, outcome: MediaEnforced, times: int = 1) -> None:
        self.event(ENFORCED, outcome, times)
        told = self.facts[-1]
        assert isinstance(told, Enforced)
        self.facts.append(told._replace(where=Where.LEDGER))

    def settle(self, event: MediaDecided, action: Action, times: int = 1) -> None:
        """A person answers."""
        task = routed(event).task
        assert task is not None
        review = reviewed(task, action)
        self.event(REVIEW_DECIDED, review, times)
        self.facts.append(Reviewed(task.task_id, 1_000.0, Where.LEDGER))
        self.task(event, TaskState.DECIDED)
        self.enforce(settled(review, task), times)

    def task(self, event: MediaDecided, state: TaskState) -> None:
        """Change what the ledger says of a task."""
        for place, found in enumerate(self.facts):
            if isinstance(found, Asked) and found.state and found[:2] == (event.media_id, event.round):
                self.facts[place] = found._replace(state=state)

    def request(self, media_id: str, times: int = 1) -> MediaDecided:
        """A person shown asks; the next round is opened, and the request is answered so."""
        request = asking(media_id, request_id=f"r-{media_id}")
        self.event(SUBJECT_REQUESTED, request, times)
        facts = RequestFacts(request_id=request.request_id, kind=RequestKind.REMOVAL, received_at=NOON)
        event = decided(media_id, 2, review="faces", request=facts)
        self.facts.append(Requested(request.request_id, 1_000.0))
        self.facts.append(Reopened(request.request_id, media_id, 2, 1_000.0, final=False))
        self.say(answer.received(request, [Opened(media_id, 2, SubjectMatch.NAMED)], NOON), times)
        self.route(event, times)
        return event

    def close(self, event: MediaDecided, times: int = 1) -> None:
        """The person is told that it is done."""
        request = asking(event.media_id, request_id=f"r-{event.media_id}")
        task = routed(event).task
        assert task is not None
        final = settled(reviewed(task), task)
        for place, found in enumerate(self.facts):
            if isinstance(found, Reopened) and found.request == request.request_id:
                self.facts[place] = found._replace(final=True)
        said = answer.done(request, [Opened(event.media_id, 2, SubjectMatch.NAMED, None, final)])
        assert said is not None
        self.say(said, times)

    def say(self, said: SubjectAnswered, times: int = 1) -> None:
        self.event(SUBJECT_ANSWERED, said, times)
        told = self.facts[-1]
        assert isinstance(told, Answered)
        self.facts.append(told._replace(where=Where.LEDGER))

    def bury(self, record: Stored, media_id: str | None, times: int = 1) -> None:
        letter = DeadLetter(
            dead_letter_id=dead_letter_id(record.topic, record.partition, record.offset),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value or b"",
            headers=record.headers,
            failure=FAILURE,
            buried_at=NOON,
            media_id=media_id,
        )
        self.event(DEAD_LETTER, letter, times)

    def audit(self, **more: float) -> AuditReport:
        return audit(self.facts, **more)

    def without(self, unwanted: Callable[[Fact], bool]) -> AuditReport:
        return audit([found for found in self.facts if not unwanted(found)])


def kinds(report: AuditReport) -> list[str]:
    return [found.kind.value for found in report.violations]


# --- histories that hold ---------------------------------------------------------------------------------------------

FATES = (
    "final", "waiting", "reviewed", "failed", "failed waiting", "superseded", "rejudged", "buried", "malformed",
    "requested", "granted",
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Uploads that all came to a good end, with the repeats that delivery at least once brings, in any order."""
    history = History()
    for number, fate in enumerate(draw(st.lists(st.sampled_from(FATES), max_size=6))):
        live(history, f"m{number}", fate, draw(st.integers(1, 3)))
    draw(st.randoms(use_true_random=False)).shuffle(history.facts)
    return history


def live(history: History, media_id: str, fate: str, times: int) -> None:
    """Let one upload meet its fate; what can repeat is there `times` times."""
    if fate == "malformed":
        for _ in range(times):
            history.bury(history.publish(UPLOADED, b'{"schema": "media.uploaded/1"}'), None, times)
        return
    for _ in range(times):
        record = history.upload(media_id)
    review = None if fate in ("final", "failed", "requested", "granted") else "faces"
    event = decided(media_id, review=review, failure=FAILURE if fate.startswith("failed") else None)
    match fate:
        case "buried":
            history.bury(record, media_id, times)
        case "final" | "waiting":
            history.route(event, times)
        case "failed" | "failed waiting":
            history.bury(record, media_id, times)
            history.route(event, times)
        case "reviewed":
            history.route(event, times)
            history.settle(event, Action.REMOVE, times)
        case "requested" | "granted":
            history.route(event, times)
            second = history.request(media_id, times)
            if fate == "granted":
                history.settle(second, Action.REMOVE, times)
                history.close(second, times)
        case "superseded" | "rejudged":
            history.route(event, times)
            history.task(event, TaskState.SUPERSEDED)
            history.upload(media_id, 2)
            second = decided(media_id, 2, review="faces")
            history.route(second, times)
            if fate == "rejudged":
                history.settle(second, Action.LABEL, times)


@given(histories())
def test_a_good_history_holds(history: History) -> None:
    """Whatever mix of fates and repeats: no violation, and every upload is counted once."""
    report = history.audit()
    assert report.violations == ()
    assert report.holds
    counts = report.counts
    assert counts.uploads + counts.reopened == counts.final + counts.waiting + counts.superseded + counts.buried_only


@given(histories(), st.data())
def test_the_loss_of_a_final_outcome_is_found(history: History, data: st.DataObject) -> None:
    """Whichever final outcome is gone from the topic."""
    finals = [f for f in history.facts if isinstance(f, Enforced) and f.where is Where.TOPIC and f.status == "final"]
    if not finals:
        return
    lost = data.draw(st.sampled_from(finals))
    report = history.without(lambda found: found == lost)
    assert {Violation.OUTCOME_NOT_PUBLISHED, Violation.UNANSWERED} & {found.kind for found in report.violations}
    assert all(found.media_id == lost.media_id for found in report.violations)


@given(histories(), st.data())
def test_the_loss_of_a_dead_letter_is_found(history: History, data: st.DataObject) -> None:
    """Whether it is the only answer, stands beside a fail mode, or buries bytes that name nobody."""
    letters = [found for found in history.facts if isinstance(found, Buried)]
    if not letters:
        return
    lost = data.draw(st.sampled_from(letters))
    assert not history.without(lambda found: found == lost).holds


@given(histories(), st.data())
def test_a_second_final_outcome_is_found(history: History, data: st.DataObject) -> None:
    """A final outcome that says something else, wherever it stands among the records."""
    finals = [f for f in history.facts if isinstance(f, Enforced) and f.where is Where.TOPIC and f.status == "final"]
    if not finals:
        return
    victim = data.draw(st.sampled_from(finals))
    other = victim._replace(answer=victim.answer._replace(content=victim.answer.content ^ 1))
    history.facts.insert(data.draw(st.integers(0, len(history.facts))), other)
    found = [finding for finding in history.audit().violations if finding.kind is Violation.CONTRADICTION]
    assert [(finding.media_id, finding.round) for finding in found] == [(victim.media_id, victim.round)]


@given(histories(), st.data())
def test_the_loss_of_an_open_task_is_found(history: History, data: st.DataObject) -> None:
    """In the queue's topic or in the ledger."""
    open_tasks = [found for found in history.facts if isinstance(found, Asked) and found.state is TaskState.OPEN]
    if not open_tasks:
        return
    lost = data.draw(st.sampled_from(open_tasks))
    assert not history.without(lambda found: found == lost).holds
    published = history.without(lambda found: isinstance(found, Asked) and not found.state and found[:2] == lost[:2])
    assert kinds(published) == ["task_not_published"]


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(history: History, random: Random) -> None:
    """Partitions and tables are read in no order."""
    history.upload("lost")
    for action in (Action.ALLOW, Action.HOLD, Action.REMOVE):
        history.event(ENFORCED, routed(decided("rivals", action=action)).outcome)
    report = history.audit()
    random.shuffle(history.facts)
    assert history.audit() == report


# --- single violations -----------------------------------------------------------------------------------------------


def test_an_upload_without_any_answer_is_named() -> None:
    """The first thing that an audit is for."""
    history = History()
    history.upload("m1", 3)
    (finding,) = history.audit().violations
    assert (finding.kind, finding.media_id, finding.round) == (Violation.UNANSWERED, "m1", 3)
    assert str(finding) == "unanswered: m1 round 3: no outcome, no review, no dead letter: never decided"


def test_a_decision_that_was_never_routed_is_told_apart() -> None:
    """It says how far the upload came."""
    history = History()
    history.upload("m1")
    history.event(DECIDED, decided("m1"))
    (finding,) = history.audit().violations
    assert finding.words.endswith("decided, but never enforced")


def test_a_provisional_outcome_needs_its_open_task() -> None:
    """A task that was decided without a final outcome leaves the upload hanging."""
    history = History()
    history.upload("m1")
    event = decided("m1", review="faces")
    history.route(event)
    history.task(event, TaskState.DECIDED)
    (finding,) = history.audit().violations
    assert finding.kind is Violation.UNANSWERED
    assert "its review task was decided, and no final outcome followed" in finding.words


def test_a_repeat_that_is_only_later_is_no_contradiction() -> None:
    """What is compared is what an outcome says, not when."""
    history = History()
    history.upload("m1")
    history.route(decided("m1"))
    outcome = routed(decided("m1")).outcome
    history.event(ENFORCED, msgspec.structs.replace(outcome, enforced_at=outcome.enforced_at.replace(year=2026)))
    report = history.audit()
    assert report.holds
    assert report.duplicates.enforced == 1


@pytest.mark.parametrize(
    "change",
    [
        {"action": Action.REMOVE},
        {"reasons": ("another",)},
        {"decided_by": "person"},
        {"label": "AI"},
        {"policy_version": "p2"},
    ],
)
def test_every_part_of_an_outcome_counts(change: dict[str, object]) -> None:
    """Two finals that differ in anything but the time contradict each other."""
    history = History()
    history.upload("m1")
    history.route(decided("m1"))
    raw = msgspec.json.decode(encode(routed(decided("m1")).outcome)) | change
    history.publish(ENFORCED, msgspec.json.encode(raw))
    assert "contradiction" in kinds(history.audit())


def test_two_provisional_outcomes_contradict_each_other_too() -> None:
    """The platform acts on them as well."""
    history = History()
    history.upload("m1")
    history.route(decided("m1", review="faces"))
    history.event(ENFORCED, routed(decided("m1", review="faces", action=Action.LIMIT)).outcome)
    assert kinds(history.audit()) == ["contradiction"]


def test_a_person_s_outcome_needs_a_review() -> None:
    """Final by a person, and nobody answered."""
    history = History()
    event = decided("m1", review="faces")
    history.upload("m1")
    history.route(event)
    history.settle(event, Action.REMOVE)
    assert kinds(history.without(lambda found: isinstance(found, Reviewed))) == ["without_cause"]


def test_an_outcome_needs_a_decision() -> None:
    """Final by the policy, and nothing was decided."""
    history = History()
    history.upload("m1")
    history.route(decided("m1"))
    gone = history.without(lambda found: isinstance(found, Decided) and found.where is Where.TOPIC)
    assert kinds(gone) == ["without_cause"]


def test_results_for_an_upload_that_never_was_are_found() -> None:
    """A wrong id or round shows on both sides."""
    history = History()
    history.upload("m1", 2)
    history.route(decided("m1"))
    assert [(f.kind.value, f.round) for f in history.audit().violations] == [("unknown_upload", 1), ("unanswered", 2)]


def test_topics_and_ledger_must_agree() -> None:
    """An outcome in one only, or another one in each."""
    history = History()
    history.upload("m1")
    history.route(decided("m1"))
    assert kinds(history.without(lambda f: isinstance(f, Enforced) and f.where is Where.LEDGER)) == [
        "outcome_not_recorded"
    ]
    place = next(i for i, f in enumerate(history.facts) if isinstance(f, Enforced) and f.where is Where.LEDGER)
    told = history.facts[place]
    assert isinstance(told, Enforced)
    history.facts[place] = told._replace(answer=Answer(Action.REMOVE, told.answer.decided_by, 1))
    (finding,) = history.audit().violations
    assert finding.kind is Violation.OUTCOME_DIFFERS
    assert finding.words == "the final outcome is allow by policy in the topic and remove by policy in the ledger"


def test_words_that_were_erased_are_not_missed() -> None:
    """The ledger may have forgotten what a person wrote, not what they decided; other words than the topic's are
    found, and so is an erased text where the machine decided."""
    event = decided("m1", review="faces")
    task, _ = routed(event)
    assert task is not None
    told = msgspec.structs.replace(
        settled(reviewed(task), task), reasons=("A person looked at it.", "It is me."), label="mine"
    )

    def judged(**changes: object) -> list[str]:
        history = History()
        history.upload("m1")
        history.route(event)
        history.settle(event, Action.REMOVE)
        apart = [each for each in history.facts if not (isinstance(each, Enforced) and each.status == "final")]
        history.facts = apart
        history.event(ENFORCED, told)
        history.event(ENFORCED, msgspec.structs.replace(told, **changes))  # type: ignore[arg-type]
        recorded = history.facts.pop()
        assert isinstance(recorded, Enforced)
        history.facts.append(recorded._replace(where=Where.LEDGER))
        return kinds(history.audit())

    assert judged() == []
    assert judged(reasons=("A person looked at it.", ERASED), label=None) == []
    assert judged(reasons=("A person looked at it.", "It is you.")) == ["outcome_differs"]
    assert judged(label="theirs") == ["outcome_differs"]
    assert judged(reasons=(ERASED,), action=Action.ALLOW) == ["outcome_differs"]
    assert judged(reasons=(ERASED,), decided_by=DecidedBy.POLICY) == ["outcome_differs"]


def test_a_task_that_the_ledger_does_not_have_is_found() -> None:
    """A person would answer, and the answer would be refused."""
    history = History()
    event = decided("m1", review="faces")
    history.upload("m1")
    history.route(event)
    gone = history.without(lambda found: isinstance(found, Asked) and found.state is not None)
    assert kinds(gone) == ["task_not_recorded", "unanswered"]


def test_an_answer_that_nobody_acted_upon_is_found() -> None:
    """The promise alone would let the upload wait for ever."""
    history = History()
    event = decided("m1", review="faces")
    history.upload("m1")
    history.route(event)
    task = routed(event).task
    assert task is not None
    history.event(REVIEW_DECIDED, reviewed(task))
    assert kinds(history.audit()) == ["review_not_settled"]


def test_bytes_that_are_no_event_need_a_dead_letter_of_their_own() -> None:
    """One per record, told apart by offset; in a topic that no agent reads they are a violation as such."""
    history = History()
    history.bury(history.publish(UPLOADED, b"\xff"), None)
    history.publish(REVIEW_DECIDED, b"{}")
    history.publish(ENFORCED, b"[]")
    report = history.audit()
    assert kinds(report) == ["not_buried", "unreadable"]
    assert report.counts.malformed == 3
    assert "review.decided partition 0 offset 2" in report.violations[0].words


def test_a_decision_that_was_buried_answers_for_its_upload() -> None:
    """What `route` cannot record is in the dead letters, and names the upload by the bytes that it holds."""
    history = History()
    history.upload("m1", 2)
    history.bury(history.publish(DECIDED, encode(decided("m1", 2))), None)
    report = history.audit()
    assert report.holds
    assert report.counts.buried_only == 1


# --- requests of persons shown ----------------------------------------------------------------------------------------


def requested(*, granted: bool) -> History:
    history = History()
    live(history, "m1", "granted" if granted else "requested", 1)
    return history


def _told(found: Fact, status: AnswerStatus, where: Where = Where.TOPIC) -> bool:
    return isinstance(found, Answered) and (found.status, found.where) == (status, where)


def test_every_request_is_answered_at_once_and_at_the_end() -> None:
    """The loss of either answer is found, whether the ledger has it or not."""
    for status in (AnswerStatus.RECEIVED, AnswerStatus.DONE):
        gone = requested(granted=True).without(lambda found, status=status: _told(found, status))
        assert kinds(gone) == ["request_unanswered"]
    never = requested(granted=True).without(lambda f: isinstance(f, Answered) and f.status is AnswerStatus.DONE)
    (finding,) = never.violations
    assert str(finding) == "request_unanswered: request r-m1: all that it re-opened is final, and nobody was told"
    lost = requested(granted=False).without(
        lambda f: isinstance(f, (Answered, Reopened)) or f == Requested("r-m1", 1e3)
    )
    assert "request_unanswered" in kinds(lost)


def test_an_open_request_waits_for_its_tasks() -> None:
    """It is no violation, as long as somebody is asked."""
    history = requested(granted=False)
    report = history.audit()
    assert report.holds
    assert (report.counts.requests, report.counts.reopened, report.counts.waiting) == (1, 1, 1)
    assert "unanswered" in kinds(history.without(lambda found: isinstance(found, Asked)))


def test_a_request_that_was_buried_has_its_answer() -> None:
    """The dead letter says why."""
    history = History()
    history.bury(history.publish(SUBJECT_REQUESTED, encode(asking("m1"))), None)
    assert history.audit().holds
    history.publish(SUBJECT_REQUESTED, b"{}")
    assert kinds(history.audit()) == ["not_buried"]


def test_two_answers_contradict_each_other() -> None:
    """And an answer has to be the one on record."""
    history = requested(granted=True)
    other = next(found for found in history.facts if _told(found, AnswerStatus.DONE))
    assert isinstance(other, Answered)
    history.facts.append(other._replace(content=other.content ^ 1))
    assert kinds(history.audit()) == ["contradiction"]
    assert kinds(history.without(lambda found: found == other)) == ["answer_differs"]
    unrecorded = requested(granted=True).without(lambda f: _told(f, AnswerStatus.RECEIVED, Where.LEDGER))
    assert kinds(unrecorded) == ["answer_differs"]


def test_what_nobody_asked_for_is_found() -> None:
    """A round that names a request which was never made."""
    asked = requested(granted=False).without(lambda f: isinstance(f, Requested) and f.place is not None)
    assert kinds(asked) == ["unknown_request"]
    history = requested(granted=False)
    history.facts = [found for found in history.facts if not (isinstance(found, Requested) and found.place)]
    history.facts.append(Incomplete(SUBJECT_REQUESTED))
    assert history.audit().holds


def test_what_retention_took_is_believed_from_the_ledger() -> None:
    """Answers that are no longer in the topic."""
    history = requested(granted=True)
    history.facts = [f for f in history.facts if not (isinstance(f, Answered) and f.where is Where.TOPIC)]
    assert not history.audit().holds
    history.facts.append(Incomplete(SUBJECT_ANSWERED))
    assert history.audit().holds


def test_a_request_under_way_is_left_alone() -> None:
    """What is younger than asked for is not judged."""
    history = History()
    history.publish(SUBJECT_REQUESTED, encode(asking("m1")), at=2_000.0)
    assert history.audit(until=1_500.0).holds
    assert not history.audit(until=2_500.0).holds


# --- topics that no longer hold everything ---------------------------------------------------------------------------


def test_what_compaction_took_is_no_violation() -> None:
    """In a compacted topic with gaps only an upload's latest outcome has to be there."""
    history = History()
    live(history, "m1", "rejudged", 1)
    latest = (2, OutcomeStatus.FINAL)
    compacted = replace(
        history,
        facts=[f for f in history.facts if not _published(f) or (f.round, f.status) == latest],  # type: ignore[union-attr]
    )
    assert not compacted.audit().holds
    compacted.facts.append(Incomplete(ENFORCED))
    report = compacted.audit()
    assert report.holds
    assert report.incomplete == (ENFORCED,)
    lost = [f for f in compacted.facts if not _published(f)]
    assert "outcome_not_published" in kinds(audit(lost))


def _published(found: Fact) -> bool:
    return isinstance(found, Enforced) and found.where is Where.TOPIC


def test_what_retention_took_is_no_violation() -> None:
    """Uploads, decisions, tasks, reviews and dead letters expire; outcomes and the ledger do not."""
    history = History()
    for number, fate in enumerate(("final", "waiting", "reviewed", "failed")):
        live(history, f"m{number}", fate, 1)
    kept = [f for f in history.facts if isinstance(f, Enforced) or getattr(f, "where", None) is Where.LEDGER]
    kept += [f for f in history.facts if isinstance(f, Asked) and f.state]
    expired = (UPLOADED, DECIDED, REVIEW_REQUESTED, REVIEW_DECIDED, DEAD_LETTER)
    assert audit([*kept, *map(Incomplete, expired)]).holds
    assert not audit(kept).holds


# --- while the workers run -------------------------------------------------------------------------------------------


def test_what_is_under_way_is_pending() -> None:
    """Uploads of which anything is younger than `until` are counted, not judged; older ones are."""
    history = History()
    history.facts = [Uploaded("old", 1, 100.0), Uploaded("new", 1, 300.0), Malformed(UPLOADED, 0, 0, 300.0, "", True)]
    report = history.audit(until=200.0)
    assert [finding.media_id for finding in report.violations] == ["old"]
    assert report.counts.pending == 1
    assert report.counts.uploads == 2


def test_the_report_is_json() -> None:
    """Commands print it with `--json`."""
    history = History()
    history.upload("m1")
    shown = msgspec.json.decode(msgspec.json.encode(history.audit()))
    assert shown["violations"][0]["kind"] == "unanswered"
    assert shown["counts"]["uploads"] == 1
    assert MediaUploaded.__name__ not in str(shown)
