"""`media.enforced`: what applies to an upload. The platform acts on this topic alone."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pipeline.events.values import Action, MediaId, RegionalDecision, Round, Struct, Timestamp


class OutcomeStatus(StrEnum):
    """`provisional` while a person decides, then `final`."""

    PROVISIONAL = "provisional"
    FINAL = "final"


class DecidedBy(StrEnum):
    """Who stands behind the outcome. `fail_mode`: nobody could judge; the policy's precaution applies."""

    POLICY = "policy"
    FAIL_MODE = "fail_mode"
    PERSON = "person"


class MediaEnforced(Struct, frozen=True, tag_field="schema", tag="media.enforced/1"):
    """At most one provisional and exactly one final record per upload and round (a repeat is equal to the first).

    `action` and `label` apply everywhere but in the regions of `regional`.
    """

    outcome_id: UUID
    media_id: MediaId
    round: Round
    status: OutcomeStatus
    action: Action
    decided_by: DecidedBy
    reasons: tuple[str, ...]
    enforced_at: Timestamp
    decision_id: UUID
    task_id: UUID | None = None
    label: str | None = None
    policy_version: str | None = None
    regional: tuple[RegionalDecision, ...] = ()
