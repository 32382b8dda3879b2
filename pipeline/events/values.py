"""The values that several events share: families, signals with evidence, actions, decisions.

They are frozen structs, so that the same type serves the pure stages and the wire.
A field that is added later has a default; a field's type never changes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
# `$` in a Python pattern also matches before a last newline: the lengths close that gap.
Sha256 = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64, description="lower-case hexadecimal SHA-256"),
]
Region = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", min_length=2, max_length=2, description="ISO 3166-1 alpha-2")]
Timestamp = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]
Round = Annotated[
    int, Meta(ge=1, le=2**31 - 1, description="1 for the upload; an appeal, re-score or replay opens the next")
]
Priority = Annotated[int, Meta(ge=0, le=100, description="higher is more urgent")]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1, description="a size in bytes; fits a database's 64 bits")]

# No database column takes a NUL, and a line break in an id breaks logs: neither is text that names a thing.
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$(?!\n)"
MediaId = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS, description="the platform's own id, opaque")
]


RequestId = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS, description="the platform's own id of a request")
]


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen, named fields only: no reader has to count positions."""


def check_moment(name: str, moment: datetime) -> None:
    """Refuse the first and last hours of the calendar, which have no equal in UTC.

    Raises:
        ValueError: `moment` cannot be written in UTC.
    """
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"`{name}` is outside the calendar when it is written in UTC") from None


class Surface(StrEnum):
    """Where on the platform the upload appears."""

    POST = "post"
    STORY = "story"
    AD = "ad"
    PROFILE = "profile"
    MESSAGE = "message"
    COMMENT = "comment"
    LIVE = "live"
    OTHER = "other"


class Purpose(StrEnum):
    """What the uploader says that a manipulation is for."""

    SATIRE = "satire"
    ART = "art"
    DUB = "dub"
    EFFECT = "effect"
    AVATAR = "avatar"
    EDUCATION = "education"
    OTHER = "other"


class Relation(StrEnum):
    """What the uploader is to the person shown, as far as the platform knows."""

    UNKNOWN = "unknown"
    SELF = "self"
    AUTHORISED = "authorised"
    OTHER = "other"


class Consent(Struct, frozen=True):
    """What the platform knows of the consent of the person shown.

    `reference`: the platform's own record of the consent, opaque; without one nobody consented, whatever `relation`
    says. `purposes`: what it covers, everything when empty. `until`: when it ends. `revoked`: it ended already.
    """

    relation: Relation = Relation.UNKNOWN
    reference: Annotated[str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS)] | None = None
    purposes: tuple[Purpose, ...] = ()
    until: Timestamp | None = None
    revoked: bool = False

    def __post_init__(self) -> None:
        if self.until is not None:
            check_moment("until", self.until)


Count = Annotated[int, Meta(ge=0, le=2**53)]


class UploaderFacts(Struct, frozen=True):
    """What the platform says of who uploads; whatever it leaves out is unknown to rules.

    `strikes`: restrictions in the recent past, as the platform counts them.
    """

    verified: bool | None = None
    account_days: Count | None = None
    followers: Count | None = None
    strikes: Count | None = None


class Family(StrEnum):
    """What kind of manipulation, or what kind of content, a signal speaks of."""

    FACE_SWAP = "face_swap"
    FACE_SYNTHESIS = "face_synthesis"
    IMAGE_SYNTHESIS = "image_synthesis"
    STYLE_TRANSFER = "style_transfer"
    LIP_SYNC = "lip_sync"
    REENACTMENT = "reenactment"
    EYES_AND_HEAD = "eyes_and_head"
    LIGHTING = "lighting"
    SPLICE = "splice"
    LOCAL_EDIT = "local_edit"
    VOICE_CLONE = "voice_clone"
    GENERATOR_METADATA = "generator_metadata"
    PROVENANCE = "provenance"
    KNOWN_CONTENT = "known_content"
    NUDITY = "nudity"


class Box(Struct, frozen=True):
    """A rectangle in shares of the frame's width and height, origin top left: 0 ≤ x0 < x1 ≤ 1, 0 ≤ y0 < y1 ≤ 1."""

    x0: Probability
    y0: Probability
    x1: Probability
    y1: Probability


class Heat(Struct, frozen=True):
    """Where inside `box` a score comes from: `rows` × `cols` cells, row by row from the top left, one byte each.

    255 is where the manipulation shows most; the scale is the detector's own and comparable within one map only.
    """

    box: Box
    rows: Annotated[int, Meta(ge=1, le=64)]
    cols: Annotated[int, Meta(ge=1, le=64)]
    cells: Annotated[bytes, Meta(max_length=64 * 64)]

    def __post_init__(self) -> None:
        if len(self.cells) != self.rows * self.cols:
            raise ValueError(f"{len(self.cells)} cells are not {self.rows} × {self.cols}")


class Evidence(Struct, frozen=True):
    """One score and what it points at: a moment (seconds), a stretch (`at` to `until`), a place (box), or the whole."""

    detector: str
    score: Probability
    at: float | None = None
    box: Box | None = None
    track: int | None = None
    note: str = ""
    until: float | None = None
    heat: Heat | None = None


