"""Connections through an SSH session: judged, recorded and, where people are asked, approved before
the host makes one; counted, and cut with the session.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.holding import Holding
from taskgate.gateway.ssh_admission import admitted
from taskgate.model.action import Action, Request
from taskgate.model.clock import Clock
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import Denied, NotRecorded, TaskgateError, Unreadable
from taskgate.model.event import EventKind
from taskgate.protocols.ssh.conversation import Endpoint, Host, Link, Listening, Target
from taskgate.protocols.ssh.forwards import connect_request, listen_request, unless_masked
from taskgate.protocols.ssh.refusals import refusal_line

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class Means:
    """What forwarding asks of its session. `reach` gives the host; `spawn` runs something beside,
    a fault of which ends the session; `end` ends it; `tell` says something to the client."""

    holding: Holding
    clock: Clock
    reach: Callable[[], Coroutine[Any, Any, Host]]
    spawn: Spawn
    end: Callable[[TaskgateError], None]
    tell: Callable[[str, str], None]


@dataclass(slots=True)
class _Carried:
    """One link, by request `number`. `began` is monotonic, None until a side of it is asked for.
    What the host asked for is part of an earlier request: `came` tells of it, `actions` are judged
    again."""

    task: asyncio.Task[None]
    number: int = 0
    began: float | None = None
    statement_s: float | None = None
    came: dict[str, str] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    finished: bool = False


@dataclass(slots=True)
class _Port:
    """A port of the host's that the client listens on, by request `number`."""

    task: asyncio.Task[None]
    actions: tuple[Action, ...] = ()
    number: int = 0
    began: float | None = None
    connections: int = 0
    finished: bool = False


