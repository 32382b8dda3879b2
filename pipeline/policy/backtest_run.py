"""Read the record, share it out among processes, gather what they counted.

Conditions cannot be sent to another process, so each reads the policies anew; and each reads its own spans of the
record, so that nothing heavy travels between them.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime

from pipeline.calibration import Calibration
from pipeline.errors import UnmaskError
from pipeline.events.values import Decision
from pipeline.ledger.recorded import Records, Span
from pipeline.policy.backtest import Question, Tally, chosen, count_shadow, tally
from pipeline.policy.backtest_result import Backtest, ExampleShown, ShadowReport, shadow_rules, summed
from pipeline.policy.compare import compare
from pipeline.policy.decide import decide
from pipeline.policy.file import Sourced, sourced
from pipeline.policy.restate import covered_otherwise, pooled_otherwise, restated
from pipeline.policy.rules import Policy
from pipeline.policy.workload import cost, handling

SPAN = 1_000
"""Decisions that a process takes at a time."""

Progress = Callable[[int, int], None]
"""(done, of): decisions read, earlier rounds included."""


def _untold(_done: int, _of: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which decisions. `every_round`: earlier rounds of an upload too, not its latest alone."""

    since: datetime
    until: datetime
    every_round: bool = False

    @property
    def span(self) -> Span:
        """From when to when."""
        return Span(self.since, self.until)

    @property
    def latest_before(self) -> datetime | None:
        """As `Records.recorded` wants it."""
        return None if self.every_round else self.until


@dataclass(frozen=True, slots=True)
class _Text:
    """A policy as it can be sent to another process."""

    text: str
    origin: str
    calibration: Calibration

    def read(self) -> Policy:
        return sourced(self.text, self.origin, self.calibration).policy


@dataclass(frozen=True, slots=True)
class _Work:
    """What a process has to know. `new` is None when only recorded shadow rules are counted."""

    url: str
    latest_before: datetime | None
    examples: int
    new: _Text | None = None
    old: _Text | None = None


def backtest(
    url: str,
    new: Sourced,
    old: Sourced | None,
    window: Window,
    *,
    examples: int,
    processes: int,
    progress: Progress = _untold,
) -> Backtest:
    """Decide again what was recorded.

    Args:
        url: the ledger's.
        new: the policy to try out.
        old: the policy to compare with; None compares with what was decided then.
        window: which decisions.
        examples: how many to show.
        processes: that share the work.
        progress: told of every part that is done.

    Raises:
        UnmaskError: the ledger cannot be read, or a process died.
    """
    work = _Work(url, window.latest_before, examples, _text(new), _text(old) if old else None)
    records = Records(url)
    try:
        found = _shared(records, work, window, processes, progress)
        measured = handling(records.answers(window.span))
        severity = {name: harm.severity for name, harm in new.policy.harms.items()}
        question = Question(new.policy, old.policy if old else None, examples)
        shown = tuple(
            _shown(records, each.media_id, each.round, question) for each in chosen(found.examples, severity, examples)
        )
    finally:
        records.close()
    return summed(
        found,
        new.policy,
        old.policy if old else None,
        window.since,
        window.until,
        measured,
        shown,
        tuple(_warnings(found, new.policy, old.policy if old else None)),
    )


def shadowed(
    url: str,
    policy: Policy,
    window: Window,
    *,
    processes: int,
    progress: Progress = _untold,
) -> ShadowReport:
    """What the shadow rules in recorded traces would have done.

    Args:
        url: the ledger's.
        policy: the one in use: for handling times of queues without enough reviews.
        window: which decisions.
        processes: that share the work.
        progress: told of every part that is done.
    """
    records = Records(url)
    try:
        found = _shared(records, _Work(url, window.latest_before, 0), window, processes, progress)
        measured = handling(records.answers(window.span))
    finally:
        records.close()
    rules = shadow_rules(found.shadow, lambda queue: cost(queue, measured, policy))
    return ShadowReport(window.since, window.until, found.totals["uploads"], found.totals["reviewed"], rules)


def _text(policy: Sourced) -> _Text:
    return _Text(policy.text, policy.origin, policy.policy.fused.calibration)


def _shared(records: Records, work: _Work, window: Window, processes: int, progress: Progress) -> Tally:
    spans = list(records.spans(window.span, SPAN))
    of, done, found = sum(count for _, count in spans), 0, Tally()
    progress(0, of)
    for (_, count), part in zip(spans, _tallies([span for span, _ in spans], work, processes), strict=True):
        found.add(part, work.examples)
        done += count
        progress(done, of)
    return found


