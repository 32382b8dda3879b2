"""The tables of reviewers' work, beside those of the flow.

tasks ◄─┬─ work       who holds it, until when; held back, assigned
        ├─ skips      who must not get it again soon, or ever
        └─ looks      what people said, before it becomes a review
outbox                what is to be published, written with the answer
audit_log             who did and saw what, chained
  ▲── audit_words     what they wrote of it, which can be erased
turns                 which relay publishes
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, Uuid

from pipeline.ledger.tables import Utc, metadata

work = Table(
    "work",
    metadata,
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("case_id", Uuid, nullable=False, comment="near copies share one; the task's own id otherwise"),
    Column("lease_id", Uuid),
    Column("leased_by", Text),
    Column("leased_at", Utc),
    Column("leased_until", Utc),
    Column("first_action", Text, comment="what the holder said before they saw the scores"),
    Column("held_until", Utc),
    Column("assigned_to", Text),
    Column("needs_lead", Integer, nullable=False, comment="1 where two people disagree"),
    Column("answered_at", Utc, comment="set while its answer waits to be published"),
    Index(None, "case_id"),
    Index(None, "leased_by"),
    Index(None, "lease_id"),
    Index(None, "leased_until"),
    Index(None, "held_until"),
)

skips = Table(
    "skips",
    metadata,
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("reviewer_id", Text, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("until", Utc, comment="null: for ever"),
    Column("reason", Text, nullable=False),
)

looks = Table(
    "looks",
    metadata,
    Column("answer_id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("reviewer_id", Text, nullable=False),
    Column("queue", Text, nullable=False, comment="where it was answered"),
    Column("action", Text, nullable=False),
    Column("first_action", Text, comment="what was said before the scores were seen"),
    Column("at", Utc, nullable=False),
    Column("seconds", Integer, nullable=False, comment="from the claim to the answer"),
    Column("event", Text, nullable=False, comment="the review as it will be published: ReviewDecided"),
    Column("undone_at", Utc),
    Index(None, "task_id"),
    Index(None, "reviewer_id", "at"),
    Index(None, "queue", "at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Uuid, primary_key=True),
    Column("answer_id", Uuid, nullable=False),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("not_before", Utc, nullable=False, comment="until then the answer can be taken back"),
    Column("sent_at", Utc),
    Index(None, "sent_at", "not_before"),
    Index(None, "answer_id"),
)

turns = Table(
    "turns",
    metadata,
    Column("name", Text, primary_key=True, comment="what is done"),
    Column("holder", Uuid, nullable=False, comment="the process that does it"),
    Column("until", Utc, nullable=False, comment="then another may"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Utc, nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index(None, "subject"),
    Index(None, "actor", "at"),
)

audit_words = Table(
    "audit_words",
    metadata,
    Column("seq", Integer, ForeignKey("audit_log.seq"), primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("salt", Text, nullable=False),
    Column("words", Text, nullable=False),
    Index(None, "task_id"),
)

golden = Table(
    "golden",
    metadata,
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("queue", Text, nullable=False),
    Column("action", Text, nullable=False, comment="the right answer"),
    Column("added_by", Text, nullable=False),
    Column("added_at", Utc, nullable=False),
    Column("retired_at", Utc, comment="null: still in use"),
    Index(None, "queue"),
)

golden_looks = Table(
    "golden_looks",
    metadata,
    Column("lease_id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("golden.task_id"), nullable=False),
    Column("reviewer_id", Text, nullable=False),
    Column("leased_at", Utc, nullable=False),
    Column("leased_until", Utc, nullable=False),
    Column("first_action", Text),
    Column("action", Text, comment="null until answered; released or ended ones are removed"),
    Column("at", Utc),
    UniqueConstraint("task_id", "reviewer_id"),
    Index(None, "reviewer_id"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("person_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False, comment="Argon2id"),
    Column("one_time", Integer, nullable=False, comment="1: works once, to set another"),
    Column("roles", Text, nullable=False, comment="with commas"),
    Column("queues", Text, nullable=False, comment="with commas; * for every one"),
    Column("created_at", Utc, nullable=False),
    Column("disabled_at", Utc),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session", Text, primary_key=True, comment="SHA-256 of the cookie: who reads the table cannot sign in"),
    Column("person_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("queues", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Index(None, "person_id"),
    Index(None, "expires_at"),
)

preferences = Table(
    "preferences",
    metadata,
    Column("person_id", Text, primary_key=True),
    Column("words", Text, nullable=False, comment="Preferences as JSON"),
)

exposures = Table(
    "exposures",
    metadata,
    Column("person_id", Text, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("at", Utc, primary_key=True),
    Column("harm", Text, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("filters", Text, nullable=False, comment="blur, greyscale, … that were on, with commas"),
    Index(None, "person_id", "at"),
)
