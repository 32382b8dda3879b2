"""The tables, the same on PostgreSQL and SQLite.

    uploads ◄── decisions ◄─┬─ tasks ◄── reviews
    contents                ├─ outcomes ◄── statements
    hashes, quarantines     ├─ matches
    answers ──► requests ◄──┴─ reopened

Every `event` column holds the record as JSON, exactly as it is published; the columns beside it repeat what is
searched for. A change here needs a step in migrations/versions/ (a test compares the two).
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)

SCHEMA = "0009"
"""The migration that makes exactly these tables. Revisions sort as text."""


class Utc(TypeDecorator[datetime]):
    """A moment. Aware in, UTC in the database (SQLite keeps no offset), aware out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without an offset: {value}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

uploads = Table(
    "uploads",
    metadata,
    Column("media_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("uri", Text, nullable=False),
    Column("sha256", Text, comment="of the bytes that arrived; null when they never did"),
    Column("size", BigInteger, comment="bytes that arrived"),
    Column("content_type", Text, comment="what the platform said it was"),
    Column("surface", Text, nullable=False),
    Column("uploader_id", Text),
    Column("uploaded_at", Utc, nullable=False),
    Column("consent_reference", Text),
    Index(None, "sha256"),
    Index(None, "consent_reference"),
    Index(None, "uploader_id"),
)

contents = Table(
    "contents",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("detectors_key", Text, primary_key=True, comment="a digest of the sorted set of detectors"),
    Column("media_id", Text, nullable=False, comment="the upload that it was first seen in"),
    Column("judged_at", Utc, nullable=False),
    Column("unmask_version", Text, nullable=False),
    Column("findings", Text, nullable=False, comment="KnownContent as JSON, without the embedding"),
    Column("embedding", LargeBinary, comment="float16, little endian"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("media_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("decision_id", Uuid, nullable=False),
    Column("decided_at", Utc, nullable=False),
    Column("action", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("failure_stage", Text),
    Column("failure_reason", Text),
    Column("reused_from", Text),
    Column("event", Text, nullable=False),
    ForeignKeyConstraint(["media_id", "round"], ["uploads.media_id", "uploads.round"]),
    Index(None, "decided_at"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("media_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("harm", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("requested_at", Utc, nullable=False),
    Column("deadline", Utc, nullable=False),
    Column("event", Text, nullable=False),
    Column("start_by", Utc, comment="the deadline less the expected handling; null from workers of an older release"),
    Column("traceparent", Text, comment="of the record that asked for it"),
    CheckConstraint("state IN ('open', 'decided', 'superseded')", name="state"),
    UniqueConstraint("media_id", "round"),
    ForeignKeyConstraint(["media_id", "round"], ["decisions.media_id", "decisions.round"]),
    Index(None, "state", "queue", "start_by", "priority"),
    Index(None, "state", "queue", "deadline", "requested_at"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("media_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("outcome_id", Uuid, nullable=False),
    Column("action", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("enforced_at", Utc, nullable=False),
    Column("event", Text, nullable=False),
    CheckConstraint("status IN ('provisional', 'final')", name="status"),
    ForeignKeyConstraint(["media_id", "round"], ["decisions.media_id", "decisions.round"]),
)

reviews = Table(
    "reviews",
    metadata,
    Column("task_id", Uuid, ForeignKey("tasks.task_id"), primary_key=True),
    Column("review_id", Uuid, nullable=False),
    Column("media_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("reviewer_id", Text, nullable=False),
    Column("decided_at", Utc, nullable=False),
    Column("event", Text, nullable=False),
    Index(None, "media_id"),
    Index(None, "decided_at"),
)

hashes = Table(
    "hashes",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("frames", Text, nullable=False, comment="what the content looks like: FrameHash as JSON"),
)

matches = Table(
    "matches",
    metadata,
    Column("media_id", Text, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("bank", Text, primary_key=True),
    Column("hash_id", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("distance", Integer, nullable=False),
    Column("share", Float, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("matched_at", Utc, nullable=False),
    Column("counted", Boolean, nullable=False, comment="false once its hash was released from quarantine"),
    ForeignKeyConstraint(["media_id", "round"], ["decisions.media_id", "decisions.round"]),
    Index(None, "bank", "matched_at"),
)

quarantines = Table(
    "quarantines",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("hash_id", Text, primary_key=True, comment="empty: the bank as a whole"),
    Column("since", Utc, primary_key=True),
    Column("contents", Integer, nullable=False, comment="that it had matched"),
    Column("reason", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("released_at", Utc),
    CheckConstraint("action IN ('quarantine', 'report')", name="action"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("media_id", Text),
    Column("consent_reference", Text),
    Column("received_at", Utc, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("event", Text, nullable=False),
)

reopened = Table(
    "reopened",
    metadata,
    Column("request_id", Text, ForeignKey("requests.request_id"), primary_key=True),
    Column("media_id", Text, primary_key=True),
    Column("round", Integer, nullable=False),
    Column("match", Text, nullable=False),
    UniqueConstraint("media_id", "round"),
    ForeignKeyConstraint(["media_id", "round"], ["decisions.media_id", "decisions.round"]),
    CheckConstraint("match IN ('named', 'same_consent', 'same_bytes', 'near_copy')", name="match"),
)

answers = Table(
    "answers",
    metadata,
    Column("request_id", Text, ForeignKey("requests.request_id"), primary_key=True),
    Column("status", Text, primary_key=True),
    Column("answer_id", Uuid, nullable=False),
    Column("answered_at", Utc, nullable=False),
    Column("event", Text, nullable=False),
    CheckConstraint("status IN ('received', 'done', 'unknown_content')", name="status"),
)

statements = Table(
    "statements",
    metadata,
    Column("puid", Text, primary_key=True, comment="unique within the platform"),
    Column("media_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("status", Text, nullable=False, comment="of the outcome that it is about"),
    Column("state", Text, nullable=False),
    Column("queued_at", Utc, nullable=False, comment="when the outcome began to apply"),
    Column("body", Text, nullable=False, comment="the statement, as it is sent"),
    Column("findings", Text, nullable=False, comment="why it was held back, JSON"),
    Column("batch", Text, comment="what it is sent with; the same after a restart"),
    Column("settled_at", Utc, comment="when it was sent or refused"),
    Column("receipt", Text, comment="the endpoint's own id of it"),
    Column("why", Text, comment="why it was refused"),
    CheckConstraint("state IN ('queued', 'sent', 'refused', 'held-back')", name="state"),
    ForeignKeyConstraint(["media_id", "round", "status"], ["outcomes.media_id", "outcomes.round", "outcomes.status"]),
    Index(None, "state", "queued_at"),
    Index(None, "media_id"),
)

policies = Table(
    "policies",
    metadata,
    Column("version", Text, primary_key=True, comment="name@digest of what the policy says"),
    Column("fusion_version", Text, primary_key=True, comment="of what turns scores into signals"),
    Column("policy", Text, nullable=False, comment="the file as it was first read"),
    Column("calibration", Text, nullable=False, comment="the file as it was first read"),
    Column("recorded_at", Utc, nullable=False),
)

policy_switches = Table(
    "policy_switches",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("fusion_version", Text, nullable=False),
    Column("active_from", Utc, nullable=False, comment="never before that of the number before"),
    Column("proposed_at", Utc, nullable=False),
    Column("proposed_by", Text, nullable=False),
    ForeignKeyConstraint(["version", "fusion_version"], ["policies.version", "policies.fusion_version"]),
)

policy_activations = Table(
    "policy_activations",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("activated_at", Utc, primary_key=True),
    Column("number", Integer, ForeignKey("policy_switches.number"), nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 of the words that this worker read"),
)

policy_workers = Table(
    "policy_workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("number", Integer, ForeignKey("policy_switches.number"), nullable=False, comment="in force there"),
    Column("file_version", Text, comment="of the worker's own file; null when it is not sound"),
    Column("file_fusion", Text),
    Column("refused", Text, comment="why something is not in force that should be"),
    Column("seen_at", Utc, nullable=False),
)
