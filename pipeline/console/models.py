"""What the API takes and gives. The OpenAPI document is made of these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pipeline.events.values import Action, Family, MediaKind, SignalStatus
from pipeline.review.people import Role
from pipeline.review.port import Stands

Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
Notes = Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
PersonId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
FinalAction = Literal[Action.ALLOW, Action.LABEL, Action.LIMIT, Action.REMOVE]
"""`hold` is no answer: it means until a person decides."""


class Model(BaseModel):
    """Frozen; unknown fields are refused, so that a misspelt one is heard of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Model):
    """What went wrong, in a sentence for the person who asked."""

    detail: str


class Preferences(Model):
    """How somebody wants media shown. Blurring hides; nobody has shown that it prevents harm."""

    blur: Annotated[int, Field(ge=0, le=40, description="pixels; 0: sharp")] = 20
    mute: bool = True
    greyscale: bool = False
    small_first: bool = True
    autoplay: bool = False
    theme: Literal["system", "light", "dark"] = "system"
    break_minutes: Annotated[int, Field(ge=0, le=240, description="suggest a break after so long; 0: never")] = 50
    per_harm: Annotated[dict[Name, HarmPreferences], Field(max_length=100)] = {}


class HarmPreferences(Model):
    """What differs for one harm."""

    blur: Annotated[int, Field(ge=0, le=40)] | None = None
    mute: bool | None = None
    greyscale: bool | None = None
    warn: bool | None = None


class Exposure(Model):
    """What somebody looked at, by harm."""

    harm: str
    severity: int
    seconds: float


class Me(Model):
    """Who is signed in. `renew_at`: from then on a page asks the provider again, between two cases."""

    id: str
    name: str
    roles: list[Role]
    queues: list[str]
    permissions: list[str]
    preferences: Preferences
    exposure: list[Exposure]
    harms: list[HarmView]
    csrf_token: str | None
    renew_at: datetime | None = None


class QueueView(Model):
    """A queue now. `slack`: seconds until work has to start, of the most urgent tasks. `breaches`: how many of those
    will be late if nobody works faster than now; None when nothing was answered lately."""

    name: str
    what: str
    depth: int
    oldest: datetime | None
    overdue: int
    leased: int
    held: int
    handling_seconds: float
    handling_measured: bool
    slack: list[float]
    breaches: int | None
    at_work: list[str]


class AtWorkView(Model):
    """A case that somebody holds, by its most urgent task. `tasks`: how many it has. `until`: when the lease ends
    unless they go on working."""

    person_id: str
    name: str
    queue: str
    task_id: UUID
    media_id: str
    harm: str
    since: datetime
    until: datetime
    tasks: int


class EvidenceView(Model):
    """One score and what it points at."""

    detector: str
    score: float
    at: float | None
    until: float | None
    box: list[float] | None
    track: int | None
    note: str
    heat: bool


class SignalView(Model):
    """What is believed of one family. `sentence`: in words, with how sure."""

    family: Family
    status: SignalStatus
    probability: float | None
    low: float | None
    high: float | None
    coverage: float
    advisory: bool
    sentence: str
    evidence: list[EvidenceView]


class HitView(Model):
    """A rule that fired."""

    rule: str
    harm: str
    action: Action
    mode: str
    because: str
    fail_mode: bool
    exempted_by: str | None


class MediaView(Model):
    """What the file is."""

    kind: MediaKind | None
    container: str | None
    duration: float | None
    width: int | None
    height: int | None
    looked_at: list[float]
    largest_gap: float | None
    metadata: list[tuple[str, str]]


class ProvenanceView(Model):
    """Content Credentials and what else the file says of its origin, in words. `conflicts`: what does not fit."""

    state: str
    sentences: list[str]
    conflicts: list[str]


class MatchView(Model):
    """Content that a bank knows."""

    bank: str
    kind: str
    distance: int
    share: float
    live: bool
    note: str


class PastView(Model):
    """An earlier round or an earlier upload."""

    media_id: str
    round: int
    decided_at: datetime
    action: Action
    final: bool
    decided_by: str
    reasons: list[str]


class TaskView(Model):
    """A task without its evidence."""

    task_id: UUID
    media_id: str
    round: int
    queue: str
    harm: str
    priority: int
    requested_at: datetime
    deadline: datetime
    start_by: datetime | None
    clock: str | None
    provisional: Action
    reasons: list[str]


class NoteView(Model):
    """What somebody wrote for their colleagues when they decided."""

    by: str
    at: datetime
    words: str


class CaseView(Model):
    """Everything that a person needs to decide. `scores_hidden`: the first answer comes before the scores."""

    task: TaskView
    siblings: list[TaskView]
    lease_id: UUID | None
    leased_until: datetime | None
    severity: int
    warning: str | None
    surface: str
    regions: list[str]
    caption: str
    declared_synthetic: bool
    purposes: list[str]
    consent: str
    uploader_id: str | None
    uploaded_at: datetime
    request: str | None
    media: MediaView
    media_urls: dict[str, str]
    scores_hidden: bool
    signals: list[SignalView]
    trace: list[HitView]
    provenance: ProvenanceView
    matches: list[MatchView]
    history: list[PastView]
    uploader_history: list[PastView]
    labels: list[str]
    harms: list[HarmView]
    looks: int
    notes: list[NoteView]


