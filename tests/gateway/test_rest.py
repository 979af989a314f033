"""A session that has fallen silent gives back what only a busy one needs."""

import asyncio
from typing import cast

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.postgres_session import Around, PostgresSession
from taskgate.model.clock import Clock
from taskgate.model.errors import TaskgateError
from taskgate.protocols.postgres.exchange import Exchange
from tests.gateway.test_pacing import Pipe, Rewriting, Unrecorded


class Silent(Rewriting):
    def client_data(self, data: bytes, now: float) -> None:
        """Nothing comes of it."""

    def overdue(self, now: float) -> None:
        """Nothing is."""


class Gate(Unrecorded):
    idle_s = None


async def test_it_rests_once_each_time_it_falls_silent_and_never_while_it_is_busy() -> None:
    now, rests = [0.0], [0]

    async def hold(*_: object) -> TaskgateError | None:
        return None

    async def nothing(*_: object) -> None: ...

    def rest() -> None:
        rests[0] += 1

    client, exchange = Pipe(), Silent("silent", [], masks=False)
    session = PostgresSession(
        cast(asyncio.Transport, client),
        cast(asyncio.Transport, Pipe()),
        cast(Exchange, exchange),
        cast(TaskGate, Gate()),
        Clock(lambda: now[0], lambda: now[0]),
        Around(hold, nothing, nothing, rest),
    )
    session.start()

    def swept_at(moment: float) -> int:
        now[0] = moment
        session.sweep(moment)
        return rests[0]

    assert swept_at(0.5) == 0
    assert swept_at(1.5) == 1
    assert swept_at(60.0) == 1
    assert client.protocol is not None
    client.protocol.data_received(b"a question")
    assert swept_at(60.5) == 1
    assert swept_at(61.5) == 2
    exchange.busy = True
    assert swept_at(70.0) == 2
    exchange.busy = False
    assert swept_at(70.5) == 2
    assert swept_at(71.5) == 3
