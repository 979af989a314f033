"""PostgreSQL clients come in here: signed in, matched to a grant, connected, handed to a session.

Nothing is asked of the resource before the token is known to be good, and no session begins
before its first event is written.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from taskgate.gateway.arrivals import Arrivals, TurnedAway
from taskgate.gateway.postgres_incoming import Incoming
from taskgate.gateway.postgres_opening import PostgresOpening
from taskgate.gateway.sessions import GoingDown, Sessions, TooMany
from taskgate.gateway.tls import ListenerTls
from taskgate.model.clock import Clock
from taskgate.model.errors import NotAuthenticated, NotRecorded, TaskgateError
from taskgate.model.limits import LOGIN_TIMEOUT_S
from taskgate.protocols.postgres.authentication import CancelRequest
from taskgate.protocols.postgres.oauth_bearer import Offers
from taskgate.protocols.postgres.startup import Discovery

_log = structlog.get_logger(__name__)
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Door:
    """Where the listener stands. `plaintext` takes clients without TLS, from this machine only.
    `offers` are the providers that clients may sign in at by themselves."""

    address: str
    port: int
    tls: ListenerTls | None
    plaintext: bool
    offers: Offers


class PostgresListener:
    """Accepts clients. `opening` turns a request into a session."""

    def __init__(
        self, door: Door, opening: PostgresOpening, sessions: Sessions, clock: Clock
    ) -> None:
        self._door = door
        self._opening = opening
        self._sessions = sessions
        self._arrivals = Arrivals(clock.monotonic)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turned_away = TurnedAway(_log, "postgres.too_many")
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens; the port it got (the configuration may say 0). Raises: OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Incoming(
                self._door.tls, self._door.plaintext, self._accepted, self._door.offers
            ),
            self._door.address,
            self._door.port,
            backlog=_BACKLOG,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Takes no more clients, and lets go of those that have no session yet. Until then, who
        comes while the node drains is told so, and may still cancel what runs."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, incoming: Incoming) -> None:
        refusal = self._arrivals.enter(incoming.peer)
        if refusal:
            incoming.refuse(
                TooMany(f"too many connections: {refusal}", hint="connect again in a moment")
            )
            self._turned_away.add(refusal)
            return
        self._spawn(self._serve(incoming))

    async def _serve(self, incoming: Incoming) -> None:
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT_S):
                await self._admit(incoming)
        except NotRecorded as error:
            _log.error("session.not_recorded", peer=incoming.peer, why=error.message)
            incoming.refuse(error)
        except TaskgateError as error:
            incoming.refuse(error)
        except TimeoutError:
            late = NotAuthenticated(f"no sign-in within {LOGIN_TIMEOUT_S:g} s")
            self._opening.turned_away(incoming.peer, late)
            incoming.refuse(late)
        except OSError as error:
            _log.info("postgres.handshake_failed", peer=incoming.peer, error=str(error))
            incoming.close()
        except asyncio.CancelledError:
            incoming.refuse(GoingDown("the gateway is being stopped"))
            raise
        except Exception:
            # The one place where a fault of our own ends a connection, and nothing else.
            _log.exception("postgres.sign_in_failed", peer=incoming.peer)
            incoming.refuse(TaskgateError("internal error of the gateway; its log has more"))
        finally:
            self._arrivals.leave()

    async def _admit(self, incoming: Incoming) -> None:
        try:
            request = await incoming.request()
        except Discovery:
            raise
        except TaskgateError as error:
            self._opening.turned_away(incoming.peer, error)
            raise
        if request is None:
            incoming.close()
            return
        if isinstance(request, CancelRequest):
            self._sessions.cancel(request.process_id, request.secret)
            incoming.close()
            return
        self._sessions.ensure_open()
        session = await self._opening.open(incoming, request)
        if incoming.gone:
            session.cut(NotAuthenticated("the client went away while it signed in"))
            return
        session.start(early_client=incoming.early())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
