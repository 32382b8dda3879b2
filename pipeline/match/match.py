"""One upload against all banks, and what the policy is told of it. Pure: the banks come in ready to be asked.

Asked at every decision, also of contents that were judged before, because banks change and contents do not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from pipeline.events.values import Evidence, Family, FrameHash, Match, RuleMode, Signal, SignalStatus
from pipeline.match.banks import Bank, Banks, Kind, row_of
from pipeline.match.pdq import BITS, LEAST_QUALITY

DETECTOR = "banks"

Quarantined = Collection[tuple[str, str]]
"""(bank, hash id) of what matched suspiciously much; an empty id: the bank as a whole."""

_MOST_EVIDENCE = 5
_MOST_PER_BANK = 20
"""Matches that are recorded per bank and upload, the nearest first: a bank may know one picture many times."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the banks know of one upload. `signal` is None where there are no banks."""

    matches: tuple[Match, ...] = ()
    signal: Signal | None = None


NOTHING = Recognised()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame that is good enough to be compared. Frames with the same hash are one."""

    at: tuple[float, ...]
    code: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry of a bank, and for each frame of the upload that it knows the distance, the entry's nearest code."""

    bank: Bank
    entry: int
    distances: dict[int, int]
    rows: dict[int, set[int]]


def recognise(
    sha256: str, hashes: Sequence[FrameHash], banks: Banks, media_id: str, quarantined: Quarantined = ()
) -> Recognised:
    """`match`, with the signal that follows."""
    matches = match(sha256, hashes, banks, media_id, quarantined)
    return Recognised(matches, signal(matches, hashes, banks))


def match(
    sha256: str, hashes: Sequence[FrameHash], banks: Banks, media_id: str, quarantined: Quarantined = ()
) -> tuple[Match, ...]:
    """What the banks know of an upload, bank by bank, the nearest first.

    A negative bank takes back what another bank knows no better: a picture that both know, at the same distance or
    nearer in the negative one, is known as genuine. Frame by frame: what is left of a video is still compared.

    Args:
        sha256: of the bytes.
        hashes: of the frames that were looked at.
        banks: in the order of the file.
        media_id: decides whether a bank that is being rolled out concerns this upload.
        quarantined: whose matches decide nothing.
    """
    frames = _comparable(hashes)
    queries = np.frombuffer(b"".join(frame.code for frame in frames), np.uint8).reshape(-1, 32)
    found = [(bank, _perceptual(bank, queries) if bank.spec.kind is not Kind.SHA256 else []) for bank in banks]
    exact = [(bank, bank.ids[row]) for bank in banks if (row := _exact(bank, sha256)) is not None]

    def effective(bank: Bank, hash_id: str) -> str:
        """Why a match with this entry decides nothing; empty when it does."""
        if (bank.name, hash_id) in quarantined or (bank.name, "") in quarantined:
            return "quarantined: it matches suspiciously much"
        if bank.spec.mode is RuleMode.SHADOW:
            return "the bank is only tried out"
        return "" if bank.concerns(media_id) else "outside the share of uploads that the bank is rolled out to"

    genuine_bytes = [bank.name for bank, hash_id in exact if bank.spec.negative and not effective(bank, hash_id)]
    genuine: dict[int, tuple[int, str]] = {}  # frame → the nearest negative bank
    for bank, entries in found:
        for each in entries if bank.spec.negative else ():
            if not effective(bank, bank.ids[each.entry]):
                for frame, distance in each.distances.items():
                    genuine[frame] = min(genuine.get(frame, (BITS, "")), (distance, bank.name))

    matches: list[Match] = []
    for bank, hash_id in exact:
        why = effective(bank, hash_id)
        if not why and bank.spec.negative:
            why = "known as genuine"
        elif not why and genuine_bytes:
            why = f"known as genuine by {genuine_bytes[0]}"
        matches.append(Match(bank=bank.name, hash_id=hash_id, kind=Kind.SHA256.value, live=not why, note=why))
    for bank, entries in found:
        ours = []
        for each in entries:
            if not _enough(each, each.distances, len(frames)):
                continue
            hash_id = bank.ids[each.entry]
            why = effective(bank, hash_id)
            left = {f: d for f, d in each.distances.items() if f not in genuine or d < genuine[f][0]}
            if not why and bank.spec.negative:
                why = "known as genuine"
            elif not why and genuine_bytes:
                why = f"known as genuine by {genuine_bytes[0]}"
            elif not why and not _enough(each, left, len(frames)):
                why = f"known as genuine by {genuine[min(each.distances.keys() - left.keys())][1]}"
            ours.append(_match(each, each.distances if why else left, frames, hash_id, why))
        matches += sorted(ours, key=lambda m: (not m.live, m.distance, -m.share, m.hash_id))[:_MOST_PER_BANK]
    return tuple(matches)


