"""What a search of the records finds, and what it asks for.

The recordings are the truth; entries are derived from them (`recording.index`) and can be rebuilt.
"""

import re
from dataclasses import dataclass

# What became of a request: the policy's word, and for a held one what people said.
# `refused` is a person's no; `hold` is still waiting.
OUTCOMES = ("permit", "deny", "hold", "approved", "refused", "expired", "cancelled")
# The outcomes after which a request reached the resource.
RAN = ("permit", "approved")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One effect (a `model.action.Action`) of one recorded event.

    (`session`, `sequence`, `position`) is its key: a later entry with the same key replaces the
    earlier one, as a request's end adds rows, kinds of data and what became of a hold.
    `session` is a session's id, or the id of the gateway's own log; `sequence` the number of the
    event within it, from 1; `position` that of the effect within the event, from 0.

    `identity` and `acts_for` are `Identity.key`s; `acts_for` is the whole chain behind an agent,
    nearest first. `at` is seconds since the epoch.
    `event` is an `EventKind` value. An event without effects (a login, a vote) has the one entry,
    whose `verb` is the event's name.
    `object` and `via` are dotted names without quotes: `my.table` is found however it is spelled.
    `columns` None means every column of `object` (or that the verb has none); `compared` are those
    that only steered the result. `via` is the view through which the object was reached.
    `kinds` are the kinds of data that were found in the answer (`email`, `credit_card`).
    `rows` is the number of rows answered, None until the request's end; `masked` the number of
    values hidden. `text` is cut to `limits.MAX_INDEXED_TEXT_BYTES`.
    """

    session: str
    sequence: int
    position: int
    at: float
    event: str
    identity: str = ""
    acts_for: tuple[str, ...] = ()
    task: str = ""
    resource: str = ""
    request: int | None = None
    verb: str = ""
    object: str = ""
    object_kind: str = ""
    columns: tuple[str, ...] | None = None
    compared: tuple[str, ...] = ()
    via: str = ""
    kinds: tuple[str, ...] = ()
    rows: int | None = None
    masked: int = 0
    outcome: str = ""
    rule: str = ""
    reason: str = ""
    policy_version: str = ""
    approved_by: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Every part that is given must hold; an empty one asks nothing.

    `who` is an identity's key or its subject alone, of the caller or of anyone it acts for.
    `object` is read as `relation` and as `relation.column`, the relation with or without its
    schema (`object_readings`). `kind` is a kind of data; `outcomes` any of OUTCOMES.
    `since` (inclusive) and `until` (exclusive) are seconds since the epoch; `text` is a part of
    the statement. `tasks` are patterns of tasks (`*` stands for anything): of whoever may see only
    what belongs to these; None for everything. All else is compared without regard to case: an
    audit would rather find too much. Answers are ordered by `at`, newest first, `limit` at most.
    """

    who: str = ""
    task: str = ""
    resource: str = ""
    session: str = ""
    verb: str = ""
    object: str = ""
    kind: str = ""
    outcomes: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    text: str = ""
    limit: int = 1_000
    tasks: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ObjectReading:
    """One way to read what was asked for: lower-case `relation`, `column` None for any."""

    relation: str
    column: str | None


def object_readings(asked: str) -> tuple[ObjectReading, ...]:
    """The ways in which `customers.email` can be meant: a table in a schema, or a column.

    An entry matches a reading where its object is `relation` or ends in `.relation`, and the
    reading's column is None, or among the entry's columns or compared ones, or the entry's
    columns are None (all). Empty for an empty text.
    """
    name = asked.strip().replace('"', "").lower()
    if not name:
        return ()
    relation, dot, column = name.rpartition(".")
    whole = ObjectReading(name, None)
    return (whole, ObjectReading(relation, column)) if dot and relation and column else (whole,)


def matches(entry: AuditEntry, query: AuditQuery) -> bool:
    """Whether the entry answers the query: the meaning that every index keeps to."""
    return (
        (query.tasks is None or any(fits(entry.task, pattern) for pattern in query.tasks))
        and _is_or_empty(query.task, entry.task)
        and _is_or_empty(query.resource, entry.resource)
        and _is_or_empty(query.session, entry.session)
        and _is_or_empty(query.verb, entry.verb)
        and (not query.who or _matches_who(entry, query.who.lower()))
        and (not query.object or any(_reads(entry, r) for r in object_readings(query.object)))
        and (not query.kind or query.kind.lower() in (kind.lower() for kind in entry.kinds))
        and (not query.outcomes or entry.outcome in query.outcomes)
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at < query.until)
        and query.text.lower() in entry.text.lower()
    )


def fits(task: str, pattern: str) -> bool:
    """Whether a task's name fits a pattern, in which `*` stands for any characters."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return bool(task) and re.fullmatch(expression, task) is not None


def _is_or_empty(asked: str, found: str) -> bool:
    return not asked or asked.lower() == found.lower()


def _matches_who(entry: AuditEntry, who: str) -> bool:
    # A key is `issuer:subject`, and an issuer may itself hold a colon (an URL).
    keys = (key.lower() for key in (entry.identity, *entry.acts_for))
    return any(key == who or key.endswith(f":{who}") for key in keys)


def _reads(entry: AuditEntry, reading: ObjectReading) -> bool:
    found = entry.object.lower()
    if found != reading.relation and not found.endswith(f".{reading.relation}"):
        return False
    if reading.column is None or entry.columns is None:
        return True
    return any(reading.column == column.lower() for column in (*entry.columns, *entry.compared))
