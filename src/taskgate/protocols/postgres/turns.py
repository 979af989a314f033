"""The client's messages in turn: one is handled to its end before the next.

A handler that must wait (for names to be looked up, for the pipeline to drain, for an approval)
is a generator that yields what it waits for; while it waits, later messages stay queued, so
nothing overtakes. A handler that raises has its message refused, in PostgreSQL's own form and
with the transaction left as PostgreSQL would leave it.

Source: PostgreSQL documentation, "Message Flow".
"""

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from taskgate.model.errors import (
    NotRecorded,
    ProtocolViolation,
    TaskgateError,
    Unreadable,
    UpstreamFault,
)
from taskgate.model.limits import MAX_PENDING_FRAMES, MAX_WAITING_BYTES
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.asking import INTERNAL_NAME, ask
from taskgate.protocols.postgres.conversation import (
    FAILED,
    IN_TRANSACTION,
    Conversation,
    DropHold,
    End,
)
from taskgate.protocols.postgres.errors import Sqlstate, encode_error
from taskgate.protocols.postgres.judging import LookUp
from taskgate.protocols.postgres.pipeline import Expected, Step
from taskgate.sql.catalog import Catalog, catalog_query

# What is sent to leave the resource's transaction as a failed statement of the client's would:
# no grammar takes it, so it cannot do anything else than fail.
_FAILING_TEXT = "taskgate refused this request"