def likeness(distance: int) -> float:
    """1 for the same hash, 0 at the distance of unrelated pictures: 1 − distance / 128.

    How near a match is, and no calibrated probability: how often a hash in a bank is wrong is the bank's affair.
    """
    return max(0.0, 1.0 - distance / (BITS / 2))


def signal(matches: Sequence[Match], hashes: Sequence[FrameHash], banks: Banks) -> Signal | None:
    """What the policy is told: the nearest match that counts. None without banks; not applicable where no bank could
    have known the upload."""
    if not banks:
        return None
    asked = tuple(sorted(bank.version for bank in banks))
    live = sorted((m for m in matches if m.live), key=lambda m: (m.distance, -m.share, m.bank, m.hash_id))
    comparable = any(bank.spec.kind is Kind.SHA256 for bank in banks) or bool(_comparable(hashes))
    if not comparable:
        note = "nothing in it can be compared with a bank"
        return Signal(family=Family.KNOWN_CONTENT, status=SignalStatus.NOT_APPLICABLE, detectors=asked, note=note)
    probability = round(max((likeness(m.distance) for m in live), default=0.0), 6)
    harms = {bank.name: bank.spec.harm for bank in banks}
    return Signal(
        family=Family.KNOWN_CONTENT,
        status=SignalStatus.SCORED,
        probability=probability,
        low=probability,
        high=probability,
        evidence=tuple(
            Evidence(
                detector=DETECTOR,
                score=round(likeness(m.distance), 6),
                at=m.at[0] if m.at else None,
                note=_words(m, harms.get(m.bank, "")),
            )
            for m in live[:_MOST_EVIDENCE]
        ),
        detectors=asked,
    )


def _words(found: Match, harm: str) -> str:
    how = {
        Kind.SHA256: "the same bytes",
        Kind.PDQ: f"{found.distance} of 256 bits differ",
        Kind.VPDQ: f"{found.share:.0%} of the frames, {found.distance} of 256 bits differ",
    }[Kind(found.kind)]
    return f"known to {found.bank}{f' ({harm})' if harm else ''} as {found.hash_id}: {how}"


def _comparable(hashes: Sequence[FrameHash]) -> list[_Frame]:
    moments: dict[bytes, list[float]] = {}
    for each in hashes:
        if each.quality >= LEAST_QUALITY:
            moments.setdefault(each.pdq, []).append(each.at)
    return [_Frame(tuple(at), code) for code, at in moments.items()]


def _exact(bank: Bank, sha256: str) -> int | None:
    return row_of(bank.near.codes, bytes.fromhex(sha256)) if bank.spec.kind is Kind.SHA256 else None


def _perceptual(bank: Bank, queries: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[_Found]:
    """The bank's entries of which at least one frame is near one of the queries."""
    hits = bank.near.search(queries, bank.spec.threshold)
    found: dict[int, _Found] = {}
    owners = bank.owners(hits.row)
    for frame, row, entry, apart in zip(
        hits.query.tolist(), hits.row.tolist(), owners.tolist(), hits.distance.tolist(), strict=True
    ):
        each = found.setdefault(entry, _Found(bank, entry, {}, {}))
        each.distances[frame] = min(apart, each.distances.get(frame, BITS))
        each.rows.setdefault(frame, set()).add(row)
    return list(found.values())


def _enough(found: _Found, frames: dict[int, int], compared: int) -> bool:
    """Whether so many frames make a match: of a PDQ bank one does; of a vPDQ bank both shares must be reached."""
    if not frames:
        return False
    spec, sizes = found.bank.spec, found.bank.frames
    if spec.kind is Kind.PDQ or sizes is None:
        return True
    theirs = len(set().union(*(found.rows[frame] for frame in frames)))
    return len(frames) >= spec.query_share * compared and theirs >= spec.compared_share * int(sizes[found.entry])


def _match(found: _Found, counted: dict[int, int], frames: Sequence[_Frame], hash_id: str, why: str) -> Match:
    spec = found.bank.spec
    return Match(
        bank=spec.name,
        hash_id=hash_id,
        kind=spec.kind.value,
        # Of a picture the nearest frame; of a video what is typical of its frames.
        distance=min(counted.values()) if spec.kind is Kind.PDQ else median_low(counted.values()),
        share=round(len(counted) / len(frames), 6),
        at=tuple(sorted(at for frame in counted for at in frames[frame].at)),
        live=not why,
        note=why,
    )
