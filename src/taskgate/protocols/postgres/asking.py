"""Questions of the gate's own, on the client's connection to the resource.

They go by the extended protocol under a name of their own: a simple query would destroy the
client's unnamed prepared statement (PostgreSQL documentation, "Extended Query").
"""

from collections.abc import Callable
from typing import Final

from taskgate.model.errors import TaskgateError
from taskgate.protocols.postgres import messages
from taskgate.protocols.postgres.conversation import Conversation
from taskgate.protocols.postgres.pipeline import Expected, Step

INTERNAL_NAME: Final = "taskgate internal"


def ask(
    shared: Conversation, text: str, answer: Callable[[bytes | None, TaskgateError | None], None]
) -> None:
    """Sends one statement. `answer` gets the first field of each row, then None with the error,
    None too if all went well.

    Between the client's cycles the question is a cycle of its own, and a failure of it is told to
    `answer` alone. Within an open pipeline it is a step like the client's: it shares its fate.
    """
    pipeline, name = shared.pipeline, INTERNAL_NAME
    alone = not pipeline.open

    def row(value: bytes | None, error: TaskgateError | None) -> None:
        if value is not None:
            answer(value, error)

    # First of all what an earlier question left behind, if that was cancelled before its Close.
    for step in (Step.CLOSE, Step.PARSE, Step.BIND, Step.EXECUTE, Step.CLOSE, Step.CLOSE):
        listener = (row if alone else answer) if step is Step.EXECUTE else None
        pipeline.push(Expected(step, internal=True, answer=listener))
    shared.out.to_upstream += [
        messages.encode_close(messages.STATEMENT, name),
        messages.encode_parse(messages.Parse(name, text)),
        messages.encode_bind(messages.Bind(name, name)),
        messages.encode_execute(name),
        messages.encode_close(messages.PORTAL, name),
        messages.encode_close(messages.STATEMENT, name),
    ]
    if alone:
        pipeline.push(Expected(Step.SYNC, internal=True, answer=answer))
        shared.out.to_upstream.append(messages.SYNC)
    else:
        shared.out.to_upstream.append(messages.FLUSH)
