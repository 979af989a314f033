"""One session between a signed-in client and its resource, as a machine without I/O.

Bytes of either side and verdicts go in; bytes for either side and commands come out (`take`). The
driver writes the session's record out before it sends `to_upstream`, and obeys the commands.
"""

from collections.abc import Callable

from taskgate.model.errors import TaskgateError
from taskgate.model.limits import MAX_FRAMES_PER_TURN
from taskgate.protocols.gate import Gate
from taskgate.protocols.postgres.answers import Answers
from taskgate.protocols.postgres.conversation import Conversation, Output
from taskgate.protocols.postgres.errors import Sqlstate, encode_notice
from taskgate.protocols.postgres.frames import FrontendFramer
from taskgate.protocols.postgres.judging import JudgedTexts
from taskgate.protocols.postgres.requests import Requests
from taskgate.protocols.postgres.resolution import Catalogs, Resolution
from taskgate.protocols.postgres.results import Results
from taskgate.sql.catalog import Catalog


class Exchange:
    """`where` names resource and database in what approvals are bound to; `tag` makes a client's
    application name into the one that the resource's log shows; `mask_key` keys the hash transform.

    Any method may raise a TaskgateError: the session's state is lost and it must end.
    """

    def __init__(
        self,
        gate: Gate,
        texts: JudgedTexts,
        catalogs: Catalogs,
        mask_key: bytes,
        where: str,
        tag: Callable[[str], str],
        *,
        record_rows: bool = False,
    ) -> None:
        self._c = Conversation(
            gate, texts, Resolution(catalogs, Catalog(schemas=(), user="")), where.encode()
        )
        self._requests = Requests(self._c)
        self._results = Results(self._c, mask_key, record_rows=record_rows)
        self._answers = Answers(self._c, self._requests, self._results, mask_key, tag)
        self._framer = FrontendFramer()
        self._more = False

    def client_data(self, data: bytes, now: float) -> None:
        """Takes bytes of the client."""
        self._framer.feed(data)
        self._take_frames(now)

    def client_more(self, now: float) -> None:
        """Goes on with what was left for a later turn."""
        self._take_frames(now)

    @property
    def more(self) -> bool:
        """Whether whole messages may be left that another turn should handle (`client_more`)."""
        return self._more and not self._requests.crowded

    def _take_frames(self, now: float) -> None:
        """Handles the client's messages, until too much of them waits or others should have
        their turn: the rest stays where it is, and the driver reads no more."""
        requests = self._requests
        framer = self._framer
        left = MAX_FRAMES_PER_TURN
        self._more = False
        while not requests.ended and not requests.crowded:
            if left == 0:
                self._more = True
                break
            frame = framer.take()
            if frame is None:
                break
            left -= 1
            requests.frame(frame, now)

    def upstream_data(self, data: bytes, now: float) -> None:
        """Takes bytes of the resource."""
        self._answers.data(data, now)
        if self._framer.buffered:
            self._take_frames(now)

    def hold_ended(self, number: int, error: TaskgateError | None, now: float) -> None:
        """A hold came out: approved, or refused with `error`."""
        self._requests.hold_ended(number, error, now)
        self._take_frames(now)

    def cancel(self, now: float) -> bool:
        """The client asked to cancel what runs. True if that must be told to the resource."""
        number = self._requests.holding
        if number:
            self.hold_ended(
                number, Sqlstate("57014", "canceling statement due to user request"), now
            )
            return False
        return bool(self._c.pipeline)

    def notice(self, message: str, hint: str = "") -> bool:
        """Tells the client something between messages; False if it cannot be told just now."""
        if self._results.mid_frame:
            return False
        self._c.out.to_client.append(encode_notice(message, hint=hint))
        return True

    def overdue(self, now: float) -> None:
        """Stops a statement that has run longer than its task allows."""
        run = self._answers.running
        if run is None or run.over is not None:
            return
        most = run.judged.decision.limits.statement_s
        if most is not None and now - run.started_at > most:
            self._results.interrupt(
                run,
                Sqlstate(
                    "57014",
                    f"the statement ran longer than this task's limit of {most:g} s",
                    hint="narrow it, or ask for a task with a higher limits.statement",
                ),
            )

    def lost(self, why: str) -> None:
        """The session is ending from outside: closes the record of what was running."""
        self._requests.end(None, why)
        self._answers.lost(why)

    @property
    def told_fatal(self) -> bool:
        """Whether the resource has told the client why it ends the session."""
        return self._answers.told_fatal

    def take(self) -> Output:
        """What is to be sent and done since the last call."""
        out = self._c.out
        self._c.out = Output()
        return out

    @property
    def busy(self) -> bool:
        """Whether the resource owes an answer, or a request is held."""
        return bool(self._c.pipeline) or bool(self._requests.holding)

    @property
    def holding(self) -> int:
        """The number of the held request, 0 for none."""
        return self._requests.holding

    @property
    def deciding(self) -> bool:
        """Whether a message of the client waits for names, for earlier answers, or for people."""
        return self._requests.deciding

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the client that wait for a verdict or a frame's end."""
        return self._requests.pending_bytes + self._framer.buffered

    @property
    def rewritten(self) -> int:
        """Bytes of rows so far that were not merely passed on."""
        return self._results.rewritten

    @property
    def mid_frame(self) -> bool:
        return self._results.mid_frame
