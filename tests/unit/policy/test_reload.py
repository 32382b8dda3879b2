"""A changed policy comes in force in all workers at one moment, and a bad one in none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pipeline.errors import ConfigError, Reason, Stage, Transient
from pipeline.ledger import policies as record_module
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.policies import PolicyRecord
from pipeline.metrics import Metrics
from pipeline.policy.file import CALIBRATION, DEFAULT
from pipeline.policy.reload import Files, PolicyAtHand
from pipeline.topics import TopicsFailed

LEAD = timedelta(seconds=10)
SHIPPED = DEFAULT.read_text(encoding="utf-8")


def words(threshold: float, queue: str | None = None) -> str:
    """A policy that differs from the one that ships by a threshold and, if named, by one more queue."""
    text = SHIPPED.replace("swap_likely: 0.83", f"swap_likely: {threshold}")
    assert threshold == 0.83 or text != SHIPPED
    return text.replace("\nqueues:\n", f"\nqueues:\n  {queue}: {{what: something new}}\n") if queue else text


class Clock:
    """The database's time, and workers' clocks that may be off."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def off(self, by: timedelta = timedelta(0)) -> Callable[[], datetime]:
        return lambda: self.now + by


class Fleet:
    """Workers on one ledger, each with a folder of its own."""

    def __init__(self, folder: Path, ledger: Ledger, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.record = PolicyRecord(ledger)
        self.registries: dict[str, CollectorRegistry] = {}
        self.without_topic: set[str] = set()
        self.broker_away = False

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def worker(self, name: str, text: str | None = None, off: timedelta = timedelta(0)) -> PolicyAtHand:
        """A worker, not yet open."""
        if text is not None:
            self.file(name).write_text(text)
        self.registries[name] = CollectorRegistry()

        def missing(queues: Iterable[str]) -> tuple[str, ...]:
            if self.broker_away:
                raise TopicsFailed("no broker answers")
            return tuple(sorted(self.without_topic & {*queues}))

        return PolicyAtHand(
            Files(self.file(name), None),
            self.record,
            Metrics(self.registries[name]),
            worker_id=name,
            lead=LEAD,
            missing=missing,
            clock=self.clock.off(off),
        )

    def opened(self, name: str, text: str | None = None, off: timedelta = timedelta(0)) -> PolicyAtHand:
        worker = self.worker(name, text, off)
        worker.open()
        return worker

    def change(self, name: str, text: str, worker: PolicyAtHand) -> None:
        """A file changes, and its worker looks until it has settled."""
        self.file(name).write_text(text)
        worker.look()
        assert worker.settling
        worker.look()
        assert not worker.settling

    def pass_(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    def metric(self, name: str, metric: str, **labels: str) -> float | None:
        return self.registries[name].get_sample_value(metric, labels)

    def reloads(self, name: str) -> dict[str, float | None]:
        results = ("ok", "refused", "unchanged")
        return {each: self.metric(name, "unmask_policy_reloads_total", result=each) for each in results}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    clock = Clock()
    monkeypatch.setattr(record_module, "_now", lambda _: clock.now)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield Fleet(tmp_path, ledger, clock)
    ledger.close()


def threshold(worker: PolicyAtHand) -> float:
    return worker.policy.file.thresholds["swap_likely"]


def test_the_first_worker_puts_its_file_in_force_at_once(fleet: Fleet) -> None:
    """There is nothing to wait for; the switch, the words and the worker are on record, and metrics name the policy."""
    a = fleet.opened("a", SHIPPED)
    switch = fleet.record.at()
    assert switch is not None
    assert (switch.number, switch.active_from, switch.proposed_by) == (1, fleet.clock.now, "a")
    kept = fleet.record.words(switch.key)
    assert kept is not None
    assert (kept.policy, kept.calibration) == (SHIPPED, CALIBRATION.read_text())
    (row,) = fleet.record.workers()
    assert (row.worker_id, row.number, row.since, row.file, row.refused) == ("a", 1, fleet.clock.now, switch.key, None)
    info = {"version": a.policy.version, "fusion": a.policy.fusion_version}
    assert fleet.metric("a", "unmask_policy_info", **info) == 1
    assert fleet.metric("a", "unmask_policy_active_since_seconds") == fleet.clock.now.timestamp()
    assert fleet.reloads("a") == {"ok": 0, "refused": 0, "unchanged": 0}


def test_all_workers_switch_at_the_moment_on_record_and_not_before(fleet: Fleet) -> None:
    """One file changes; the others follow by the record although their own files never do, with clocks that are off."""
    a = fleet.opened("a", SHIPPED)
    b = fleet.opened("b", SHIPPED, off=timedelta(minutes=-3))
    c = fleet.opened("c", SHIPPED, off=timedelta(minutes=5))
    everybody = (a, b, c)
    before = a.policy.version
    fleet.change("a", words(0.9), a)
    b.look()
    c.look()
    fleet.pass_(9.9)
    assert [threshold(each) for each in everybody] == [0.83] * 3
    fleet.pass_(0.1)
    assert [threshold(each) for each in everybody] == [0.9] * 3
    a.look()
    b.look()
    c.look()
    assert {row.since for row in fleet.record.workers()} == {fleet.clock.now}
    assert {row.number for row in fleet.record.workers()} == {2}
    for name in "abc":
        assert fleet.metric(name, "unmask_policy_info", version=before, fusion=a.policy.fusion_version) is None
        assert fleet.metric(name, "unmask_policy_refused") == 0
        assert fleet.reloads(name) == {"ok": 1, "refused": 0, "unchanged": 0}
    assert [fleet.metric(name, "unmask_policy_file_differs") for name in "abc"] == [0, 1, 1]
    fleet.file("b").write_text(words(0.9))
    b.look()
    b.look()
    assert fleet.reloads("b") == {"ok": 1, "refused": 0, "unchanged": 1}
    assert fleet.metric("b", "unmask_policy_file_differs") == 0


def test_a_bad_file_is_refused_with_its_line_and_the_old_policy_stays(
    fleet: Fleet,
) -> None:
    """It is counted once, however often it is looked at; the gauge goes back when the file is good again."""
    a = fleet.opened("a", SHIPPED)
    bad = SHIPPED.replace("threshold.swap_likely\n", "threshold.swap_likly\n", 1)
    fleet.change("a", bad, a)
    for _ in range(3):
        a.look()
    fleet.pass_(60)
    assert threshold(a) == 0.83
    assert fleet.metric("a", "unmask_policy_refused") == 1
    assert fleet.reloads("a") == {"ok": 0, "refused": 1, "unchanged": 0}
    (row,) = fleet.record.workers()
    line = 1 + bad[: bad.index("swap_likly")].count("\n")
    assert f"line {line}, " in (row.refused or "")
    assert row.file is None
    fleet.change("a", SHIPPED, a)
    assert fleet.metric("a", "unmask_policy_refused") == 0
    assert fleet.reloads("a") == {"ok": 0, "refused": 1, "unchanged": 1}
    (row,) = fleet.record.workers()
    assert row.refused is None


def test_half_a_file_is_not_taken_up(fleet: Fleet) -> None:
    """What is not the same at two looks is not judged, sound or not."""
    a = fleet.opened("a", SHIPPED)
    fleet.file("a").write_text(SHIPPED[:2000])
    a.look()
    fleet.file("a").write_text(words(0.9)[:-40])
    a.look()
    assert fleet.reloads("a") == {"ok": 0, "refused": 0, "unchanged": 0}
    fleet.change("a", words(0.9), a)
    fleet.pass_(10)
    assert threshold(a) == 0.9


def test_comments_change_nothing(fleet: Fleet) -> None:
    """The words say the same, so the version is the same and no switch is recorded."""
    a = fleet.opened("a", SHIPPED)
    fleet.change("a", SHIPPED + "\n# checked by the lead\n", a)
    assert fleet.reloads("a") == {"ok": 0, "refused": 0, "unchanged": 1}
    assert fleet.record.after(1) == ()


def test_a_new_calibration_is_a_switch_too(fleet: Fleet, tmp_path: Path) -> None:
    """The policy's version stays, the fusion's changes: contents are judged anew and the record has both."""
    calibration = tmp_path / "calibration.json"
    calibration.write_bytes(CALIBRATION.read_bytes())
    fleet.file("a").write_text(SHIPPED)
    a = fleet.worker("a")
    a._files = Files(fleet.file("a"), calibration)
    a.open()
    before = a.policy
    calibration.write_text('{"name": "own", "families": {}}')
    a.look()
    a.look()
    fleet.pass_(10)
    assert a.policy.version == before.version
    assert a.policy.fusion_version != before.fusion_version
    assert len(fleet.record.known(before.version)) == 2


def test_queues_without_a_topic_are_refused_until_there_is_one(fleet: Fleet) -> None:
    """No task may get lost; nothing but the topic has to change for the policy to come in force."""
    a = fleet.opened("a", SHIPPED)
    fleet.without_topic = {"new-queue"}
    fleet.change("a", words(0.9, queue="new-queue"), a)
    a.look()
    assert "new-queue" in (fleet.record.workers()[0].refused or "")
    assert fleet.reloads("a") == {"ok": 0, "refused": 1, "unchanged": 0}
    assert fleet.metric("a", "unmask_policy_refused") == 1
    fleet.without_topic, fleet.broker_away = set(), True
    a.look()
    assert fleet.record.after(1) == ()
    fleet.broker_away = False
    a.look()
    fleet.pass_(10)
    assert threshold(a) == 0.9
    a.look()
    assert fleet.metric("a", "unmask_policy_refused") == 0
    assert fleet.metric("a", "unmask_review_tasks_total", queue="new-queue") == 0


def test_while_the_ledger_is_away_nothing_changes_and_then_it_does(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accepted file waits for the record; it does not come in force in one worker alone."""
    a = fleet.opened("a", SHIPPED)

    def away() -> datetime:
        raise Transient(Stage.DECIDE, Reason.LEDGER_UNAVAILABLE, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(fleet.record, "now", away)
        fleet.change("a", words(0.9), a)
        fleet.pass_(60)
        assert threshold(a) == 0.83
    a.look()
    assert threshold(a) == 0.83
    fleet.pass_(10)
    assert threshold(a) == 0.9


def test_a_switch_that_is_under_way_happens_without_the_ledger(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment is known already; that the worker switched is put on record later, with the moment that it did."""
    a = fleet.opened("a", SHIPPED)
    fleet.change("a", words(0.9), a)

    def away(*_: object) -> None:
        raise Transient(Stage.DECIDE, Reason.LEDGER_UNAVAILABLE, "gone")

    fleet.pass_(10)
    moment = fleet.clock.now
    with monkeypatch.context() as patch:
        patch.setattr(fleet.record, "activated", away)
        assert threshold(a) == 0.9
        a.look()
    fleet.pass_(30)
    a.look()
    assert fleet.record.workers()[0].since == moment


def test_a_switch_whose_words_could_not_be_had_is_not_forgotten(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger goes away between saying that there is one and handing it out."""
    a, b = fleet.opened("a", SHIPPED), fleet.opened("b", SHIPPED)
    fleet.change("a", words(0.9), a)

    def away(*_: object) -> object:
        raise Transient(Stage.DECIDE, Reason.LEDGER_UNAVAILABLE, "away")

    with monkeypatch.context() as broken:
        broken.setattr(PolicyRecord, "words", away)
        b.look()
    b.look()
    fleet.pass_(10)
    assert threshold(b) == 0.9


def test_harms_are_there_for_every_thread(fleet: Fleet) -> None:
    """Asking for them does not make the switch: that is for the event loop."""
    a = fleet.opened("a", SHIPPED)
    fleet.change("a", words(0.9), a)
    fleet.pass_(10)
    assert "intimate-imagery" in a.harms
    assert fleet.reloads("a")["ok"] == 0
    assert threshold(a) == 0.9


def test_a_worker_that_starts_later_takes_what_is_in_force(fleet: Fleet) -> None:
    """An old file on one machine does not take the others back, however often it starts; nor does it with time."""
    a = fleet.opened("a", SHIPPED)
    fleet.change("a", words(0.9), a)
    fleet.pass_(10)
    assert threshold(a) == 0.9
    late = fleet.opened("late", SHIPPED)
    for _ in range(5):
        fleet.pass_(30)
        late.look()
        a.look()
    assert threshold(late) == threshold(a) == 0.9
    assert fleet.record.after(2) == ()


def test_a_worker_that_starts_during_the_wait_switches_with_the_others(fleet: Fleet) -> None:
    """It decides by the old policy until the moment on record."""
    a = fleet.opened("a", SHIPPED)
    fleet.change("a", words(0.9), a)
    fleet.pass_(5)
    late = fleet.opened("late", words(0.9))
    assert threshold(late) == threshold(a) == 0.83
    fleet.pass_(5)
    assert threshold(late) == threshold(a) == 0.9


def test_a_rollout_begins_with_the_first_worker_that_has_the_new_file(fleet: Fleet) -> None:
    """A policy that nobody ever had in force is what somebody wants: all take it, at one moment."""
    a = fleet.opened("a", SHIPPED)
    new = fleet.opened("new", words(0.9))
    a.look()
    assert threshold(new) == threshold(a) == 0.83
    fleet.pass_(10)
    assert threshold(new) == threshold(a) == 0.9


def test_a_rollback_by_restarts_holds_once_all_have_the_old_file(fleet: Fleet) -> None:
    """While files disagree nothing changes; when the last worker with the new file is gone, the old policy returns."""
    old, new = fleet.opened("old", SHIPPED), fleet.opened("new", words(0.9))
    old.look()
    fleet.pass_(10)
    assert threshold(old) == 0.9
    replacement = fleet.opened("replacement", SHIPPED)
    replacement.look()
    assert fleet.record.after(2) == ()
    new.close()
    replacement.look()
    old.look()
    fleet.pass_(10)
    assert threshold(old) == threshold(replacement) == 0.83


def test_a_single_worker_obeys_its_file_when_it_starts(fleet: Fleet) -> None:
    """Nobody else has to be waited for."""
    first = fleet.opened("a", SHIPPED)
    fleet.change("a", words(0.9), first)
    fleet.pass_(10)
    first.close()
    assert threshold(fleet.opened("a", SHIPPED)) == 0.83
    assert fleet.record.at(fleet.clock.now) == fleet.record.at()


def test_two_files_that_change_in_turn_give_one_order(fleet: Fleet) -> None:
    """The last change wins, moments never go back, and at each moment all agree."""
    a, b = fleet.opened("a", SHIPPED), fleet.opened("b", SHIPPED)
    for step, (name, worker, value) in enumerate([("a", a, 0.9), ("b", b, 0.91), ("a", a, 0.83), ("b", b, 0.9)]):
        fleet.change(name, words(value), worker)
        a.look()
        b.look()
        fleet.pass_(3)
        assert threshold(a) == threshold(b), step
    fleet.pass_(10)
    assert threshold(a) == threshold(b) == 0.9
    moments = [switch.active_from for switch in fleet.record.after(0)]
    assert moments == sorted(moments)
    assert len(moments) == 5


def test_with_a_bad_file_a_worker_starts_by_what_is_in_force(fleet: Fleet) -> None:
    """A slip must not cost capacity; where nothing is in force it is said, and nothing starts."""
    with pytest.raises(ConfigError, match="line 1, column 9"):
        fleet.opened("x", "rules: [")
    fleet.opened("a", SHIPPED)
    late = fleet.opened("late", "rules: [")
    assert threshold(late) == 0.83
    assert fleet.metric("late", "unmask_policy_refused") == 1


def test_what_another_version_of_unmask_wrote_leaves_the_old_policy_in_force(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot read a policy on record keeps deciding, and says so."""
    a, b = fleet.opened("a", SHIPPED), fleet.opened("b", SHIPPED)
    fleet.change("a", words(0.9), a)

    def unreadable(_: object) -> None:
        raise ConfigError("unknown field `since_when`")

    with monkeypatch.context() as patch:
        patch.setattr(b, "_words_of", unreadable)
        b.look()
    fleet.pass_(10)
    assert (threshold(a), threshold(b)) == (0.9, 0.83)
    b.look()
    assert fleet.metric("b", "unmask_policy_refused") == 1
    fleet.change("a", words(0.92), a)
    b.look()
    fleet.pass_(10)
    assert threshold(a) == threshold(b) == 0.92
    b.look()
    assert fleet.metric("b", "unmask_policy_refused") == 0


async def test_a_switch_needs_neither_traffic_nor_polls(fleet: Fleet) -> None:
    """SIGHUP alone: the files are looked at, settle, and the switch happens when its moment comes."""
    a = fleet.opened("a", SHIPPED)
    wake = asyncio.Event()
    kept = asyncio.create_task(a.keep(0.0, wake))
    try:
        fleet.file("a").write_text(words(0.9))
        wake.set()
        async with asyncio.timeout(30):
            while not fleet.record.after(1):
                await asyncio.sleep(0.01)
            fleet.pass_(10)
            wake.set()
            while fleet.record.workers()[0].number != 2:
                await asyncio.sleep(0.01)
    finally:
        kept.cancel()
    assert threshold(a) == 0.9


def test_what_was_in_force_can_be_found_later(fleet: Fleet) -> None:
    """By moment and by version, with the words as they were first read."""
    a = fleet.opened("a", SHIPPED)
    begun = fleet.clock.now
    fleet.pass_(100)
    fleet.change("a", words(0.9), a)
    fleet.pass_(100)
    assert fleet.record.at(begun - timedelta(seconds=1)) is None
    first, second = fleet.record.at(begun + timedelta(seconds=109)), fleet.record.at(begun + timedelta(seconds=110))
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    kept = fleet.record.words(second.key)
    assert kept is not None
    assert kept.policy == words(0.9)
