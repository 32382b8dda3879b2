"""`media.enforced`: what applies to an upload. The platform acts on this topic alone."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pipeline.events.values import Action, MediaId, Region, RegionalDecision, Round, Struct, Timestamp


class OutcomeStatus(StrEnum):
    """`provisional` while a person decides, then `final`."""

    PROVISIONAL = "provisional"
    FINAL = "final"


class DecidedBy(StrEnum):
    """Who stands behind the outcome. `fail_mode`: nobody could judge; the policy's precaution applies."""

    POLICY = "policy"
    FAIL_MODE = "fail_mode"
    PERSON = "person"


class LabelKind(StrEnum):
    """What a label says of the content.

    `generated`: a model made it. `manipulated`: a model changed it. `synthetic`: one or the other, which is not said.
    `edited`: joined or changed by other means. `unspecified`: only the text says what it is.
    """

    GENERATED = "generated"
    MANIPULATED = "manipulated"
    SYNTHETIC = "synthetic"
    EDITED = "edited"
    UNSPECIFIED = "unspecified"


class LabelSource(StrEnum):
    """Whose word a label is: the uploader's, the file's Content Credentials', that of its other metadata (which name a
    generator, and anybody could have written), a detector's, a reviewer's."""

    UPLOADER = "uploader"
    CREDENTIALS = "credentials"
    METADATA = "metadata"
    DETECTOR = "detector"
    PERSON = "person"


class ViewerLabel(Struct, frozen=True):
    """What a player needs to label content, for people and for machines.

    `digital_source_type`: the IPTC NewsCode (a URI), where one fits. `icon`: the letters of the common icon of the EU's
    code of practice on marking AI content; None where nothing says that a model had a part. `basis`: laws that ask for
    a label of this kind, for counsel to confirm. `regions`: where it is shown; empty means wherever the
    record's `label` holds.
    """

    text: str
    kind: LabelKind
    source: LabelSource
    digital_source_type: str | None = None
    icon: str | None = None
    basis: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()


class MediaEnforced(Struct, frozen=True, tag_field="schema", tag="media.enforced/1"):
    """At most one provisional and exactly one final record per upload and round (a repeat is equal to the first).

    `action` and `label` apply everywhere but in the regions of `regional`. `viewer_label`: the label for machines.
    `harm`: what the person who decided calls it, in the policy's words; empty when not said.
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
    viewer_label: ViewerLabel | None = None
    harm: str = ""
