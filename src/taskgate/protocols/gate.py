"""What a protocol may ask of the enforcement point: judge, admit, report. Nothing else.

Every protocol turns a request into Actions and calls this; none has policy of its own. The
gateway gives each session one `Gate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from taskgate.model.action import Action, Request
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import TaskgateError
from taskgate.model.masks import MaskSet


# Not frozen: one is made for every statement, and a frozen one takes four times as long to make.
@dataclass(slots=True)
class Admission:
    """The answer to one request. `number` counts the session's requests from 1.

    `error` is filled for DENY only: what the client is told, in the protocol's own form.
    """

    number: int
    outcome: Outcome
    decision: Decision
    error: TaskgateError | None = None


class Gate(Protocol):
    """One session's side of the enforcement point. Synchronous: it never waits.

    `admit` records before it answers PERMIT, and the caller's driver writes the record out
    before any byte goes to the resource. Where the record cannot be written it raises
    NotRecorded and the session ends.
    """

    def judge(self, actions: Sequence[Action]) -> Decision:
        """The task's word on `actions`, without the clock. Pure; callers cache it."""
        ...

    def policy_version(self) -> str:
        """The version that `judge` would use now; a cached decision of another is stale."""
        ...

    def masks(self) -> MaskSet:
        """The task's masks as they are now, for what the resource says unasked."""
        ...

    def admit(self, request: Request, decision: Decision) -> Admission:
        """Whether `request` may run now: grant, hours and `decision` together. Recorded."""
        ...

    def go_on(self, number: int) -> TaskgateError | None:
        """Whether request `number` may go on: out of an approved hold, or fetching more rows.

        Checks the grant once more and records. An error means: refuse after all.
        """
        ...

    def refuse(self, text: str, error: TaskgateError) -> None:
        """Records a request that was refused before it could be judged."""
        ...

    def prepared(self, text: str, decision: Decision) -> TaskgateError | None:
        """Records that a statement's text goes to the resource to be prepared, not run."""
        ...

    def finished(self, number: int, facts: dict[str, Any]) -> None:
        """Records how request `number` ended."""
        ...

    def note(self, kind: str, facts: dict[str, Any]) -> None:
        """Records a fact of the session that is no request's."""
        ...