class SignalStatus(StrEnum):
    """How much a signal may be relied on.

    `abstained`: judged, but too uncertain to say. `missing`: should have been judged and was not (a detector
    failed or was late). `not_applicable`: there was nothing to judge (no face, no sound).
    """

    SCORED = "scored"
    ABSTAINED = "abstained"
    MISSING = "missing"
    NOT_APPLICABLE = "not_applicable"


class Signal(Struct, frozen=True):
    """What is believed about one family for the whole upload.

    `probability` is None when the status is `missing` or `not_applicable`. `low`/`high` bound it.
    `coverage` is the share of what should have been looked at that was. `pooled`: the raw score that the probability
    was made from, for calibrating anew. `advisory`: measured too near chance for anything but a hint to a person.
    """

    family: Family
    status: SignalStatus
    probability: Probability | None = None
    low: Probability | None = None
    high: Probability | None = None
    coverage: Probability = 1.0
    evidence: tuple[Evidence, ...] = ()
    detectors: tuple[str, ...] = ()
    note: str = ""
    pooled: Probability | None = None
    advisory: bool = False


class Action(StrEnum):
    """What a platform does with an upload. From mild to strong, as `strength` counts."""

    ALLOW = "allow"
    LABEL = "label"
    LIMIT = "limit"
    HOLD = "hold"
    REMOVE = "remove"

    @property
    def strength(self) -> int:
        """0 for `allow` to 4 for `remove`."""
        return _STRENGTH[self]


_STRENGTH = {action: i for i, action in enumerate(Action)}


class RuleMode(StrEnum):
    """A live rule acts; a shadow rule is only recorded in the trace."""

    LIVE = "live"
    SHADOW = "shadow"


Seen = bool | float | str
"""A value that a rule saw. A list is written with commas; what was not known is absent."""


class Saw(Struct, frozen=True):
    """A field of the policy's language (`face_swap.probability`) and the value that a rule saw in it."""

    field: str
    value: Seen


class RuleHit(Struct, frozen=True):
    """One rule or fail mode that fired, with the values that it saw. Part of the decision's trace.

    `family`, `observed`, `threshold`: the first comparison of a signal with a number that held. `regions`: where it
    applies (everywhere when empty). `exempted_by`: the exemption that kept it from acting. `clock`: the legal or
    promised deadline that it starts. `until`: when that ends.
    """

    rule: str
    harm: str
    action: Action
    mode: RuleMode
    because: str
    family: Family | None = None
    observed: float | None = None
    threshold: float | None = None
    queue: str | None = None
    priority: int | None = None
    fail_mode: bool = False
    saw: tuple[Saw, ...] = ()
    regions: tuple[Region, ...] = ()
    label: str | None = None
    exempted_by: str | None = None
    clock: str | None = None
    until: Timestamp | None = None

    @property
    def acts(self) -> bool:
        """Whether the decision rests on it: it is live and nothing exempts the upload."""
        return self.mode is RuleMode.LIVE and self.exempted_by is None

    @property
    def effect(self) -> str:
        """`live`, `shadow`, or `exempted` where an exemption keeps a live rule from acting."""
        return self.mode.value if self.acts or self.mode is RuleMode.SHADOW else "exempted"


class ReviewNeed(Struct, frozen=True):
    """Why, where and until when a person should look. `priority`: higher is more urgent.

    `start_by`: the deadline less the time that handling is expected to take: what is sorted by. `clock`: the legal or
    promised deadline behind it, as the policy names it.
    """

    queue: str
    harm: str
    priority: Priority
    deadline: Timestamp
    start_by: Timestamp | None = None
    clock: str | None = None


class RegionalDecision(Struct, frozen=True):
    """What applies in some regions, where that differs from everywhere else."""

    regions: tuple[Region, ...]
    action: Action
    reasons: tuple[str, ...]
    label: str | None = None


class Decision(Struct, frozen=True):
    """What the policy says. Final unless `review` is set; then `action` applies until a person decides.

    `action` and `label` apply everywhere but in the regions of `regional`, which do not overlap. `harm`: of the rule
    that decided the action; None where nothing was found.
    """

    action: Action
    reasons: tuple[str, ...]
    policy_version: str
    review: ReviewNeed | None = None
    trace: tuple[RuleHit, ...] = ()
    label: str | None = None
    regional: tuple[RegionalDecision, ...] = ()
    harm: str | None = None


class Failure(Struct, frozen=True):
    """Why an upload could not be screened (the values of `pipeline.errors`)."""

    stage: str
    reason: str
    detail: str


class RequestKind(StrEnum):
    """What somebody asks for.

    `removal`: the person shown wants it taken down. `consent_revoked`: what they agreed to is no longer so. `appeal`:
    the uploader wants another person to look at what was decided.
    """

    REMOVAL = "removal"
    CONSENT_REVOKED = "consent_revoked"
    APPEAL = "appeal"


