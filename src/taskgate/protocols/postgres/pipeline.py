"""What the resource still owes: one entry for each message sent to it, in order.

The PostgreSQL protocol answers strictly in order (docs: "Message Flow", "Pipelining"), so the
head of this queue always says what the next reply belongs to, whether the client asked or the
gate did for itself, and what was assumed when it was sent and must be taken back if it fails.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from taskgate.model.errors import OverLimit, TaskgateError
from taskgate.model.limits import MAX_PIPELINE
from taskgate.protocols.postgres.judging import Judged
from taskgate.protocols.postgres.masked_output import MaskedOutput
from taskgate.protocols.postgres.session_names import Described, Portal, Prepared


class Step(IntEnum):
    QUERY = 0
    PARSE = 1
    BIND = 2
    DESCRIBE_STATEMENT = 3
    DESCRIBE_PORTAL = 4
    EXECUTE = 5
    CLOSE = 6
    SYNC = 7


@dataclass(slots=True)
class Run:
    """An admitted request that the resource is working on, and what came of it so far.

    `statement` is the index within a multi-statement message of the one whose reply comes next;
    `rows` and `bytes` count its rows, `total_rows` all. `planned`: it is settled what is masked
    (`output`, None for nothing). `over`: a cap was reached; no more of the answer is passed on.
    `masked` and `kinds` count masked values by rule and by kind of data; `sample` holds rows for
    the recording, as the client saw them; None where there are none.
    """

    number: int
    judged: Judged
    portal: Portal | None = None
    statement: int = 0
    started_at: float = 0.0
    rows: int = 0
    total_rows: int = 0
    bytes: int = 0
    tags: list[str] = field(default_factory=list)
    sqlstate: str = ""
    planned: bool = False
    output: MaskedOutput | None = None
    over: TaskgateError | None = None
    over_told: bool = False
    masked: Counter[str] | None = None
    kinds: Counter[str] | None = None
    sample: list[list[str | None]] | None = None


@dataclass(slots=True)
class Expected:
    """One reply that is owed.

    `internal`: the gate asked for itself; nothing of the answer reaches the client.
    `instead`: bytes that the client gets in place of this step's error (a refusal).
    `described`: where a description that the gate asked for goes. `made`: what the step makes.
    `undo`: takes back what was assumed when the step was sent; run if it fails or is skipped.
    `answer`: receives each row's first field of an internal step, then None with the error, None
    too if it went well. `settled`: all of its answer has come.
    """

    step: Step
    internal: bool = False
    instead: bytes = b""
    described: Described | None = None
    run: Run | None = None
    made: Prepared | Portal | None = None
    undo: Callable[[], None] | None = None
    settled: bool = False
    answer: Callable[[bytes | None, TaskgateError | None], None] | None = None


class Pipeline:
    """The queue of expected replies.

    `open` is True from a step of the extended protocol until its Sync is sent: the resource is
    then within one implicit transaction and drops everything after an error up to that Sync.
    `cycles_sent` and `cycles_done` count Syncs and simple queries, each of which ends in a
    ReadyForQuery: what was made in a cycle cannot outlive an idle transaction status at its end.
    `newest` is the client's last request that is still owed an answer; `tainted` counts those
    whose errors may quote anything. Both are kept, not looked for: the queue may be long.
    """

    __slots__ = ("_queue", "cycles_done", "cycles_sent", "newest", "open", "tainted")

    def __init__(self) -> None:
        self._queue: deque[Expected] = deque()
        self.open = False
        self.cycles_sent = 0
        self.cycles_done = 0
        self.newest: Expected | None = None
        self.tainted = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Expected]:
        return iter(self._queue)

    @property
    def head(self) -> Expected | None:
        return self._queue[0] if self._queue else None

    @property
    def tail(self) -> Expected | None:
        return self._queue[-1] if self._queue else None

    def push(self, expected: Expected) -> None:
        """Adds what the message now being sent will be answered with.

        Raises:
            OverLimit: more than MAX_PIPELINE replies are owed.
        """
        if len(self._queue) >= MAX_PIPELINE:
            raise OverLimit(
                f"more than {MAX_PIPELINE} requests wait for the resource's answer",
                hint="send a Sync and read the answers before sending more",
            )
        self._queue.append(expected)
        if expected.run is not None:
            self.tainted += expected.run.judged.tainted
        if expected.step is not Step.SYNC and not expected.internal:
            self.newest = expected
        ends_cycle = expected.step is Step.SYNC or expected.step is Step.QUERY
        self.open = not ends_cycle
        self.cycles_sent += ends_cycle

    def done(self) -> Expected:
        """Takes the head off: its last reply has come."""
        head = self._queue.popleft()
        head.settled = True
        self.cycles_done += head.step is Step.SYNC or head.step is Step.QUERY
        self._taken(head)
        return head

    def fail(self) -> list[Expected]:
        """After an error in the extended protocol: takes off the head and all up to the next
        Sync, undoes what they assumed (latest first), and returns them, the failed one first."""
        failed: list[Expected] = []
        while self._queue and self._queue[0].step is not Step.SYNC:
            failed.append(self._queue.popleft())
            self._taken(failed[-1])
        for expected in reversed(failed):
            expected.settled = True
            if expected.undo is not None:
                expected.undo()
        return failed

    def _taken(self, expected: Expected) -> None:
        if expected.run is not None:
            self.tainted -= expected.run.judged.tainted
        if expected is self.newest:
            self.newest = None

    def drop_syncs(self) -> None:
        """COPY from the client has begun: the resource ignores Syncs sent before its end.

        Source: PostgreSQL docs, "COPY Operations": Flush and Sync are ignored during copy-in.
        """
        kept = deque(e for e in self._queue if e.step is not Step.SYNC)
        self.cycles_sent -= len(self._queue) - len(kept)
        self._queue = kept
        self.open = kept[-1].step is not Step.QUERY
