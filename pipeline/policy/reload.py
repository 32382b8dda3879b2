"""The policy that a worker decides by: a changed file comes in force without a restart, in all workers at one moment.

The record says which policy is in force; files propose. Every few seconds a worker looks at both:

- Its files have changed (their content, not their times: mounted volumes swap links). What is sound, and whose queues
  have topics, is put on record as in force from a few seconds later; what is not is refused, and nothing changes.
- The record has a switch that this worker does not know. It takes the words from there, also when its own files are not
  that far yet, and switches at the moment that is on record.

So a moment has one policy, whoever decides and wherever files arrive late. A worker that starts takes what is in force.
Its file is proposed when nobody ever had it in force (a rollout has begun), when the worker is alone, or when the files
of all workers say the same (a rollout back has ended); a single machine with an old file cannot take the others back.

While the record is away everything stays as it is, and is tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from pipeline import log
from pipeline.errors import ConfigError, UnmaskError
from pipeline.metrics import Metrics
from pipeline.pause import pause
from pipeline.policy.activations import Key, PolicyWords, Record, Switch, agree
from pipeline.policy.file import CALIBRATION, DEFAULT, calibration_of, parse
from pipeline.policy.rules import Harm, Policy

logger = log.get(__name__)

SETTLED_SECONDS = 1.0
"""Changed files are read again after so long, and count when they are the same: half a file may be sound too."""
_HEARD_EVERY = timedelta(seconds=15)
"""How often a worker says that it lives, when there is nothing new to say."""
_NOW = timedelta(0)

Missing = Callable[[Iterable[str]], tuple[str, ...]]
"""Queues → those without a topic. Raises UnmaskError when the broker does not answer."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy with the words that it was read from. `digest`: of these words."""

    policy: Policy
    words: PolicyWords
    digest: str

    @property
    def key(self) -> Key:
        """Its name on record."""
        return self.words.key


