"""The gateway as one process: built from a configuration, run, drained, stopped.

What is opened first is closed last: store, recordings, policy, grants and holds, then the
listeners. One task each keeps a promise that must never lapse (revocation, sweeping, marks); if
one of them ends, the gateway ends with it, closed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import ASGIApp

from taskgate import __version__
from taskgate.gateway.config import Config
from taskgate.gateway.explaining import Explaining
from taskgate.gateway.foundation import Foundation, lay_foundation
from taskgate.gateway.holding import Holding
from taskgate.gateway.holds import Holds
from taskgate.gateway.listener_tls import listener_tls
from taskgate.gateway.parts import Connected, Parts, People, Reach
from taskgate.gateway.postgres_listener import Door, PostgresListener
from taskgate.gateway.postgres_opening import Backing, Opening, Rights
from taskgate.gateway.readying import Watchman
from taskgate.gateway.sessions import Sessions
from taskgate.gateway.signals import Readiness, Signals
from taskgate.gateway.tls import ListenerTls, UpstreamContexts
from taskgate.gateway.web import WebServer, wait_started
from taskgate.identity.grants import Grants
from taskgate.identity.local import LocalUsers
from taskgate.identity.logins import Logins
from taskgate.identity.passwords import Passwords
from taskgate.model.approval import Approval, ApprovalState
from taskgate.model.errors import BadConfig, TaskgateError
from taskgate.model.event import EventKind

_log = structlog.get_logger(__name__)
# After the drain: time for sessions to put their recordings away.
PUT_AWAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What an application needs. `ready` answers /readyz; `closing` is set once no more streams
    should go on."""

    parts: Parts
    explaining: Explaining
    signals: Signals
    ready: Callable[[], Coroutine[Any, Any, Readiness]]
    closing: asyncio.Event
    secure: bool
    console: bool


AppFactory = Callable[[Wiring], ASGIApp]


@dataclass(frozen=True, slots=True)
class Running:
    """What started: for whoever started it, and for tests."""

    parts: Parts
    api_url: str
    postgres_port: int


async def run(
    config: Config,
    make_app: AppFactory,
    started: Callable[[Running], None] | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT; the process's exit status.

    The first signal drains for `config.drain_s`; a second one ends at once. SIGHUP reads the
    policy and the listeners' certificates again.
    Raises: BadConfig, NotRecorded, StoreUnavailable where it cannot start.
    """
    stopping = Stopping()
    async with _built(config, make_app) as gateway:
        with stopping.listening(gateway.reload):
            await gateway.open_doors()
            if started is not None:
                started(gateway.running)
            reason = await gateway.until(stopping)
            await gateway.drain(config.drain_s, stopping)
        return 0 if reason == "" else 1
