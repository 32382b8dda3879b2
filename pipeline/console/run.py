"""The console as a process: settings become parts, parts become an application, uvicorn serves it; the relay runs
beside it, unless it is a process of its own."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import uvicorn
from prometheus_client import CollectorRegistry

from pipeline import log
from pipeline.console.accounts import check_secret
from pipeline.console.guard import RateLimit, Signer, check_proxies
from pipeline.console.in_force import InForce
from pipeline.console.metrics import ConsoleMetrics, CountedDesk, expose, keep
from pipeline.console.oidc import Provider
from pipeline.console.pages import Pages
from pipeline.console.parts import Parts, Times
from pipeline.console.server import console
from pipeline.console.shelf import Shelf
from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.errors import ConfigError
from pipeline.fetch.factory import from_settings as fetch_from_settings
from pipeline.ledger.golden import Golden
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.open_work import OpenWork
from pipeline.ledger.people import People
from pipeline.ledger.policies import PolicyRecord
from pipeline.ledger.work import Work
from pipeline.metrics import count_spans
from pipeline.policy.file import load
from pipeline.policy.rules import Policy
from pipeline.relay import Relay, stopped_by_signals
from pipeline.review.relay import gather
from pipeline.settings import Settings
from pipeline.trace import LAST_SPANS_SECONDS, tracing

logger = log.get(__name__)


@asynccontextmanager
async def open_parts(
    settings: Settings, ledger: Ledger, policy: Callable[[], Policy], metrics: ConsoleMetrics
) -> AsyncIterator[Parts]:
    """Everything that the console needs, opened, and closed at the end; the ledger stays open.

    Raises:
        ConfigError: the secret is missing or easy, or the settings contradict each other.
    """
    if settings.console_secret is None:
        raise ConfigError("UNMASK_CONSOLE_SECRET is not set: at least 32 random characters")
    secret = check_secret(settings.console_secret.get_secret_value())
    async with AsyncExitStack() as opened:
        await asyncio.to_thread(ledger.migrate)
        fetch = await opened.enter_async_context(fetch_from_settings(settings))
        decode = await opened.enter_async_context(DecodePool(1, DecodeBudget(max_side=settings.decode_max_side)))
        shelf = Shelf(fetch, decode)
        opened.push_async_callback(shelf.close)
        times = Times(
            lease=timedelta(seconds=settings.console_lease_seconds),
            grace=timedelta(seconds=settings.console_grace_seconds),
        )
        if settings.console_oidc_issuer is not None:
            times = replace(times, session=timedelta(seconds=settings.console_oidc_session_seconds))
        work, golden = Work(ledger), Golden(ledger)
        yield Parts(
            ledger=ledger,
            work=work,
            golden=golden,
            desk=CountedDesk(work, golden, times.lease, times.grace, metrics),
            people=People(ledger),
            policy=policy,
            signer=Signer(secret),
            times=times,
            clock=lambda: datetime.now(UTC),
            https=settings.console_url.startswith("https:"),
            limit=RateLimit(burst=200, per_second=50),
            sign_in_limit=RateLimit(burst=10, per_second=0.1),
            shelf=shelf,
            pages=Pages(),
            provider=_provider(settings),
            roles_claim=settings.console_roles_claim,
            queues_claim=settings.console_queues_claim,
            proxies=check_proxies(settings.console_trusted_proxies),
        )


def _provider(settings: Settings) -> Provider | None:
    if settings.console_oidc_issuer is None:
        return None
    if not settings.console_oidc_client_id or settings.console_oidc_client_secret is None:
        raise ConfigError("UNMASK_CONSOLE_OIDC_ISSUER needs …_CLIENT_ID and …_CLIENT_SECRET")
    return Provider(
        issuer=settings.console_oidc_issuer,
        client_id=settings.console_oidc_client_id,
        client_secret=settings.console_oidc_client_secret.get_secret_value(),
        redirect_uri=f"{settings.console_url.rstrip('/')}/sign-in/back",
        scope=settings.console_oidc_scope,
    )


_SWITCH_SECONDS = 0.0005


def be_prompt() -> None:
    """Once everything is loaded: full collections do not look through it again, a tenth of a second in which nobody is
    served, for it is never garbage. And a thread that computes for long, as one that looks at all queues, lets the
    others go on ten times as soon as Python's usual 5 ms: a claim, which waits for the database a dozen times, would
    queue behind it after each."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_SECONDS)


async def serve(settings: Settings) -> None:
    """Serve until a signal."""
    own = load(settings.policy_file, settings.calibration_file)
    stop = stopped_by_signals()
    registry = CollectorRegistry()
    metrics = ConsoleMetrics(registry)
    traced = tracing(settings.otlp_endpoint)
    count_spans(registry, traced)
    with closing(Ledger(settings.ledger_url)) as ledger:
        in_force = InForce(PolicyRecord(ledger), own)
        async with open_parts(settings, ledger, lambda: in_force.policy, metrics) as parts, AsyncExitStack() as exposed:
            if settings.console_metrics_port:
                end = expose(registry, settings.console_metrics_host, settings.console_metrics_port)
                exposed.callback(end)
            server = uvicorn.Server(
                uvicorn.Config(
                    console(replace(parts, traced=traced)),
                    host=settings.console_host,
                    port=settings.console_port,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                )
            )
            be_prompt()
            async with asyncio.TaskGroup() as running:
                served = running.create_task(server.serve())
                if settings.console_relay:
                    running.create_task(Relay(settings, ledger, metrics.outbox, traced).run(parts.clock, stop))
                running.create_task(gather(parts.work, parts.clock, stop))
                running.create_task(in_force.keep(stop))
                running.create_task(
                    keep(metrics, OpenWork(parts.ledger), lambda: in_force.policy.queues, parts.clock, stop)
                )
                # uvicorn ends itself at a signal, and then raises it again for the handlers above.
                await served
                stop.set()
            await asyncio.to_thread(traced.close, LAST_SPANS_SECONDS)
