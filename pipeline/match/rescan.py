"""Recent uploads against the banks as they are now: what a hash that was added today would have found last week.

No media is needed: what contents look like is in the ledger. With `send` the upload event is published again as a new
round, as a replay does; the new decision is made from the stored findings and today's banks, and whatever follows from
it is the policy's affair. Running it again does no harm: once the new round is decided its matches are on record and
the upload is no hit any more; before that the same round is opened again, of which the first decision stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.events.values import Match
from pipeline.kafka import ClientConfig
from pipeline.ledger.port import RecentUpload
from pipeline.match.banks import Banks
from pipeline.match.match import Quarantined, match
from pipeline.publish import send
from pipeline.topology import UPLOADED

SOURCE = "urn:unmask:rescan"


@dataclass(frozen=True, slots=True)
class Hit:
    """An upload that the banks know now and did not know when it was decided. `round`: the one that is opened."""

    media_id: str
    uri: str
    decided_at: datetime
    round: int
    matches: tuple[Match, ...]


def hits(
    uploads: Iterable[RecentUpload], banks: Banks, quarantined: Quarantined = ()
) -> Iterator[tuple[RecentUpload, Hit]]:
    """Uploads with a match that counts and did not before. Pure."""
    for each in uploads:
        found = match(each.sha256, each.hashes, banks, each.upload.media_id, quarantined)
        new = tuple(one for one in found if one.live and (one.bank, one.hash_id) not in each.known)
        if new:
            yield each, Hit(each.upload.media_id, each.upload.uri, each.decided_at, each.round + 1, new)


def reopen(config: ClientConfig, found: Iterable[tuple[RecentUpload, Hit]]) -> None:
    """Publish each upload again as its next round. Raises UnmaskError when the broker does not take one."""
    rounds = {each.upload.media_id: (each.upload, hit.round) for each, hit in found}
    send(
        config,
        [(UPLOADED, media_id, upload) for media_id, (upload, _) in rounds.items()],
        source=SOURCE,
        rounds={media_id: round_ for media_id, (_, round_) in rounds.items()},
    )
