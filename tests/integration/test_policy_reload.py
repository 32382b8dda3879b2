"""A policy that changes under two real workers: a broker, a real Triton over the real models, traffic all the while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.audit_facts import run_audit
from pipeline.demo.media import rendered, write_jpeg
from pipeline.events import MediaDecided, MediaUploaded
from pipeline.kafka import client_config
from pipeline.ledger.ledger import Ledger
from pipeline.policy.file import DEFAULT, parse
from pipeline.publish import send
from pipeline.settings import Settings
from pipeline.stack.up import Stack
from pipeline.topics import apply as apply_topics
from pipeline.topology import UPLOADED, topics
from tests.integration.conftest import REPOSITORY
from tests.stacks import stack_options

PATIENCE = 120.0
SHIPPED = DEFAULT.read_text(encoding="utf-8")
STRICTER = SHIPPED.replace("swap_likely: 0.83", "swap_likely: 0.84")
MISSPELT = SHIPPED.replace("upload.declared_synthetic", "upload.declared_syntetic", 1)
NEW_QUEUE = STRICTER.replace("\nqueues:\n", "\nqueues:\n  broken-files: {what: files that cannot be read}\n").replace(
    "queue: unreadable", "queue: broken-files"
)


@dataclass
class Lead:
    """Somebody who changes the policy as a mounted volume does it, and watches what comes of it."""

    stack: Stack
    folder: Path
    ledger: Ledger
    sent: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, str]:
        return dict(client_config(Settings(), self.stack.bootstrap_servers))

    def write(self, text: str) -> None:
        mount(self.folder, text)

    def upload(self, name: str = "picture.jpg") -> str:
        uri = (self.folder / "media" / name).as_uri()
        event = MediaUploaded(media_id=str(uuid4()), uri=uri, uploaded_at=datetime.now(UTC))
        send(self.config, [(UPLOADED, event.media_id, event)])
        self.sent.append(event.media_id)
        return event.media_id

    def decided(self, media_id: str) -> MediaDecided:
        until(lambda: self.ledger.decision(media_id, 1) is not None)
        found = self.ledger.decision(media_id, 1)
        assert found is not None
        return found

    def upload_until(self, done: Callable[[], bool]) -> None:
        """Traffic all the while."""

        def sent_and_done() -> bool:
            self.upload()
            return done()

        until(sent_and_done)

    def everywhere(self, line: str) -> bool:
        """Whether all workers' metrics hold this line."""
        pages = []
        for worker in self.stack.workers:
            with urllib.request.urlopen(f"http://{worker.http_address}/metrics") as answer:
                pages.append(answer.read().decode())
        return all(line in page.splitlines() for page in pages)

    def unmask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        database = f"sqlite:///{self.folder / 'ledger.sqlite'}"
        return subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "UNMASK_DATABASE_URL": database, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def mount(folder: Path, text: str) -> None:
    """Put a policy where a volume would: a link to a folder is swapped, so no watcher of the file sees a write."""
    version = folder / f"..{uuid4()}"
    version.mkdir()
    (version / "policy.yaml").write_text(text, encoding="utf-8")
    (folder / "..new").symlink_to(version)
    (folder / "..new").replace(folder / "..data")
    if not (folder / "policy.yaml").is_symlink():
        (folder / "policy.yaml").symlink_to(Path("..data") / "policy.yaml")


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"nothing in {PATIENCE} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lead(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lead]:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "media").mkdir()
    write_jpeg(folder / "media" / "picture.jpg", rendered(7))
    (folder / "media" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    mount(folder, SHIPPED)
    environment = {
        "UNMASK_POLICY_FILE": str(folder / "policy.yaml"),
        "UNMASK_POLICY_POLL_SECONDS": "0.5",
        "UNMASK_POLICY_LEAD_SECONDS": "3",
    }
    options = stack_options(home, folder, environment, workers=2)
    with Stack(options) as stack:
        ledger = Ledger(options.database_url or "")
        yield Lead(stack, folder, ledger)
        ledger.close()


def test_a_policy_changes_under_traffic(lead: Lead) -> None:
    """The new version decides from one moment on in all workers and nothing is lost; a bad file is refused with its
    line and leaves it in force; a queue waits for its topic; every step is in metrics, in decisions and on record."""
    before, after = parse(SHIPPED, "before").version, parse(STRICTER, "after").version
    assert lead.decided(lead.upload()).decision.policy_version == before

    lead.write(STRICTER)
    lead.upload_until(lambda: lead.everywhere('unmask_policy_reloads_total{result="ok"} 1.0'))
    assert lead.decided(lead.upload()).decision.policy_version == after
    told = json.loads(lead.unmask("policy", "status", "--json").stdout)
    moment = datetime.fromisoformat(told["in_force"]["active_from"])
    assert (told["in_force"]["key"][0], told["agreed"], len(told["workers"])) == (after, True, 2)
    near = timedelta(milliseconds=500)  # a worker knows the database's time to half a round trip
    lead.upload_until(lambda: datetime.now(UTC) > moment + near)
    lead.upload()
    versions = [(each.decided_at, each.decision.policy_version) for each in map(lead.decided, lead.sent)]
    assert {version for at, version in versions if at < moment - near} == {before}
    assert {version for at, version in versions if at > moment + near} == {after}
    assert lead.unmask("policy", "at", moment.isoformat()).stdout == STRICTER
    assert lead.unmask("policy", "at", before).stdout == SHIPPED

    lead.write(MISSPELT)
    lead.upload_until(lambda: lead.everywhere("unmask_policy_refused 1.0"))
    assert lead.decided(lead.upload()).decision.policy_version == after
    line = 1 + MISSPELT[: MISSPELT.index("declared_syntetic")].count("\n")
    status = lead.unmask("policy", "status")
    assert status.returncode == 1
    assert f"line {line}, column " in status.stdout

    lead.write(NEW_QUEUE)
    until(lambda: "topics apply" in lead.unmask("policy", "status").stdout)
    assert lead.everywhere('unmask_policy_reloads_total{result="ok"} 1.0')
    apply_topics(topics(parse(NEW_QUEUE, "new").queues, 4), lead.config)
    lead.upload_until(lambda: lead.everywhere('unmask_policy_reloads_total{result="ok"} 2.0'))
    assert lead.everywhere("unmask_policy_refused 0.0")
    held = lead.decided(lead.upload("broken.jpg"))
    assert held.decision.review is not None
    assert held.decision.review.queue == "broken-files"
    until(lambda: [task.queue for task in lead.ledger.open_tasks()] == ["broken-files"])

    for media_id in lead.sent:
        lead.decided(media_id)
    until(lambda: lead.ledger.counts().decisions == len(lead.sent))
    until(lambda: run_audit(lead.config, lead.ledger).holds)
