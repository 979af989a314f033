"""The searchable rows derived from recordings."""

from collections.abc import Sequence

import sqlalchemy as sa

from taskgate.model import limits
from taskgate.model.audit import AuditEntry, AuditQuery, matches, object_readings
from taskgate.store.database import Database
from taskgate.store.encoding import decode, encode, plain
from taskgate.store.schema import audit_entries
from taskgate.store.scoping import of_tasks

# A LIKE pattern has a cap of its own in SQLite; a shorter one only finds more, and `matches`
# then looks at the whole.
_MAX_PATTERN_CHARS = 500
_SEARCH_TIMEOUT_S = 30.0


class SqlAuditIndex:
    """`model.ports.AuditIndex`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        if not entries:
            return
        upsert = self._database.insert(audit_entries)
        replaced = {
            column.name: upsert.excluded[column.name]
            for column in audit_entries.c
            if not column.primary_key
        }
        async with self._database.write() as connection:
            await connection.execute(
                upsert.on_conflict_do_update(
                    index_elements=list(audit_entries.primary_key.columns), set_=replaced
                ),
                [_columns(entry) for entry in entries],
            )

    async def search(self, query: AuditQuery) -> tuple[AuditEntry, ...]:
        limit = min(query.limit, limits.MAX_SEARCH_RESULTS)
        entries: list[AuditEntry] = []
        async with self._database.read(_SEARCH_TIMEOUT_S) as connection:
            rows = await connection.stream_scalars(
                sa.select(audit_entries.c.entry)
                .where(*_narrowed(query))
                .order_by(
                    audit_entries.c.at.desc(),
                    audit_entries.c.session,
                    audit_entries.c.sequence.desc(),
                    audit_entries.c.position,
                )
            )
            try:
                async for row in rows:
                    if len(entries) >= limit:
                        break
                    entry = decode(row, AuditEntry)
                    if matches(entry, query):
                        entries.append(entry)
            finally:
                await rows.close()
        return tuple(entries)

    async def clear(self) -> None:
        async with self._database.write(_SEARCH_TIMEOUT_S) as connection:
            await connection.execute(sa.delete(audit_entries))


def _columns(entry: AuditEntry) -> dict[str, object]:
    return {
        "session": entry.session,
        "sequence": entry.sequence,
        "position": entry.position,
        "at": entry.at,
        "people": _joined((entry.identity, *entry.acts_for)),
        "task": _lower(entry.task),
        "resource": _lower(entry.resource),
        "verb": _lower(entry.verb),
        "object": _lower(entry.object),
        "kinds": _joined(entry.kinds),
        "outcome": entry.outcome,
        "text": _lower(entry.text),
        "entry": encode(entry),
    }


def _narrowed(query: AuditQuery) -> list[sa.ColumnElement[bool]]:
    """Conditions that every match fulfils; some that fulfil them are no match."""
    c = audit_entries.c
    conditions = of_tasks(c.task, query.tasks)
    for column, asked in (
        (c.task, query.task),
        (c.resource, query.resource),
        (c.verb, query.verb),
    ):
        if asked:
            conditions.append(column == _lower(asked))
    if query.session:
        conditions.append(sa.func.lower(c.session) == query.session.lower())
    if query.who:
        conditions.append(_contains(c.people, f"{query.who}|"))
    if query.object:
        readings = [_contains(c.object, one.relation) for one in object_readings(query.object)]
        conditions.append(sa.or_(sa.false(), *readings))
    if query.kind:
        conditions.append(_contains(c.kinds, f"|{query.kind}|"))
    if query.outcomes:
        conditions.append(c.outcome.in_(query.outcomes))
    if query.since is not None:
        conditions.append(c.at >= query.since)
    if query.until is not None:
        conditions.append(c.at < query.until)
    if query.text:
        conditions.append(_contains(c.text, query.text))
    return conditions


def _contains(column: sa.Column[str], asked: str) -> sa.ColumnElement[bool]:
    return column.contains(_lower(asked)[:_MAX_PATTERN_CHARS], autoescape=True)


def _joined(words: Sequence[str]) -> str:
    return _lower(f"|{'|'.join(words)}|")


def _lower(text: str) -> str:
    return plain(text.lower())
