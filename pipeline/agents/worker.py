"""The Faust application: how it is configured, how it drains, and how a handler becomes an agent."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import faust
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.types import Message, StreamT
from mode.supervisors import CrashingSupervisor
from yarl import URL

from pipeline import log
from pipeline.agents.delivery import Bury, DeliveryPolicy, Drain, Handle, Record, Watch, deliver
from pipeline.agents.publish import Send
from pipeline.agents.transport import OrderedTransport
from pipeline.errors import ConfigError, Permanent, Reason, Stage, Transient
from pipeline.settings import Settings
from pipeline.topology import LARGEST_RECORD

logger = log.get(__name__)

_POLLED_AT_ONCE = 16
_BUFFERED = 1024
"""Records that wait in memory, per agent. One loop feeds all agents and stands still while the buffer of one is full:
decisions and reviews would wait behind a backlog of uploads. Faust stops polling a partition when the buffer is at
80 %, so it is never full as long as the rest has room for one poll of each partition that the worker holds."""

_COMMIT_SECONDS = 3.0
_LEAVE_SECONDS = 8.0
"""How long stopping may take when nothing is under way any more. Leaving the group waits for a rebalance that may be
under way, which waits for peers that may be dead."""


class WorkerApp(faust.App):
    """A Faust app that finishes what is under way before it leaves the group."""

    drain: Drain
    drain_seconds: float
    idempotent: bool
    open_parts: Callable[[], Awaitable[None]]
    close_parts: Callable[[], Awaitable[None]]

    async def on_start(self) -> None:
        """Open what the handlers need before the first record comes."""
        await self.open_parts()
        await super().on_start()

    async def on_stop(self) -> None:
        """Take up nothing new, wait for what is under way, commit, then stop as Faust does."""
        finished = await self.drain.close(self.drain_seconds)
        if not finished:
            logger.warning("stopped before everything under way was done; it will be delivered again")
        _exit_anyway(_LEAVE_SECONDS, 1 if self._crash_reason else 0)
        await self._last_commit()
        await self.close_parts()
        await super().on_stop()

    async def _last_commit(self) -> None:
        """What cannot be committed in time is delivered again. The wait must have an end: a rebalance that begins while
        Faust stops closes its consumer, and a commit on that one is tried for ever when the coordinator is away too."""
        if self._consumer is None:
            return
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await self._consumer.commit()
        except TimeoutError:
            logger.warning("left without a last commit; what was done since the one before is delivered again")


def worker_app(settings: Settings, drain: Drain) -> WorkerApp:
    """An app without agents. Topics are provisioned by `unmask topics apply`, never by a worker.

    Raises:
        ConfigError: no cluster is named, or the security settings contradict each other.
    """
    if not settings.kafka_bootstrap_servers:
        raise ConfigError("no Kafka cluster: set UNMASK_KAFKA_BOOTSTRAP_SERVERS")
    datadir = settings.home / "faust"
    datadir.mkdir(parents=True, exist_ok=True)
    brokers = [URL(f"kafka://{server.strip()}") for server in settings.kafka_bootstrap_servers.split(",")]
    app = WorkerApp(
        settings.kafka_group,
        broker=brokers,
        broker_credentials=_credentials(settings),
        broker_commit_interval=1.0,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=_POLLED_AT_ONCE,
        # How long the partitions of a worker that was killed wait for a new owner.
        broker_session_timeout=15.0,
        broker_rebalance_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=LARGEST_RECORD,
        datadir=str(datadir),
        producer_acks=-1,
        producer_linger=0.02,
        producer_max_request_size=LARGEST_RECORD,
        store="memory://",
        stream_buffer_maxsize=_BUFFERED,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
    )
    app.transport = OrderedTransport(brokers, app, app.loop)
    app.producer_transport = OrderedTransport(brokers, app, app.loop)
    app.drain = drain
    app.drain_seconds = settings.drain_seconds
    app.idempotent = settings.kafka_idempotence
    return app


def attach(
    app: WorkerApp, name: str, topic: str, *, handle: Handle, bury: Bury, policy: DeliveryPolicy, watch: Watch
) -> None:
    """Make an agent that reads raw bytes from `topic` and hands them to `handle` by ordered delivery."""

    async def agent(stream: StreamT[bytes]) -> None:
        await deliver(
            _arrivals(stream),
            handle=handle,
            bury=bury,
            ack=app.consumer.done,
            policy=policy,
            drain=app.drain,
            watch=watch,
        )

    channel = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    app.agent(channel, name=name, supervisor_strategy=CrashingSupervisor)(agent)


def sender(app: WorkerApp) -> Send:
    """Send one record and wait until all in-sync replicas have it."""

    async def send(topic: str, key: bytes | None, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> None:
        channel = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        try:
            await (await channel.send(key=key, value=value, headers=list(headers)))
        except MessageSizeTooLargeError as error:
            raise Permanent(Stage.ROUTE, Reason.INTERNAL, f"{topic}: {error!r}") from error
        except KafkaError as error:
            raise Transient(Stage.ROUTE, Reason.BROKER_UNAVAILABLE, f"{topic}: {error!r}") from error

    return send


def _exit_anyway(seconds: float, status: int) -> None:
    """End the process after so long, however its last steps hang: all that counts is written by now."""

    def end() -> None:
        logger.warning("left without waiting for the group to let go")
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


async def _arrivals(stream: StreamT[bytes]) -> AsyncIterator[tuple[Record, Message]]:
    async for event in stream.noack().events():
        message = event.message
        yield _record(message), message


def _record(message: Message) -> Record:
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=tuple((str(name), value or b"") for name, value in pairs),
        timestamp=message.timestamp,
    )


def _credentials(settings: Settings) -> Any:
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile)
        if settings.kafka_ssl_certfile:
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    if protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        if not (settings.kafka_sasl_mechanism and settings.kafka_sasl_username and settings.kafka_sasl_password):
            raise ConfigError(f"{protocol} needs UNMASK_KAFKA_SASL_MECHANISM, …_USERNAME and …_PASSWORD")
        return faust.SASLCredentials(
            mechanism=settings.kafka_sasl_mechanism,
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            ssl_context=context,
        )
    raise ConfigError(f"unknown UNMASK_KAFKA_SECURITY_PROTOCOL {protocol!r}")
