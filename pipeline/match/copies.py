"""Which uploads a request of the person shown concerns: those it names, and their copies. No media is read.

The same bytes are found among all uploads; what looks the same among contents of a window, by PDQ of the frames that
were looked at. A copy only makes a person look, so the bounds are those of banks, and one share is enough: an excerpt
of the named video counts, and so does a longer video that shows it whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.events import SubjectRequested
from pipeline.events.subject import SubjectMatch
from pipeline.events.values import FrameHash, RequestKind
from pipeline.match.banks import QUERY_SHARE, THRESHOLD
from pipeline.match.index import SCANNED, Near
from pipeline.match.pdq import BITS, LEAST_QUALITY


class Content(NamedTuple):
    """Bytes that were decided on, and what they look like."""

    sha256: str
    frames: tuple[FrameHash, ...]


class Uploads(Protocol):
    """What the ledger knows of uploads. Methods raise `Transient` while it is away."""

    def uploads_meant(self, request: SubjectRequested) -> tuple[str, ...]:
        """The media ids that were decided on and are named by the request, or carried its consent reference."""
        ...

    def contents_of(self, media_ids: Sequence[str]) -> tuple[Content, ...]:
        """The bytes of these uploads, all rounds."""
        ...

    def contents_since(self, since: datetime) -> Iterator[Content]:
        """What was decided since then and has hashes, once each."""
        ...

    def uploads_of(self, sha256s: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """(digest, media id) of every upload of these bytes, the latest first."""
        ...


@dataclass(frozen=True, slots=True)
class Concerned:
    """Uploads and why. `left_out`: copies beyond the bound."""

    uploads: Mapping[str, SubjectMatch]
    left_out: int = 0


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def looked_back(request: SubjectRequested, now: datetime, window: timedelta) -> datetime:
    """From when on contents are compared: the window before the request, however odd its date is."""
    return max(min(request.received_at, now), _LONG_AGO) - window


def concerned(request: SubjectRequested, uploads: Uploads, *, since: datetime, most: int) -> Concerned:
    """Everything that the request is about.

    Args:
        request: what the person shown asks for.
        uploads: where to look.
        since: contents that were decided earlier are not compared by what they look like.
        most: so many copies at most, those with the same bytes first, then the most alike.
    """
    meant = uploads.uploads_meant(request)
    why = SubjectMatch.NAMED if request.consent_reference is None else SubjectMatch.SAME_CONSENT
    found = dict.fromkeys(meant, why)
    if request.kind is RequestKind.APPEAL:  # the uploader speaks for one upload, not for copies by others
        return Concerned(found)
    contents = uploads.contents_of(meant)
    distances = {content.sha256: -1 for content in contents}
    distances = alike(contents, uploads.contents_since(since)) | distances
    copies = [
        (distances[sha256], media_id)
        for sha256, media_id in uploads.uploads_of(tuple(distances))
        if media_id not in found
    ]
    copies = list(dict.fromkeys(sorted(copies, key=lambda copy: copy[0])))
    for distance, media_id in copies[:most]:
        found.setdefault(media_id, SubjectMatch.SAME_BYTES if distance < 0 else SubjectMatch.NEAR_COPY)
    return Concerned(found, max(0, len({media_id for _, media_id in copies} - found.keys())))


def alike(of: Sequence[Content], among: Iterable[Content]) -> dict[str, int]:
    """Digest → bits that differ in the nearest frames, of contents that look like one of `of` for the most part.

    `THRESHOLD` bits may differ per frame, and `QUERY_SHARE` of the one's frames or of the other's must be found.
    """
    wanted = [codes for content in of if (codes := _codes(content))]
    if not wanted:
        return {}
    found: dict[str, int] = {}
    for batch in _batches(among):
        rows = np.frombuffer(b"".join(code for _, codes in batch for code in codes), np.uint8).reshape(-1, 32)
        owner = np.repeat(np.arange(len(batch)), [len(codes) for _, codes in batch])
        near = Near(rows)
        for codes in wanted:
            hits = near.search(np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 32), THRESHOLD)
            whose = owner[hits.row].tolist()
            pairs = sorted(zip(whose, hits.query.tolist(), hits.row.tolist(), hits.distance.tolist(), strict=True))
            for which, group in groupby(pairs, key=itemgetter(0)):
                _, queries, theirs, distances = zip(*group, strict=True)
                sha256, frames = batch[which]
                shares = len(set(queries)) / len(codes), len(set(theirs)) / len(frames)
                if max(shares) >= QUERY_SHARE:
                    found[sha256] = min(*distances, found.get(sha256, BITS))
    return found


def _codes(content: Content) -> tuple[bytes, ...]:
    """Its frames that are good enough to be compared; equal ones are one."""
    return tuple(dict.fromkeys(frame.pdq for frame in content.frames if frame.quality >= LEAST_QUALITY))


def _batches(contents: Iterable[Content]) -> Iterator[list[tuple[str, tuple[bytes, ...]]]]:
    """As many contents at once as are searched fast."""
    batch: list[tuple[str, tuple[bytes, ...]]] = []
    size = 0
    for content in contents:
        codes = _codes(content)
        if not codes:
            continue
        batch.append((content.sha256, codes))
        size += len(codes)
        if size >= SCANNED:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
