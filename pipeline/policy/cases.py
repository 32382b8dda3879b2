"""Cases beside a policy: an upload, and what should come of it. A policy that changes by mistake fails its cases. Pure,
but for `read`.

What a case does not say is what is usual: a genuine picture in a post, every required family judged at 0.0, now.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.calibration import Section
from pipeline.errors import ConfigError, Reason, Stage
from pipeline.events import MediaUploaded
from pipeline.events.uploaded import Tag
from pipeline.events.values import (
    Action,
    Consent,
    Count,
    Credentials,
    CredentialState,
    Decision,
    Failure,
    Family,
    Match,
    MediaFacts,
    MediaKind,
    Priority,
    Probability,
    Purpose,
    Region,
    RegionalDecision,
    Relation,
    RequestFacts,
    RequestKind,
    RuleMode,
    Sampling,
    Signal,
    SignalStatus,
    Surface,
    Timestamp,
    UploaderFacts,
)
from pipeline.fuse import agreement
from pipeline.moments import Duration, length
from pipeline.policy.case import Case
from pipeline.policy.decide import decide
from pipeline.policy.places import Place, Places
from pipeline.policy.rules import Mode, Name, Policy

USUAL = datetime(2026, 9, 1, 12, tzinfo=UTC)
"""When it is in a case that does not say: the same whenever the cases are run."""

NONE = "none"
"""What an expectation says of a queue, clock, label or harm that there should not be."""

Text = Annotated[str, Meta(min_length=1, max_length=300)]


class State(StrEnum):
    """A signal in a word, where there is no number to give."""

    MISSING = "missing"
    NOT_APPLICABLE = "not_applicable"


class GivenSignal(Section, frozen=True):
    """`status`: left out, `abstained` inside the family's band of doubt, `missing` without a probability."""

    probability: Probability | None = None
    coverage: Probability = 1.0
    status: SignalStatus | None = None


class GivenConsent(Section, frozen=True):
    """As in `media.uploaded`."""

    reference: Text | None = None
    relation: Relation = Relation.UNKNOWN
    purposes: tuple[Purpose, ...] = ()
    until: Timestamp | None = None
    revoked: bool = False


class GivenUploader(Section, frozen=True):
    """As in `media.uploaded`."""

    verified: bool | None = None
    account_days: Count | None = None
    followers: Count | None = None
    strikes: Count | None = None


class GivenCredentials(Section, frozen=True):
    """As in `media.decided`."""

    state: CredentialState
    source_types: tuple[str, ...] = ()
    issuer: str | None = None
    generator: str | None = None
    identity: str | None = None


class GivenMatch(Section, frozen=True):
    """A match with a bank; the same bytes if nothing else is said."""

    bank: Text
    distance: Annotated[int, Meta(ge=0, le=256)] = 0
    share: Probability = 1.0
    live: bool = True


class GivenRequest(Section, frozen=True):
    """`ago`: how long before the decision it reached the platform."""

    kind: RequestKind
    harm: Annotated[str, Meta(max_length=40)] = ""
    jurisdiction: Region | None = None
    near_copy: bool = False
    ago: Duration | None = None


class GivenMedia(Section, frozen=True):
    """What the file is."""

    kind: MediaKind = MediaKind.IMAGE
    duration: float | None = None
    width: int | None = None
    height: int | None = None


class GivenLook(Section, frozen=True):
    """How much of it was looked at."""

    frames: Annotated[int, Meta(ge=0, le=100_000)] = 1
    largest_gap: float | None = None


