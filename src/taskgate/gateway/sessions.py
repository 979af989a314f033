"""Every live session of this node: listed, swept, cut, drained.

One sweep serves them all, several times a second: it finds grants that have expired, windows that
have closed, sessions that idle and statements that run too long, so that no session needs a timer
of its own. A revocation does not wait for the sweep.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from taskgate.gateway.enforcement import TaskGate
from taskgate.model.clock import Clock
from taskgate.model.errors import Denied, OverLimit, StoreUnavailable, TaskgateError
from taskgate.model.grant import SessionInfo
from taskgate.model.limits import MAX_SESSIONS, REVOCATION_POLL_S


class GoingDown(TaskgateError):
    """The gateway is being stopped."""

    sqlstate = "57P01"
    http_status = 503


class NotStarting(GoingDown):
    """It is being stopped, and lets nobody in any more."""

    sqlstate = "57P03"


class TooMany(OverLimit):
    """More connections, or sessions, than this node takes."""

    sqlstate = "53300"


class LiveSession(Protocol):
    """What the registry needs of a session, whatever its protocol."""

    @property
    def gate(self) -> TaskGate: ...

    @property
    def busy(self) -> bool:
        """Whether a request is under way or held."""
        ...

    def sweep(self, now: float) -> None:
        """Looks at idle time and running statements."""
        ...

    def cut(self, error: TaskgateError) -> None:
        """Ends the session now: the client is told, what runs is cancelled."""
        ...


class Sessions:
    """The registry. One per node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._live: dict[str, LiveSession] = {}
        self._by_key: dict[tuple[int, bytes], Callable[[], None]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._live)

    def list(self) -> tuple[SessionInfo, ...]:
        return tuple(session.gate.info for session in self._live.values())

    def add(self, session: LiveSession) -> None:
        """Raises: TooMany when the node is full; NotStarting while it drains."""
        self.ensure_open()
        if len(self._live) >= MAX_SESSIONS:
            raise TooMany(
                f"this gateway serves its most of {MAX_SESSIONS} sessions already",
                hint="connect again when others have left",
            )
        self._live[session.gate.info.id] = session
        self._empty.clear()

    def ensure_open(self) -> None:
        """Raises: NotStarting while the node drains."""
        if self.draining:
            raise NotStarting("the gateway is being stopped", hint="connect again in a moment")

    def remove(self, session_id: str) -> None:
        self._live.pop(session_id, None)
        if not self._live:
            self._empty.set()

    def terminate(self, session_id: str, why: str) -> bool:
        """Ends one session at once; False if it is not (or no longer) here."""
        session = self._live.get(session_id)
        if session is None:
            return False
        session.cut(
            Denied(f"the session was ended: {why}", rule="terminated", hint="ask whoever ended it")
        )
        return True

    def grants_ended(self, grant_ids: Iterable[str], why: str) -> None:
        """Grants were revoked: every session under them ends, in this turn of the loop."""
        ended = frozenset(grant_ids)
        for session in list(self._live.values()):
            if session.gate.info.grant_id in ended:
                session.cut(
                    Denied(
                        f"the grant behind this session was revoked: {why}",
                        rule="revocation",
                        hint=f'taskgate request {session.gate.info.task} --reason "..." asks anew',
                    )
                )

    async def watch(self) -> None:
        """Sweeps for ever; to be run as a task."""
        stalled = False
        while True:
            before = self._clock.monotonic()
            await asyncio.sleep(REVOCATION_POLL_S)
            # Whoever stood still could not hear of revocations either: that is asked first. Once
            # only, and until then nothing is admitted.
            stalled = not stalled and self._clock.monotonic() - before > 2 * REVOCATION_POLL_S
            self.sweep(patient=stalled)

    def sweep(self, *, patient: bool = False) -> None:
        """Looks at every session once. `patient`: one whose right cannot be told just now is left
        for the next sweep."""
        now = self._clock.now()
        for session in list(self._live.values()):
            error = session.gate.ended()
            if error is None:
                session.sweep(now)
            elif not (patient and isinstance(error, StoreUnavailable)):
                session.cut(error)

    async def drain(self, deadline_s: float) -> int:
        """Lets what is under way finish, for at most `deadline_s`; then cuts the rest.

        Returns how many were cut in the middle of something.
        """
        self.draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        error = GoingDown("the gateway is being stopped", hint="connect again in a moment")
        while self._live:
            for session in list(self._live.values()):
                if not session.busy:
                    session.cut(error)
            if loop.time() >= end:
                break
            await asyncio.sleep(0.05)
        busy = list(self._live.values())
        for session in busy:
            session.cut(error)
        return len(busy)

    async def wait_empty(self) -> None:
        """Until every session has put its record away."""
        await self._empty.wait()

    # Cancel keys: the gateway's own, so that a key reaches no session but the one it was given to.

    def add_key(self, process_id: int, secret: bytes, cancel: Callable[[], None]) -> bool:
        """False if the key is taken: make another."""
        key = (process_id, secret)
        if key in self._by_key:
            return False
        self._by_key[key] = cancel
        return True

    def remove_key(self, process_id: int, secret: bytes) -> None:
        self._by_key.pop((process_id, secret), None)

    def cancel(self, process_id: int, secret: bytes) -> None:
        """A cancel request came in: whoever holds that key is told. Unknown keys are ignored, as
        PostgreSQL does, so that nobody learns which exist."""
        cancel = self._by_key.get((process_id, secret))
        if cancel is not None:
            cancel()
