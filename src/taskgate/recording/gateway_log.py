"""What happens outside any session: logins, votes, policies applied, recordings read."""

from collections.abc import Callable
from contextlib import suppress

from taskgate.model.errors import NotRecorded
from taskgate.model.event import Event
from taskgate.recording.layout import day_of
from taskgate.recording.recording import Recording


class GatewayLog:
    """A recording like any other, a new one each UTC day; `Journal.gateway_log` is it.

    `open_log` makes a new part. The first event of a day seals the part before; so does the
    first event after a part has failed, which leaves the failed one to recovery.
    """

    def __init__(self, open_log: Callable[[float], Recording]) -> None:
        self._open_log = open_log
        self.current: Recording | None = None

    def append(self, event: Event) -> int:
        """Writes the event at once; answers its number within `current`.

        Raises:
            NotRecorded: it cannot be written, and what it tells of must not happen.
        """
        log = self._for(event.at)
        number = log.append(event)
        log.flush()
        return number

    async def settle(self) -> None:
        """Brings what was appended to the disk, with durability `disk`.

        Raises:
            NotRecorded: the disk failed.
        """
        if self.current is not None:
            await self.current.settle()

    def seal(self, now: float) -> None:
        """Ends the present part. Raises NotRecorded."""
        if self.current is not None:
            ended, self.current = self.current, None
            ended.seal(now)

    def _for(self, at: float) -> Recording:
        log = self.current
        if log is not None and not log.failed and day_of(log.opened_at) >= day_of(at):
            return log
        if log is not None:
            self.current = None
            # What of it cannot be sealed waits for recovery; what is about to be recorded needs
            # a part that can be written, and fails by itself where none can.
            with suppress(NotRecorded):
                log.seal(at)
        self.current = self._open_log(at)
        return self.current
