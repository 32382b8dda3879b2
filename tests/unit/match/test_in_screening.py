"""Known content inside the screening of one upload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.detect.known_content import frame_hashes
from pipeline.errors import Stage
from pipeline.events.values import Family
from pipeline.ledger.port import known_from
from pipeline.match.match import recognise
from pipeline.match.pdq import pdq
from pipeline.screen import screen
from pipeline.testing import clip_of
from tests.unit.match.made import bank
from tests.unit.match.waves import waves
from tests.unit.test_screen import NOW, Bench, findings, upload

IMAGE = waves(240, 320, 1)


def bench(folder: Path, *banks) -> Bench:
    """A screening that asks these banks."""
    made = Bench(folder, replace(findings(0.05), hashes=frame_hashes(clip_of(IMAGE))), clip_of(IMAGE))

    async def ask(sha256, hashes, media_id):
        return recognise(sha256, hashes, banks, media_id)

    made.by = replace(made.by, recognise=ask)
    return made


async def test_an_upload_in_a_live_bank_has_a_match_and_a_signal(tmp_path):
    """In `media.decided`, with the hashes that were compared; signals stay in the order of the families."""
    decided = await screen(
        upload("a.jpg"), 1, now=NOW, within=5, by=bench(tmp_path, bank("pictures", {"a": pdq(IMAGE)[0]})).by
    )
    assert [(one.bank, one.hash_id, one.live) for one in decided.matches] == [("pictures", "a", True)]
    assert [each.pdq for each in decided.hashes] == [pdq(IMAGE)[0]]
    families = [signal.family for signal in decided.signals]
    assert Family.KNOWN_CONTENT in families
    assert families == [family for family in Family if family in families]


async def test_without_banks_the_decision_is_what_it_was(tmp_path):
    """No signal, no match; the hashes are kept for banks to come."""
    decided = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench(tmp_path).by)
    assert decided.matches == ()
    assert len(decided.hashes) == 1
    assert Family.KNOWN_CONTENT not in {signal.family for signal in decided.signals}


async def test_contents_that_were_judged_before_meet_the_banks_as_they_are_now(tmp_path):
    """A hash that was added since is a match, without decoding; one that was taken out is none."""
    first = await screen(upload("a.jpg"), 1, now=NOW, within=5, by=bench(tmp_path, bank("other", {"x": bytes(32)})).by)
    assert first.matches == ()
    known = known_from(first)
    assert known is not None
    assert Family.KNOWN_CONTENT not in {signal.family for signal in known.signals}
    later = bench(tmp_path, bank("pictures", {"a": pdq(IMAGE)[0]}))
    later.store[known.sha256, first.versions.detectors] = known
    again = await screen(upload("a.jpg"), 2, now=NOW, within=5, by=later.by)
    assert later.stages == [Stage.FETCH, Stage.DECIDE]
    assert [one.bank for one in again.matches] == ["pictures"]
    assert sum(signal.family is Family.KNOWN_CONTENT for signal in again.signals) == 1