def _tallies(spans: Sequence[Span], work: _Work, processes: int) -> Iterator[Tally]:
    """One after another, in the order of the spans."""
    if min(processes, len(spans)) <= 1:
        one = _Process(work)
        try:
            yield from map(one.tally, spans)
        finally:
            one.records.close()
        return
    # Not forked: the library of conditions has threads.
    how = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=how, initializer=_begin, initargs=(work,)) as pool:
        try:
            yield from pool.map(_in_process, spans)
        except BrokenProcessPool:
            raise UnmaskError(
                "a process that decided recorded uploads again died; was there too little memory?"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


class _Process:
    """What a process holds while it works."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        self.records = Records(work.url)
        self.question = (
            None
            if work.new is None
            else Question(work.new.read(), work.old.read() if work.old else None, work.examples)
        )

    def tally(self, span: Span) -> Tally:
        """Count one span."""
        recorded = self.records.recorded(span, self.work.latest_before)
        if self.question is not None:
            return tally(recorded, self.question)
        found = Tally()
        for decided, verdict in recorded:
            found.totals["uploads"] += 1
            found.totals["reviewed"] += verdict is not None
            count_shadow(decided.decision, verdict, found)
        return found


_process: _Process | None = None
"""Of a process that works for another one."""


def _begin(work: _Work) -> None:
    global _process
    _process = _Process(work)


def _in_process(span: Span) -> Tally:
    assert _process is not None
    return _process.tally(span)


def _shown(records: Records, media_id: str, round_: int, by: Question) -> ExampleShown:
    """An example from the whole record, so that its reasons can name moments."""
    decided = records.decision(media_id, round_)
    assert decided is not None  # it was read a moment ago, and nothing is ever deleted
    verdict = records.verdict(media_id, round_)
    after = decide(restated(decided, by.new).case, by.new)
    before = decided.decision if by.old is None else decide(restated(decided, by.old).case, by.old)
    change = compare(before, after)
    return ExampleShown(
        media_id=media_id,
        round=round_,
        decided_at=decided.decided_at,
        surface=decided.upload.surface,
        regions=decided.upload.regions,
        before=_spoken(before),
        after=_spoken(after),
        queue_before=before.review.queue if before.review else None,
        queue_after=after.review.queue if after.review else None,
        causes=tuple(str(cause) for cause in change.causes) if change else (),
        reasons_before=before.reasons,
        reasons_after=after.reasons,
        verdict=verdict.action if verdict else None,
    )


def _spoken(decision: Decision) -> str:
    """`allow; DE, FR: hold`."""
    regional = (f"{', '.join(each.regions)}: {each.action.value}" for each in decision.regional)
    return "; ".join((decision.action.value, *regional))


def _warnings(found: Tally, new: Policy, old: Policy | None) -> Iterator[str]:
    """What the numbers do not show."""
    total = found.totals
    if total["anew"]:
        yield (
            f"{total['anew']} uploads were judged under another fusion or calibration than that of {new.version}"
            f" ({new.fusion_version}). Their probabilities were made anew from the raw scores on record; what was"
            " pooled then stays pooled as it was."
        )
    for family, count in sorted(found.stale.items()):
        yield f"{family.value}: {count} uploads keep the recorded probability, because no raw score is on record."
    if old is not None:
        if pooled := pooled_otherwise(old, new):
            yield (
                f"The new policy pools scores otherwise (top_share, looks) for {_listed(pooled)}; the record holds only"
                " what the policy of the time pooled, so this part of the difference is not seen."
            )
        if covered := covered_otherwise(old, new):
            yield (
                f"The new policy asks for less coverage for {_listed(covered)}; what was left out as too little is not"
                " on record and stays missing."
            )
        needed = set(new.fusion.requires) - set(old.fusion.requires)
        if needed:
            yield f"The new policy requires {_listed(tuple(needed))}: missing where no detector looked for it."
    if total["not reproduced"]:
        yield (
            f"{total['not reproduced']} of {total['comparable']} recorded decisions of a policy at hand come out"
            " otherwise today: Unmask itself has changed since. Compare with a file (--policy) to leave that out."
        )
    for rule, count in sorted(found.unanswered.items()):
        yield f"The rule {rule} could not be answered for {count} uploads: a field that it needs was not there."
    versions = len(found.versions)
    if old is None and versions > 1:
        yield (
            f"The record was decided by {versions} policies: some of what differs may be the doing of earlier changes."
            " Compare with a policy file (--policy) to see what this file does."
        )


def _listed(families: Sequence[object]) -> str:
    return ", ".join(sorted(str(family) for family in families))