class Given(Section, frozen=True):
    """An upload and what is known of it."""

    signals: dict[Family, Probability | State | GivenSignal] = {}
    surface: Surface = Surface.POST
    regions: tuple[Region, ...] = ()
    caption: str = ""
    content_type: str | None = None
    tags: tuple[Tag, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    declared_synthetic: bool = False
    attributes: dict[str, str] = {}
    uploader: GivenUploader | None = None
    consent: GivenConsent | None = None
    credentials: GivenCredentials | None = None
    known: tuple[GivenMatch, ...] = ()
    request: GivenRequest | None = None
    failure: Reason | None = None
    media: GivenMedia = GivenMedia()
    looked: GivenLook = GivenLook()
    at: Timestamp = USUAL


class ExpectedThere(Section, frozen=True):
    """What should apply in one region."""

    action: Action
    label: Text | None = None


class Expected(Section, frozen=True):
    """What should come of it; what is left out is not looked at.

    `queue`, `clock`, `label`, `harm`: `none` where there should be none. `within`: the deadline is no later than so
    long after the decision. `clock`: the legal or promised deadline behind it. `fires`, `silent`: rules and fail modes
    that act, and that do not. `shadow`: rules that are recorded only. `exempted_by`: what keeps a rule from acting.
    `says`: words in one of the reasons. `regions`: what applies there, whether or not it differs.
    """

    action: Action | None = None
    queue: Name | None = None
    priority: Priority | None = None
    within: Duration | None = None
    clock: Name | None = None
    label: Text | None = None
    harm: Name | None = None
    fires: tuple[Name, ...] = ()
    silent: tuple[Name, ...] = ()
    shadow: tuple[Name, ...] = ()
    exempted_by: Name | None = None
    says: Text | None = None
    regions: dict[Region, ExpectedThere] = {}


class WrittenCase(Section, frozen=True):
    """One case. `name`: a sentence that says what is promised."""

    name: Text
    given: Given
    expect: Expected


@dataclass(frozen=True, slots=True)
class Placed:
    """A case and the line that it begins in."""

    case: WrittenCase
    line: int


@dataclass(frozen=True, slots=True)
class Miss:
    """One expectation that is not met. `line`: where it is written."""

    line: int
    what: str
    expected: str
    came: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case."""

    name: str
    line: int
    decision: Decision
    misses: tuple[Miss, ...]

    @property
    def held(self) -> bool:
        """Whether all is as expected."""
        return not self.misses


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of all cases. `idle`: what no case made act, by kind: rules, fail modes, exemptions, clocks."""

    policy_version: str
    results: tuple[Result, ...]
    idle: Mapping[str, tuple[str, ...]]

    @property
    def held(self) -> bool:
        """Whether every case is as expected."""
        return all(result.held for result in self.results)


class Cases:
    """Cases that go with a policy, and where each stands."""

    def __init__(self, text: str, origin: str, policy: Policy) -> None:
        """Raises ConfigError, with line and column, when `text` is no list of cases for this policy."""
        self._policy = policy
        self._origin = origin
        self._places = Places(text, origin)
        content = self._places.content
        listed = content.get("cases") if isinstance(content, dict) else None
        if not isinstance(content, dict) or set(content) != {"cases"} or not isinstance(listed, list) or not listed:
            raise ConfigError(f"cases {origin}: needs `cases:` with a list, and nothing else")
        self.cases = tuple(self._read(i, entry) for i, entry in enumerate(listed))
        names: set[str] = set()
        for i, placed in enumerate(self.cases):
            if placed.case.name in names:
                raise self._wrong(("cases", i, "name"), f"the name {placed.case.name!r} is used twice")
            names.add(placed.case.name)
            self._check_names(i, placed.case.expect)

    def run(self) -> Ran:
        """Decide every case, and compare."""
        results = tuple(self._run(i, placed) for i, placed in enumerate(self.cases))
        return Ran(self._policy.version, results, _idle(self._policy, results))

    def _read(self, i: int, entry: Any) -> Placed:
        try:
            case = msgspec.convert(entry, WrittenCase)
        except msgspec.ValidationError as error:
            path, why = _place(str(error))
            raise self._wrong(("cases", i, *path), why) from None
        if case.expect == Expected():
            raise self._wrong(("cases", i, "expect"), "expects nothing")
        return Placed(case, self._line(("cases", i, "name")))

    def _check_names(self, i: int, expect: Expected) -> None:
        """Words that the policy does not know: a case that expects them would hold for the wrong reason, or never."""
        file = self._policy.file
        steps = (*(rule.name for rule in file.rules), *(mode.name for mode in file.fail_modes))
        named: tuple[tuple[str, str, Iterable[str | None], Iterable[str]], ...] = (
            ("queue", "queue", [expect.queue], (*file.queues, NONE)),
            ("clock", "clock", [expect.clock], (*file.clocks, NONE)),
            ("harm", "harm", [expect.harm], (*file.harms, NONE)),
            ("exempted_by", "exemption", [expect.exempted_by], file.exemptions),
            ("fires", "rule or fail mode", expect.fires, steps),
            ("silent", "rule or fail mode", expect.silent, steps),
            ("shadow", "rule", expect.shadow, [rule.name for rule in file.rules]),
        )
        for key, what, names, known in named:
            for at, name in enumerate(names):
                if name is not None and name not in known:
                    meant = get_close_matches(name, known, n=1)
                    hint = f"; did you mean {meant[0]!r}?" if meant else ""
                    raise self._wrong(("cases", i, "expect", key, at), f"there is no {what} {name!r}{hint}")

    def _run(self, i: int, placed: Placed) -> Result:
        given, expect = placed.case.given, placed.case.expect
        decision = decide(case_of(given, self._policy), self._policy)
        misses = tuple(
            Miss(self._line(("cases", i, "expect", *path)), ".".join(path), str(expected), came)
            for path, expected, came in _differences(expect, decision, given)
        )
        return Result(placed.case.name, placed.line, decision, misses)

    def _line(self, path: tuple[str | int, ...]) -> int:
        place = self._places.of(path)
        return place.line if place else 1

    def _wrong(self, path: tuple[str | int, ...], why: str) -> ConfigError:
        word = re.search(r"(?:value|field) [`']([^`']+)[`']", why)
        place: Place | None = self._places.of((*path, word[1]) if word else path)
        entry = self._places.content["cases"][path[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        named = f" (case {name!r})" if name else ""
        shown = ".".join(str(step) for step in path[2:])
        return ConfigError(f"cases {self._origin}: {place or ''}: {shown or 'the case'}{named}: {why}")


def beside(policy: Path) -> Path:
    """Where a policy's cases are: `house.yaml` → `house.cases.yaml`."""
    return policy.with_name(f"{policy.stem}.cases.yaml")


def read(path: Path, policy: Policy) -> Cases:
    """The cases in a file. Raises ConfigError when it cannot be read, or its cases do not go with the policy."""
    try:
        return Cases(path.read_text(encoding="utf-8"), str(path), policy)
    except OSError as error:
        raise ConfigError(f"cases {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cases {path}: is not UTF-8 text") from None


# --- what is given → a case for the policy ---------------------------------------------------------------------------


def case_of(given: Given, policy: Policy) -> Case:
    """The upload that is described, as the policy looks at it."""
    signals = () if given.failure else _signals(given, policy)
    return Case(
        upload=_upload(given),
        now=given.at,
        signals=signals,
        matches=tuple(
            Match(bank=m.bank, hash_id="case", kind="pdq", distance=m.distance, share=m.share, live=m.live)
            for m in given.known
        ),
        agreement=agreement(signals, policy.fused),
        facts=None if given.failure else _facts(given),
        sampling=None if given.failure else _sampling(given.looked),
        request=_request(given.request, given.at) if given.request else None,
        failure=Failure(stage=Stage.DECODE, reason=given.failure, detail="as the case says") if given.failure else None,
    )


def _signals(given: Given, policy: Policy) -> tuple[Signal, ...]:
    """Those that are named, and the required ones, which are judged and clean unless something else is said."""
    told: dict[Family, Probability | State | GivenSignal] = dict.fromkeys(policy.fusion.requires, 0.0)
    told |= given.signals
    return tuple(_signal(family, told[family], policy) for family in Family if family in told)


def _signal(family: Family, told: Probability | State | GivenSignal, policy: Policy) -> Signal:
    if isinstance(told, State):
        told = GivenSignal(status=SignalStatus(told.value), coverage=0.0)
    elif not isinstance(told, GivenSignal):
        told = GivenSignal(probability=told)
    value, band, margin = told.probability, policy.fused.abstain(family), policy.fused.margin(family)
    if told.status is not None:
        status = told.status
    elif value is None:
        status = SignalStatus.MISSING
    else:
        status = SignalStatus.ABSTAINED if band and band.low <= value < band.high else SignalStatus.SCORED
    return Signal(
        family=family,
        status=status,
        probability=value,
        low=None if value is None else max(0.0, value - margin),
        high=None if value is None else min(1.0, value + margin),
        coverage=told.coverage,
        advisory=policy.fused.advisory(family),
    )


def _upload(given: Given) -> MediaUploaded:
    consent, uploader = given.consent, given.uploader
    return MediaUploaded(
        media_id="case",
        uri="file:///case",
        uploaded_at=given.at,
        content_type=given.content_type,
        regions=given.regions,
        surface=given.surface,
        caption=given.caption,
        declared_synthetic=given.declared_synthetic,
        attributes=given.attributes,
        tags=given.tags,
        purposes=given.purposes,
        consent=Consent(**msgspec.structs.asdict(consent)) if consent else None,
        uploader=UploaderFacts(**msgspec.structs.asdict(uploader)) if uploader else None,
    )


def _facts(given: Given) -> MediaFacts:
    media, held = given.media, given.credentials
    return MediaFacts(
        kind=media.kind,
        container="case",
        duration=media.duration,
        width=media.width,
        height=media.height,
        credentials=Credentials(**msgspec.structs.asdict(held)) if held else Credentials(),
    )


def _sampling(looked: GivenLook) -> Sampling:
    moments = tuple(float(i) for i in range(looked.frames))
    return Sampling(decoder="case", looked_at=moments, largest_gap=looked.largest_gap)


def _request(request: GivenRequest, now: datetime) -> RequestFacts:
    return RequestFacts(
        request_id="case",
        kind=request.kind,
        received_at=now - (length(request.ago) if request.ago else timedelta(0)),
        harm=request.harm,
        jurisdiction=request.jurisdiction,
        near_copy=request.near_copy,
    )


def _in_words(span: timedelta) -> str:
    """Four hours → `4h`, as in the policy; to the minute."""
    minutes = round(span.total_seconds() / 60)
    unit, size = next((unit, size) for unit, size in (("d", 1440), ("h", 60), ("m", 1)) if minutes % size == 0)
    return f"{minutes // size}{unit}"


# --- what is expected ------------------------------------------------------------------------------------------------


def _differences(expect: Expected, decision: Decision, given: Given) -> Iterator[tuple[tuple[str, ...], object, str]]:
    """Path of the expectation, what was expected, what came."""
    review = decision.review
    came: tuple[tuple[str, object, object], ...] = (
        ("action", expect.action, decision.action),
        ("queue", expect.queue, review.queue if review else NONE),
        ("priority", expect.priority, review.priority if review else NONE),
        ("clock", expect.clock, (review.clock if review else None) or NONE),
        ("label", expect.label, decision.label or NONE),
        ("harm", expect.harm, decision.harm or NONE),
    )
    for key, wanted, is_now in came:
        if wanted is not None and wanted != is_now:
            yield (key,), wanted, str(is_now)
    if expect.within is not None and (review is None or review.deadline > given.at + length(expect.within)):
        yield ("within",), expect.within, _in_words(review.deadline - given.at) if review else "nobody looks"
    acting = {hit.rule for hit in decision.trace if hit.acts}
    recorded = {hit.rule for hit in decision.trace if hit.mode is RuleMode.SHADOW}
    exempt = {hit.exempted_by for hit in decision.trace if hit.exempted_by}
    for name in expect.fires:
        if name not in acting:
            yield ("fires",), name, _among(acting)
    for name in expect.silent:
        if name in acting:
            yield ("silent",), name, "it acts"
    for name in expect.shadow:
        if name not in recorded:
            yield ("shadow",), name, _among(recorded)
    if expect.exempted_by is not None and expect.exempted_by not in exempt:
        yield ("exempted_by",), expect.exempted_by, _among(exempt)
    if expect.says is not None and not any(expect.says in reason for reason in decision.reasons):
        yield ("says",), expect.says, " ".join(decision.reasons)
    for region, wanted_there in expect.regions.items():
        there = _there(decision, region)
        if there.action is not wanted_there.action:
            yield ("regions", region, "action"), wanted_there.action, there.action.value
        if wanted_there.label is not None and wanted_there.label != (there.label or NONE):
            yield ("regions", region, "label"), wanted_there.label, there.label or NONE


def _there(decision: Decision, region: Region) -> RegionalDecision:
    everywhere = RegionalDecision(regions=(), action=decision.action, reasons=decision.reasons, label=decision.label)
    return next((each for each in decision.regional if region in each.regions), everywhere)


def _among(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _idle(policy: Policy, results: Iterable[Result]) -> dict[str, tuple[str, ...]]:
    """What no case made act: nothing says what becomes of it when the policy is changed."""
    hits = [hit for result in results for hit in result.decision.trace]
    fired = {hit.rule for hit in hits if hit.exempted_by is None}
    exempted, clocks = {hit.exempted_by for hit in hits}, {hit.clock for hit in hits}
    file = policy.file
    kinds = {
        "rules": [rule.name for rule in file.rules if rule.name not in fired and rule.mode is not Mode.OFF],
        "fail modes": [mode.name for mode in file.fail_modes if mode.name not in fired],
        "exemptions": [name for name in file.exemptions if name not in exempted],
        "clocks": [name for name in file.clocks if name not in clocks],
    }
    return {kind: tuple(names) for kind, names in kinds.items() if names}


_AT = re.compile(r"^(?P<why>.*) - at (?:`key` in )?`\$\.?(?P<where>.*)`$", re.DOTALL)
_STEPS = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def _place(error: str) -> tuple[tuple[str | int, ...], str]:
    """What msgspec says → the path into the case, and why."""
    found = _AT.match(error)
    if found is None:
        return (), error
    # `[...]` stands for some key of a mapping: the library does not say which.
    where = found["where"].split("[...]")[0]
    return tuple(name or int(index) for name, index in _STEPS.findall(where)), found["why"]