@dataclass(frozen=True)
class Texts:
    """The two files as they are read; `trouble`: why they cannot be."""

    policy: str = ""
    calibration: str = ""
    trouble: str | None = None

    @cached_property
    def digest(self) -> str:
        """Of all that was read."""
        return hashlib.sha256("\0".join((self.policy, self.calibration, self.trouble or "")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Files:
    """Where the policy and the calibration lie; the ones that ship when None."""

    policy: Path | None = None
    calibration: Path | None = None

    def read(self) -> Texts:
        """What they say now."""
        found = []
        for what, path in (("policy", self.policy or DEFAULT), ("calibration", self.calibration or CALIBRATION)):
            try:
                found.append(path.read_text(encoding="utf-8"))
            except OSError as error:
                return Texts(trouble=f"{what} {path}: cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                return Texts(trouble=f"{what} {path}: is not UTF-8 text")
        return Texts(*found)

    def load(self, texts: Texts) -> Loaded:
        """The policy that they describe. Raises ConfigError, with line numbers, when they describe none."""
        if texts.trouble is not None:
            raise ConfigError(texts.trouble)
        return load(texts.policy, texts.calibration, str(self.policy or DEFAULT), str(self.calibration or CALIBRATION))


def load(policy: str, calibration: str, origin: str, calibration_origin: str) -> Loaded:
    """The policy that words describe; the origins are named in errors. Raises ConfigError."""
    made = parse(policy, origin, calibration_of(calibration.encode(), calibration_origin))
    words = PolicyWords(Key(made.version, made.fusion_version), policy, calibration)
    return Loaded(made, words, hashlib.sha256(f"{policy}\0{calibration}".encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class _Standing:
    """A switch with its policy, ready to decide."""

    switch: Switch
    loaded: Loaded


class PolicyAtHand:
    """Ask `at` for each upload; keep up to date with `keep`.

    `look` runs in a thread and only ever adds to what is coming; the switch itself happens where `at` is called, in the
    event loop. So none is half done, and nothing needs a lock.
    """

    def __init__(
        self,
        files: Files,
        record: Record,
        metrics: Metrics,
        *,
        worker_id: str,
        lead: timedelta,
        missing: Missing,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is read before `open`.

        Args:
            files: what the operator changes.
            record: what all workers share.
            metrics: hears of switches and refusals.
            worker_id: this worker's name on record.
            lead: how long before its moment a switch is put on record; every worker has to look once in that time.
            missing: finds queues that nobody could publish tasks to.
            clock: this machine's; how far it is from the record's is found out at every look.
        """
        self._files = files
        self._record = record
        self._metrics = metrics
        self._worker_id = worker_id
        self._lead = lead
        self._missing = missing
        self._clock = clock
        self._behind = _NOW
        self._current: _Standing
        self._head: Switch
        self._coming: tuple[_Standing, ...] = ()
        self._unusable: str | None = None
        self._mine: Loaded | None = None
        self._seen = self._judged = ""
        self._changed = False
        self._refused: str | None = None
        self._activations: list[tuple[int, datetime, str]] = []
        self._heard: tuple[datetime, object] | None = None

    # --- deciding -----------------------------------------------------------------------------------------------------

    def at(self, moment: datetime) -> Policy:
        """What decides on an upload that is taken up at this moment of the worker's own clock."""
        now = moment + self._behind
        if due := [each for each in self._waiting() if each.switch.active_from <= now]:
            self._activate(due[-1])
            self._metrics.policy_reloads.labels("ok").inc()
        return self._current.loaded.policy

    @property
    def policy(self) -> Policy:
        """What is in force now."""
        return self.at(self._clock())

    @property
    def harms(self) -> Mapping[str, Harm]:
        """Those of what is in force, for any thread: asking for them switches nothing."""
        return self._current.loaded.policy.harms

    @property
    def settling(self) -> bool:
        """Whether files have changed and are not yet known to stay so."""
        return self._seen != self._judged

    def _waiting(self) -> list[_Standing]:
        """Switches that are still to come, in order. What has happened stays in `_coming` until the next look."""
        return [each for each in self._coming if each.switch.number > self._current.switch.number]

    def _activate(self, standing: _Standing) -> None:
        self._current = standing
        switch, policy = standing.switch, standing.loaded.policy
        at = self._clock() + self._behind
        self._metrics.policy(policy.version, policy.fusion_version, policy.queues, at.timestamp(), policy.names)
        self._activations.append((switch.number, at, standing.loaded.digest))
        logger.info(
            "policy in force",
            policy=policy.version,
            fusion=policy.fusion_version,
            number=switch.number,
            active_from=switch.active_from.isoformat(),
            asked_for_by=switch.proposed_by,
        )

    # --- looking ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Find what is in force, or put this worker's file in force where nothing is. Blocks.

        Raises:
            ConfigError: the file is not sound, and nothing else is in force.
            Transient: the record is away.
        """
        texts = self._files.read()
        self._seen = self._judged = texts.digest
        why = self._judge(texts)
        standing = self._record.at()
        if standing is None:
            if self._mine is None:
                raise ConfigError(why or "there is no policy")
            self._record.propose(self._mine.words, self._worker_id, _NOW)
            standing = self._record.at()
        elif self._mine is not None and self._mine.key != standing.key and self._alone():
            if lacking := self._without_topic(self._mine):
                self._refuse(lacking)
            else:
                self._record.propose(self._mine.words, self._worker_id, _NOW)
                standing = self._record.at()
        if standing is None:
            raise ConfigError("no policy is in force; is the clock of the database being set back?")
        usable = self._usable(standing)
        self._head = usable.switch
        self._activate(usable)
        self.look()

    def look(self) -> None:
        """At the files, at the record. Blocks; never raises for what an operator or a dependency can mend."""
        texts = self._files.read()
        if texts.digest != self._seen:
            self._seen = texts.digest  # and again at the next look: it may not be all of it yet
        elif self._seen != self._judged:
            self._judged = self._seen
            self._refused = None
            self._changed = self._judge(texts) is None
        try:
            before = self._clock()
            now = self._record.now()
            self._behind = now - (before + (self._clock() - before) / 2)
            self._follow()
            self._tell(now)  # before it asks for anything: others must not take this worker to be of their opinion
            self._propose()
            self._tell(now)
        except UnmaskError as error:
            logger.warning("the policy stays as it is: the ledger is away", detail=str(error))
        self._metrics.policy_refused.set(bool(self._refused or self._unusable))
        self._metrics.policy_differs.set(self._mine is None or self._mine.key != self._head.key)

    async def keep(self, every: float, wake: asyncio.Event) -> None:
        """Look every so many seconds and whenever `wake` is set, until cancelled. 0: only when it is set."""
        while True:
            await pause(wake, self._pause(every))
            wake.clear()
            _ = self.policy  # so that a switch needs no upload to happen
            await asyncio.to_thread(self.look)

    def close(self) -> None:
        """Say that this worker ends. Blocks."""
        try:
            self._flush()
            self._record.gone(self._worker_id)
        except UnmaskError as error:
            logger.warning("the ledger does not know that this worker ends", detail=str(error))

    def _pause(self, every: float) -> float | None:
        """Seconds until something is to be done."""
        waits = [every] if every else []
        if self.settling:
            waits.append(SETTLED_SECONDS)
        now = self._clock() + self._behind
        waits += [max(0.0, (each.switch.active_from - now).total_seconds()) for each in self._waiting()]
        return min(waits, default=None)

    # --- the steps of a look ------------------------------------------------------------------------------------------

    def _judge(self, texts: Texts) -> str | None:
        """Read the files' words; why they are refused."""
        self._mine = None
        try:
            self._mine = self._files.load(texts)
        except ConfigError as error:
            self._refuse(str(error))
            return str(error)
        return None

    def _refuse(self, why: str) -> None:
        """Say once why what the operator wants is not done."""
        if why == self._refused:
            return
        self._refused = why
        self._metrics.policy_reloads.labels("refused").inc()
        logger.error("policy refused; the one in force stays", reason=why)

    def _follow(self) -> None:
        """Get ready for switches that others have put on record."""
        self._coming = tuple(self._waiting())
        for switch in self._record.after(self._head.number):
            try:
                self._coming += (_Standing(switch, self._words_of(switch.key)),)
                self._unusable = None
            except ConfigError as error:
                self._unusable = str(error)
                self._metrics.policy_reloads.labels("refused").inc()
                logger.error("a policy on record cannot be used here", number=switch.number, reason=str(error))
            self._head = switch  # at last: where the words could not be had, the next look comes back to it

    def _words_of(self, key: Key) -> Loaded:
        if self._mine is not None and self._mine.key == key:
            return self._mine
        words = self._record.words(key)
        if words is None:
            raise ConfigError(f"{key.version} is not on record")
        loaded = load(words.policy, words.calibration, f"{key.version} on record", f"{key.fusion_version} on record")
        if loaded.key != key:
            raise ConfigError(f"{key.version} reads as {loaded.key.version} here: another version of Unmask wrote it")
        return loaded

    def _usable(self, switch: Switch) -> _Standing:
        """At the start something must decide: what is in force, else the worker's own file, which is put in force."""
        try:
            return _Standing(switch, self._words_of(switch.key))
        except ConfigError as error:
            if self._mine is None:
                raise
            logger.error("what is in force cannot be used here; the file is put in force", reason=str(error))
            mine = self._record.propose(self._mine.words, self._worker_id, _NOW)
            return _Standing(mine, self._mine)

    def _propose(self) -> None:
        """Put the worker's own file in force, where it should be."""
        mine = self._mine
        if mine is None:
            return
        if mine.key == self._head.key:
            if self._changed:
                self._changed = False
                self._metrics.policy_reloads.labels("unchanged").inc()
                logger.info("the files changed, what they say did not", policy=mine.policy.version)
            self._refused = None
            return
        if not (self._changed or not self._record.was_switched_to(mine.key) or agree(self._record.workers(), mine.key)):
            return
        if lacking := self._without_topic(mine):
            self._refuse(lacking)
            return
        switch = self._record.propose(mine.words, self._worker_id, self._lead)
        self._changed, self._refused = False, None
        logger.info("policy accepted", policy=mine.policy.version, active_from=switch.active_from.isoformat())
        self._follow()

    def _without_topic(self, loaded: Loaded) -> str | None:
        """Why no task must be sent by this policy yet; a broker that does not answer is a reason too."""
        try:
            lacking = self._missing(loaded.policy.queues)
        except UnmaskError as error:
            return f"{loaded.policy.version}: nobody knows whether its queues have topics: {error}"
        if not lacking:
            return None
        names = ", ".join(lacking)
        return f"{loaded.policy.version}: no topic for the queues {names}; `unmask topics apply` makes them"

    def _alone(self) -> bool:
        return all(worker.worker_id == self._worker_id for worker in self._record.workers())

    def _tell(self, now: datetime) -> None:
        """Put on record what this worker has in force, when that is new or was long ago."""
        self._flush()
        refused = self._refused or self._unusable
        state = (self._current.switch.number, self._mine.key if self._mine else None, refused)
        if self._heard is None or self._heard[1] != state or now - self._heard[0] >= _HEARD_EVERY:
            self._record.seen(self._worker_id, *state)
            self._heard = (now, state)

    def _flush(self) -> None:
        while self._activations:
            number, at, digest = self._activations[0]
            self._record.activated(self._worker_id, number, at, digest)
            self._activations.pop(0)