class Forwards:
    """One session's; `Holding`'s session too."""

    def __init__(self, gate: TaskGate, means: Means) -> None:
        self.gate = gate
        self.last_active = means.clock.monotonic()
        self._means = means
        self._clock = means.clock
        self._links: dict[Link, _Carried] = {}
        self._ports: dict[Listening, _Port] = {}
        self._over = False

    @property
    def busy(self) -> bool:
        return bool(self._links)

    def tell(self, message: str, hint: str = "") -> None:
        self._means.tell(message, hint)

    # What the client asks.

    def connect(self, link: Link, to: Target) -> None:
        if self._over:
            link.refuse("the session has ended")
            return
        self.last_active = self.gate.asked_at = self._clock.monotonic()
        self._links[link] = _Carried(self._means.spawn(self._connect(link, to)))

    def listen(self, listening: Listening, at: Endpoint) -> None:
        if self._over:
            listening.refuse()
            return
        self.last_active = self.gate.asked_at = self._clock.monotonic()
        self._ports[listening] = _Port(self._means.spawn(self._listen(listening, at)))

    async def _connect(self, link: Link, wanted: Target) -> None:
        carried, gate = self._links[link], self.gate
        try:
            with self._recorded(f"forwarding to {_spelled(wanted)}"):
                request, to = connect_request(wanted, gate.info.resource)
            carried.number, decision = await self._admitted(request)
            host = await self._means.reach()
            await gate.recording.settle()
            carried.statement_s = decision.limits.statement_s
            await self._carry(link, carried, host.connect(link, to, decision.limits.max_bytes))
        except TaskgateError as error:
            link.refuse(refusal_line(error))
            self._failed(error)
        finally:
            self._links.pop(link, None)
            self.last_active = self._clock.monotonic()

    async def _listen(self, listening: Listening, wanted: Endpoint) -> None:
        port, gate, why = self._ports[listening], self.gate, ""
        try:
            with self._recorded(f"listening on {_spelled(wanted)} for the client"):
                request, at = listen_request(wanted, gate.info.resource)
            port.actions = request.actions
            port.number, _ = await self._admitted(request)
            host = await self._means.reach()
            await gate.recording.settle()
            port.began = self._clock.monotonic()
            await host.listen(listening, at, lambda link, origin: self._came(link, port, origin))
        except asyncio.CancelledError as cancelled:
            why = str(cancelled.args[0]) if cancelled.args else "it was cut off"
            raise
        except TaskgateError as error:
            why = error.message
            if listening.refuse():
                self.tell(refusal_line(error))
                self._failed(error)
            else:
                # The client takes it to listen still.
                self._means.end(error)
        finally:
            self._port_finished(listening, port, why)
            self._ports.pop(listening, None)
            self.last_active = self._clock.monotonic()

    # What the host asks, within what was permitted.

    def _came(self, link: Link, port: _Port, origin: Endpoint) -> None:
        port.connections += 1
        self._back(link, port.number, port.actions, {"from": _spelled(origin)})

    def lent(self, link: Link, number: int, action: Action) -> None:
        """The host uses what request `number` lends it."""
        self._back(link, number, (action,), {"to": action.verb})

    def _back(
        self, link: Link, number: int, actions: tuple[Action, ...], came: dict[str, str]
    ) -> None:
        if self._over:
            link.refuse("the session has ended")
            return
        self.last_active = self._clock.monotonic()
        task = self._means.spawn(self._take(link))
        self._links[link] = _Carried(task, number, came=came, actions=actions)

    async def _take(self, link: Link) -> None:
        carried, gate = self._links[link], self.gate
        try:
            decision = self._judge(carried.actions)
            error = gate.ended()
            if error is None and decision.outcome is Outcome.DENY:
                error = Denied(decision.reason, rule=decision.rule, hint=decision.hint)
            if error is not None:
                gate.refuse("a connection " + " ".join(*carried.came.items()), error)
                gate.recording.flush()
                raise error
            facts = {"request": carried.number} | carried.came
            gate.note(EventKind.CONNECTION_OPENED, facts)
            gate.recording.flush()
            await gate.recording.settle()
            carried.statement_s = decision.limits.statement_s
            await self._carry(link, carried, link.reach_client(decision.limits.max_bytes))
        except TaskgateError as error:
            link.refuse("it is not taken")
            self._failed(error)
        finally:
            self._links.pop(link, None)
            self.last_active = self._clock.monotonic()

    # Both.

    @contextmanager
    def _recorded(self, text: str) -> Iterator[None]:
        """What cannot be read is recorded too."""
        try:
            yield
        except Unreadable as error:
            self.gate.refuse(text, error)
            self.gate.recording.flush()
            raise

    def _judge(self, actions: tuple[Action, ...]) -> Decision:
        decision = self.gate.judge(actions)
        agent = all(action.verb == "agent" for action in actions)
        return decision if agent else unless_masked(decision)

    async def _admitted(self, request: Request) -> tuple[int, Decision]:
        """The request's number and what the task says, once it may run. Raises: TaskgateError."""
        decision = self._judge(request.actions)
        wait = partial(self._means.holding.run, self)
        return await admitted(self.gate, request, decision, wait), decision

    async def _carry(self, link: Link, carried: _Carried, passing: Awaitable[None]) -> None:
        carried.began, why = self._clock.monotonic(), ""
        try:
            await passing
        except asyncio.CancelledError as cancelled:
            why = str(cancelled.args[0]) if cancelled.args else "it was cut off"
            raise
        except TaskgateError as error:
            why = error.message
            raise
        finally:
            self._finished(link, carried, why)

    def _failed(self, error: TaskgateError) -> None:
        if isinstance(error, NotRecorded):
            self._means.end(error)

    def _limit(self, number: int, why: str) -> str:
        self.gate.note(EventKind.LIMIT_REACHED, {"request": number, "reason": why})
        self.tell(why, f"it is a limit of task {self.gate.info.task}")
        return why

    def _finished(self, link: Link, carried: _Carried, why: str) -> None:
        """Records how a connection ended, once."""
        if carried.finished or carried.began is None:
            return
        carried.finished = True
        if link.over:
            why = self._limit(carried.number, "the connection answers more than it may")
        facts = self._facts(carried.began, why)
        facts |= {"bytes_to_host": link.bytes_to_host, "bytes_to_client": link.bytes_to_client}
        tallies = self.gate.signals.tallies
        tallies.bytes_to_resource += link.bytes_to_host
        tallies.bytes_to_client += link.bytes_to_client
        if not carried.came:
            self.gate.finished(carried.number, facts)
        else:
            facts |= {"request": carried.number} | carried.came
            self.gate.note(EventKind.CONNECTION_CLOSED, facts)
        self.gate.recording.flush()

    def _port_finished(self, listening: Listening, port: _Port, why: str) -> None:
        if port.finished or port.began is None:
            return
        port.finished = True
        facts = self._facts(port.began, why)
        facts |= {"port": listening.port, "connections": port.connections}
        self.gate.finished(port.number, facts)
        self.gate.recording.flush()

    def _facts(self, began: float, why: str) -> dict[str, Any]:
        facts: dict[str, Any] = {"duration_s": round(self._clock.monotonic() - began, 6)}
        return {**facts, "reason": why} if why else facts

    # The session's.

    def silences(self) -> list[float]:
        """For how many seconds nothing has come or gone, for each connection that is open."""
        return [link.seconds_silent for link, c in self._links.items() if c.began is not None]

    def sweep(self, now: float) -> None:
        """Cuts what is open for longer than it may be; `now` is monotonic."""
        for carried in self._links.values():
            most, began = carried.statement_s, carried.began
            if most is not None and began is not None and now - began > most:
                carried.statement_s = None
                why = f"the connection was open longer than {most:g} s"
                carried.task.cancel(self._limit(carried.number, why))

    def ended(self, why: str) -> None:
        """The session is over; what was open is recorded as it was left."""
        if self._over:
            return
        for link, carried in self._links.items():
            carried.task.cancel(why)
            self._finished(link, carried, why)
        for listening, port in self._ports.items():
            port.task.cancel(why)
            self._port_finished(listening, port, why)
        self._over = True


def _spelled(wanted: Target) -> str:
    return wanted if isinstance(wanted, str) else f"{wanted.host}:{wanted.port}"
