"""How much of one session's answers is worked on in one turn of the event loop.

Rewriting rows takes so long that a loop that takes in megabytes a turn would leave every other
session waiting. What is passed on as it is costs next to nothing and is not held up.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from taskgate.model.limits import KIB

# Rewritten bytes, or time, after which the other sessions have their turn.
TURN_BYTES: Final = 256 * KIB
TURN_S: Final = 0.01
# What is handed over at once where there is much to rewrite.
PIECE_BYTES: Final = 64 * KIB


class Paced:
    """Hands received bytes on, in order, and those that are costly a little each turn.

    `take` is given bytes and returns how many of them it had to rewrite. `changed` is called when
    `full` changes: the source is not to be read meanwhile (though it may yet deliver).
    """

    def __init__(
        self,
        take: Callable[[bytes], int],
        changed: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.full = False
        self._take = take
        self._changed = changed
        self._monotonic = monotonic
        self._waiting: deque[bytes] = deque()
        self._at_end: Callable[[], None] | None = None
        self._turns = False
        self._began = 0.0
        self._spent = 0
        # Whether what comes next is likely to be costly, so that it is taken in pieces.
        self._costly = False

    def received(self, data: bytes) -> None:
        """The source delivered this."""
        if self._waiting or self.full:
            self._waiting.append(data)
        elif self._costly:
            self._waiting.append(data)
            self._work()
        else:
            began = self._monotonic()
            self._spend(self._take(data), began)

    def ended(self, then: Callable[[], None]) -> None:
        """The source will deliver no more: calls `then` once all it delivered is handed on."""
        if self._waiting:
            self._at_end = then
        else:
            then()

    def stop(self) -> None:
        """Nothing is handed on any more."""
        self._waiting.clear()
        self._at_end = None

    def _work(self) -> None:
        while self._waiting and not self.full:
            data = self._waiting.popleft()
            if len(data) > PIECE_BYTES:
                self._waiting.appendleft(data[PIECE_BYTES:])
                data = data[:PIECE_BYTES]
            began = self._monotonic()
            self._spend(self._take(data), began)

    def _spend(self, rewritten: int, began: float) -> None:
        if not rewritten:
            self._costly = bool(self._spent)
            return
        if not self._turns:
            self._turns = True
            self._began = began
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._spent += rewritten
        self._costly = self._spent >= PIECE_BYTES
        if self._spent >= TURN_BYTES or self._monotonic() - self._began >= TURN_S:
            self._costly = True
            self.full = True
            self._changed()

    def _next_turn(self) -> None:
        self._turns = False
        self._spent = 0
        if not self.full:
            return
        self.full = False
        self._work()
        if not self.full:
            self._changed()
        if not self._waiting and self._at_end is not None:
            then, self._at_end = self._at_end, None
            then()
