"""Server-sent events (HTML Living Standard, section 9.2), bounded: those of held requests, and who
has how many streams of any kind.

A stream ends with the sign-in behind it: that is looked at each second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated

from fastapi import Depends, Request

from taskgate.gateway.holds import Holds
from taskgate.model import limits
from taskgate.model.approval import Approval
from taskgate.model.errors import NotAuthenticated, OverLimit

CHECK_S = 1.0
BEAT_S = 15.0
MAX_QUEUED = 100


class Streams:
    """Who listens, and how many streams each person has."""

    def __init__(self, holds: Holds, closing: asyncio.Event) -> None:
        """Once `closing` is set, every stream ends within `CHECK_S`."""
        self._holds = holds
        self._closing = closing
        self._open: Counter[str] = Counter()

    def ensure_room(self, person: str) -> None:
        """Raises: OverLimit where the person has enough streams open."""
        if self._open[person] >= limits.MAX_API_STREAMS_PER_PERSON:
            raise OverLimit(
                f"{limits.MAX_API_STREAMS_PER_PERSON} streams are open already",
                hint="close one of them",
            )

    @property
    def closing(self) -> bool:
        """Whether every stream has to end."""
        return self._closing.is_set()

    @contextmanager
    def room(self, person: str) -> Iterator[None]:
        """Counts a stream of that person's while the block runs. Raises: OverLimit."""
        self.ensure_room(person)
        self._open[person] += 1
        try:
            yield
        finally:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]

    @asynccontextmanager
    async def changes(self, person: str) -> AsyncIterator[asyncio.Queue[Approval | None]]:
        """A queue of what changes while the block runs; None in it means that it overflowed.

        Raises: OverLimit.
        """
        queue: asyncio.Queue[Approval | None] = asyncio.Queue(MAX_QUEUED)

        def changed(approval: Approval) -> None:
            if queue.qsize() < MAX_QUEUED - 1:
                queue.put_nowait(approval)
            elif not queue.full():
                queue.put_nowait(None)

        with self.room(person):
            stop = self._holds.on_change(changed)
            try:
                yield queue
            finally:
                stop()

    async def events(
        self,
        queue: asyncio.Queue[Approval | None],
        first: list[str],
        render: Callable[[Approval], Awaitable[str | None]],
        still_signed_in: Callable[[], Awaitable[object]],
    ) -> AsyncIterator[bytes]:
        """The stream's bytes: `first`, then what `render` makes of each change."""
        loop = asyncio.get_running_loop()
        yield b": taskgate\n\n"
        for data in first:
            yield _event(data)
        beat = loop.time() + BEAT_S
        while not self._closing.is_set():
            approval: Approval | None = None
            try:
                async with asyncio.timeout(CHECK_S):
                    approval = await queue.get()
                if approval is None:
                    return
            except TimeoutError:
                pass
            try:
                await still_signed_in()
            except NotAuthenticated:
                return
            if approval is not None:
                data_or_none = await render(approval)
                if data_or_none is not None:
                    yield _event(data_or_none)
            if loop.time() >= beat:
                # Proxies close what is silent for long.
                yield b": still here\n\n"
                beat = loop.time() + BEAT_S


def _event(data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: approval\n{lines}\n".encode()


def _streams_of(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


StreamsHere = Annotated[Streams, Depends(_streams_of)]