@dataclass(frozen=True, slots=True)
class Drained:
    """A handler waits until the resource owes nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """A handler waits for an approval."""

    number: int


Wait = LookUp | Drained | Held
Work = Generator[Wait, Any, None]


class Turns:
    """The queue of the client's messages, and the one being handled.

    `skipping`: an error was answered in the extended protocol; all is dropped up to Sync, as
    PostgreSQL does. `now` is the time of the event being worked on, seconds since the epoch.
    """

    def __init__(self, shared: Conversation) -> None:
        self._c = shared
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._work: Work | None = None
        self._waiting: Wait | None = None
        self._simple = False
        self._now = 0.0
        self.skipping = False
        self.ended = False

    # What comes in.

    @property
    def pending_bytes(self) -> int:
        """Bytes of the client that wait for an earlier message's verdict."""
        return self._pending_bytes

    @property
    def deciding(self) -> bool:
        """Whether a message is being handled that waits for something."""
        return self._work is not None

    @property
    def crowded(self) -> bool:
        """Whether no more messages should be handed in until the one being handled is done."""
        return self._work is not None and (
            len(self._pending) >= MAX_PENDING_FRAMES or self._pending_bytes >= MAX_WAITING_BYTES
        )

    @property
    def holding(self) -> int:
        """The number of the request that is being held, 0 for none."""
        return self._waiting.number if isinstance(self._waiting, Held) else 0

    def frame(self, frame: bytes, now: float) -> None:
        """Takes one whole message of the client."""
        if self.ended:
            return
        if frame[0] == tags.TERMINATE:
            self._terminated()
            return
        if self._work is None and not self._pending:
            self._now = now
            self._handle(frame)
            return
        self._pending.append(frame)
        self._pending_bytes += len(frame)

    def pump(self, now: float) -> None:
        """Goes on with what waits, as far as it can."""
        self._now = now
        if isinstance(self._waiting, Drained) and not self._c.pipeline:
            self._drained()
        while self._pending and self._work is None and not self.ended:
            frame = self._pending.popleft()
            self._pending_bytes -= len(frame)
            self._handle(frame)

    def _looked_up(self, text: str | None, error: TaskgateError | None) -> None:
        """The resource answered a look-up of names (`text`), or failed at it."""
        if not isinstance(self._waiting, LookUp):
            return
        if text is None:
            self._throw(error or UpstreamFault("the names in the statement could not be looked up"))
            return
        try:
            catalog = self._c.resolution.answered(text, self._now)
        except Unreadable as problem:
            self._throw(UpstreamFault(problem.message, hint=problem.hint))
            return
        except TaskgateError as problem:
            self._throw(problem)
            return
        self._resume(catalog)

    def hold_ended(self, number: int, error: TaskgateError | None, now: float) -> None:
        """The hold of request `number` came out: approved (no `error`) or not."""
        self._now = now
        if self.holding != number:
            return
        if error is None:
            self._resume(None)
        else:
            self._throw(error)
        self.pump(now)

    def pipeline_failed(self, now: float) -> None:
        """The resource reported an error in the extended protocol: what was being handled, and
        all that follows up to Sync, is void, as it is for PostgreSQL."""
        self._now = now
        if any(e.step is Step.SYNC for e in self._c.pipeline):
            return
        self._abandon("an earlier step of the same pipeline failed")
        self.skipping = True

    def end(self, error: TaskgateError | None, why: str = "") -> None:
        """Ends the session from this side."""
        if self.ended:
            return
        self._abandon(why or (error.message if error else "the session ended"))
        self.ended = True
        self._pending.clear()
        self._pending_bytes = 0
        self._c.out.commands.append(End(error, why or (error.message if error else "")))

    def _terminated(self) -> None:
        self.end(None, "the client closed the session")

    def _abandon(self, why: str) -> None:
        if isinstance(self._waiting, Held):
            self._c.out.commands.append(DropHold(self._waiting.number, why))
        if self._work is not None:
            self._work.close()
        self._work = None
        self._waiting = None

    # Running a handler.

    def _asked(self, tag: int, frame: bytes) -> Work | None:
        """Handles one message of the client, or begins to. Raises: TaskgateError."""
        raise NotImplementedError

    def _handle(self, frame: bytes) -> None:
        tag = frame[0]
        if self.skipping and tag != tags.SYNC:
            return
        self._simple = tag in (tags.QUERY, tags.FUNCTION_CALL)
        try:
            work = self._asked(tag, frame)
        except TaskgateError as error:
            self._failed(error)
            return
        if work is not None:
            self._work = work
            self._step(lambda: work.send(None))

    def _drained(self) -> None:
        self._c.names.drained()
        self._resume(None)

    def _resume(self, value: Catalog | None) -> None:
        work = self._work
        if work is not None:
            self._step(lambda: work.send(value))

    def _throw(self, error: TaskgateError) -> None:
        work = self._work
        if work is not None:
            self._step(lambda: work.throw(error))

    def _step(self, go: Callable[[], Wait]) -> None:
        self._waiting = None
        try:
            self._waiting = go()
        except StopIteration:
            self._work = None
            return
        except TaskgateError as error:
            self._work = None
            self._failed(error)
            return
        self._begin(self._waiting)

    def _begin(self, wait: Wait) -> None:
        if isinstance(wait, LookUp):
            self._look_up(wait)
            return
        if self._c.pipeline.open and self._c.pipeline:
            # What was sent before must be answered, or the wait could be for ever.
            self._c.out.to_upstream.append(messages.FLUSH)
        if isinstance(wait, Drained) and not self._c.pipeline:
            self._drained()

    def _failed(self, error: TaskgateError) -> None:
        if isinstance(error, NotRecorded | ProtocolViolation):
            self.end(error)
        else:
            self._refuse(error)

    def _refuse(self, error: TaskgateError) -> None:
        """Answers a message with an error, and leaves the transaction as PostgreSQL would."""
        c = self._c
        answer = encode_error(error)
        undisturbed = not c.pipeline and not c.pipeline.open and c.status != IN_TRANSACTION
        if self._simple:
            if undisturbed:
                c.out.to_client.append(answer)
                c.out.to_client.append(messages.encode_ready_for_query(c.status))
            else:
                c.pipeline.push(Expected(Step.QUERY, internal=True, instead=answer))
                c.out.to_upstream.append(messages.encode_query(_FAILING_TEXT))
            return
        self.skipping = True
        if undisturbed:
            c.out.to_client.append(answer)
            return
        c.pipeline.push(Expected(Step.PARSE, internal=True, instead=answer))
        c.out.to_upstream.append(
            messages.encode_parse(messages.Parse(INTERNAL_NAME, _FAILING_TEXT))
        )
        # The client may wait for this error without sending a Sync first.
        c.out.to_upstream.append(messages.FLUSH)

    # Looking names up over the session's own connection.

    def _look_up(self, wait: LookUp) -> None:
        c = self._c
        if c.status == FAILED and not c.pipeline.open:
            self._throw(_aborted())
            return
        found: list[bytes] = []

        def answer(value: bytes | None, error: TaskgateError | None) -> None:
            if value is not None:
                found.append(value)
            elif error is not None and error.sqlstate == _CANCELED:
                # The client cancelled its statement, or its own timeout did: it is told just that.
                self._looked_up(None, error)
            elif error is not None and c.status == FAILED:
                # What was sent before has failed meanwhile.
                self._looked_up(None, _aborted())
            elif error is not None:
                problem = UpstreamFault(
                    "the statement's names could not be looked up at the resource: "
                    f"{error.message}",
                    hint="nothing was run; try again, or look at the resource's own log",
                )
                self._looked_up(None, problem)
            else:
                self._looked_up(b"".join(found).decode("utf-8", "replace"), None)

        ask(c, catalog_query(wait.names), answer)


_CANCELED = "57014"  # query_canceled


def _aborted() -> Sqlstate:
    """What PostgreSQL says of any statement in a failed transaction."""
    return Sqlstate(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
