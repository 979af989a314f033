"""The one way to a host, for commands, lines, shells and connections alike."""

from collections.abc import Awaitable, Callable

from taskgate.gateway.enforcement import TaskGate
from taskgate.model.action import Request
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import TaskgateError

# Waits for people, by the request's number; the error where they did not agree.
Wait = Callable[[int, Request, Decision], Awaitable[TaskgateError | None]]


async def admitted(gate: TaskGate, request: Request, decision: Decision, wait: Wait) -> int:
    """Records a request that was judged, and waits where it is held; its number, once it may run.

    Raises: what the client is told; NotRecorded.
    """
    admission = gate.admit(request, decision)
    gate.recording.flush()
    if admission.error is not None:
        raise admission.error
    number = admission.number
    if admission.outcome is Outcome.HOLD:
        error = await wait(number, request, decision)
        error = error or gate.go_on(number)
        gate.recording.flush()
        if error is not None:
            raise error
    return number
