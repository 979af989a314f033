"""What a session's recording has room for: what there is none for must not pass."""

from typing import Any

from taskgate.model.errors import OverLimit
from taskgate.recording.format import encode_json

# About what a line of a recording has beside its facts.
_LINE_BYTES = 150


def recorded_bytes(facts: dict[str, Any]) -> int:
    """How long an event is, as it is written."""
    return len(encode_json(facts)) + _LINE_BYTES


class Room:
    """How much more of `what` (`terminals`) a session may record, in bytes as written. Once
    something did not fit, nothing does: there is the beginning, and no pieces beyond a gap."""

    def __init__(self, what: str, max_bytes: int) -> None:
        self._what = what
        self._max_bytes = self._left = max_bytes

    def take(self, bytes_: int) -> None:
        """Raises: OverLimit."""
        if bytes_ > self._left:
            self._left = 0
            self.ensure()
        self._left -= bytes_

    def ensure(self) -> None:
        """Raises: OverLimit where there is none."""
        if self._left <= 0:
            raise OverLimit(
                f"the recording of this session's {self._what} is full"
                f" ({self._max_bytes} bytes), and nothing may pass unrecorded",
                hint="connect anew: a new session has a recording of its own",
            )
