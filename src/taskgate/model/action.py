"""What a request would do, in a form that no protocol owns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """One effect of a request.

    `verb` is lower case (`select`, `update`, `call`, `set`, `exec`, `get`); `object` is fully
    qualified (`sales.orders`, `pg_catalog.lower`, `search_path`); `kind` says what the object is
    (`table`, `view`, `function`, `setting`, `schema`, `channel`, `role`, `statement`, ...).

    `columns` are those touched, None where the verb has none or all of them are meant.
    `compared` are the columns whose values steer the result without being plainly shown: in
    WHERE, JOIN, ORDER BY, GROUP BY, HAVING, CASE, or as arguments. They can be guessed bit by bit.
    `via` names the object through which this one is reached (a view, a partitioned table); it is
    empty for what the request names itself. A permit must cover what is named; a deny or a hold
    also counts for what is reached.
    `complete` is False where the request could not be understood whole: never permitted.
    """

    verb: str
    object: str
    kind: str
    write: bool
    columns: tuple[str, ...] | None = None
    compared: tuple[str, ...] = ()
    via: str = ""
    complete: bool = True


# Not frozen: one is made for every statement, and a frozen one takes four times as long to make.
@dataclass(slots=True)
class Request:
    """What is judged, held, approved and recorded: one statement, command or call.

    `text` is as the client sent it. `digest` binds an approval to exactly this request: text,
    parameters, what its names resolve to, resource. `shape` is the same with the constants and
    parameters left out, for approvals of "more of this kind". Both are lower-case hex SHA-256.
    """

    text: str
    actions: tuple[Action, ...]
    digest: str
    shape: str
    parameters: tuple[str | None, ...] = ()