class HarmView(Model):
    """A reason that may be given for a restriction."""

    name: str
    what: str
    severity: int


class Claim(Model):
    """Which queues to take work from; all of one's own when empty."""

    queues: list[Name] = Field([], max_length=100)


class Skip(Model):
    """Why somebody would rather not. `minutes`: until it may come again."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
    minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 24 * 60


class First(Model):
    """What somebody says before they see the scores."""

    action: FinalAction


class AnswerIn(Model):
    """A decision. Restrictions need a harm out of the policy's list, or a reason in words."""

    action: FinalAction
    harm: Name | None = None
    reason: Text = ""
    notes: Notes = ""
    label: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    confirmed: list[Family] = Field([], max_length=len(Family))
    denied: list[Family] = Field([], max_length=len(Family))


class AnsweredView(Model):
    """What an answer led to."""

    answer_id: UUID
    stands: Stands
    swept: list[UUID]
    undo_until: datetime


class Kept(Model):
    """Until when the lease lasts now."""

    until: datetime


class Tasks(Model):
    """Several tasks at once."""

    task_ids: Annotated[list[UUID], Field(min_length=1, max_length=500)]


class Assign(Tasks):
    """To whom; nobody in particular when not given."""

    to: PersonId | None = None


class Hold(Tasks):
    """Until when; at once when not given."""

    until: datetime | None = None


class Escalate(Tasks):
    """To which queue."""

    queue: Name


class DecideIn(Tasks):
    """One answer to all of them."""

    action: FinalAction
    reason: Text = ""


class Done(Model):
    """How many of them it was."""

    tasks: int


class AppealIn(Model):
    """An uploader's appeal, as a platform passes it on."""

    request_id: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
    media_id: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
    statement: Annotated[str, Field(max_length=5000, pattern=r"^[^\x00]*$")] = ""


class Appealed(Model):
    """It will be answered on `subject.answered`."""

    request_id: str


class GoldenIn(Model):
    """A decided task and its right answer."""

    task_id: UUID
    action: FinalAction


class GoldenView(Model):
    """A task whose answer is known. `answered`: how often people were asked; `right`: how often they said exactly this;
    `answers`: what they said, how often."""

    task_id: UUID
    media_id: str
    queue: str
    harm: str
    action: Action
    added_by: str
    added_at: datetime
    answered: int
    right: int
    answers: dict[Action, int]


class GoldenQueueView(Model):
    """A queue's golden tasks that are in use, the latest first. `share`: of the cases, how many are golden by the
    policy; with 0 nobody is asked."""

    queue: str
    share: float
    tasks: list[GoldenView]


class SettledView(Model):
    """A task that people decided: it could be golden."""

    task_id: UUID
    media_id: str
    queue: str
    harm: str
    action: Action
    decided_by: str
    decided_at: datetime


class PersonView(Model):
    """Somebody who may come in, or is in. `local`: they have a local account, since `account_at`; `fresh`: its password
    works once. `sessions`: how many have not ended, tokens among them; `latest_at`: when the last of them began."""

    person_id: str
    name: str
    roles: list[Role]
    queues: list[str]
    local: bool
    account_at: datetime | None
    fresh: bool
    disabled: bool
    sessions: int
    latest_at: datetime | None


class PeopleView(Model):
    """Everybody. `changeable`: whether local accounts are on; else the OpenID provider says what people may.
    `queues`: what there is."""

    people: list[PersonView]
    changeable: bool
    queues: list[str]


class AccountIn(Model):
    """What somebody may from now on. `queues`: names, or `*` for every one. `disabled`: they cannot sign in."""

    person_id: PersonId
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
    queues: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=100)]
    disabled: bool = False


class WhoIn(Model):
    """Whom it is about."""

    person_id: PersonId


class EndedView(Model):
    """How many sessions and tokens ended."""

    sessions: int


class ShareView(Model):
    """`hits` of `count`, with a 95 % interval; no value where there is nothing to count."""

    hits: int
    count: int
    value: float | None
    low: float | None
    high: float | None


class LineView(Model):
    """One rule, family or queue."""

    name: str
    precision: ShareView
    recall: ShareView


class QualityView(Model):
    """How good the decisions are. Recall is among what was reviewed: of the rest nothing is known."""

    reviewed: int
    rules: list[LineView]
    families: list[LineView]
    queues: list[LineView]
    golden: list[LineView]
    changed: ShareView
    overturned: ShareView


class ExposureIn(Model):
    """For how long something was looked at."""

    task_id: UUID
    seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
    filters: Annotated[list[Literal["blur", "mute", "greyscale", "small"]], Field(max_length=4)] = []


class LogEntry(Model):
    """One entry of the audit log. `words`: what was written, as long as it is kept."""

    seq: int
    at: datetime
    actor: str
    verb: str
    subject: str
    detail: str
    words: str | None
    digest: str


class ChainView(Model):
    """How far the audit log's chain holds."""

    entries: int
    head: str
    broken_at: int | None
    why: str


for _model in (Preferences, Me, CaseView):
    _model.model_rebuild()
