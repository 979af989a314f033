"""How every node hears of ended grants: at once in its own process, and by following the store's
sequence for what other nodes did."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import StoreUnavailable
from taskgate.model.ports import GrantStore
from taskgate.model.token import Revocation

_log = structlog.get_logger(__name__)
_BATCH = 1_000

EndListener = Callable[[frozenset[str], str], None]


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
        self._sequence = 0
        # Monotonic time up to which every revocation is known here.
        self._sighted_at: float | None = None

    def on_end(self, listener: EndListener) -> None:
        """`listener(grant_ids, why)` is called on the loop, in the turn that the end is known."""
        self._listeners.append(listener)

    def ended(self, grant_id: str) -> str | None:
        """Why the grant ended, if that was lately; None otherwise."""
        return self._ended.get(grant_id)

    @property
    def blind(self) -> bool:
        """Whether revocations may have gone unheard for too long."""
        if self._sighted_at is None:
            return True
        return self._clock.monotonic() - self._sighted_at > limits.REVOCATION_BLIND_S

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
        """Catches up with the store now. Raises: StoreUnavailable."""
        while True:
            asked_at = self._clock.monotonic()
            found = await self._store.revocations_after(self._sequence, _BATCH)
            if found:
                # Two polls may overlap; the sequence only grows.
                self._sequence = max(self._sequence, found[-1].sequence)
                self.apply(found)
            if len(found) < _BATCH:
                self._sighted_at = max(asked_at, self._sighted_at or asked_at)
                return

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Polls each `limits.REVOCATION_POLL_S` while the block runs. Raises: StoreUnavailable
        if the store cannot be reached at the start."""
        self._sequence = await self._store.last_revocation()
        await self.poll()
        task = asyncio.create_task(self._follow(), name="follow revocations")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._sighted_at = None

    async def _follow(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(limits.REVOCATION_POLL_S)
            try:
                await self.poll()
            except StoreUnavailable as error:
                # Going on is right here: `blind` refuses what cannot be vouched for.
                if not failing:
                    _log.error("revocations.blind", error=error.message)
                failing = True
            else:
                if failing:
                    _log.info("revocations.sighted")
                failing = False

    def _tell(self, grant_ids: frozenset[str], why: str) -> None:
        for listener in self._listeners:
            try:
                listener(grant_ids, why)
            except Exception:
                # Whatever one listener does, the next may have a session to cut.
                _log.exception("revocations.listener_failed", grants=sorted(grant_ids))
