"""How every node hears of ended grants: at once in its own process, and by following the store's
sequence for what other nodes did, in a thread that the load of the event loop does not hold up."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from taskgate.identity.following import Follower
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import StoreUnavailable
from taskgate.model.ports import GrantStore
from taskgate.model.token import Revocation

_log = structlog.get_logger(__name__)

EndListener = Callable[[frozenset[str], str], None]
# For how long `catch_up` may keep the loop.
_CATCH_UP_S: Final = 0.25


class Revocations:
    """Follows the sequence, and tells listeners which grants ended and why, once each.

    While nobody follows, or the store has not answered for `limits.REVOCATION_BLIND_S`, this node
    is blind: it cannot vouch that a grant still holds, and `ensure_sighted` says so.
    """

    def __init__(self, store: GrantStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._listeners: list[EndListener] = []
        self._ended: OrderedDict[str, str] = OrderedDict()
        # What the follower has found and the loop has not got to yet; it counts already.
        self._heard: dict[str, str] = {}
        self._follower: Follower | None = None
        # How far the follower had got when `catch_up` last waited for it.
        self._waited_at: float | None = None

    def on_end(self, listener: EndListener) -> None:
        """`listener(grant_ids, why)` is called on the loop, in the turn that the end is known."""
        self._listeners.append(listener)

    def ended(self, grant_id: str) -> str | None:
        """Why the grant ended, if that was lately; None otherwise."""
        why = self._ended.get(grant_id)
        return why if why is not None else self._heard.get(grant_id)

    @property
    def blind(self) -> bool:
        """Whether revocations may have gone unheard for too long."""
        sighted_at = self._follower.sighted_at if self._follower is not None else None
        if sighted_at is None:
            return True
        return self._clock.monotonic() - sighted_at > limits.REVOCATION_BLIND_S

    def catch_up(self) -> None:
        """Where the process stood still for so long that it is blind: has the follower look, and
        waits for that a moment. Once for each time that it fell behind: a store that does not
        answer keeps nobody a second time."""
        follower = self._follower
        if follower is None or not self.blind or self._waited_at == follower.sighted_at:
            return
        self._waited_at = follower.sighted_at
        with suppress(TimeoutError, CancelledError, StoreUnavailable):
            follower.ask().result(_CATCH_UP_S)

    def ensure_sighted(self) -> None:
        """Raises: StoreUnavailable while `blind`."""
        if self.blind:
            raise StoreUnavailable(
                "this gateway cannot reach its state store, so it cannot tell whether the grant"
                " still holds",
                hint="try again in a moment",
            )

    def apply(self, revocations: Sequence[Revocation]) -> None:
        """Makes them known here. What was known already is not told again."""
        fresh = [one for one in revocations if one.grant_id not in self._ended]
        by_why: dict[str, list[str]] = {}
        for one in fresh:
            self._ended[one.grant_id] = one.why
            by_why.setdefault(one.why, []).append(one.grant_id)
        while len(self._ended) > limits.MAX_REMEMBERED_ENDS:
            self._ended.popitem(last=False)
        for why, grant_ids in by_why.items():
            self._tell(frozenset(grant_ids), why)

    async def poll(self) -> None:
        """Catches up with the store now. Raises: StoreUnavailable, also while nobody follows."""
        if self._follower is None:
            raise StoreUnavailable("revocations are not followed")
        await asyncio.wrap_future(self._follower.ask())

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the store while the block runs. Raises: StoreUnavailable if the store cannot be
        reached at the start."""
        loop = asyncio.get_running_loop()

        def heard(found: Sequence[Revocation]) -> None:
            # In the follower's thread: known from here on, told in the loop's next turn.
            self._heard.update((one.grant_id, one.why) for one in found)
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._take, found)

        follower = Follower(self._store.revocation_reader, self._clock.monotonic, heard)
        follower.start()
        try:
            await asyncio.wrap_future(follower.ask())
            self._follower = follower
            yield
        finally:
            self._follower = None
            await asyncio.to_thread(follower.stop)

    def _take(self, found: Sequence[Revocation]) -> None:
        self.apply(found)
        for one in found:
            self._heard.pop(one.grant_id, None)

    def _tell(self, grant_ids: frozenset[str], why: str) -> None:
        for listener in self._listeners:
            try:
                listener(grant_ids, why)
            except Exception:
                # Whatever one listener does, the next may have a session to cut.
                _log.exception("revocations.listener_failed", grants=sorted(grant_ids))
