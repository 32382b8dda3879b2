"""Known content on a stream: a broker, a real Triton over the real models, one worker process, a bank that grows."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import cv2
import pytest

from pipeline.events import MediaDecided, MediaUploaded
from pipeline.events.values import Family
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.match.load import load as load_banks
from pipeline.match.pdq import pdq
from pipeline.match.rescan import hits, reopen
from pipeline.publish import send
from pipeline.settings import Settings
from pipeline.stack.up import Stack
from pipeline.topology import UPLOADED
from tests.stacks import stack_options
from tests.unit.match.waves import waves

PATIENCE = 120.0
KNOWN, LATER, OTHER = (waves(360, 480, seed) for seed in (1, 2, 3))


@dataclass
class Platform:
    """What a platform does, and its operator's bank."""

    stack: Stack
    media: Path
    bank: Path
    ledger: Ledger

    @property
    def config(self) -> dict[str, str]:
        return dict(client_config(Settings(), self.stack.bootstrap_servers))

    def upload(self, image, quality: int) -> str:
        path = self.media / f"{uuid4()}.jpg"
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        event = MediaUploaded(media_id=str(uuid4()), uri=path.as_uri(), uploaded_at=datetime.now(UTC))
        send(self.config, [(UPLOADED, event.media_id, event)])
        return event.media_id

    def decided(self, media_id: str, round_: int = 1) -> MediaDecided:
        until(lambda: self.ledger.decision(media_id, round_) is not None)
        found = self.ledger.decision(media_id, round_)
        assert found is not None
        return found

    def metric(self, line: str) -> bool:
        with urllib.request.urlopen(f"http://{self.stack.workers[0].http_address}/metrics") as answer:
            return line in answer.read().decode()


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"nothing in {PATIENCE} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def platform(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("known")
    media, banks = folder / "media", folder / "banks"
    banks.mkdir()
    (banks / "banks.yaml").write_text(
        "banks:\n"
        "  - {name: pictures, kind: pdq, files: [a.txt], mode: live, flood: {contents: 4, share: 1.0}}\n"
        "  - {name: tried, kind: pdq, files: [a.txt]}\n"
    )
    (banks / "a.txt").write_text(f"pdq {pdq(KNOWN)[0].hex()}\n")
    options = stack_options(home, folder, {"UNMASK_BANKS_DIR": str(banks)}, partitions=2)
    with Stack(options) as stack:
        ledger = Ledger(options.database_url or "")
        yield Platform(stack, media, banks / "a.txt", ledger)
        ledger.close()


def test_a_bank_from_its_first_match_to_its_quarantine(platform: Platform, tmp_path: Path) -> None:
    """Known content is found in `media.decided`; a hash that is added finds what was uploaded before, in a new round;
    one that floods decides nothing until it is released."""
    known, later, other = (platform.upload(image, 70) for image in (KNOWN, LATER, OTHER))
    decided = platform.decided(known)
    assert {(one.bank, one.live) for one in decided.matches} == {("pictures", True), ("tried", False)}
    signal = next(each for each in decided.signals if each.family is Family.KNOWN_CONTENT)
    assert signal.probability is not None
    assert signal.probability > 0.75
    assert platform.decided(later).matches == platform.decided(other).matches == ()
    until(lambda: platform.metric('unmask_bank_matches_total{bank="pictures",mode="live"} 1.0'))

    with platform.bank.open("a") as file:
        file.write(f"pdq {pdq(LATER)[0].hex()}\n")
    until(lambda: platform.metric('unmask_bank_entries{bank="pictures"} 2.0'))
    since = datetime.now(UTC) - timedelta(hours=1)
    banks = load_banks(platform.bank.parent, tmp_path)
    found = list(hits(platform.ledger.recent_uploads(since), banks))
    assert [hit.media_id for _, hit in found] == [later]
    reopen(platform.config, found)
    again = platform.decided(later, round_=2)
    assert [one.bank for one in again.matches if one.live] == ["pictures"]
    assert again.reused_from == later
    assert not list(hits(platform.ledger.recent_uploads(since), banks))

    for quality in (60, 65, 75, 80):
        platform.decided(platform.upload(KNOWN, quality))
    until(lambda: platform.metric('unmask_quarantined_hashes{bank="pictures"} 1.0'))
    assert not any(one.live for one in platform.decided(platform.upload(KNOWN, 85)).matches)
    assert platform.ledger.release("pictures", None, datetime.now(UTC)) >= 1
    until(lambda: platform.metric('unmask_quarantined_hashes{bank="pictures"} 0.0'))
    assert any(one.live for one in platform.decided(platform.upload(KNOWN, 90)).matches)
