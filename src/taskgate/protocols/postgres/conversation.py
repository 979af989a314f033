"""What the two halves of an exchange share: the client's requests and the resource's answers."""

from dataclasses import dataclass, field

from taskgate.model.action import Request
from taskgate.model.errors import TaskgateError
from taskgate.protocols.gate import Admission, Gate
from taskgate.protocols.postgres.judging import JudgedTexts
from taskgate.protocols.postgres.pipeline import Pipeline
from taskgate.protocols.postgres.resolution import Resolution
from taskgate.protocols.postgres.session_names import SessionState

IDLE = "I"
IN_TRANSACTION = "T"
FAILED = "E"


@dataclass(frozen=True, slots=True)
class AskHold:
    """The driver is to ask for approval, and then call `Exchange.hold_ended`."""

    admission: Admission
    request: Request


@dataclass(frozen=True, slots=True)
class DropHold:
    """The held request is moot; nobody need decide it."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class CancelUpstream:
    """The driver is to send the resource a cancel request for this session."""


@dataclass(frozen=True, slots=True)
class End:
    """The session is over, once what is queued for the client is sent."""

    error: TaskgateError | None
    why: str


Command = AskHold | DropHold | CancelUpstream | End


@dataclass(slots=True)
class Output:
    """Bytes for either side, and commands for the driver, in the order they came about."""

    to_client: list[bytes] = field(default_factory=list)
    to_upstream: list[bytes] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """`where` names resource and database in digests; `status` is the transaction status that the
    resource last told."""

    gate: Gate
    texts: JudgedTexts
    resolution: Resolution
    where: bytes
    pipeline: Pipeline = field(default_factory=Pipeline)
    names: SessionState = field(default_factory=SessionState)
    out: Output = field(default_factory=Output)
    status: str = IDLE
