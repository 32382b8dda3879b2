"""What came of a load: pure functions from what was sent and answered to a report. No Kafka, no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pipeline.load.mix import Kind


class Answer(StrEnum):
    """How an upload was answered first."""

    FINAL = "final"
    PROVISIONAL = "provisional"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True)
class Sent:
    """An upload. `due`: when it should have been offered, `at`: when it was; seconds of one monotonic clock."""

    media_id: str
    kind: Kind
    due: float
    at: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The first outcome or dead letter of an upload, `at` by the same clock."""

    media_id: str
    answer: Answer
    at: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What still counts as good. None: not asked."""

    max_drop: float | None = None
    max_p95: float | None = None


class Latency(msgspec.Struct, frozen=True):
    """Of one kind, or of all. Quantiles are seconds from due to answered over everything that was sent, the unanswered
    as never: None means that the quantile lies among them."""

    sent: int
    answered: int
    p50: float | None
    p95: float | None
    p99: float | None


class LoadReport(msgspec.Struct, frozen=True):
    """`offered`: uploads due per second of offering. `achieved`: answered a second, from the first due to the last
    answer. `drop`: share without an answer when waiting ended. `late`: the most that the producer was behind its own
    schedule, seconds."""

    sent: int
    answered: int
    offered: float
    achieved: float
    drop: float
    late: float
    seconds: float
    answers: dict[str, int]
    all: Latency
    by_kind: dict[str, Latency]
    breaches: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return not self.breaches


def summarise(
    sent: Sequence[Sent],
    answers: Iterable[Answered],
    *,
    offering_seconds: float,
    bounds: Bounds,
    since: float = -math.inf,
) -> LoadReport:
    """The report on uploads that were due at `since` or later: what came before warmed up and counts for nothing.

    Raises:
        ValueError: nothing was due since then.
    """
    counted = [each for each in sent if each.due >= since]
    if not counted:
        raise ValueError("nothing was offered after the warm-up")
    ids = {each.media_id for each in counted}
    first: dict[str, Answered] = {}
    for answer in answers:
        if answer.media_id in ids and (answer.media_id not in first or answer.at < first[answer.media_id].at):
            first[answer.media_id] = answer
    begun = min(each.due for each in counted)
    ended = max((each.at for each in first.values()), default=begun)
    report = LoadReport(
        sent=len(counted),
        answered=len(first),
        offered=len(counted) / offering_seconds,
        achieved=len(first) / (ended - begun) if ended > begun else 0.0,
        drop=1 - len(first) / len(counted),
        late=max(each.at - each.due for each in counted),
        seconds=ended - begun,
        answers={kind.value: sum(each.answer is kind for each in first.values()) for kind in Answer},
        all=_latency(counted, first),
        by_kind={
            kind.value: _latency(of_kind, first)
            for kind in Kind
            if (of_kind := [each for each in counted if each.kind is kind])
        },
    )
    return msgspec.structs.replace(report, breaches=breaches(report, bounds))


def breaches(report: LoadReport, bounds: Bounds) -> tuple[str, ...]:
    """A sentence for each bound that was not kept."""
    found = []
    if bounds.max_drop is not None and report.drop > bounds.max_drop:
        found.append(f"{report.drop:.2%} of the uploads were not answered; {bounds.max_drop:.2%} may be")
    if bounds.max_p95 is not None and (report.all.p95 is None or report.all.p95 > bounds.max_p95):
        was = "more than 5 % were never answered" if report.all.p95 is None else f"the p95 was {report.all.p95:.2f} s"
        found.append(f"{was}; {bounds.max_p95:g} s may be")
    return tuple(found)


def quantile(ordered: Sequence[float], share: float, of: int) -> float | None:
    """The nearest rank among `of` values of which `ordered` are known and the rest lie beyond all of them."""
    rank = max(1, math.ceil(share * of - 1e-9))
    return ordered[rank - 1] if rank <= len(ordered) else None


def _latency(sent: Sequence[Sent], first: Mapping[str, Answered]) -> Latency:
    seconds = sorted(first[each.media_id].at - each.due for each in sent if each.media_id in first)
    p50, p95, p99 = (quantile(seconds, share, len(sent)) for share in (0.5, 0.95, 0.99))
    return Latency(len(sent), len(seconds), p50, p95, p99)
