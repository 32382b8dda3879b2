"""What proposals for thresholds rest on: recorded uploads with what people said, or an evaluation set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.events import MediaDecided, MediaUploaded
from pipeline.events.values import Action, Family, Signal, SignalStatus
from pipeline.learn.scores import Level, ScoreRow, read_scores
from pipeline.ledger.recorded import Records, Span, Verdict
from pipeline.policy.case import Case
from pipeline.policy.restate import restated
from pipeline.policy.rules import Policy
from pipeline.policy.thresholds import Item, Sample

_DAY = 86_400.0


def truth_of(decided: MediaDecided, verdict: Verdict | None) -> Mapping[Family, bool]:
    """What a person's answer says of each family.

    What was confirmed or denied counts. `allow` without a word denies what the task was about; another action without a
    word confirms it where one family alone was suspected, for an upload is restricted for many reasons.
    """
    if verdict is None:
        return {}
    told = dict.fromkeys(verdict.confirmed, True) | dict.fromkeys(verdict.denied, False)
    if verdict.confirmed:
        return told
    suspected = {hit.family for hit in decided.decision.trace if hit.acts and hit.family is not None}
    if verdict.action is Action.ALLOW:
        judged = {signal.family for signal in decided.signals if signal.probability is not None}
        return dict.fromkeys(judged | suspected, False) | told
    if len(suspected) == 1 and not verdict.denied:
        return dict.fromkeys(suspected, True)
    return told


def from_ledger(records: Records, span: Span, policy: Policy, most: int) -> tuple[Sample, float]:
    """Recorded uploads, each in its latest round; and how many there are a day. Of more than `most` a random part."""
    total = sum(count for _, count in records.spans(span, 50_000))
    if total == 0:
        raise ConfigError(f"nothing was decided from {span.since:%Y-%m-%d} to {span.until:%Y-%m-%d}")
    share = min(1.0, most / total)
    items, uploads, judged = [], 0, 0
    first, last = span.until, span.since
    for decided, verdict in records.recorded(span, span.until):
        uploads += 1
        first, last = min(first, decided.decided_at), max(last, decided.decided_at)
        content = decided.sha256 or decided.media_id
        if share < 1 and _drawn(content) >= share:
            continue
        judged += verdict is not None
        items.append(
            Item(
                case=restated(decided, policy).case,
                block=int(decided.decided_at.timestamp() // _DAY),
                content=content,
                truth=truth_of(decided, verdict),
            )
        )
    days = max(1.0, (last - first).total_seconds() / _DAY)
    part = f"a random {share:.0%} of " if share < 1 else ""
    what = (
        f"{part}{uploads} recorded uploads, {first:%Y-%m-%d} to {last:%Y-%m-%d}; {judged} of {len(items)} were judged"
        " by people"
    )
    return Sample(items, what), uploads / days


def from_scores(path: Path, share: float) -> Sample:
    """The files of an evaluation, by `scores.csv` or the `evaluation.json` that lies beside it."""
    if path.suffix == ".json":
        path = path.with_name("scores.csv")  # the page and the summary hold no single scores
    rows = [row for row in read_scores(path) if row.level is Level.UPLOAD and not row.variant]
    files: dict[str, list[ScoreRow]] = {}
    for row in rows:
        files.setdefault(row.file, []).append(row)
    items = [_item(name, found) for name, found in files.items()]
    fakes = sum(bool(item.fake) for item in items)
    what = f"{len(items)} files of {path.name}, {fakes} manipulated, as if {share:.2%} of uploads were"
    return Sample(items, what, share)


def _item(name: str, rows: Sequence[ScoreRow]) -> Item:
    """As an ordinary post of which nothing but the signals is known."""
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    upload = MediaUploaded(media_id=name[:256] or "?", uri="file:///", uploaded_at=moment)
    signals = tuple(
        Signal(
            family=row.signal,
            status=SignalStatus(row.status),
            probability=row.probability if row.probability is not None else row.score,
            low=row.low,
            high=row.high,
            pooled=row.score,
        )
        for row in rows
    )
    return Item(
        case=Case(upload=upload, now=moment, signals=signals),
        block=0,
        content=name,
        truth={row.signal: row.fake for row in rows if row.counts},
        fake=rows[0].fake,
    )


def _drawn(content: str) -> float:
    """A number from 0 to 1 that is the same for the same content."""
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest()) / 2**64
