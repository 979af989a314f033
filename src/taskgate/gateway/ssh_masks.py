"""What a host answers, its values hidden before anybody sees them: the client, and the recording
of a terminal alike.

It stands within another stream, nearer to the host, or by itself.
"""

import asyncio
from collections import Counter
from typing import Any, Final

from taskgate.masking.content import KindMasker
from taskgate.masking.stream import BinaryStream, StreamMasker
from taskgate.model.errors import Denied
from taskgate.model.masks import MaskSet
from taskgate.protocols.ssh.conversation import StreamSides

# How long text waits for the rest of its line. At a terminal somebody waits for what they type.
QUICK_S: Final = 0.2
TERMINAL_QUICK_S: Final = 0.04


class MaskedStream:
    """A `Stream` whose host speaks to the client by way of the task's masks; standard output and
    standard error each by itself. What the client says passes as it is."""

    def __init__(self, masks: MaskSet, key: bytes, *, terminal: bool) -> None:
        """`key` is for masks that hash. Raises: BadConfig."""
        self._masker = KindMasker(masks.kinds, key)
        self._rule = masks.kinds[0].rule
        self._sides: StreamSides | None = None
        self._flows = {
            stderr: StreamMasker(
                self._masker,
                quick_s=TERMINAL_QUICK_S if terminal else QUICK_S,
                terminal=terminal,
                pass_binary=masks.pass_binary,
            )
            for stderr in (False, True)
        }
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    def attach(self, sides: StreamSides) -> None:
        self._sides = sides

    def from_client(self, data: bytes) -> None:
        if self._sides is not None:
            self._sides.to_host(data)

    def client_ended(self) -> None:
        if self._sides is not None:
            self._sides.end_host_input()

    def resized(self, columns: int, rows: int) -> None:
        """The driver tells the host."""

    def from_host(self, data: bytes, stderr: bool) -> None:
        if self._refused:
            return
        try:
            self._say(self._flows[stderr].feed(data, self._loop.time()), stderr)
        except BinaryStream:
            self._refuse()
        self._set_timer()

    def host_ended(self) -> None:
        try:
            for stderr, flow in self._flows.items():
                if not self._refused:
                    self._say(flow.end(), stderr)
        except BinaryStream:
            self._refuse()
        self._set_timer()

    def facts(self) -> dict[str, Any]:
        """For the record: `masked` by rule, `kinds` by kind; `shown_in_part` are values of which
        the client saw the first characters before they were known; whether binary data passed
        unmasked, or was refused."""
        found: dict[str, Any] = {}
        counts = self._masker.counts
        if counts:
            found |= {"masked": dict(counts.rules), "kinds": dict(counts.kinds)}
        in_part: Counter[str] = Counter()
        for flow in self._flows.values():
            in_part.update(flow.in_part)
        if in_part:
            found["shown_in_part"] = dict(in_part)
        if self._refused:
            found["binary"] = "refused"
        elif any(flow.binary for flow in self._flows.values()):
            found["binary"] = "passed"
        return found

    def _say(self, data: bytes, stderr: bool) -> None:
        if data and self._sides is not None:
            self._sides.to_client(data, stderr)

    def _set_timer(self) -> None:
        times = [flow.due for flow in self._flows.values() if flow.due is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if times and not self._refused:
            self._timer = self._loop.call_at(min(times), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            for stderr, flow in self._flows.items():
                if flow.due is not None and flow.due <= now:
                    self._say(flow.tick(now), stderr)
        except BinaryStream:
            self._refuse()
        self._set_timer()

    def _refuse(self) -> None:
        self._refused = True
        if self._sides is not None:
            self._sides.fail(
                Denied(
                    "the answer is no text, so the task's masks cannot look into it",
                    rule=self._rule,
                    hint="ask for text; or the task's author lets it pass with binary: pass",
                )
            )