class RequestFacts(Struct, frozen=True):
    """A request by the person shown, or the uploader's appeal, as rules and reviewers see it; who asks stays with the
    platform.

    `received_at`: when the valid request reached the platform: legal clocks start there. `harm`: what the person calls
    it, in the policy's words (`intimate-imagery`); empty when not said. `jurisdiction`: whose law the person invokes.
    `near_copy`: the request named another upload, of which this one is a copy. `statement`: why, in the words of who
    asks; for reviewers alone.
    """

    request_id: RequestId
    kind: RequestKind
    received_at: Timestamp
    harm: Annotated[str, Meta(max_length=40)] = ""
    jurisdiction: Region | None = None
    near_copy: bool = False
    statement: Annotated[str, Meta(max_length=5000)] = ""


class MediaKind(StrEnum):
    """What the bytes turned out to be, whatever the event said."""

    IMAGE = "image"
    ANIMATION = "animation"
    VIDEO = "video"
    AUDIO = "audio"


class TrackFacts(Struct, frozen=True):
    """One elementary stream, as its container and codec describe it."""

    kind: str
    codec: str
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bit_rate: int | None = None


class CredentialState(StrEnum):
    """What is to be made of Content Credentials (C2PA). `invalid` is no proof of forgery: honest tools break them too.

    `untrusted`: intact, signed by somebody whom no trust anchor vouches for.
    """

    ABSENT = "absent"
    INVALID = "invalid"
    UNTRUSTED = "untrusted"
    TRUSTED = "trusted"


class Credentials(Struct, frozen=True):
    """The active manifest of a file's Content Credentials, as the C2PA specification names its parts.

    `codes`: validation status codes that are failures. `actions`: what was done, in words, oldest first (created,
    edited, …, with the software). `source_types`: IPTC digital source types that it asserts, short names.
    `identity`: whom a verified identity assertion (CAWG) names; None without one.
    """

    state: CredentialState = CredentialState.ABSENT
    codes: tuple[str, ...] = ()
    issuer: str | None = None
    generator: str | None = None
    signed_at: str | None = None
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    ingredients: int = 0
    note: str = ""
    identity: str | None = None


class MediaFacts(Struct, frozen=True):
    """What the file says of itself. `metadata` holds container, EXIF and PNG text entries as they stand.

    `credentials` is None where they were not looked for. `quantization`: a JPEG's tables, 64 values each in natural
    (row by row) order, luminance first.
    """

    kind: MediaKind
    container: str
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    rotation: int = 0
    tracks: tuple[TrackFacts, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None
    quantization: tuple[tuple[int, ...], ...] = ()


class WindowLook(Struct, frozen=True):
    """A stretch that was looked at closely: `frames` of it, from `start` to `end` seconds, and what for.

    `bought`: what the look changed, in words ("face swap 0.74 → 0.91, no longer in doubt"); empty when nothing.
    """

    start: float
    end: float
    frames: int
    why: str
    bought: str = ""


class FrameHash(Struct, frozen=True):
    """PDQ of one frame: 256 bits as 32 bytes. `quality` 0–100; below 50 it is too plain to be compared."""

    at: float
    pdq: Annotated[bytes, Meta(min_length=32, max_length=32)]
    quality: Annotated[int, Meta(ge=0, le=100)]


class Match(Struct, frozen=True):
    """Content that a hash bank knows. `distance`: bits that differ (0 for SHA-256); `at`: moments that matched.

    `share`: of the upload's frames, how many matched (vPDQ); 1 for a still or the same bytes. `live` is false where the
    bank is only being tried out, quarantined or negative: such a match is recorded and decides nothing.
    """

    bank: str
    hash_id: str
    kind: str
    distance: Annotated[int, Meta(ge=0, le=256)] = 0
    share: Probability = 1.0
    at: tuple[float, ...] = ()
    live: bool = True
    note: str = ""


class Agreement(Struct, frozen=True):
    """Whether signals that do not depend on each other point the same way.

    `supports` and `opposes`: families at or above, and below, their own point of suspicion, of those that were judged
    and speak of `about` (the same kind of manipulation seen in another way). `note`: in words.
    """

    about: Family
    supports: tuple[Family, ...] = ()
    opposes: tuple[Family, ...] = ()
    note: str = ""


class Sampling(Struct, frozen=True):
    """Which moments were looked at, so that what was not looked at can be said.

    `looked_at`: presentation times in seconds. `largest_gap`: the longest stretch (seconds) without a look, ends
    included: a manipulated segment that is longer cannot have been missed entirely.
    `audio_seconds`: how much sound was decoded. `complete`: every frame (or the whole image) was looked at.
    `windows`: where more frames were looked at, of `closer_budget` frames at most.
    """

    decoder: str
    looked_at: tuple[float, ...] = ()
    largest_gap: float | None = None
    frame_budget: int = 0
    audio_seconds: float = 0.0
    audio_budget: float = 0.0
    complete: bool = False
    notes: tuple[str, ...] = ()
    windows: tuple[WindowLook, ...] = ()
    closer_budget: int = 0
